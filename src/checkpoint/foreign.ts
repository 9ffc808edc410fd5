import { checkpointError } from "../formats/errors.js";
import type { ByteSource } from "./source.js";

const LFS = "version https://git-lfs.github.com/spec/";
/** A pointer has fewer bytes. @source git-lfs `docs/spec.md` */
const LFS_BYTES = 1024;

/** Returns the source. @throws CheckpointError  it is a Git LFS pointer; it is then closed */
export async function refuseLfsPointer(source: ByteSource): Promise<ByteSource> {
  if (source.size < LFS.length || source.size >= LFS_BYTES) return source;
  const start = String.fromCharCode(...(await source.read(0, LFS.length)));
  if (start !== LFS) return source;
  await source.close();
  throw checkpointError(
    source.name,
    "content",
    "the file itself",
    `a Git LFS pointer of ${source.size} bytes`,
    "run `git lfs pull` in that directory, or download the model by its hub name",
  );
}

/** Advice for directories with other weights, by file name. */
const FOREIGN: readonly (readonly [name: RegExp, advice: string])[] = [
  [
    /^adapter_(config\.json|model\.(safetensors|bin))$/,
    "this is a LoRA (PEFT): give its base as the model, and this directory with --lora",
  ],
  [
    /^pytorch_model.*\.bin(\.index\.json)?$/,
    "load it in transformers and write it with save_pretrained, which makes model.safetensors",
  ],
  [/^model\.pt\..+$/, "FunASR saves several: name the one that is meant, such as DIR/model.pt.best"],
  [
    /\.gguf$/i,
    "a GGUF model is one file, or a pair, funasr-encoder-*.gguf and qwen3-*.gguf: name the file that is meant, or download both",
  ],
];

/** @throws CheckpointError  the directory has only weights that this package does not read */
export function refuseForeignWeights(directory: string, names: readonly string[]): void {
  for (const [pattern, advice] of FOREIGN) {
    const found = names.filter((name) => pattern.test(name)).sort();
    if (found.length === 0) continue;
    const more = found.length > 1 ? ` and ${found.length - 1} more` : "";
    const expected = "model.safetensors, model.pt or a pair of GGUF files";
    throw checkpointError(directory, "weights", expected, `${found[0]}${more}`, advice);
  }
}
