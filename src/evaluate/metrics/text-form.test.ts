import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { textEdits } from "./cer.js";
import { americanSpelling } from "./english-spelling.js";
import { englishForm } from "./english.js";
import { type Normalizer, documentedForm, normalizersOf, textForm } from "./text-form.js";

const fixture = JSON.parse(
  gunzipSync(
    readFileSync(new URL("../../../test/fixtures/evaluate/normalizers.json.gz", import.meta.url)),
  ).toString(),
) as { rows: [text: string, normal: string][] };

// Plan: texts of every rule, and number words in any order, as transformers' EnglishTextNormalizer
// gives them.
describe("whisper", () => {
  it("is transformers' form to the letter", () => {
    expect(fixture.rows.length).toBeGreaterThan(3000);
    const got = fixture.rows.map(([text]) => [text, englishForm(text, (word) => word)]);
    expect(got.filter(([, form], i) => form !== fixture.rows[i][1])).toEqual([]);
  });

  it.each([
    ["colour", "color"],
    ["discoloured", "discolored"],
    ["unfavourably", "unfavorably"],
    ["neighbourhoods", "neighborhoods"],
    ["organisation", "organization"],
    ["recognised", "recognized"],
    ["analysing", "analyzing"],
    ["theatres", "theaters"],
    ["kilometre", "kilometer"],
    ["centred", "centered"],
    ["travelled", "traveled"],
    ["cancelling", "canceling"],
    ["defence", "defense"],
    ["grey", "gray"],
    ["programmes", "programs"],
    ["paediatric", "pediatric"],
    ["anaesthesia", "anesthesia"],
    ["haemorrhage", "hemorrhage"],
    ["oestrogen", "estrogen"],
    ["foetus", "fetus"],
    ["diarrhoea", "diarrhea"],
  ])("%s is spelled %s", (british, american) => {
    expect(americanSpelling(british)).toBe(american);
    expect(englishForm(british)).toBe(american);
  });

  it.each(
    "hour four tour contour wise promise exercise organism realist socialism advertise here acre more metro called pulled aerial phoenix mumble".split(
      " ",
    ),
  )("%s stays", (word) => expect(americanSpelling(word)).toBe(word));
});

// Plan: [as one writes it, as another does]: the same to the one normaliser, different without it.
const alike: [Normalizer, string, string][] = [
  ["whisper", "Set the oven to 82 degrees.", "set the oven to eighty two degrees"],
  ["whisper", "It's 5 o'clock", "it is five o'clock"],
  ["whisper", "The colour is grey.", "the color is gray"],
  ["whisper", "um, I'm gonna go", "I am going to go"],
  ["chinese", "把空调设置成26度", "把空调设置成二十六度"],
  ["chinese", "２０２４年", "二零二四年"],
  ["chinese", "1050", "一千零五十"],
  ["chinese", "150", "一百五"],
  ["chinese", "105", "一百零五"],
  ["chinese", "23000", "两万三"],
  ["chinese", "1,234", "一千二百三十四"],
  ["chinese", "3.5", "三点五"],
  ["chinese", "35000", "三点五万"],
  ["chinese", "3.5亿", "三亿五千万"],
  ["chinese", "50%", "百分之五十"],
  ["chinese", "100%", "百分之百"],
  ["chinese", "1/3", "三分之一"],
  ["chinese", "下午3:30", "下午三点三十"],
  ["chinese", "是-5度", "是负五度"],
  ["chinese", "138", "幺三八"],
  ["chinese", "123元", "壹佰贰拾叁元"],
  ["chinese", "ＡＢＣ", "abc"],
  ["chinese", "ｶﾞﾗｽ", "ガラス"],
  ["simplified", "請打開臺灣的電腦", "请打开台湾的电脑"],
  ["simplified", "頭髮發乾", "头发发干"],
];

// Plan: [a, b] differ with the normaliser too: a normaliser that makes too much alike hides errors.
const different: [Normalizer, string, string][] = [
  ["whisper", "eighty two", "eighty three"],
  ["whisper", "two fifty", "two fifteen"],
  ["chinese", "三点五", "三十五"],
  ["chinese", "三四十个", "三百四十个"],
  ["chinese", "三四万", "三十四万"],
  ["chinese", "50%", "50"],
  ["chinese", "百姓", "100姓"],
  ["chinese", "一百零五", "一百五"],
  ["chinese", "1/3", "13"],
  ["simplified", "頭髮", "头后"],
];

describe("normalisers", () => {
  const wrong = async (names: readonly Normalizer[], a: string, b: string): Promise<number> => {
    const { substitutions, deletions, insertions } = textEdits(a, b, "character", await textForm(names));
    return substitutions + deletions + insertions;
  };

  it.each(alike)("%s: %s and %s are alike, each way", async (name, a, b) => {
    expect(await wrong([name], a, b)).toBe(0);
    expect(await wrong([name], b, a)).toBe(0);
    if (!/^[０-９Ａ-Ｚ]/u.test(a)) expect(await wrong([], a, b)).toBeGreaterThan(0);
    expect(await wrong(["whisper", "chinese", "simplified"], a, b)).toBe(0);
  });

  it.each(different)("%s: %s and %s are not alike", async (name, a, b) => {
    expect(await wrong([name], a, b)).toBeGreaterThan(0);
  });

  it("are applied in one order, and say which they are", async () => {
    const { signature, apply } = await textForm(["whisper", "simplified", "chinese"]);
    expect(signature).toBe("norm:simplified(opencc-js 1.4.2 tw2s)+chinese(1)+whisper(1)|form:whisper");
    expect(apply("臺灣有兩萬三千 kilometres").trim()).toBe("台湾有23000 kilometers");
    expect(await textForm([])).toBe(documentedForm);
  });

  it("take time that grows as the text does", async () => {
    const { apply } = await textForm(["whisper", "chinese", "simplified"]);
    const pieces = [
      "<",
      "(",
      "(<",
      " ",
      "' ",
      "a.",
      "$",
      "-",
      "and a ",
      "1",
      "五",
      "1.",
      "十",
      "1分之",
      "百分之",
      "%",
    ];
    for (const piece of pieces) expect(typeof apply(piece.repeat(1e5))).toBe("string"); // a square would take minutes
  });

  it("the signature has the version of OpenCC that is installed", async () => {
    const { version } = JSON.parse(
      readFileSync(new URL("../../../node_modules/opencc-js/package.json", import.meta.url), "utf8"),
    ) as { version: string };
    expect((await textForm(["simplified"])).signature).toContain(`opencc-js ${version} `);
  });

  it("are named with commas between", () => {
    expect(normalizersOf("none")).toEqual([]);
    expect(normalizersOf("chinese,whisper")).toEqual(["chinese", "whisper"]);
    for (const text of ["", "english", "whisper,", "whisper,whisper", "none,whisper"])
      expect(() => normalizersOf(text)).toThrow(
        /normalize: expected none, or of simplified, chinese, whisper/,
      );
  });
});
