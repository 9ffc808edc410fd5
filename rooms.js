/**
 * The rooms of src/, from the top down. A file imports from its own room and from rooms below it; errors, JSON and the other
 * files beside the rooms serve all. Lint holds this order; README and CONTRIBUTING print it.
 */
export const rooms = [
  "cli",
  "corpus",
  "server",
  "browser",
  "verify",
  "train",
  "evaluate",
  "profile",
  "decode",
  "hub",
  "node",
  "data",
  "checkpoint",
  "model",
  "weights",
  "kernels",
  "gpu",
  "config",
  "formats",
  "frontend",
  "tokenizer",
  "report",
];
