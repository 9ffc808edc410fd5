import { CheckpointError, ConfigError } from "../../src/formats/errors.js";
import { type ByteSource, bytesSource } from "../../src/checkpoint/source.js";

/** Inputs of a fuzz suite: `usual`, or the environment's FUZZ if that is more. */
export function fuzzRuns(usual: number): number {
  const asked = Number(process.env["FUZZ"] ?? 0);
  if (!Number.isSafeInteger(asked) || asked < 0)
    throw new Error(`FUZZ: expected a number of inputs, got ${process.env["FUZZ"]}`);
  return Math.max(usual, asked);
}

/** Outcomes of a fuzz suite, which show whether its inputs are too much alike. */
export class Outcomes {
  opened = 0;
  /** Refusals by ConfigError. */
  config = 0;
  readonly refused = new Set<string>();

  /**
   * Counts a refusal under its kind.
   * @throws the error, unless it is a refusal in one short line
   */
  refuse(error: unknown, kind: (error: CheckpointError | ConfigError) => string, longest = 600): void {
    if (!(error instanceof CheckpointError || error instanceof ConfigError)) throw error;
    const { message } = error;
    if (
      !/^[^\p{Cc}]+: [^\p{Cc}]+: expected [^\p{Cc}]+, got [^\p{Cc}]+$/u.test(message) ||
      message.length > longest
    )
      throw new Error(`not one short line: ${message}`, { cause: error });
    if (error instanceof ConfigError) this.config++;
    this.refused.add(kind(error));
  }
}

/**
 * The file "x", which fails a read outside its bytes: such a read would allocate what a file
 * claims.
 */
export function strictSource(bytes: Uint8Array): ByteSource {
  const inner = bytesSource("x", bytes);
  return {
    ...inner,
    read: (offset, length) => {
      if (!(offset >= 0 && length >= 0 && offset + length <= bytes.length))
        throw new Error(`read ${length} at ${offset}`);
      return inner.read(offset, length);
    },
  };
}
