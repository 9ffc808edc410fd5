import type { OutputFile } from "../../src/checkpoint/output-files.js";

/** What would be written, in memory. */
export async function writtenFiles(files: readonly OutputFile[]): Promise<Map<string, Uint8Array>> {
  const written = new Map<string, Uint8Array>();
  for (const { name, pieces } of files) {
    const parts: Uint8Array[] = [];
    for await (const piece of pieces()) parts.push(piece.slice());
    written.set(name, new Uint8Array(Buffer.concat(parts)));
  }
  return written;
}
