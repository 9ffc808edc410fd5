import * as fc from "fast-check";
import { expect, it } from "vitest";
import { fuzzRuns } from "../../test/helpers/fuzz.js";
import { TemplateLimitError, parseTemplate } from "./template.js";

// Plan: templates that would take for ever or all memory, and long white space, end with a
// TemplateLimitError (vitest's time limit would report a hang). Published templates are not
// affected. Random templates end.
const doubled = `{%- set x = ["ab"] -%}${"{%- set x = [x,x] -%}".repeat(24)}`;
const longText = `{%- set t = "aaaaaaaa" -%}${"{%- set t = t + t -%}".repeat(16)}`; // 524,288 characters
const list = `{%- set x = range(9999) -%}`;
const deep = `{%- set ns = namespace(x=[]) -%}{%- for i in range(500) -%}{%- set ns.x = [ns.x] -%}{%- endfor -%}`;

it.each([
  ["tojson of shared lists", `${doubled}{{ x | tojson }}`],
  ["string of shared lists", `${doubled}{{ x | string }}`],
  ["~ of shared lists", `${doubled}{{ x ~ "" }}`],
  ["+ of shared lists", `${doubled}{{ "" + x }}`],
  ["join of shared lists", `${doubled}{{ x | join(",") }}`],
  ["== of shared lists", `${doubled}{{ x == "" }}`],
  ["shared lists that are written out", `${doubled}{{ x }}`],
  [
    "shared dicts",
    `{%- set x = {"a": 1} -%}${'{%- set x = {"a": x, "b": x} -%}'.repeat(24)}{{ x | tojson }}`,
  ],
  [
    "lists shared by a namespace",
    `{%- set n = namespace(x=[1]) -%}${"{%- set n.x = [n.x, n.x] -%}".repeat(24)}{{ n.x }}`,
  ],
  ["lists that are joined", `${list}${"{%- set x = x + x -%}".repeat(24)}{{ x }}`],
  ["lists shared by a macro", `{%- macro m(x) -%}{{ x }}{%- endmacro -%}${doubled}{{ m(x) }}`],
  ["a deep list", `${deep}{{ ns.x | tojson }}`],
  ["an indent of JSON", `{{ [1, [2]] | tojson(indent=1000000000) }}`],
  ["an indent of lines", `{{ "a\\nb" | indent(1000000000) }}`],
  ["an indent by name", `{{ "a\\nb" | indent(width=1000000000) }}`],
  ["a long separator", `${longText}${list}{{ x | join(t) }}`],
  ["separators of JSON", `${longText}${list}{{ x | tojson(separators=[t, t]) }}`],
  ["a text put for each character", `${longText}{{ t.replace("a", t) }}`],
  ["the same by the filter", `${longText}{{ t | replace("a", t) }}`],
  ["a method that is called by another name", `${longText}{% set f = t.replace %}{{ f("a", t) }}`],
  ["a method that is called by a text", `${longText}{{ t["replace"]("a", t) }}`],
  ["a method that a call block calls", `${longText}{% set f = t.replace %}{% call f("a", t) %}{% endcall %}`],
  ["a text put between characters", `${longText}{{ t.replace("", t) }}`],
  ["a long separator by name", `${longText}${list}{{ x | join(separator=t) }}`],
  ["a long separator of characters", `${longText}{{ t | join(t) }}`],
  ["a long text that is split by another", `${longText}{{ t.split("b" + t) }}`],
  ["a long text sought for replacement", `${longText}{{ t.replace("b" + t, "") }}`],
  ["a long name of an attribute", `${longText}${list}{{ x | sort(attribute=t) }}`],
  ["a long text sought", `${longText}{{ ("b" + t) in (t + t[:9]) }}`],
  [
    "nested loops",
    `${list}{% for a in x %}{% for b in x %}{% for c in x %}{% endfor %}{% endfor %}{% endfor %}`,
  ],
  ["a long prompt of its own", `{% for i in range(700) %}${"a".repeat(100)}{% endfor %}`],
  [
    "calls that branch",
    `{% macro m(n) %}{% if n %}{{ m(n-1) }}{{ m(n-1) }}{% endif %}{% endmacro %}{{ m(60) }}`,
  ],
])("bounds %s", (_, template) => {
  expect(() => parseTemplate(template).render({})).toThrow(TemplateLimitError);
});

it.each([
  ["spaces", " "],
  ["line ends", "\n"],
  ["tabs and line ends", "\t\n"],
])("refuses 60,000 %s, and accepts 1000", (_, space) => {
  const spaces = (count: number) => space.repeat(count / space.length);
  const long = `${spaces(60_000)}c`;
  expect(() => parseTemplate(`a{{ "b" }}${long}`)).toThrow("60000 characters of white space in a row");
  expect(() => parseTemplate(`a{% generation %}${long}`)).toThrow(TemplateLimitError);
  const text = `${spaces(1000)}c`.repeat(60);
  expect(parseTemplate(`a{{ "b" }}x${text}`).render({})).toBe(`abx${text}`);
});

it("removes the tag of transformers for training", () => {
  expect(parseTemplate("a {% generation %}b{%- endgeneration -%} c").render({})).toBe("a bc");
});

it.each([
  ['{{ "a-b-c".split("-")[-1] }}', "c"],
  ['{{ [1, {"k": "v"}] | tojson(indent=2) }}', '[\n  1,\n  {\n    "k": "v"\n  }\n]'],
  ['{{ ["a", "b"] | join(", ") }}', "a, b"],
  ['{{ "x" in "axb" }} {{ 1 not in [2] }} {{ "k" in {"k": 1} }} {{ 1 in nothing }}', "true true true false"],
  ['{{ "<think>a" | replace("<think>", "") | upper }}', "A"],
])("%s gives %s", (template, text) => {
  expect(parseTemplate(template).render({})).toBe(text);
});

const system =
  "You are a careful assistant who writes down what is said, word by word, in the language that is spoken, with its punctuation, and nothing else.";
const messages = [
  { role: "system", content: system },
  { role: "user", content: "hi" },
];

it.each(
  [
    [`{{ nothing | default("${system}") }}`, system],
    [`{{ nothing | default(4096) }}`, "4096"],
    [`{{ "" | default("${system}", true) }}`, system],
    [`{{ {}.get("content", "${system}") }}`, system],
    [`{{ messages[0].get("${system}", 8192) }}`, "8192"],
    [`{{ messages[0].content.startswith("${system}") }}`, "true"],
    [`{{ messages[0].content.endswith("${system}") }}`, "true"],
    [`{{ messages[0].content.split("${system}") | length }}`, "2"],
    [`{{ ("a" + messages[0].content + "b").split("${system}")[-1] }}`, "b"],
    [`{{ ("a" + messages[0].content + "b").replace("${system}", "") }}`, "ab"],
    [`{{ "SYSTEM a" | replace("SYSTEM", "${system}") }}`, `${system} a`],
    [`{{ ["a", "b"] | join("${system}") }}`, `a${system}b`],
    [`{{ "a\\nb" | indent(200) }}`, `a\n${" ".repeat(200)}b`],
    [`{{ "x" | int(default=4096) }}`, "4096"],
    [`{{ messages | selectattr("content", "equalto", "${system}") | list | length }}`, "1"],
    [`{{ messages | map(attribute="name", default="${system}") | first }}`, system],
    [
      `{% macro say(text, size=4096) %}{{ text }}{{ size }}{% endmacro %}{{ say("${system}") }}`,
      `${system}4096`,
    ],
    [`{{ "${system}" in messages[0].content }}`, "true"],
  ].map(([template, text]) => [template.replaceAll(system, "SYSTEM"), template, text]),
)("accepts long arguments that do not multiply: %s", (_, template, text) => {
  expect(parseTemplate(template).render({ messages })).toBe(text);
});

it("accepts a long text of the user", () => {
  const content = "word ".repeat(40_000);
  const template = "{% for m in messages %}{{ messages[0].content[:4] }}{{ m.content }}{% endfor %}";
  expect(parseTemplate(template).render({ messages: [{ content }] })).toBe(`word${content}`);
  const often = parseTemplate("{{ text }}{{ text }}{{ text }}{{ text }}{{ text }}");
  expect(() => often.render({ text: content })).toThrow("a prompt of 1000000 characters, at most 865536");
});

it("ends for random templates", () => {
  const pieces = [
    "{{ ",
    " }}",
    "{% ",
    " %}",
    "{%- ",
    "-%}",
    "x",
    "[x,x]",
    "set x = ",
    "for i in x",
    "endfor",
    "|tojson",
  ];
  const more = [
    "|join('ab')",
    "~",
    "+",
    "in",
    "range(9999)",
    "if x",
    "endif",
    "macro m(x)",
    "endmacro",
    "m(x)",
    "'a'",
    "{",
    "(",
  ];
  const template = fc.array(fc.constantFrom(...pieces, ...more, "{% set x = [x,x] %}", "{{ x }}"), {
    maxLength: 40,
  });
  fc.assert(
    fc.property(template, (parts) => {
      try {
        return typeof parseTemplate(parts.join(" ")).render({ x: "a" }) === "string";
      } catch (error) {
        return error instanceof Error;
      }
    }),
    { numRuns: fuzzRuns(10_000) },
  );
});
