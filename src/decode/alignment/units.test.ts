import { describe, expect, it } from "vitest";
import { textUnits } from "./units.js";

const decoder = new TextDecoder();

/** Units as "text|letters", with # before a number. */
function shown(text: string): string[] {
  const bytes = new TextEncoder().encode(text);
  return textUnits(text).map(
    ({ text: own, begin, end, number }) =>
      `${number ? "#" : ""}${own}|${decoder.decode(bytes.subarray(begin, end))}`,
  );
}

// Plan: words of scripts with spaces, characters of those without, numbers; where punctuation goes.
describe("textUnits", () => {
  it.each([
    ["turn on the lamp", ["turn|turn", "on|on", "the|the", "lamp|lamp"]],
    [" Isn't it, well-known? ", ["Isn't|Isn't", "it,|it", "well-known?|well-known"]],
    ["打开灯。", ["打|打", "开|开", "灯。|灯"]],
    ["有25个，3.5%", ["有|有", "#25|25", "个，|个", "#3.5%|3.5"]],
    ["at 12:30 PM", ["at|at", "#12:30|12:30", "PM|PM"]],
    ["3.5.了", ["#3.5.|3.5", "了|了"]],
    ["1,000 and $5", ["#1,000|1,000", "and|and", "#$5|5"]],
    ["用 iPhone 15 说", ["用|用", "iPhone|iPhone", "#15|15", "说|说"]],
    ["“hello” (world)", ["“hello”|hello", "(world)|world"]],
    ["《书》", ["《书》|书"]],
    ["- yes -", ["yes -|yes"]],
    ["カタカナー", ["カ|カ", "タ|タ", "カ|カ", "ナ|ナ", "ー|ー"]],
    ["ที่นี่", ["ที่|ที่", "นี่|นี่"]],
    ["한국어 말", ["한국어|한국어", "말|말"]],
    ["e\u0301te\u0301 \u{20BB7}", ["e\u0301te\u0301|e\u0301te\u0301", "\u{20BB7}|\u{20BB7}"]],
    ["ok 👍🏽 yes", ["ok 👍🏽|ok", "yes|yes"]],
    ["。，", []],
    ["", []],
  ])("%j", (text, units) => {
    expect(shown(text)).toEqual(units);
  });
});
