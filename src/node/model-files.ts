import { show } from "../json.js";
import { existsSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { GGUF_ENCODER, GGUF_LLM } from "../checkpoint/layouts/gguf.js";
import { CheckpointError } from "../formats/errors.js";
import { DEEPSPEED_WEIGHTS } from "../checkpoint/layouts/funasr-weights.js";
import { filesOverBase, readUtf8 } from "../checkpoint/source.js";
import type { ModelFiles } from "../checkpoint/source.js";
import { modelDirectory } from "./files.js";

const BASE = ",base=";

/** The path of a model with the checkpoint that it was trained from: see modelFiles. */
export function withBase(model: string, base: string | undefined): string {
  return base === undefined ? model : `${model}${BASE}${base}`;
}

/** Whether a path names a base too. */
export function hasBase(path: string): boolean {
  return path.includes(BASE);
}

/**
 * The files of a model by its path: a directory; one GGUF file of a pair, beside which the other
 * lies; or both, "ENCODER.gguf,LLM.gguf", wherever they lie; or a file of torch.save in a directory
 * of FunASR's trainer, such as DIR/model.pt.best. "MODEL,base=BASE" takes what MODEL lacks from the
 * checkpoint that was trained.
 * @throws CheckpointError (from its methods) as modelDirectory
 */
export function modelFiles(path: string): ModelFiles {
  const at = path.indexOf(BASE);
  if (at >= 0) return filesOverBase(modelFiles(path.slice(0, at)), modelFiles(path.slice(at + BASE.length)));
  const torch = torchFiles(path);
  if (torch) return torch;
  const paths = ggufPaths(path);
  if (!paths) return modelDirectory(path);
  return paths.length === 1 ? withSibling(paths[0]) : pairOf(path, paths);
}

/** The files of LoRAs by their directories. */
export function loraFiles(paths: readonly string[] = []): ModelFiles[] {
  return paths.map((path) => torchFiles(path) ?? modelDirectory(path, path, "a LoRA directory"));
}

const TORCH_FILE = /\.(pt|pth|ckpt)(\.[^/\\]+)?$/i;
const OTHER_WEIGHTS = /\.(gguf|safetensors|safetensors\.index\.json)$/i;

/** The directory of a file of torch.save, or of a directory of DeepSpeed's, which is its model.pt. */
function torchFiles(path: string): ModelFiles | undefined {
  const file = basename(path) === DEEPSPEED_WEIGHTS ? dirname(path) : path.replace(/(?<=.)[/\\]+$/, "");
  const name = basename(file);
  const found = TORCH_FILE.test(name) ? statSync(file, { throwIfNoEntry: false }) : undefined;
  const isWeights =
    found?.isFile() === true || (found !== undefined && existsSync(join(file, DEEPSPEED_WEIGHTS)));
  if (!isWeights) return undefined;
  const directory = modelDirectory(dirname(file));
  const real = (asked: string): string => (asked === "model.pt" ? name : asked);
  return {
    ...directory,
    async list() {
      const names = (await directory.list()).filter((n) => !TORCH_FILE.test(n) && !OTHER_WEIGHTS.test(n));
      return [...names, "model.pt"].sort();
    },
    has: (asked) => directory.has(real(asked)),
    open: (asked) => directory.open(real(asked)),
    readText: (asked, maxBytes) => directory.readText(real(asked), maxBytes),
    directory: (asked) => directory.directory(real(asked)),
  };
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
