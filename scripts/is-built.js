// Exits with 0 where dist is newer than all that it is built from, else with 1.
import { readdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const time = (name) => statSync(join(root, name), { throwIfNoEntry: false })?.mtimeMs ?? 0;
const last = time("dist/wgsl.browser.js"); // the build writes it last
const files = readdirSync(join(root, "src"), { recursive: true }).map((name) => join("src", name));
const sources = ["src", ...files, "scripts/copy-wgsl.js", "tsconfig.build.json", "tsconfig.json"];
process.exitCode = sources.every((name) => time(name) < last) ? 0 : 1;
