import { show } from "../json.js";
import { basename, dirname } from "node:path";
import { GGUF_ENCODER, GGUF_LLM } from "../checkpoint/layouts/gguf.js";
import { CheckpointError } from "../formats/errors.js";
import { readUtf8 } from "../checkpoint/source.js";
import type { ModelFiles } from "../checkpoint/source.js";
import { modelDirectory } from "./files.js";

/**
 * The files of a model by its path: a directory; one GGUF file of a pair, beside which the other
 * lies; or both, "ENCODER.gguf,LLM.gguf", wherever they lie.
 * @throws CheckpointError (from its methods) as modelDirectory
 */
export function modelFiles(path: string): ModelFiles {
  const paths = ggufPaths(path);
  if (!paths) return modelDirectory(path);
  return paths.length === 1 ? withSibling(paths[0]) : pairOf(path, paths);
}

/** The files of LoRAs by their directories. */
export function loraFiles(paths: readonly string[] = []): ModelFiles[] {
  return paths.map((path) => modelDirectory(path, path, "a LoRA directory"));
}

/** The paths that `model` names if all of them are GGUF files. */
export function ggufPaths(model: string): string[] | undefined {
  const paths = model.split(",");
  return paths.every((path) => /[^/\\]\.gguf$/i.test(path)) ? paths : undefined;
}

/**
 * The directory of a GGUF file without the others of its kind. A file that is no half of a pair
 * hides all other weights.
 */
function withSibling(path: string): ModelFiles {
  const name = basename(path);
  const kind = [GGUF_ENCODER, GGUF_LLM].find((pattern) => pattern.test(name));
  const directory = modelDirectory(dirname(path));
  return {
    ...directory,
    async list() {
      const names = await directory.list();
      const others = kind ?? /\.(gguf|safetensors|safetensors\.index\.json|pt)$/i;
      return names.filter((other) => other === name || !others.test(other));
    },
  };
}

/** Two files as one directory, under names that show their kind. */
function pairOf(model: string, paths: readonly string[]): ModelFiles {
  if (paths.length !== 2) {
    const expected = "one GGUF file, or two: ENCODER.gguf,LLM.gguf";
    throw new CheckpointError({ file: show(model), field: "files", expected, got: `${paths.length}` });
  }
  const [encoder, llm] = paths;
  const real = new Map([
    [named(encoder, GGUF_ENCODER, "funasr-encoder.gguf"), encoder],
    [named(llm, GGUF_LLM, "qwen3.gguf"), llm],
  ]);
  const beside = modelDirectory(dirname(llm)); // a tokenizer, where the metadata has none
  const open: ModelFiles["open"] = (file) => {
    const path = real.get(file);
    return path === undefined ? beside.open(file) : modelDirectory(dirname(path)).open(basename(path));
  };
  return {
    name: model,
    list: () => Promise.resolve([...real.keys()].sort()),
    has: (file) => (real.has(file) ? Promise.resolve(true) : beside.has(file)),
    open,
    readText: async (file, maxBytes) => readUtf8(await open(file), maxBytes),
    directory: (name) => beside.directory(name),
  };
}

function named(path: string, kind: RegExp, otherwise: string): string {
  return kind.test(basename(path)) ? basename(path) : otherwise;
}
