/** As mul-add.wgsl, in double precision. */
export function mulAddRef(count: number, [b, c]: readonly number[], rounds: number): Float64Array {
  return Float64Array.from({ length: count }, (_, i) => {
    let total = 0;
    for (let j = 0; j < 16; j++) {
      let sum = i + j;
      for (let round = 0; round < 4 * rounds; round++) sum = sum * b + c;
      total += sum;
    }
    return total;
  });
}
