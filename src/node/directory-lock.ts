import { join } from "node:path";
import { type LockOptions, holderName, withLock } from "./lock.js";

/** The file that is there while a process works in a directory. */
export function lockFile(out: string): string {
  return join(out, "run.lock");
}

/** Who works in a directory, as errors name it. */
export interface DirectoryUse {
  /** One run: "training". */
  readonly work: string;
  readonly error: new (message: string) => Error;
}

/**
 * Runs `body` as the only run in a directory. The lock of a process that is no more, killed or
 * after a restart of the machine, is taken over. `body` is given a check that the directory is
 * still its own, which throws where it is not.
 * @throws `use.error`  another run works there, or has taken the directory over
 */
export async function withDirectoryLock<T>(
  out: string,
  { work, error: RunError }: DirectoryUse,
  body: (check: () => void) => Promise<T>,
  options: Pick<LockOptions, "clock" | "staleMs"> = {},
): Promise<T> {
  const file = lockFile(out);
  const run = (held: () => boolean): Promise<T> =>
    body(() => {
      if (held()) return;
      throw new RunError(
        `${out}: expected to be the only ${work} in this directory, got another that took it over while this process stood still; this one ends, its last saved state stays as the other has it`,
      );
    });
  return withLock(file, run, {
    ...options,
    refuse: (holder) => {
      const name = holderName(holder);
      return new RunError(
        `${out}: expected no other ${work} in this directory, got that of ${name}; wait for its end or stop it, or name another --out; if ${name} is no ${work}, remove ${file}`,
      );
    },
  });
}
