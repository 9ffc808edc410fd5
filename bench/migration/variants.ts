/** One way to train the new adaptor. */
export interface Variant {
  readonly name: string;
  readonly title: string;
  readonly data: "transcripts" | "mixed" | "answered";
  readonly blocks: 2 | 4;
  /** Options of `train` beside those that all variants share. */
  readonly options: readonly string[];
}

/** Tokens of an optimiser step at most: a dozen clips. */
export const batchTokens = 900;

/** The variants of docs/migration.md, the one that matters most first. */
export const variants: readonly Variant[] = [
  { name: "mixed", title: "30 % speech translations", data: "mixed", blocks: 2, options: [] },
  { name: "transcripts", title: "transcripts only", data: "transcripts", blocks: 2, options: [] },
  { name: "answered", title: "30 % answers by the LLM itself", data: "answered", blocks: 2, options: [] },
  {
    name: "lora",
    title: "30 % speech translations, with a LoRA on the LLM",
    data: "mixed",
    blocks: 2,
    options: ["--tune", "adaptor,lora", "--merge"],
  },
  { name: "blocks-4", title: "30 % speech translations, 4 blocks", data: "mixed", blocks: 4, options: [] },
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
