import { realpath } from "node:fs/promises";
import { relative, sep } from "node:path";
import { CorpusDirectory, short } from "../../corpus/directory.js";
import { corpusError } from "../../corpus/errors.js";
import { modelIdentity } from "../../corpus/plan/model-identity.js";
import type { PlannedFiles } from "../../corpus/manifest.js";
import { findModel } from "../model.js";
import { version } from "../version.js";
import { plannedModel } from "./plan.js";

/** What a corpus directory is, for help texts. */
export const directoryForm = "directory that corpus plan made";

/**
 * Opens a corpus to work on it.
 * @throws CorpusError  as CorpusDirectory.open; another version of this package planned it
 */
export async function openOwn(path: string): Promise<CorpusDirectory> {
  const directory = await CorpusDirectory.open(path);
  const { manifest } = directory;
  if (manifest.version === version) return directory;
  const advice = `install funasr-webgpu ${manifest.version}, or plan again in another directory`;
  throw corpusError(path, "version", `${version}, as of this package`, manifest.version, advice);
}

/**
 * The path of a model of the plan on this machine.
 * @param other  where it lies, if not where the plan says
 * @throws HubError  it is not there; CorpusError  its files are others than planned
 */
export async function findPlanned(planned: PlannedFiles, other: string | undefined): Promise<string> {
  const path = await findModel(other ?? plannedModel(planned));
  const found = await modelIdentity(path);
  if (found === planned.sha256) return path;
  const advice = "copy the files of the plan, or name their place";
  throw corpusError(path, "content", `the plan's ${short(planned.sha256)}`, short(found), advice);
}

const own = new Set("corpus.json shards.jsonl shards results done claims costs failed retries".split(" "));

/** What an output may not replace: the inputs of the plan, and `out` where it is the corpus's own. */
export async function filesOf(directory: CorpusDirectory, out: string): Promise<string[]> {
  const real = (path: string): Promise<string> => realpath(path).catch(() => path);
  const [corpus, file] = [await real(directory.path), await real(out)];
  const [top] = relative(corpus, file).split(sep);
  return own.has(top) ? [out] : [...directory.manifest.inputs];
}
