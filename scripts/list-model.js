// `node scripts/list-model.js DIRECTORY [NAME]` prints the listing `files.json` of a model's folder, which a
// page reads before it downloads the files beside it: names, bytes and SHA-256. See docs/browser.md.
import { createHash } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

/** Files that a page needs: no clips, recipes or read-me of the demo. */
const wanted = /(^|\/)(.+\.(safetensors|gguf|pt|json|jinja|tiktoken|yaml|mvn)|merges\.txt)$/;
const left = /^(clips|recipe|files\.json)(\/|$)/;

export function listModel(directory, name = basename(resolve(directory))) {
  const files = readdirSync(directory, { recursive: true })
    .map((path) => path.replaceAll("\\", "/"))
    .filter((path) => wanted.test(path) && !left.test(path))
    .sort()
    .map((path) => {
      const bytes = readFileSync(join(directory, path));
      return { path, size: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
    });
  return { name, files };
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href)
  console.log(JSON.stringify(listModel(process.argv[2] ?? ".", process.argv[3]), undefined, 1));
