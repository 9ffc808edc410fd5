import { expectedTensors } from "../../src/config/expected-tensors.js";
import { type WriteTensor, safetensorsBytes } from "../../src/checkpoint/safetensors/write.js";
import { generateParameter } from "../../src/checkpoint/weights.js";
import { parseLlmConfig } from "../../src/config/model-config.js";
import { utf8 } from "./checkpoint.js";
import { tinyFiles } from "./tiny-model.js";

const json = (value: unknown): Uint8Array => utf8(JSON.stringify(value));

function llmConfig(width: number): Record<string, unknown> {
  return {
    architectures: ["Qwen3ForCausalLM"],
    model_type: "qwen3",
    vocab_size: 1072,
    hidden_size: width,
    intermediate_size: 48,
    num_hidden_layers: 2,
    num_attention_heads: 2,
    num_key_value_heads: 1,
    head_dim: 16,
    rms_norm_eps: 1e-6,
    rope_theta: 1e6,
    tie_word_embeddings: true,
    max_position_embeddings: 512,
  };
}

/** A Qwen3 in two shards, its head stored although it is tied, with the demo's tokenizer. */
export async function llmFiles(width = 96): Promise<Map<string, Uint8Array>> {
  const config = llmConfig(width);
  const tensors = [...expectedTensors({ llm: parseLlmConfig(config) })].map(([name, shape]): WriteTensor => ({
    name: name.replace("model.language_model.", "model."),
    shape,
    dtype: "BF16",
    data: generateParameter(name, shape, 5, "bf16"),
  }));
  tensors.push({ ...tensors[0], name: "lm_head.weight" });
  const shards = { "a.safetensors": tensors.slice(0, 9), "b.safetensors": tensors.slice(9) };
  const map = Object.entries(shards).flatMap(([shard, held]) =>
    held.map(({ name }) => [name, shard] as const),
  );
  const files = new Map<string, Uint8Array>([
    ["config.json", json(config)],
    ["model.safetensors.index.json", json({ weight_map: Object.fromEntries(map) })],
  ]);
  for (const [shard, held] of Object.entries(shards)) files.set(shard, await safetensorsBytes(held));
  const demo = await tinyFiles();
  for (const name of ["tokenizer.json", "tokenizer_config.json"]) files.set(name, demo.get(name)!);
  return files;
}
