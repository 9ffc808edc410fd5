import { type DirectoryUse, withDirectoryLock } from "../node/directory-lock.js";
import type { LockOptions } from "../node/lock.js";
import { TrainError } from "./errors.js";

export { lockFile } from "../node/directory-lock.js";

const training: DirectoryUse = { work: "training", error: TrainError };

/**
 * Runs `body` as the only training in a directory (see withDirectoryLock).
 * @throws TrainError  another training works there
 */
export function withRunLock<T>(
  out: string,
  body: (check: () => void) => Promise<T>,
  options: Pick<LockOptions, "clock" | "staleMs"> = {},
): Promise<T> {
  return withDirectoryLock(out, training, body, options);
}
