// After tsc: copies every kernel's .wgsl into dist, writes the map that browser builds read instead
// of files, and removes what no source makes.
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const from = join(root, "src", "kernels");
const sources = {};
for (const entry of readdirSync(from, { recursive: true, withFileTypes: true })) {
  if (!entry.isFile() || !entry.name.endsWith(".wgsl")) continue;
  const path = join(entry.parentPath, entry.name);
  const name = relative(from, path);
  mkdirSync(join(root, "dist", "kernels", dirname(name)), { recursive: true });
  copyFileSync(path, join(root, "dist", "kernels", name));
  sources[name.replaceAll("\\", "/").slice(0, -".wgsl".length)] = readFileSync(path, "utf8");
}
const dist = join(root, "dist");
for (const entry of readdirSync(dist, { recursive: true, withFileTypes: true })) {
  const path = join(entry.parentPath, entry.name);
  const source = join(root, "src", relative(dist, path)).replace(/(\.d)?\.[jt]s(\.map)?$/, ".ts");
  if (entry.isFile() && !existsSync(source)) rmSync(path);
}
const lines = [
  `const sources = ${JSON.stringify(sources, Object.keys(sources).sort(), 1)};`,
  "export function wgsl(name) {",
  "  if (!(name in sources)) throw new Error(`no kernel file named ${name}`);",
  "  return sources[name];",
  "}",
];
writeFileSync(join(root, "dist", "wgsl.browser.js"), lines.join("\n") + "\n");
// Bundlers read the nearest tsconfig.json: through a link to this folder the one above leads #wgsl to Node's files.
writeFileSync(join(root, "dist", "tsconfig.json"), "{}\n");
