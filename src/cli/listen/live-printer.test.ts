import { expect, test } from "vitest";
import { fitted } from "./live-printer.js";

// Plan: the end of a text that fits a line, in columns of wide and narrow characters.
test.each<[string, string, number, readonly [string, string]]>([
  ["one two", " three", 80, ["one two", " three"]],
  ["one two", " three", 14, ["one two", " three"]],
  ["one two", " three", 13, ["…e two", " three"]],
  ["one two", " three", 7, ["", "…three"]],
  ["one two", "", 5, ["…two", ""]],
  ["one", " two", 0, ["one", " two"]],
  ["今天天气很好", "吗", 11, ["…气很好", "吗"]],
])("%j %j in %d columns", (stable, tentative, columns, wanted) => {
  expect(fitted(stable, tentative, columns)).toEqual(wanted);
});
