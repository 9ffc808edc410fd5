import { expect, test } from "vitest";
import { joinUnspaced } from "./corpus.js";

// Plan: spaces of word segmentation are removed from scripts without spaces. Spaces of other
// scripts stay, and so do those between Thai, Lao, Khmer or Burmese and other scripts.
test.each([
  ["打开 客厅 的 灯", "打开客厅的灯"],
  ["打开 WebGPU 吧", "打开WebGPU吧"],
  ["コーヒー を ください", "コーヒーをください"],
  ["เปิด ไฟ ใน ห้อง", "เปิดไฟในห้อง"],
  ["เปิด WebGPU 3 ดวง", "เปิด WebGPU 3 ดวง"],
  ["ເປີດ ໄຟ", "ເປີດໄຟ"],
  ["បើក ភ្លើង", "បើកភ្លើង"],
  ["မီး ဖွင့်", "မီးဖွင့်"],
  ["불을 켜 주세요", "불을 켜 주세요"],
  ["बत्ती जलाओ", "बत्ती जलाओ"],
  ["bật đèn lên", "bật đèn lên"],
  ["turn it on", "turn it on"],
  ["a  𠮷\n𠮷 b", "a𠮷𠮷b"],
  [" 中 a  b ", "中a  b "],
])("%s is joined to %s", (text, want) => expect(joinUnspaced(text)).toBe(want));

test("400,000 spaces take time that grows with their count", () => {
  const spaces = " ".repeat(400_000);
  expect(joinUnspaced(`hello${spaces}world${spaces}中`)).toBe(`hello${spaces}world中`);
});
