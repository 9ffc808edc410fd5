import { parseJsonObject } from "../../checkpoint/json.js";
import { isPlainName } from "../../checkpoint/source.js";
import { quoted } from "../../errors.js";
import { isObject } from "../../json.js";
import { BrowserError } from "../errors.js";

/** A file that is fetched by its address. */
export interface ListedFile {
  /** With slashes, below the folder. */
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /** Of its content; "git": SHA-1 of the git blob, as hubs have it of small files. */
  readonly hash: { readonly kind: "sha256" | "git"; readonly value: string };
  readonly url: string;
}

/** The files of a model. */
export interface Listing {
  readonly name: string;
  readonly files: readonly ListedFile[];
}

/** Files of a listing at most, and bytes of its text. */
export const mostFiles = 10_000;
export const mostBytes = 16_000_000;

const hashes = { sha256: /^[0-9a-f]{64}$/, git: /^[0-9a-f]{40}$/ } as const;

/** Bytes of all files. */
export function bytesOf(files: readonly Pick<ListedFile, "size">[]): number {
  return files.reduce((sum, { size }) => sum + size, 0);
}

/**
 * Reads a folder's `files.json`: `{name, files: [{path, size, sha256}]}`.
 * @param at  its address: files are beside it
 * @throws BrowserError  "damaged"; CheckpointError  it is no JSON object
 */
export function parseFolder(text: string, at: string): Listing {
  const { name, files } = parseJsonObject(text, at, "content");
  if (typeof name !== "string" || !isPlainName(name) || !Array.isArray(files) || files.length > mostFiles)
    throw new BrowserError(
      "damaged",
      `${at}: expected a name and a list of files, got others; make it anew with scripts/list-model.js`,
    );
  const entries = files.map((file: unknown) => (isObject(file) ? file : {}));
  return {
    name,
    files: entries.map(({ path, size, sha256 }) =>
      listedFile({ path, size, hash: { kind: "sha256", value: sha256 }, url: urlOf(at, path) }, at),
    ),
  };
}

function urlOf(at: string, path: unknown): string {
  const parts = String(path).split("/").map(encodeURIComponent);
  return new URL(parts.join("/"), at).href;
}

/** Checks a file that a stranger lists. @throws BrowserError  "damaged" */
export function listedFile(
  file: {
    readonly path: unknown;
    readonly size: unknown;
    readonly hash: { readonly kind: "sha256" | "git"; readonly value: unknown };
    readonly url: string;
  },
  at: string,
): ListedFile {
  const { path, size, hash } = file;
  const ok =
    typeof path === "string" &&
    path.length <= 1000 &&
    path.split("/").every((part) => isPlainName(part)) &&
    Number.isSafeInteger(size) &&
    (size as number) >= 0 &&
    typeof hash.value === "string" &&
    hashes[hash.kind].test(hash.value);
  if (ok) return file as ListedFile;
  const got = typeof path === "string" ? quoted(path) : "an entry without a path";
  throw new BrowserError("damaged", `${at}: expected plain paths, sizes and hashes, got others at ${got}`);
}

/** A listing that was kept. @returns  undefined where it is damaged */
export function parseKept(text: string): Listing | undefined {
  try {
    const { name, files } = parseJsonObject(text, "a kept listing", "content");
    if (typeof name !== "string" || !Array.isArray(files)) return undefined;
    return { name, files: files.map((file) => listedFile(file as ListedFile, "a kept listing")) };
  } catch {
    return undefined;
  }
}
