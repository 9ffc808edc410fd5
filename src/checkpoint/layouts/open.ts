import { openFunasr } from "./funasr.js";
import { isGgufWeights, openGgufPair } from "./gguf.js";
import { onlyGguf, openWholeGguf } from "./gguf-whole.js";
import { isMlx, mlxLayout } from "./mlx.js";
import { transformersLayout } from "./transformers.js";
import { CheckpointError } from "../../formats/errors.js";
import type { OpenedLayout } from "./layout.js";
import { openSafetensorsContainer } from "../safetensors/container.js";
import { INDEX, SINGLE } from "../safetensors/shards.js";
import type { ModelFiles } from "../source.js";

/** A form that weights are published in, told by file names. */
interface Form {
  /** Example of its weights' file, for errors. */
  readonly weights: string;
  readonly isWeights: (file: string) => boolean;
  readonly open: (files: ModelFiles) => Promise<OpenedLayout>;
}

const FORMS: readonly Form[] = [
  { weights: SINGLE, isWeights: (file) => file === SINGLE || file === INDEX, open: openSafetensorsForm },
  { weights: "model.pt", isWeights: (file) => file === "model.pt", open: openFunasr },
  { weights: "funasr-encoder-*.gguf", isWeights: isGgufWeights, open: openGgufPair },
];

/** The layout of a directory, by its weights. @throws CheckpointError also for weights in two forms */
export async function openLayout(files: ModelFiles): Promise<OpenedLayout> {
  const names = await files.list();
  const found = FORMS.filter((form) => names.some((name) => form.isWeights(name)));
  if (found.length > 1) {
    const got = found.map((form) => names.find((name) => form.isWeights(name))).join(" beside ");
    throw new CheckpointError({
      file: files.name,
      field: "weights",
      expected: "one form of them",
      got,
      advice: "two checkpoints were mixed: move one away",
    });
  }
  const gguf = onlyGguf(names);
  const whole = gguf === undefined ? undefined : await openWholeGguf(files, gguf);
  return whole ?? (found[0] ?? FORMS[0]).open(files);
}

/** Safetensors in the transformers layout, or in the MLX port's: the tensors' names tell. */
async function openSafetensorsForm(files: ModelFiles): Promise<OpenedLayout> {
  const container = await openSafetensorsContainer(files, (names) => (isMlx(names) ? "mlx" : "transformers"));
  try {
    return await (container.layout === "mlx" ? mlxLayout : transformersLayout)(files, container);
  } catch (error) {
    await container.close();
    throw error;
  }
}
