import { expect, test } from "vitest";
import { bytes } from "./text.js";

// Plan: bytes have three digits and the largest unit that fits; what rounds up to the next unit,
// and what passes the last, is written out.
test.each([
  [0, "0 B"],
  [999, "999 B"],
  [1000, "1.00 kB"],
  [12_345_678, "12.3 MB"],
  [999_600, "1000 kB"],
  [1_234_500_000_000, "1235 GB"],
])("%i bytes are %s", (value, text) => expect(bytes(value)).toBe(text));
