import { join } from "node:path";
import { type LockOptions, holderName, withLock } from "../node/lock.js";
import { TrainError } from "./errors.js";

/** The file that is there while a process trains in a directory. */
export function lockFile(out: string): string {
  return join(out, "run.lock");
}

/**
 * Runs `body` as the only training in a directory. The lock of a process that is no more, killed or after a restart of the machine,
 * is taken over. `body` is given a check that the directory is still its own, which throws where it is not.
 * @throws TrainError  another process trains there, or has taken the directory over
 */
export async function withRunLock<T>(
  out: string,
  body: (check: () => void) => Promise<T>,
  options: Pick<LockOptions, "clock" | "staleMs"> = {},
): Promise<T> {
  const file = lockFile(out);
  const run = (held: () => boolean): Promise<T> =>
    body(() => {
      if (held()) return;
      throw new TrainError(
        `${out}: expected to be the only training in this directory, got another that took it over while this process stood still; this one ends, its last saved state stays as the other has it`,
      );
    });
  return withLock(file, run, {
    ...options,
    refuse: (holder) => {
      const name = holderName(holder);
      return new TrainError(
        `${out}: expected no other training in this directory, got that of ${name}; wait for its end or stop it, or name another --out; if ${name} is no training, remove ${file}`,
      );
    },
  });
}
