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
  /** The variant whose checkpoint this one continues. Default: the migrated checkpoint. */
  readonly after?: string;
  /** Further options of `train`. */
  readonly options: readonly string[];
}

/** Tokens of an optimiser step at most: sixteen clips. */
export const batchTokens = 1200;

/** Audio frames of a step of alignment at most: fourteen clips. */
export const alignFrames = 600;

/** Highest learning rate of an alignment. */
export const alignRate = 2e-3;

const alone = { data: "transcripts", align: 2000, steps: 0, rate: 0, options: [] } as const;
const fresh = { blocks: 2, align: 0, steps: 300, rate: 1.2e-3, options: [] } as const;
const onward = { blocks: 2, align: 0, steps: 300, rate: 2e-4, after: "aligned", options: [] } as const;

/**
 * The variants of docs/migration.md in the order of their training. A variant stands after the one
 * it continues.
 */
export const variants: readonly Variant[] = [
  { ...alone, name: "aligned", title: "alignment alone", blocks: 2 },
  { ...fresh, name: "transcripts", title: "transcripts only", data: "transcripts" },
  { ...fresh, name: "mixed", title: "30 % speech translations", data: "mixed" },
  {
    ...onward,
    name: "aligned-answered",
    title: "alignment, then 30 % answers by the LLM",
    data: "answered",
    steps: 400,
  },
  { ...onward, name: "aligned-transcripts", title: "alignment, then transcripts", data: "transcripts" },
  {
    ...onward,
    name: "lora",
    title: "alignment, then 30 % answers with a LoRA on the LLM",
    data: "answered",
    options: ["--tune", "adaptor,lora", "--merge"],
  },
  { ...alone, name: "aligned-4", title: "alignment alone, 4 blocks", blocks: 4, align: 800 },
  {
    ...onward,
    name: "blocks-4",
    title: "alignment, then 30 % answers, 4 blocks",
    data: "answered",
    blocks: 4,
    steps: 200,
    after: "aligned-4",
  },
];

/** A test set. */
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
