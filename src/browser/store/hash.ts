import { sha1 } from "@noble/hashes/legacy.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import type { ListedFile } from "./listing.js";

/** A hash of bytes that come in pieces. */
export interface Sum {
  update(bytes: Uint8Array): void;
  /** Lower-case hex. */
  end(): string;
}

/** The hash of a listed file. */
export function sumOf({ hash, size }: Pick<ListedFile, "hash" | "size">): Sum {
  const sum = hash.kind === "sha256" ? sha256.create() : sha1.create();
  if (hash.kind === "git") sum.update(new TextEncoder().encode(`blob ${size}\0`));
  return { update: (bytes) => void sum.update(bytes), end: () => bytesToHex(sum.digest()) };
}
