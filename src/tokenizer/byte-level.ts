/**
 * The byte that each character of a byte-level vocabulary stands for. Bytes that Latin-1 prints stand for themselves;
 * the 68 others, in order, for the characters from U+0100 on (the space is U+0120).
 * @source GPT-2's byte-level BPE, as Qwen3's tokenizer.json uses it
 */
export const byteOfCharacter: ReadonlyMap<string, number> = new Map(
  Array.from({ length: 256 }, (_, byte) => byte).map((byte) => [
    String.fromCodePoint(characterOf(byte)),
    byte,
  ]),
);

function characterOf(byte: number): number {
  return isPrinted(byte)
    ? byte
    : 0x100 + Array.from({ length: byte }, (_, b) => b).filter((b) => !isPrinted(b)).length;
}

function isPrinted(byte: number): boolean {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}
