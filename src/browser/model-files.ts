import { CheckpointError } from "../formats/errors.js";
import type { ModelFiles } from "../checkpoint/source.js";
import { type Opener, blobSource, directoryFiles, openerFiles, pickedFiles } from "./blob-files.js";
import { BrowserError } from "./errors.js";
import { parseListing } from "./listing.js";
import type { ModelChoice, StartOptions, StartProgress } from "./messages.js";
import type { StartCall } from "./models.js";
import type { Platform } from "./platform.js";

/**
 * The files of a model, downloaded where they are not here yet.
 * @throws BrowserError  "quota", "network", "damaged"
 */
export async function filesOf(
  choice: ModelChoice,
  part: StartProgress["part"],
  _platform: Platform,
  _options: StartOptions,
  { onProgress, signal }: StartCall,
): Promise<ModelFiles> {
  if ("files" in choice) return pickedFiles(choice.files);
  if ("directory" in choice) return directoryFiles(choice.directory);
  if ("hub" in choice) throw new BrowserError("usage", "hub names are not read yet");
  const base = choice.url.endsWith("/") ? choice.url : `${choice.url}/`;
  const at = new URL("files.json", base).href;
  const answer = await fetch(at, { signal });
  if (!answer.ok) throw new BrowserError("network", `${at}: the server answers with status ${answer.status}`);
  const listing = parseListing(await answer.text(), at);
  const total = listing.files.reduce((sum, { size }) => sum + size, 0);
  const openers = new Map<string, Opener>();
  let done = 0;
  for (const { path, size } of listing.files) {
    const file = await fetch(new URL(path, base), { signal });
    if (!file.ok)
      throw new BrowserError("network", `${file.url}: the server answers with status ${file.status}`);
    const blob = await file.blob();
    if (blob.size !== size)
      throw new CheckpointError({ file: file.url, field: "size", expected: `${size} bytes`, got: blob.size });
    openers.set(path, (name) => Promise.resolve(blobSource(name, blob)));
    onProgress({ part, stage: "download", done: (done += size), total });
  }
  return openerFiles(listing.name, openers);
}
