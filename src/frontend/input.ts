import { expectArgument } from "../arguments.js";

/** An audio file: its bytes, a buffer (as from `fetch`) or a Blob (as a file dropped on a page). */
export type AudioInput = Uint8Array | ArrayBuffer | Blob;

/** The bytes of an input. @throws ArgumentError  it is of another kind, such as a path */
export async function bytesOf(input: AudioInput): Promise<Uint8Array> {
  if (input instanceof Blob) return new Uint8Array(await input.arrayBuffer());
  const expected = "the file's bytes: Uint8Array, ArrayBuffer or Blob";
  if (ArrayBuffer.isView(input)) {
    const { BYTES_PER_ELEMENT: width = 1 } = input as { readonly BYTES_PER_ELEMENT?: number };
    expectArgument("decodeAudio: file", width === 1, expected, input); // wider ones hold samples
    return new Uint8Array(input.buffer, input.byteOffset, input.byteLength);
  }
  const tag = Object.prototype.toString.call(input); // buffers of another realm are no instances of this one's class
  const isBuffer = tag === "[object ArrayBuffer]" || tag === "[object SharedArrayBuffer]";
  expectArgument("decodeAudio: file", isBuffer, expected, input);
  return new Uint8Array(input);
}
