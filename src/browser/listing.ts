import { isPlainName } from "../checkpoint/source.js";
import { parseJsonObject } from "../checkpoint/json.js";
import { isObject } from "../json.js";
import { quoted } from "../errors.js";
import { BrowserError } from "./errors.js";

/** A file of a folder on a web server. */
export interface ListedFile {
  /** With slashes, below the folder. */
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /** SHA-256 of the content, lower-case hex. */
  readonly sha256: string;
}

/** The files of a model, as `files.json` beside them lists them. */
export interface Listing {
  readonly name: string;
  readonly files: readonly ListedFile[];
}

const mostFiles = 1000;

/**
 * Reads a listing.
 * @param at  its address, for errors
 * @throws BrowserError  "damaged"; CheckpointError  it is no JSON object
 */
export function parseListing(text: string, at: string): Listing {
  const { name, files } = parseJsonObject(text, at, "content");
  if (typeof name !== "string" || !Array.isArray(files) || files.length > mostFiles)
    throw new BrowserError(
      "damaged",
      `${at}: expected a name and a list of files, got others; make it anew with scripts/list-model.js`,
    );
  return { name, files: files.map((file: unknown) => listedFile(file, at)) };
}

function listedFile(file: unknown, at: string): ListedFile {
  const { path, size, sha256 } = isObject(file) ? file : {};
  const ok =
    typeof path === "string" &&
    path.split("/").every((part) => isPlainName(part)) &&
    Number.isSafeInteger(size) &&
    (size as number) >= 0 &&
    typeof sha256 === "string" &&
    /^[0-9a-f]{64}$/.test(sha256);
  if (ok) return { path, size: size as number, sha256 };
  const got = typeof path === "string" ? quoted(path) : "an entry without a path";
  throw new BrowserError("damaged", `${at}: expected plain paths, sizes and SHA-256, got others at ${got}`);
}
