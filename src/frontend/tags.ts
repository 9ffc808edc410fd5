/**
 * Where the tags that begin at `from` end: any number of ID3v2, APE and ID3v1 (which stays where
 * files were joined). Of a tag that passes the file's end, only the head is skipped.
 * @source ID3v2.4.0, section 3; APEv2
 */
export function afterTags(bytes: Uint8Array, from = 0): number {
  for (let at = from; ;) {
    const left = bytes.length - at;
    let size = 0;
    if (left >= 10 && hasMark(bytes, at, "ID3")) {
      size = 10 + bytes.subarray(at + 6, at + 10).reduce((sum, byte) => sum * 128 + (byte & 127), 0); // 7 bits a byte
      if ((bytes[at + 5] & 16) !== 0) size += 10; // a footer
    } else if (left >= 32 && hasMark(bytes, at, "APETAGEX"))
      size = 32 + new DataView(bytes.buffer, bytes.byteOffset + at).getUint32(12, true);
    else if (left >= 128 && hasMark(bytes, at, "TAG")) size = 128;
    if (size === 0) return at;
    if (size > left) return at + 10;
    at += size;
  }
}

/** A file without the ID3v1 and APE tags at its end. */
export function withoutEndTags(bytes: Uint8Array): Uint8Array {
  let end = bytes.length;
  for (;;) {
    if (end >= 128 && hasMark(bytes, end - 128, "TAG")) end -= 128;
    else if (end >= 32 && hasMark(bytes, end - 32, "APETAGEX")) {
      const view = new DataView(bytes.buffer, bytes.byteOffset + end - 32, 32);
      const [size, flags] = [view.getUint32(12, true), view.getUint32(20, true)];
      const whole = size + (flags >= 2 ** 31 ? 32 : 0); // a head
      if (size < 32 || whole > end) return bytes.subarray(0, end);
      end -= whole;
    } else return bytes.subarray(0, end);
  }
}

/** Whether the characters of `mark` stand at `at`. */
export function hasMark(bytes: Uint8Array, at: number, mark: string): boolean {
  for (let i = 0; i < mark.length; i++) if (bytes[at + i] !== mark.charCodeAt(i)) return false;
  return true;
}
