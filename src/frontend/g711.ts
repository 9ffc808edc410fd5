/**
 * A byte of A-law as a sample in [-1, 1).
 * @source ITU-T G.711, table 1, at the scale of 16 bits
 */
export function fromALaw(byte: number): number {
  const code = byte ^ 0x55;
  const exponent = (code >> 4) & 7;
  const mantissa = ((code & 15) << 4) + 8;
  const size = exponent === 0 ? mantissa : (mantissa + 256) << (exponent - 1);
  return (code & 0x80 ? size : -size) / 2 ** 15;
}

/**
 * A byte of mu-law as a sample in (-1, 1).
 * @source ITU-T G.711, table 2, at the scale of 16 bits
 */
export function fromMuLaw(byte: number): number {
  const code = ~byte & 0xff;
  const size = ((((code & 15) << 3) + 132) << ((code >> 4) & 7)) - 132;
  return (code & 0x80 ? -size : size) / 2 ** 15;
}
