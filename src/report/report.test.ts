import { expect, it } from "vitest";
import { chart } from "./chart.js";
import { escapeHtml, page, tableHtml } from "./html.js";

// Plan: text cannot become markup. A table has its rows, and a chart its labels. The page refers to
// no other file.
it("escapes text", () => {
  expect(escapeHtml(`<a href="x">&'`)).toBe("&#60;a href=&#34;x&#34;&#62;&#38;&#39;");
  expect(tableHtml([["<b>"], [{ html: "<i>x</i>" }], [7]], [0])).toMatch(
    /<th class="right">&#60;b&#62;<\/th>[^]*<td class="right"><i>x<\/i><\/td>[^]*>7</,
  );
  expect(page({ title: "</title><script>", body: "" })).not.toContain("<script>");
});

it("draws a chart", () => {
  const svg = chart(
    {
      xAxis: { type: "category", data: ["short", "long"] },
      yAxis: { type: "value" },
      series: [{ type: "bar", data: [1, 2] }],
    },
    { width: 400, height: 200 },
  );
  expect(svg.match(/<svg /g)).toHaveLength(2);
  expect(svg).toMatch(/^<figure><div class="broad"><svg [^]*<div class="narrow"><svg [^]*<\/figure>$/);
  for (const text of ["short", "long", 'width="400"', 'height="200"']) expect(svg).toContain(text);
  expect(page({ title: "t", body: svg })).not.toMatch(/(src|href)="(?!data:|#)|<script/);
});

it("draws the chart for a phone at its width, with space for a legend of several rows", () => {
  const names = ["linear-broadcast", "attention-subgroup", "rms-norm", "qk-norm-rope", "embedding"];
  const series = names.map((name) => ({ name, type: "bar" as const, data: [1] }));
  const axes = { xAxis: { type: "value" as const }, yAxis: { type: "category" as const, data: ["a"] } };
  const heights = (legend: object): string[] =>
    Array.from(
      chart({ ...axes, ...legend, series }).matchAll(/<svg width="(\d+)" height="(\d+)"/g),
      ([, w, h]) => `${w}x${h}`,
    );
  expect(heights({})).toEqual(["1000x320", "400x320"]);
  expect(heights({ legend: {} })).toEqual(["1000x320", "400x332"]); // two rows and a spare one, instead of 60 pixels
});

it("the page has styles for a phone and for dark mode", () => {
  const html = page({ title: "t", body: "" });
  for (const rule of ["color-scheme: light dark", "max-width: 640px", "prefers-color-scheme: dark"])
    expect(html).toContain(rule);
});
