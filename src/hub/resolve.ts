import { stat } from "node:fs/promises";
import { type HubOptions, downloadFiles } from "./download.js";
import { HubError } from "./errors.js";
import { parseHubName } from "./name.js";
import { checkpointFiles } from "./select.js";

/**
 * The path of a model: an existing directory or file, or else OWNER/NAME[@REVISION] in the hub's
 * cache.
 * @throws HubError
 */
export async function resolveModel(model: string, options: HubOptions = {}): Promise<string> {
  if (await exists(model)) return model;
  const name = parseHubName(model);
  if (!name) {
    throw new HubError(
      `${JSON.stringify(model)}: expected a model directory or a hub name OWNER/NAME[@REVISION], got neither; check the path`,
    );
  }
  return downloadFiles(name, checkpointFiles, options);
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
