import type { Tensor } from "../gpu/tensor.js";

/**
 * Sees an intermediate by its stage name while a step is recorded; `gpu.read(tensor)` keeps a copy.
 * Stages: encoder.stem, encoder.layers.{i}, encoder.norm, encoder.tp_layers.{i}, encoder.output,
 * adaptor.projector, adaptor.blocks.{i}, ctc.projector, ctc.blocks.{i}, ctc.logits,
 * llm.inputs_embeds, llm.layers.{i}, llm.norm, logits, vad.in_linear1, vad.in_linear2,
 * vad.blocks.{i}.memory, vad.blocks.{i}.output, vad.out_linear1, vad.out_linear2, vad.silence.
 */
export type Tap = (stage: string, tensor: Tensor) => void;

/** The tap of a run that nobody watches. */
export const noTap: Tap = () => undefined;
