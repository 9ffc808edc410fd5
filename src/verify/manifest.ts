import { CheckpointError } from "../formats/errors.js";
import { parseJsonObject } from "../checkpoint/json.js";
import type { ByteSource } from "../checkpoint/source.js";
import { isObject, show } from "../json.js";

/** An entry of golden/manifest.json. */
export interface Listed {
  readonly file: string;
  readonly bytes: number;
  /** Hexadecimal. */
  readonly sha256: string;
}

/**
 * @throws CheckpointError  no JSON, no list of bundles, or an entry that lacks name, size or
 *   SHA-256
 */
export function parseManifest(text: string, file: string): Listed[] {
  const refuse = (field: string, expected: string, got: unknown): never => {
    throw new CheckpointError({ file, field, expected, got: show(got), advice: "see golden/README.md" });
  };
  const { bundles } = parseJsonObject(text, file, "content");
  if (!Array.isArray(bundles) || bundles.length === 0) return refuse("bundles", "a list of bundles", bundles);
  return bundles.map((entry: unknown, i) => {
    if (!isObject(entry)) return refuse(`bundles[${i}]`, "an object", entry);
    const { file: name, bytes, sha256 } = entry;
    if (typeof name !== "string") return refuse(`bundles[${i}].file`, "a file name", name);
    if (typeof bytes !== "number") return refuse(`bundles[${i}].bytes`, "a number of bytes", bytes);
    if (typeof sha256 !== "string") return refuse(`bundles[${i}].sha256`, "a SHA-256", sha256);
    return { file: name, bytes, sha256 };
  });
}

/** @throws CheckpointError  the file's size or SHA-256 is not the listed one */
export async function checkListed(source: ByteSource, listed: Listed): Promise<void> {
  const refuse = (field: string, expected: string, got: string): never => {
    const advice = "the file is damaged: check it out again";
    throw new CheckpointError({ file: source.name, field, expected, got, advice });
  };
  if (source.size !== listed.bytes) {
    refuse("size", `${listed.bytes} bytes as golden/manifest.json says`, `${source.size} bytes`);
  }
  const bytes = await source.read(0, source.size);
  const digest = await crypto.subtle.digest("SHA-256", bytes.slice().buffer);
  const got = Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (got !== listed.sha256) refuse("SHA-256", `${listed.sha256} as golden/manifest.json says`, got);
}
