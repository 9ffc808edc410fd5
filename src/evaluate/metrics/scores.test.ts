import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { type BleuOptions, bleu } from "./bleu.js";
import { type BleuTokenizer, bleuTokens } from "./bleu-tokenizers.js";
import { type ChrfOptions, chrf } from "./chrf.js";
import { EvaluateError } from "./edits.js";
import { type Metric, type Segment, corpusScore } from "./metric.js";
import { type TerOptions, ter } from "./ter.js";

type Scored = readonly ["bleu" | "chrf" | "ter", BleuOptions & ChrfOptions, number, string];

const fixture = JSON.parse(
  gunzipSync(
    readFileSync(new URL("../../../test/fixtures/evaluate/scores.json.gz", import.meta.url)),
  ).toString(),
) as {
  version: string;
  tokenizers: BleuTokenizer[];
  sets: [segments: [hypothesis: string, ...references: (string | null)[]][], scores: Scored[]][];
  tokens: [line: string, ...tokens: string[][]][];
};

function metricOf(name: Scored[0], options: Scored[1]): Metric {
  if (name === "bleu") return bleu(options);
  return name === "chrf" ? chrf(options) : ter(options as TerOptions);
}

const corpora = fixture.sets.map(([segments, scores]) => ({
  segments: segments.map(([hypothesis, ...references]): Segment => ({
    hypothesis,
    references: references.filter((reference) => reference !== null),
  })),
  scores,
}));

// Plan: every score of sacrebleu 2.6.0 to four decimals and its signature to the letter: 560
// corpora of mixed scripts with empty lines, one to three references, four tokenisers, four
// smoothings.
describe("sacrebleu", () => {
  it("is the pinned release, over enough corpora", () => {
    expect(fixture.version).toBe("2.6.0");
    expect(corpora.length).toBeGreaterThanOrEqual(500);
    const lines = corpora.flatMap(({ segments }) => segments);
    expect(lines.filter(({ hypothesis }) => hypothesis === "").length).toBeGreaterThan(100);
    expect(lines.filter(({ references }) => references.length > 1).length).toBeGreaterThan(300);
  });

  it.each(["bleu", "chrf", "ter"] as const)("%s", (name) => {
    const rows = corpora.flatMap(({ segments, scores }, i) =>
      scores
        .filter(([own]) => own === name)
        .map(([, options, score, signature]) => {
          const metric = metricOf(name, options);
          const got = { corpus: i, options, signature: metric.signature(segments) };
          const error = Math.abs(corpusScore(metric, segments) - score);
          return [
            { ...got, equal: error < 5e-5 },
            { corpus: i, options, signature, equal: true },
          ];
        }),
    );
    expect(rows.length).toBeGreaterThanOrEqual(1000);
    expect(rows.map(([got]) => got)).toEqual(rows.map(([, want]) => want));
  });

  it.each(fixture.tokenizers.map((name, i) => [name, i + 1] as const))("tokens of %s", (name, column) => {
    const got = fixture.tokens.map(([line]) => [line, bleuTokens[name](line)]);
    expect(got).toEqual(fixture.tokens.map((row) => [row[0], row[column]]));
  });
});

// Plan: what cannot be scored is refused by name.
describe("refusals", () => {
  it.each([
    ["no segments", []],
    ["a segment without a reference", [{ hypothesis: "a", references: [] }]],
  ])("%s", (_, segments) => {
    for (const metric of [bleu(), chrf(), ter()])
      expect(() => corpusScore(metric, segments)).toThrow(EvaluateError);
  });
});
