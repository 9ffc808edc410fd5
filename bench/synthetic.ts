import { expectedTensors } from "../src/config/expected-tensors.js";
import type { GgmlType } from "../src/formats/container.js";
import { type Dtype, fromFloat32 } from "../src/formats/dtypes.js";
import { quantizeQ4, quantizeQ8 } from "../src/formats/quantize.js";
import { elementCount } from "../src/shape.js";
import { type LlmConfig, type ModelConfig, parseLlmConfig } from "../src/config/model-config.js";
import type { ParameterEntry, ParameterSource, WeightFormat } from "../src/weights/loader.js";

/** Qwen3-0.6B's shape. */
export function qwen3Config(layers: number): LlmConfig {
  return parseLlmConfig({
    model_type: "qwen3",
    vocab_size: 151_936,
    hidden_size: 1024,
    intermediate_size: 3072,
    num_hidden_layers: layers,
    num_attention_heads: 16,
    num_key_value_heads: 8,
    head_dim: 128,
    rms_norm_eps: 1e-6,
    rope_theta: 1e6,
    tie_word_embeddings: true,
    max_position_embeddings: 40_960,
  });
}

const period = 4 << 20; // values after which the weights repeat: what the loader asks for at a time

const stored: Readonly<Record<WeightFormat, Dtype | GgmlType>> = {
  f32: "F32",
  bf16: "BF16",
  f16: "F16",
  q8: "Q8_0",
  q4: "Q4_K",
};

/** Blocks of Q8_0: an f16 scale before its 32 values. */
function blocksQ8(values: Float32Array): Uint8Array {
  const { quants, scales } = quantizeQ8(values);
  const bytes = new Uint8Array(34 * scales.length);
  const view = new DataView(bytes.buffer);
  for (const [i, scale] of scales.entries()) {
    view.setUint16(34 * i, scale, true);
    bytes.set(new Uint8Array(quants.buffer, 32 * i, 32), 34 * i + 2);
  }
  return bytes;
}

function encode(values: Float32Array, format: WeightFormat): Uint8Array {
  if (format === "q8") return blocksQ8(values);
  if (format === "q4") return quantizeQ4(values);
  return fromFloat32(values, stored[format] as "F32" | "BF16" | "F16");
}

/**
 * Synthetic parameters: matrices repeat one seeded stretch of values, all else is 1. No file is
 * read.
 * @param expected  names and shapes; default: those of a language model alone
 */
export function syntheticSource(
  config: Pick<ModelConfig, "llm"> | LlmConfig,
  format: WeightFormat,
  expected = expectedTensors("llm" in config ? config : { llm: config }),
): ParameterSource {
  let state = 1;
  const values = Float32Array.from({ length: period }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return (state / 2 ** 31 - 1) * 0.05;
  });
  const pattern = encode(values, format);
  const most = Math.max(...[...expected].map(([, shape]) => (shape.length === 2 ? 0 : elementCount(shape))));
  const ones = fromFloat32(new Float32Array(most).fill(1), "F32");
  const tensors = new Map<string, ParameterEntry>();
  for (const [name, shape] of expected) {
    const matrix = shape.length === 2;
    const byteLength = matrix ? (elementCount(shape) / period) * pattern.length : 4 * elementCount(shape);
    tensors.set(name, { name, shape, byteLength, dtype: matrix ? stored[format] : "F32" });
  }
  return {
    name: "synthetic",
    tensors,
    read: (entry, _, length) =>
      Promise.resolve((entry.shape.length === 2 ? pattern : ones).subarray(0, length)),
  };
}
