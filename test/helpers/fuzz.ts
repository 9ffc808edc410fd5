/** Inputs of a fuzz suite: `usual` ones, or as many as the environment's FUZZ asks for where that is more. */
export function fuzzRuns(usual: number): number {
  const asked = Number(process.env["FUZZ"] ?? 0);
  if (!Number.isSafeInteger(asked) || asked < 0)
    throw new Error(`FUZZ: expected a number of inputs, got ${process.env["FUZZ"]}`);
  return Math.max(usual, asked);
}
