/** One way to train the new adaptor. */
export interface Variant {
  readonly name: string;
  readonly title: string;
  readonly data: "transcripts" | "mixed" | "answered";
  readonly blocks: 2 | 4;
  /** Steps of alignment, then of cross-entropy. */
  readonly align: number;
  readonly steps: number;
  /** Highest learning rate of the cross-entropy. */
  readonly rate: number;
  /** The variant whose checkpoint this one goes on from. Default: the migrated one. */
  readonly after?: string;
  /** Options of `train` beside those that all variants share. */
  readonly options: readonly string[];
}

/** Tokens of an optimiser step at most, of an alignment audio frames. */
export const batchTokens = 1200;

/** Highest learning rate of an alignment. */
export const alignRate = 2e-3;

const alignSteps = 800;
const fresh = { blocks: 2, align: 0, steps: 500, rate: 1.2e-3, options: [] } as const;
const onward = { blocks: 2, align: 0, steps: 250, rate: 4e-4, after: "aligned", options: [] } as const;

/** The variants of docs/migration.md. */
export const variants: readonly Variant[] = [
  { ...fresh, name: "aligned", title: "alignment alone", data: "transcripts", align: alignSteps, steps: 0 },
  { ...onward, name: "aligned-transcripts", title: "alignment, then transcripts", data: "transcripts" },
  { ...onward, name: "aligned-answered", title: "alignment, then 30 % answers by the LLM", data: "answered" },
  {
    ...{ ...onward, name: "lora", title: "the same, with a LoRA on the LLM", data: "answered" },
    options: ["--tune", "adaptor,lora", "--merge"],
  },
  { ...fresh, name: "transcripts", title: "transcripts only", data: "transcripts" },
  { ...fresh, name: "mixed", title: "30 % speech translations", data: "mixed" },
  { ...fresh, name: "answered", title: "30 % answers by the LLM", data: "answered" },
  {
    ...{ ...onward, name: "blocks-4", title: "alignment, then 30 % answers, 4 blocks", data: "answered" },
    ...{ blocks: 4, align: alignSteps, after: undefined },
  },
];

/** What is asked of the test clips. */
export interface Test {
  readonly name: "en" | "zh" | "en-zh" | "zh-en";
  readonly title: string;
  readonly task: "recognition" | "translation";
}

export const tests: readonly Test[] = [
  { name: "en", title: "English", task: "recognition" },
  { name: "zh", title: "Mandarin", task: "recognition" },
  { name: "en-zh", title: "English → Chinese", task: "translation" },
  { name: "zh-en", title: "Mandarin → English", task: "translation" },
];
