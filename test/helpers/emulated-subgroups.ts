/**
 * WGSL whose subgroup functions are made of workgroup memory and barriers: a workgroup of SG
 * invocations acts as one subgroup of SG lanes, on a device whose own subgroups have another size.
 * It takes kernels as this engine writes them: a workgroup is one subgroup, `main` calls its lane
 * `lane`, and subgroup functions stand where the whole workgroup comes by.
 */
const shapes = {
  f32: { store: "vec4u(bitcast<u32>(v), 0u, 0u, 0u)", load: ".x" },
  u32: { store: "vec4u(v, 0u, 0u, 0u)", load: ".x" },
  vec2f: { store: "vec4u(bitcast<vec2u>(v), 0u, 0u)", load: ".xy" },
  vec4f: { store: "bitcast<vec4u>(v)", load: "" },
} as const;
type Shape = keyof typeof shapes;

/** The arguments between the parenthesis at `open` and its partner, and where that one ends. */
function argumentsAt(text: string, open: number): { args: string[]; end: number } {
  const args: string[] = [];
  let depth = 0;
  let start = open + 1;
  for (let i = open; i < text.length; i++) {
    const c = text[i];
    if (c === "(" || c === "[") depth++;
    if (c === ")" || c === "]") depth--;
    if (depth === 0 || (depth === 1 && c === ",")) {
      args.push(text.slice(start, i).trim());
      start = i + 1;
    }
    if (depth === 0) return { args, end: i + 1 };
  }
  throw new Error("emulateSubgroups: a parenthesis is not closed");
}

/** Type of a variable, a parameter or an element of one, by its last declaration in the text before. */
function shapeOf(expression: string, before: string): Shape {
  const name = /^\w+/.exec(expression)![0];
  const declaration = new RegExp(`\\b(?:var|let) ${name} = ([^;]+);|\\b${name} ?: ([^;={]+)`, "g");
  const [, value, type] = [...before.matchAll(declaration)].at(-1) ?? [];
  const text = (type ?? value ?? "").trim();
  const word = /^\w+/.exec(text)?.[0] ?? ""; // an alias, a function, a type, a number
  const named = new RegExp(`alias ${word} = ([^;]+);|fn ${word}\\([^)]*\\) -> (\\w+)`).exec(before);
  const full = named?.[1] ?? named?.[2] ?? text;
  const element = /^(?:array<)?(vec[24]f|f32|u32)\b/.exec(full)?.[1] ?? "f32";
  const ofVector = (expression.match(/\[/g)?.length ?? 0) > (full.startsWith("array<") ? 1 : 0);
  return ofVector ? "f32" : (element as Shape);
}

const helper = (shape: Shape): string => `
fn emulated_${shape}(v: ${shape}, source: u32) -> ${shape} {
  emulated_words[emulated_lane] = ${shapes[shape].store};
  workgroupBarrier();
  let got = bitcast<${shape}>(emulated_words[source]${shapes[shape].load});
  workgroupBarrier();
  return got;
}
`;

/** A kernel's text with emulated subgroups; unchanged where it uses none. */
export function emulateSubgroups(source: string): string {
  if (!/^enable subgroups;/m.test(source)) return source;
  const text = source.replaceAll(/\/\/[^\n]*/g, "");
  const used = new Set<Shape>();
  let out = "";
  let at = 0;
  for (const match of text.matchAll(/\bsubgroup(Shuffle|ShuffleXor)\s*\(/g)) {
    const { args, end } = argumentsAt(text, match.index + match[0].length - 1);
    const shape = shapeOf(args[0], text.slice(0, match.index));
    used.add(shape);
    const from = match[1] === "ShuffleXor" ? `emulated_lane ^ (${args[1]})` : args[1];
    out += `${text.slice(at, match.index)}emulated_${shape}(${args[0]}, ${from})`;
    at = end;
  }
  out += text.slice(at);
  const left = /\bsubgroup[A-Z]\w*/.exec(out)?.[0];
  if (left) throw new Error(`emulateSubgroups: expected shuffles, got ${left}`);
  if (!/\blane\b/.test(out)) throw new Error("emulateSubgroups: expected a lane in main, got none");
  return [
    out
      .replace(/^enable subgroups;\n/m, "")
      .replace("@builtin(subgroup_invocation_id)", "@builtin(local_invocation_index)")
      .replace(/(fn main\([^{]*\{)/, "$1\n  emulated_lane = lane;"),
    "var<private> emulated_lane: u32;\nvar<workgroup> emulated_words: array<vec4u, SG>;",
    ...[...used].map(helper),
  ].join("\n");
}
