import { CheckpointError } from "../formats/errors.js";
import type { ByteSource, ModelFiles } from "./source.js";

const LFS = "version https://git-lfs.github.com/spec/";
/** Bytes of a pointer, below this. @source git-lfs `docs/spec.md` */
const LFS_BYTES = 1024;

/** @throws CheckpointError  the source is a Git LFS pointer, not the file; it is closed */
export async function refuseLfsPointer(source: ByteSource): Promise<ByteSource> {
  if (source.size < LFS.length || source.size >= LFS_BYTES) return source;
  const start = String.fromCharCode(...(await source.read(0, LFS.length)));
  if (start !== LFS) return source;
  await source.close();
  throw new CheckpointError({
    file: source.name,
    field: "content",
    expected: "the file itself",
    got: `a Git LFS pointer of ${source.size} bytes`,
    advice: "run `git lfs pull` in that directory, or download the model by its hub name",
  });
}

/** Weights that this package does not read, by the names that a directory has: what they are, and what to do. */
const FOREIGN: readonly (readonly [name: RegExp, advice: string])[] = [
  [
    /^adapter_(config\.json|model\.(safetensors|bin))$/,
    "this is a LoRA (PEFT): give its base as the model, and this directory with --lora",
  ],
  [
    /^pytorch_model.*\.bin(\.index\.json)?$/,
    "load it in transformers and write it with save_pretrained, which makes model.safetensors",
  ],
  [/^model\.pt\..+$/, "FunASR keeps several: give the one that is meant the name model.pt"],
  [
    /\.gguf$/i,
    "a GGUF model is one file, or a pair, funasr-encoder-*.gguf and qwen3-*.gguf: name the file that is meant, or download both",
  ],
];

/** @throws CheckpointError  a directory without weights that this package reads, but with others */
export function refuseForeignWeights(directory: ModelFiles["name"], names: readonly string[]): void {
  for (const [pattern, advice] of FOREIGN) {
    const found = names.filter((name) => pattern.test(name)).sort();
    if (found.length === 0) continue;
    const more = found.length > 1 ? ` and ${found.length - 1} more` : "";
    const expected = "model.safetensors, model.pt or a pair of GGUF files";
    throw new CheckpointError({
      file: directory,
      field: "weights",
      expected,
      got: `${found[0]}${more}`,
      advice,
    });
  }
}
