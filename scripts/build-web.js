// The end of `npm run build`, and so of `npm run web:build`: where a source is newer than the page, bundles it into
// dist-web, puts the models and the golden bundles beside it with the listings that it reads, and holds it to its size.
import { cpSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { listModel } from "./list-model.js";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const built = join(root, "dist-web");
const most = 400_000; // bytes of the page, each file gzipped

/** Whether the page is newer than all that it is made of. */
function isFresh() {
  const time = (name) => statSync(join(root, name), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  const below = (name) => readdirSync(join(root, name), { recursive: true }).map((path) => join(name, path));
  const sources = ["src", "web", "models", "golden/bundles"].flatMap((name) => [name, ...below(name)]);
  const last = time("dist-web/models/vad/files.json"); // the build writes it last
  return [...sources, "scripts/build-web.js", "package-lock.json"].every((name) => time(name) < last);
}

if (isFresh()) process.exit(0);
const { build } = await import("vite");
await build({ configFile: join(root, "web", "vite.config.ts"), logLevel: "warn" });

/** Files that a visit loads at once: what refers to each other, without what is imported on demand. */
function firstLoad() {
  const names = readdirSync(join(built, "assets"));
  const found = new Map();
  const read = (path) => {
    if (found.has(path)) return;
    const bytes = readFileSync(join(built, path));
    found.set(path, gzipSync(bytes).length);
    const text = bytes.toString("latin1").replaceAll(/import\([^)]*\)/g, "");
    for (const name of names) if (text.includes(name)) read(`assets/${name}`);
  };
  for (const path of ["index.html", "icon.svg", "microphone-worklet.js"]) read(path);
  return found;
}

const sizes = firstLoad();
const total = [...sizes.values()].reduce((sum, size) => sum + size, 0);
console.log(`page: ${Math.round(total / 1000)} kB gzipped, of ${most / 1000}`);
if (total > most) {
  for (const [name, size] of sizes) console.error(`  ${name}: ${size}`);
  throw new Error(`web:build: expected at most ${most} bytes gzipped, got ${total}; load less, or later`);
}

const copied = /\.(json|jsonl|jinja|tiktoken|safetensors|wav|flac|ogg|mp3|m4a)$/;
for (const name of ["models/demo", "models/vad", "golden/bundles", "golden/manifest.json"]) {
  const filter = (path) => !/[\\/]recipe/.test(path) && (!/\.[^.\\/]+$/.test(path) || copied.test(path));
  mkdirSync(dirname(join(built, name)), { recursive: true });
  cpSync(join(root, name), join(built, name), { recursive: true, filter });
}
for (const name of ["demo", "vad"])
  writeFileSync(
    join(built, "models", name, "files.json"),
    JSON.stringify(listModel(join(root, "models", name), name)),
  );
