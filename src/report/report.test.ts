import { expect, it } from "vitest";
import { chart } from "./chart.js";
import { escapeHtml, page, tableHtml } from "./html.js";

// Plan: text cannot become markup; a table has its rows; a chart is an SVG with its labels; the page refers to nothing outside.
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
  expect(svg).toMatch(/^<figure><svg [^]*<\/svg>[^]*<\/figure>$/);
  for (const text of ["short", "long", 'width="400"', 'height="200"']) expect(svg).toContain(text);
  expect(page({ title: "t", body: svg })).not.toMatch(/(src|href)="(?!data:|#)|<script/);
});
