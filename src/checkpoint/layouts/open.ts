import { openFunasr } from "./funasr.js";
import { isGgufWeights, openGgufPair } from "./gguf.js";
import { onlyGguf, openWholeGguf } from "./gguf-whole.js";
import { isMlx, mlxLayout } from "./mlx.js";
import { transformersLayout } from "./transformers.js";
import { openVad } from "./vad.js";
import { checkpointError } from "../../formats/errors.js";
import type { OpenedLayout } from "./layout.js";
import { openSafetensorsContainer } from "../safetensors/container.js";
import { INDEX, SINGLE } from "../safetensors/shards.js";
import { type ModelFiles, closeOnError } from "../source.js";

/** A form of weights, recognised by file names. */
interface Form {
  readonly isWeights: (file: string) => boolean;
  readonly open: (files: ModelFiles) => Promise<OpenedLayout>;
}

const FORMS: readonly Form[] = [
  { isWeights: (file) => file === SINGLE || file === INDEX, open: openSafetensorsForm },
  { isWeights: (file) => file === "model.pt", open: openFunasr },
  { isWeights: isGgufWeights, open: openGgufPair },
];

/**
 * Opens a directory by the form of its weights.
 * @throws CheckpointError, ConfigError  also for weights in two forms
 */
export async function openLayout(files: ModelFiles): Promise<OpenedLayout> {
  return openByForm(files).catch(async (error: unknown) => {
    const isVad = await openVad(files).then(
      () => true,
      () => false,
    );
    if (!isVad) throw error;
    const advice = "it is the model of `vad --vad`; name a checkpoint that transcribes";
    throw checkpointError(files.name, "model", "Fun-ASR-Nano", "FSMN-VAD, a net of voice activity", advice);
  });
}

async function openByForm(files: ModelFiles): Promise<OpenedLayout> {
  const names = await files.list();
  const found = FORMS.filter((form) => names.some((name) => form.isWeights(name)));
  if (found.length > 1) {
    const got = found.map((form) => names.find((name) => form.isWeights(name))).join(" beside ");
    throw checkpointError(
      files.name,
      "weights",
      "one form of them",
      got,
      "two checkpoints were mixed: move one away",
    );
  }
  const gguf = onlyGguf(names);
  const whole = gguf === undefined ? undefined : await openWholeGguf(files, gguf);
  return whole ?? (found[0] ?? FORMS[0]).open(files);
}

/** Safetensors in the layout of transformers or of an MLX port, by the tensors' names. */
async function openSafetensorsForm(files: ModelFiles): Promise<OpenedLayout> {
  const container = await openSafetensorsContainer(files, (names) => (isMlx(names) ? "mlx" : "transformers"));
  const layout = container.layout === "mlx" ? mlxLayout : transformersLayout;
  return closeOnError(container, () => layout(files, container));
}
