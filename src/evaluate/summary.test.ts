import { describe, expect, it } from "vitest";
import { compareRecords } from "./compare.js";
import { EvaluateError } from "./metrics/edits.js";
import { type Failed, type Heard, type UtteranceRecord, parseRecords } from "./record.js";
import { quantile, spread } from "./statistics.js";
import { forcedAgreement, scriptOf, summarize, translationMetrics } from "./summary.js";
import { agreementRows } from "./tables.js";

function heard(line: number, reference: string, hypothesis: string, more: Partial<Heard> = {}): Heard {
  return {
    line,
    audio: `${line}.wav`,
    task: "asr",
    reference,
    hypothesis,
    tokens: 5,
    finish: "stop",
    audioSeconds: 2,
    seconds: { frontend: 0.1, encoder: 0.2, adaptor: 0.1, prefill: 0.2, decode: 0.4 },
    batch: 1,
    ...more,
  };
}

const failed = (line: number, reference: string): Failed => ({
  line,
  audio: `${line}.wav`,
  task: "asr",
  reference,
  error: "why",
});

const byLine = (records: readonly UtteranceRecord[]): Map<number, UtteranceRecord> =>
  new Map(records.map((record) => [record.line, record]));

// Plan: Thai, Lao, Khmer and Burmese have CER first and MER, no WER; a tone mark is an edit, a
// space between words is none.
it.each([
  ["Thai", "ไม้ ใหม่", "ไม ใหม่"],
  ["Lao", "ໄມ້ ໃໝ່", "ໄມ ໃໝ່"],
  ["Khmer", "ទឹក ភ្លើង", "ទក ភ្លើង"],
  ["Burmese", "ရေ မီး", "ရ မီး"],
])("metrics of %s", (_, reference, hypothesis) => {
  const [{ scores }] = summarize(
    [heard(1, reference, hypothesis), heard(2, reference, reference.replace(" ", ""))],
    { task: "asr" },
  ).groups;
  expect(scores.map(({ name }) => name)).toEqual(["CER", "MER"]);
  expect(scores[0]).toMatchObject({ edits: 1, length: 2 * (Array.from(reference).length - 1) });
});

// Plan: agreement ranks the answers with words; of those that were compared, not of the others.
it("agreement finds wrong answers", () => {
  const records = [
    heard(1, "turn on", "turn on", { agreement: 1 }),
    heard(2, "turn off", "turn on", { agreement: 0.5 }),
    heard(3, "stop", "Stop.", { agreement: 0.4 }),
    heard(4, "stop", "", { agreement: 1 }),
    heard(5, "stop", "go"),
  ];
  const figures = { right: 2, wrong: 1, empty: 1, meanRight: 0.7, meanWrong: 0.5, areaUnderCurve: 0.5 };
  expect(summarize(records, { task: "asr" }).agreement).toEqual(figures);
  expect(summarize(records.slice(4), { task: "asr" }).agreement).toBeUndefined();
  const [head, row] = agreementRows([
    { weights: "stored", summary: summarize(records, { task: "asr" }) } as never,
  ]);
  expect(row).toEqual(["stored", "2", "1", "1", "0.700", "0.500", "0.500"]);
  expect(head).toHaveLength(row.length);
});

// Plan: quantiles fall on or between the values; of none there is none.
describe("statistics", () => {
  it.each([
    [[3], 0.5, 3],
    [[4, 1, 3, 2], 0.5, 2.5],
    [[1, 2, 3, 4, 5], 0.95, 4.8],
    [[5, 1], 0, 1],
  ])("%j at %f", (values, share, want) => expect(quantile(values, share)).toBeCloseTo(want, 12));

  it("of nothing", () => expect(spread([])).toEqual({ p5: NaN, median: NaN, p95: NaN }));
});

// Plan: rates over what was heard, failures counted apart and in no rate; groups by script where
// there are both; WER for spaced scripts, MER for the others; endings and invented words counted.
describe("summarize", () => {
  const records = [
    heard(1, "turn it on", "turn it off"),
    heard(2, "打开灯", "打开", { finish: "length" }),
    heard(3, "", "hello", { finish: "loop" }),
    failed(4, "one two"),
  ];
  const { groups, endings, latency } = summarize(records, { task: "asr" });

  it("has groups by script", () => {
    expect(groups.map(({ name, utterances, failed: f }) => [name, utterances, f])).toEqual([
      ["all", 4, 1],
      ["spaced", 3, 1],
      ["unspaced", 1, 0],
    ]);
    expect(groups.map(({ scores }) => scores.map(({ name }) => name))).toEqual([
      ["CER", "MER"],
      ["CER", "WER"],
      ["CER", "MER"],
    ]);
  });

  it("has micro averages", () => {
    const [all, spaced, unspaced] = groups.map(({ scores }) => scores.map(({ value }) => value));
    expect(all[0]).toBeCloseTo((2 + 1 + 5) / (8 + 3), 12); // on → off: 2; 灯 missing; hello invented
    expect(spaced[1]).toBeCloseTo((1 + 1) / 3, 12);
    expect(unspaced[0]).toBeCloseTo(1 / 3, 12);
    expect(groups[0]).toMatchObject({ exact: 0, invented: 1, audioSeconds: 6 });
    expect(endings).toEqual({ length: 1, loop: 1 });
  });

  it("has times of the clips and of the work", () => {
    expect(latency!.firstToken.median).toBeCloseTo(0.6, 12);
    expect(latency!.total.p95).toBeCloseTo(1, 12);
    expect(latency!.realTime.total).toBeCloseTo(0.5, 12);
    expect(latency!.tokensPerSecond.median).toBeCloseTo(10, 12);
    const batch = summarize(
      [1, 2].map((line) => heard(line, "a", "a", { batch: 2 })),
      { task: "asr" },
    );
    expect(batch.latency!.realTime.encoder).toBeCloseTo(0.05, 12); // 0.2 s for both, 4 s of audio
    expect(batch.latency!.realTime.frontend).toBeCloseTo(0.05, 12); // 0.1 s for each
    expect(batch.latency!.firstToken.median).toBeCloseTo(0.6, 12); // a clip waits for its batch
  });

  it("of failures alone has no rate and no times", () => {
    const none = summarize([failed(1, "a")], { task: "asr" });
    expect(none.groups).toMatchObject([{ utterances: 1, failed: 1, scores: [] }]);
    expect(none.latency).toBeUndefined();
  });

  it("of translations has scores with signatures", () => {
    const {
      groups: [group],
    } = summarize([heard(1, "今天很好", "今天好", { task: "st" })], { task: "st", to: "zh" });
    expect(group.scores.map(({ name, signature }) => [name, /tok:(\w+)/.exec(signature)?.[1]])).toEqual([
      ["BLEU", "zh"],
      ["chrF2", undefined],
      ["TER", "tercom"],
    ]);
    expect(translationMetrics({ to: "zh", tokenizer: "char" })[0].signature([])).toContain("tok:char");
  });

  it.each([
    ["turn it on", "spaced"],
    ["привет", "spaced"],
    ["打开 the lamp", "unspaced"],
    ["テレビ", "unspaced"],
    ["สวัสดี", "unspaced"],
    ["불을 켜", "spaced"],
    ["नमस्ते", "spaced"],
    ["", "spaced"],
  ])("script of %s: %s", (text, script) => expect(scriptOf(text)).toBe(script));
});

describe("forced answers", () => {
  const forced = (tops: number[]): Partial<Heard> => ({
    forced: { ids: [1, 2, 3], tops, logProbability: -1.5 },
  });

  it("are summed over positions", () => {
    const records = [heard(1, "a", "a", forced([1, 2, 9])), heard(2, "b", "b", forced([1, 2, 3]))];
    const { forced: summary } = summarize(records, { task: "asr" });
    expect(summary).toEqual({ positions: 6, agreement: 5 / 6, meanLogProbability: -0.5 });
    const other = byLine([heard(1, "a", "a", forced([1, 7, 9])), failed(2, "b")]);
    expect(forcedAgreement(byLine(records), other)).toBeCloseTo(2 / 3, 12);
  });
});

// Plan: both systems over the utterances that both have, the others counted; different data is
// refused.
describe("compareRecords", () => {
  const first = byLine([
    heard(1, "abcd", "abcx"),
    heard(2, "abcd", "abcd"),
    failed(3, "a"),
    heard(4, "a", "a"),
  ]);

  it("compares what both have", () => {
    const second = byLine([heard(1, "abcd", "abcd"), heard(2, "abcd", "abcd"), heard(3, "a", "a")]);
    const { utterances, left, metrics } = compareRecords(first, second);
    expect([utterances, left]).toEqual([2, 2]);
    expect(metrics[0]).toMatchObject({ name: "CER", first: 1 / 8, second: 0, difference: -1 / 8 });
  });

  it.each([
    ["other references", byLine([heard(1, "x", "x")]), /line 1: expected the same task and reference/],
    ["nothing in common", byLine([heard(9, "x", "x")]), /expected utterances that both could run, got none/],
  ])("refuses %s", (_, second, message) => {
    expect(() => compareRecords(first, second)).toThrow(EvaluateError);
    expect(() => compareRecords(first, second)).toThrow(message);
  });
});

// Plan: what was written is read back; the last of several records counts; a line without its end
// is left out; other JSON is refused.
describe("parseRecords", () => {
  const line = (record: unknown): string => `${JSON.stringify(record)}\n`;

  it("takes the last record, and whole lines", () => {
    const text = line(failed(1, "a")) + line(heard(2, "b", "b")) + line(heard(1, "a", "a")) + '{"line":3,';
    expect([...parseRecords(text, "f").values()]).toEqual([heard(1, "a", "a"), heard(2, "b", "b")]);
  });

  it.each([
    ["[1]\n", /^f:1: line: expected an object, got \[1\]/],
    [
      line({ ...heard(1, "a", "a"), seconds: { encoder: 1 } }),
      /^f:1: seconds: expected a value of an utterance's record/,
    ],
    [line(heard(1, "a", "a")) + line({ ...failed(2, "b"), line: "2" }), /^f:2: line: expected .* got "2"/],
    [line({ ...heard(1, "a", "a"), task: "tts" }), /^f:1: task: /],
  ])("refuses %s", (text, message) => expect(() => parseRecords(text, "f")).toThrow(message));
});
