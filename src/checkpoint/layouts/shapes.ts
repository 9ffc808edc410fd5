import { show } from "../../json.js";
import type { AdaptorConfig, EncoderConfig, LlmConfig } from "../../config/model-config.js";
import type { Container } from "../../formats/container.js";
import { type CheckpointError, checkpointError, tensorField } from "../../formats/errors.js";
import { canonicalNames } from "./key-maps.js";
import type { KeyMap } from "./key-maps.js";

type EncoderSizes = Omit<EncoderConfig, "heads" | "layerNormEps">;
type AdaptorSizes = Omit<AdaptorConfig, "heads" | "layerNormEps">;
type LlmSizes = Omit<LlmConfig, "rmsNormEps" | "ropeTheta" | "tiedHead" | "maxPositions">;

const MAX_LAYERS = 10_000;

/** The sizes of a model, from the shapes of its tensors by canonical name. */
export class CanonicalShapes {
  readonly #container: Container;
  /** Canonical name → name in the file. Fused projections have braces. */
  readonly #names: ReadonlyMap<string, string>;
  readonly #layers: number;
  readonly #tpLayers: number;

  private constructor(container: Container, names: ReadonlyMap<string, string>, layers: number, tp: number) {
    this.#container = container;
    this.#names = names;
    this.#layers = layers;
    this.#tpLayers = tp;
  }

  /** @throws CheckpointError  names of two spellings, or two names of one tensor */
  static of(container: Container, maps: readonly KeyMap[]): CanonicalShapes {
    const names = [...container.tensors.keys()].filter((n) => !maps.some((map) => map.ctc?.test(n)));
    const layers = countLayers(names, /(?:^|\.)encoders\.(\d{1,5})\./, container.name);
    const tpLayers = countLayers(names, /(?:^|\.)tp_encoders\.(\d{1,5})\./, container.name);
    const canonical = canonicalNames(names, { encoder: { layers, tpLayers } }, container.name, maps);
    return new CanonicalShapes(container, canonical, layers, tpLayers);
  }

  has(name: string): boolean {
    return this.#names.has(name);
  }

  /** Name in the file. @throws CheckpointError  there is none */
  source(name: string): string {
    const found = this.#names.get(name);
    if (found !== undefined) return found;
    const got = `none (the file has ${this.#container.tensors.size} tensors)`;
    const field = tensorField(name);
    throw checkpointError(this.#container.name, field, "a tensor of that meaning", got);
  }

  audio(): { encoder: EncoderSizes; adaptor: AdaptorSizes } {
    const tower = "model.audio_tower.layers.0";
    const [hiddenSize] = this.#shape(`${tower}.self_attn.o_proj.weight`, 2);
    const taps = this.#container.tensors.get(this.source(`${tower}.self_attn.fsmn.conv.weight`))!.shape;
    const encoder = {
      inputSize: this.#shape(`${tower}.input_layernorm.weight`, 1)[0],
      hiddenSize,
      intermediateSize: this.#shape(`${tower}.mlp.fc1.weight`, 2)[0],
      layers: this.#layers,
      tpLayers: this.#tpLayers,
      fsmnKernelSize: taps.slice(1).reduce((a, b) => a * b, 1),
    };
    const at = "model.multi_modal_projector";
    const [width, projectorHiddenSize] = this.#shape(`${at}.linear_2.weight`, 2);
    const layers = this.#count(/^model\.multi_modal_projector\.layers\.(\d{1,5})\./);
    const intermediateSize = layers > 0 ? this.#shape(`${at}.layers.0.mlp.fc1.weight`, 2)[0] : width / 4;
    return { encoder, adaptor: { projectorHiddenSize, hiddenSize: width, intermediateSize, layers } };
  }

  llm(): LlmSizes {
    const at = "model.language_model.layers.0";
    const [vocabSize, hiddenSize] = this.#shape("model.language_model.embed_tokens.weight", 2);
    const [headDim] = this.#shape(`${at}.self_attn.q_norm.weight`, 1);
    const heads = (part: string): number => {
      const name = `${at}.self_attn.${part}_proj.weight`;
      const [rows] = this.#shape(name, 2);
      if (rows % headDim === 0) return rows / headDim;
      throw this.#refuse(name, `rows for heads of ${headDim}`, [rows]);
    };
    return {
      vocabSize,
      hiddenSize,
      headDim,
      intermediateSize: this.#shape(`${at}.mlp.gate_proj.weight`, 2)[0],
      layers: this.#count(/^model\.language_model\.layers\.(\d{1,5})\./),
      heads: heads("q"),
      kvHeads: heads("k"),
    };
  }

  /** The shape of a tensor. @throws CheckpointError  not `rank` axes, or an axis of 0 */
  #shape(name: string, rank: number): readonly number[] {
    const { shape } = this.#container.tensors.get(this.source(name))!;
    if (shape.length === rank && !shape.includes(0)) return shape;
    throw this.#refuse(name, `${rank} axes, none of 0`, shape);
  }

  #count(index: RegExp): number {
    return countLayers(this.#names.keys(), index, this.#container.name);
  }

  #refuse(name: string, expected: string, shape: readonly number[]): CheckpointError {
    const field = tensorField(this.source(name));
    return checkpointError(this.#container.name, field, expected, show(shape));
  }
}

/** The highest index plus one. */
function countLayers(names: Iterable<string>, index: RegExp, file: string): number {
  let count = 0;
  for (const name of names) {
    const match = index.exec(name);
    if (match) count = Math.max(count, Number(match[1]) + 1);
  }
  if (count <= MAX_LAYERS) return count;
  throw checkpointError(file, "tensor names", `at most ${MAX_LAYERS} layers`, String(count));
}
