import { readFile, rename, statfs } from "node:fs/promises";
import { join } from "node:path";
import { parseJsonObject } from "../checkpoint/json.js";
import { errorCode, quoted } from "../errors.js";
import { isObject } from "../json.js";
import { type LockHolder, holderName, withLock } from "../node/lock.js";
import { type HubFile, type HubTree, RepoCache, sizeOf } from "./cache.js";
import { bytes as size } from "../report/text.js";
import { HubError, HubUnreachableError } from "./errors.js";
import { fetchCommit, fetchTree } from "./listing.js";
import { type HubName, isCommit } from "./name.js";
import { type Patience, type Purpose, label, patience as usual } from "./requests.js";
import { type Environment, hubSettings } from "./settings.js";
import { downloadPart } from "./transfer.js";
import { makeDirectory } from "../node/make-directory.js";

/** How files are downloaded from the hub. */
export interface HubOptions {
  /** Default: process.env. */
  readonly env?: Environment;
  /** Called with the downloaded bytes and the total. */
  readonly onProgress?: (done: number, total: number) => void;
  /** Called with one line for the user. */
  readonly onNote?: (text: string) => void;
  readonly patience?: Partial<Patience>;
  /** Stops the download, with the signal's reason. The next call resumes it. */
  readonly signal?: AbortSignal | undefined;
}

/** Selects files of a repository. @throws HubError  a necessary file is missing */
export type Select = (paths: readonly string[], name: string) => readonly string[];

/**
 * Downloads missing files of a repository, and returns their directory in the cache. A complete
 * commit needs no request; a branch or tag needs one, or none with HF_HUB_OFFLINE.
 * @throws HubError
 */
export async function downloadFiles(
  name: HubName,
  select: Select,
  options: HubOptions = {},
): Promise<string> {
  options.signal?.throwIfAborted();
  const { HUB_URL } = await import("@huggingface/hub");
  const settings = await hubSettings(options.env ?? process.env, HUB_URL);
  const job: Job = {
    purpose: { settings, name },
    cache: new RepoCache(settings.cacheDir, name.repo),
    select,
    options,
    patience: { ...usual, ...options.patience },
  };
  if (settings.offline || isCommit(name.revision)) {
    const { path, lacks } = await cachedSnapshot(job, settings.offline);
    if (path !== undefined) return path;
    if (settings.offline) throw notCached(job, lacks);
  }
  try {
    return await currentSnapshot(job);
  } catch (error) {
    if (!(error instanceof HubUnreachableError)) throw explainDisk(job, error);
    const { path, lacks } = await cachedSnapshot(job, true);
    if (path === undefined && lacks === undefined) throw error;
    if (path === undefined)
      throw new HubUnreachableError(`${error.message}; the copy in the cache lacks ${lacks}`);
    options.onNote?.(`${error.message}; using the copy in the cache`);
    return path;
  }
}

interface Job {
  readonly purpose: Purpose;
  readonly cache: RepoCache;
  readonly select: Select;
  readonly options: HubOptions;
  readonly patience: Patience;
}

/** A revision in the cache; neither field if there is no snapshot. */
interface Cached {
  /** The complete snapshot. */
  readonly path?: string;
  /** A list of the snapshot's missing files, for messages. */
  readonly lacks?: string;
}

/** The cached snapshot. @param trust  without a listing, check only the selected files */
async function cachedSnapshot({ cache, purpose, select }: Job, trust: boolean): Promise<Cached> {
  const commit = await cache.commit(purpose.name.revision);
  if (commit === undefined) return {};
  const tree = await cache.tree(commit);
  if (!tree && !trust) return {};
  const path = cache.snapshot(commit);
  if (tree) {
    const wanted = pick(tree, select([...tree.keys()], label(purpose.name)), purpose);
    const absent = await missing(cache, commit, wanted);
    return absent.length > 0 ? { lacks: listed(absent.map((file) => file.path)) } : { path };
  }
  const held = await cache.list(commit);
  if (held.length === 0) return {};
  const wanted = selected(select, held, label(purpose.name));
  if (!wanted) return { lacks: `its weights (it has ${listed(held.sort())})` };
  const shards = await absentShards(path, held);
  return shards.length > 0 ? { lacks: listed(shards) } : { path };
}

/** @returns undefined  a necessary file is not among the paths */
function selected(select: Select, paths: readonly string[], name: string): readonly string[] | undefined {
  try {
    return select(paths, name);
  } catch (error) {
    if (error instanceof HubError) return undefined;
    throw error;
  }
}

const INDEX = "model.safetensors.index.json";
const MAX_INDEX_BYTES = 16_000_000;

/** Missing shards of a snapshot's index; none without a valid index. */
async function absentShards(path: string, held: readonly string[]): Promise<string[]> {
  const file = join(path, INDEX);
  if (!held.includes(INDEX) || held.includes("model.safetensors")) return [];
  if (((await sizeOf(file)) ?? Infinity) > MAX_INDEX_BYTES) return [];
  try {
    const { weight_map: map } = parseJsonObject(await readFile(file, "utf8"), file, "content");
    const shards = isObject(map) ? Object.values(map) : [];
    return [...new Set(shards)].filter(
      (shard) => typeof shard === "string" && !held.includes(shard),
    ) as string[];
  } catch {
    return []; // opening the model reports the error
  }
}

const MAX_LISTED = 5;

function listed(names: readonly string[]): string {
  const more = names.length > MAX_LISTED ? ` and ${names.length - MAX_LISTED} more` : "";
  return names.slice(0, MAX_LISTED).map(quoted).join(", ") + more;
}

/** The snapshot of the hub's current commit. */
async function currentSnapshot(job: Job): Promise<string> {
  const { cache, purpose, select, patience } = job;
  const { name } = purpose;
  const { signal } = job.options;
  const brief = { ...patience, tries: Math.min(3, patience.tries) }; // the cache may have an answer
  const commit = isCommit(name.revision) ? name.revision : await fetchCommit(purpose, brief, signal);
  const kept = await cache.tree(commit);
  const tree = kept ?? (await fetchTree(purpose, commit, brief, signal));
  const wanted = pick(tree, select([...tree.keys()], label(name)), purpose);
  if ((await missing(cache, commit, wanted)).length > 0) {
    const onWait = (holder: LockHolder): void =>
      job.options.onNote?.(`${label(name)}: ${holderName(holder)} is downloading it; waiting`);
    await withLock(cache.lockFile, () => fetchMissing(job, commit, wanted), { onWait, signal });
  }
  if (!kept) await cache.writeTree(commit, tree);
  await cache.writeCommit(name.revision, commit);
  return cache.snapshot(commit);
}

/** Downloads blobs, and then links them, so that a new snapshot is never incomplete. */
async function fetchMissing(job: Job, commit: string, wanted: readonly HubFile[]): Promise<void> {
  const { cache, purpose, options } = job;
  const absent = await missing(cache, commit, wanted); // again: another process may have downloaded them
  const blobs = new Map(absent.map((file) => [cache.blob(file), file]));
  for (const [blob, file] of blobs) {
    if ((await sizeOf(blob)) === file.size) blobs.delete(blob);
  }
  const total = [...blobs.values()].reduce((sum, file) => sum + file.size, 0);
  if (blobs.size > 0) {
    await makeDirectory(join(cache.directory, "blobs"));
    await checkSpace(job, [...blobs.keys()], total);
    options.onNote?.(
      `downloading ${label(purpose.name)}: ${blobs.size} file${blobs.size === 1 ? "" : "s"}, ${size(total)}, into ${cache.directory}`,
    );
  }
  let before = 0;
  for (const file of blobs.values()) {
    await fetchBlob(job, commit, file, (done) => options.onProgress?.(before + done, total));
    before += file.size;
  }
  for (const file of absent) await cache.link(commit, file, purpose.settings.symlinks);
}

async function fetchBlob(
  { cache, purpose, patience, options }: Job,
  commit: string,
  file: HubFile,
  onBytes: (done: number) => void,
): Promise<void> {
  const blob = cache.blob(file);
  const part = `${blob}.incomplete`;
  const path = file.path.split("/").map(encodeURIComponent).join("/");
  const url = `${purpose.settings.endpoint}/${purpose.name.repo}/resolve/${commit}/${path}`;
  const { signal } = options;
  await downloadPart({
    purpose: { ...purpose, path: file.path },
    file,
    url,
    part,
    patience,
    onBytes,
    signal,
  });
  await rename(part, blob);
}

async function missing(cache: RepoCache, commit: string, wanted: readonly HubFile[]): Promise<HubFile[]> {
  const held = await Promise.all(wanted.map((file) => cache.holds(commit, file)));
  return wanted.filter((_, i) => !held[i]);
}

function pick(tree: HubTree, paths: readonly string[], { name }: Purpose): HubFile[] {
  return paths.map((path) => {
    const file = tree.get(path);
    if (file) return file;
    throw new HubError(
      `${label(name, quoted(path))}: no such file in the repository; check the name and the revision`,
    );
  });
}

/** @throws HubError  the disk has too little free space */
async function checkSpace({ cache, purpose }: Job, blobs: readonly string[], total: number): Promise<void> {
  const kept = await Promise.all(blobs.map((blob) => sizeOf(`${blob}.incomplete`)));
  const needed = total - kept.reduce<number>((sum, bytes) => sum + (bytes ?? 0), 0);
  const disk = await statfs(cache.directory).catch(() => undefined);
  if (!disk || disk.bavail * disk.bsize >= needed) return;
  throw new HubError(
    `${label(purpose.name)}: expected ${size(needed)} free in ${cache.directory}, got ${size(disk.bavail * disk.bsize)}; make room, or set HF_HOME to a directory on another disk`,
  );
}

function notCached({ purpose }: Job, lacks: string | undefined): HubError {
  const { name, settings } = purpose;
  const what = lacks === undefined ? "" : `, where it lacks ${lacks}`;
  return new HubError(
    `${label(name)}: no whole copy in the cache ${settings.cacheDir}${what}, and HF_HUB_OFFLINE is set; unset it to download, or give a model directory`,
  );
}

/** Explains system errors of the cache's disk. */
function explainDisk({ purpose }: Job, cause: unknown): unknown {
  const { name, settings } = purpose;
  const code = errorCode(cause);
  if (cause instanceof HubError || code === undefined) return cause;
  if (code === "ENOSPC" || code === "EDQUOT") {
    return new HubError(
      `${label(name)}: the disk of ${settings.cacheDir} is full (${code}); make room and run the command again (it goes on where it stopped), or set HF_HOME to a directory on another disk`,
      { cause },
    );
  }
  if (["EACCES", "EPERM", "EROFS", "ENOTDIR", "EEXIST"].includes(code)) {
    return new HubError(
      `${label(name)}: the cache ${settings.cacheDir} cannot be written (${code}); set HF_HOME to a directory that you may write`,
      { cause },
    );
  }
  return cause;
}
