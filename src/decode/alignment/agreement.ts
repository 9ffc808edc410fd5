const ignored = /[^\p{L}\p{N}\p{M}]+/gu;

/**
 * Agreement of two texts of one clip, 1 where their letters and digits are equal, 0 where none is:
 * 1 - edits / the longer text's characters. Case, width, spaces and punctuation do not count. Two
 * texts without letters agree.
 */
export function agreement(text: string, other: string): number {
  const [a, b] = [text, other].map((t) => Array.from(t.normalize("NFKC").toUpperCase().replace(ignored, "")));
  const longest = Math.max(a.length, b.length);
  return longest === 0 ? 1 : 1 - distance(a, b) / longest;
}

function distance(a: readonly string[], b: readonly string[]): number {
  let above = Uint32Array.from({ length: b.length + 1 }, (_, j) => j);
  let row = new Uint32Array(b.length + 1);
  a.forEach((character, i) => {
    row[0] = i + 1;
    for (let j = 1; j <= b.length; j++)
      row[j] = Math.min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (character === b[j - 1] ? 0 : 1));
    [above, row] = [row, above];
  });
  return above[b.length];
}
