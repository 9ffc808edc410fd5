import { copyFile, link, readFile, readdir, rename, rm, stat, symlink } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { isObject, show } from "../json.js";
import { parseJsonObject } from "../checkpoint/json.js";
import { isPlainName } from "../checkpoint/source.js";
import { errorCode, quoted } from "../errors.js";
import { writeFileAtomic } from "../node/files.js";
import { HubError } from "./errors.js";
import { isCommit } from "./name.js";
import { makeDirectory } from "../node/make-directory.js";

/** One file of a repository at a commit. */
export interface HubFile {
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /** Id of the git blob: SHA-1 of the content, or of the pointer to it if `sha256` is set. */
  readonly oid: string;
  /** Hash of the content of a file in large-file storage. */
  readonly sha256?: string;
}

/** By path. */
export type HubTree = ReadonlyMap<string, HubFile>;

const MAX_TREE_BYTES = 16_000_000;

/** A repository's directory in the shared Hugging Face cache: blobs, refs, snapshots, trees. */
export class RepoCache {
  readonly directory: string;
  readonly lockFile: string;

  constructor(cacheDir: string, repo: string) {
    const folder = `models--${repo.replace("/", "--")}`;
    this.directory = join(cacheDir, folder);
    this.lockFile = join(cacheDir, ".locks", folder, "funasr-webgpu.lock");
  }

  snapshot(commit: string): string {
    return join(this.directory, "snapshots", commit);
  }

  /** Path of a file's content. As in Python, its name is the hub's etag. */
  blob({ oid, sha256 }: HubFile): string {
    return join(this.directory, "blobs", sha256 ?? oid);
  }

  /** The last known commit of a branch or tag. */
  async commit(revision: string): Promise<string | undefined> {
    if (isCommit(revision)) return revision;
    const text = await readIfExists(join(this.directory, "refs", revision));
    return text !== undefined && isCommit(text.trim()) ? text.trim() : undefined;
  }

  async writeCommit(revision: string, commit: string): Promise<void> {
    if (revision === commit || (await this.commit(revision)) === commit) return;
    const path = join(this.directory, "refs", revision);
    await makeDirectory(dirname(path));
    await writeFileAtomic(path, [new TextEncoder().encode(commit)]);
  }

  /** The stored listing of a commit; undefined if there is none in this format. */
  async tree(commit: string): Promise<HubTree | undefined> {
    const path = this.treePath(commit);
    const bytes = await sizeOf(path);
    if (bytes === undefined || bytes > MAX_TREE_BYTES) return undefined;
    try {
      const json = parseJsonObject(await readFile(path, "utf8"), path, "content");
      const { format_version: version, files } = json;
      if (version !== 1 || !isObject(files)) return undefined;
      const entries = Object.entries(files).map(([name, entry]) => keptFile(name, entry));
      return new Map(entries.map((file) => [file.path, file]));
    } catch {
      return undefined; // damaged: it is fetched again
    }
  }

  async writeTree(commit: string, tree: HubTree): Promise<void> {
    const path = this.treePath(commit);
    const files = Object.fromEntries(
      [...tree.values()].map(({ path: name, size, oid, sha256 }) => [
        name,
        { size, blob_id: oid, ...(sha256 && { lfs_sha256: sha256, lfs_size: size }) },
      ]),
    );
    await makeDirectory(dirname(path));
    await writeFileAtomic(path, [
      new TextEncoder().encode(JSON.stringify({ format_version: 1, files }, undefined, 1)),
    ]);
  }

  /** The files of a snapshot, with slashes, without broken links. */
  async list(commit: string): Promise<string[]> {
    const root = this.snapshot(commit);
    const entries = await readdir(root, { recursive: true, withFileTypes: true }).catch(() => []);
    const paths = entries.filter((e) => !e.isDirectory()).map((e) => join(e.parentPath, e.name));
    const sizes = await Promise.all(paths.map(sizeOf));
    return paths
      .filter((_, i) => sizes[i] !== undefined)
      .map((path) => relative(root, path).replaceAll("\\", "/"));
  }

  /** True if the snapshot has the complete file. */
  async holds(commit: string, file: HubFile): Promise<boolean> {
    return (await sizeOf(join(this.snapshot(commit), file.path))) === file.size;
  }

  /** Links a blob into a snapshot by a relative path, so that the cache can be moved. */
  async link(commit: string, file: HubFile, symbolic: boolean): Promise<void> {
    const path = join(this.snapshot(commit), file.path);
    const unfinished = `${path}.${process.pid}.part`;
    await makeDirectory(dirname(path));
    await rm(unfinished, { force: true });
    const blob = this.blob(file);
    const hard = (): Promise<void> => link(blob, unfinished).catch(() => copyFile(blob, unfinished));
    if (symbolic) await symlink(relative(dirname(path), blob), unfinished).catch(hard);
    else await hard();
    await rename(unfinished, path);
    await rm(unfinished, { force: true }); // rename keeps it if both are hard links of one file
  }

  private treePath(commit: string): string {
    return join(this.directory, "trees", `${commit}.json`);
  }
}

/** Checks a file of a listing, whose path becomes a path on this machine. @throws HubError */
export function checkFile(file: { readonly [field in keyof HubFile]?: unknown }): HubFile {
  const { path, size, oid, sha256 } = file;
  const isValid =
    typeof path === "string" &&
    path.length <= 1000 &&
    path.split("/").every((part) => isPlainName(part)) &&
    Number.isSafeInteger(size) &&
    (size as number) >= 0 &&
    typeof oid === "string" &&
    isCommit(oid) &&
    (sha256 === undefined || (typeof sha256 === "string" && /^[0-9a-f]{64}$/.test(sha256)));
  if (isValid) return file as HubFile;
  const got = typeof path === "string" ? quoted(path) : show(path);
  throw new HubError(
    `the hub's listing: expected plain paths, sizes and hashes, got others at ${got}; nothing of it is kept`,
  );
}

/** Bytes of a file, following links; undefined if there is none. */
export async function sizeOf(path: string): Promise<number | undefined> {
  return stat(path).then(
    (s) => (s.isFile() ? s.size : undefined),
    () => undefined,
  );
}

function keptFile(path: string, entry: unknown): HubFile {
  const { size, blob_id: oid, lfs_sha256: sha256, lfs_size: lfsSize } = isObject(entry) ? entry : {};
  return checkFile({ path, size: lfsSize ?? size, oid, ...(sha256 !== undefined && { sha256 }) });
}

async function readIfExists(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (["ENOENT", "ENOTDIR", "EISDIR"].includes(errorCode(error) ?? "")) return undefined;
    throw error;
  }
}
