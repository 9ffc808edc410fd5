/** Tables of CRC-32 (polynomial 0xedb88320): table k is for a byte with k bytes of zeros after it. */
const TABLES = makeTables(8);

function makeTables(count: number): Uint32Array[] {
  const first = Uint32Array.from({ length: 256 }, (_, byte) => {
    let sum = byte;
    for (let i = 0; i < 8; i++) sum = sum & 1 ? (sum >>> 1) ^ 0xedb88320 : sum >>> 1;
    return sum;
  });
  const tables = [first];
  while (tables.length < count)
    tables.push(tables.at(-1)!.map((before) => first[before & 0xff] ^ (before >>> 8)));
  return tables;
}

/**
 * CRC-32 as in zip, of bytes that follow others. Eight bytes a step; Node's own `crc32` is not in
 * browsers.
 * @param before  the sum of the bytes before; 0 at the start
 * @returns       u32
 */
export function crc32(bytes: Uint8Array, before = 0): number {
  const [t0, t1, t2, t3, t4, t5, t6, t7] = TABLES;
  let sum = ~before;
  let at = 0;
  for (const end = bytes.length - 7; at < end; at += 8) {
    const low = sum ^ (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24));
    sum =
      t7[low & 0xff] ^ t6[(low >>> 8) & 0xff] ^ t5[(low >>> 16) & 0xff] ^ t4[low >>> 24] ^
      t3[bytes[at + 4]] ^ t2[bytes[at + 5]] ^ t1[bytes[at + 6]] ^ t0[bytes[at + 7]]; // prettier-ignore
  }
  for (; at < bytes.length; at++) sum = t0[(sum ^ bytes[at]) & 0xff] ^ (sum >>> 8);
  return ~sum >>> 0;
}
