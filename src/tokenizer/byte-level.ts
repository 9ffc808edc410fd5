/**
 * The byte of each character of a byte-level vocabulary. Printable bytes of Latin-1 are their own
 * characters. The 68 others, in order, have the characters from U+0100 on (the space is U+0120).
 * @source GPT-2's byte-level BPE, as in Qwen3's tokenizer.json
 */
export const byteOfCharacter: ReadonlyMap<string, number> = byteAlphabet();

function byteAlphabet(): Map<string, number> {
  let next = 0x100;
  const bytes = Array.from({ length: 256 }, (_, byte) => byte);
  return new Map(bytes.map((byte) => [String.fromCodePoint(isPrinted(byte) ? byte : next++), byte]));
}

function isPrinted(byte: number): boolean {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}
