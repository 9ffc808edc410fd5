import type { ConfigReader } from "./reader.js";
import type { YarnScaling } from "./yarn.js";

/** The positions part of LlmConfig. */
interface RopeConfig {
  ropeTheta: number;
  ropeScaling?: YarnScaling;
  maxPositions: number;
}

/**
 * Rotary positions of Qwen3. transformers 5 writes rope_parameters {rope_type, rope_theta, ...}.
 * Earlier versions wrote rope_theta beside rope_scaling {rope_type or type, ...}, which decides the
 * type if a config has both.
 * @throws ConfigError  a type other than default and yarn, a field of the wrong type, two values of
 *   theta
 * @source transformers 5.23 `RotaryEmbeddingConfigMixin`, `_compute_yarn_parameters`
 */
export function parseRope(text: ConfigReader): RopeConfig {
  const ropeTheta = parseTheta(text);
  const maxPositions = text.integer("max_position_embeddings");
  const given = (name: string): boolean => !text.isNull(name) && JSON.stringify(text.value(name)) !== "{}";
  const key = ["rope_scaling", "rope_parameters"].find(given);
  const rope = key === undefined ? undefined : text.section(key);
  if (!rope || ropeType(rope) === "default") return { ropeTheta, maxPositions };
  const ropeScaling = parseYarn(text, rope, maxPositions);
  if (ropeTheta <= 1) throw rope.refusal("rope_theta", "a number above 1, for yarn", ropeTheta);
  const stretched = Math.floor(ropeScaling.factor * ropeScaling.originalMaxPositions);
  if (!Number.isSafeInteger(stretched))
    throw rope.refusal("factor", "one of a countable context", ropeScaling.factor);
  return { ropeTheta, ropeScaling, maxPositions: Math.max(maxPositions, stretched) };
}

function ropeType(rope: ConfigReader): "default" | "yarn" {
  const type = rope.oneOf("type", ["default", "yarn"], "default");
  return rope.oneOf("rope_type", ["default", "yarn"], type);
}

function parseTheta(text: ConfigReader): number {
  for (const key of ["rope_parameters", "rope_scaling"]) {
    if (text.isNull(key)) continue;
    const rope = text.section(key);
    ropeType(rope);
    rope.oneOf("partial_rotary_factor", [1], 1);
    if (!rope.has("rope_theta")) continue;
    const theta = rope.positive("rope_theta");
    if (text.has("rope_theta") && text.positive("rope_theta") !== theta) {
      throw text.refusal("rope_theta", `${theta} as ${key} says`, text.value("rope_theta"));
    }
    return theta;
  }
  if (text.has("rope_theta") || text.isNull("rope_parameters")) return text.positive("rope_theta");
  return text.section("rope_parameters").positive("rope_theta");
}

function parseYarn(text: ConfigReader, rope: ConfigReader, maxPositions: number): YarnScaling {
  const original = "original_max_position_embeddings"; // outside rope_parameters it has priority
  const holder = [text, rope].find((section) => !section.isNull(original));
  const originalMaxPositions = holder?.integer(original) ?? maxPositions;
  // a factor of null is the ratio of the two contexts
  const factor =
    rope.value("factor") === null ? maxPositions / originalMaxPositions : rope.positive("factor");
  const optional = (field: string): number => (rope.value(field) ? rope.positive(field) : 0); // as upstream, 0 is absent
  return {
    factor,
    originalMaxPositions,
    attentionFactor: rope.isNull("attention_factor")
      ? attentionFactor(factor, optional("mscale"), optional("mscale_all_dim"))
      : rope.positive("attention_factor"),
    betaFast: optional("beta_fast") || 32,
    betaSlow: optional("beta_slow") || 1,
    truncate: rope.has("truncate") ? rope.value("truncate") !== null && rope.boolean("truncate") : true,
  };
}

function attentionFactor(factor: number, mscale: number, mscaleAllDim: number): number {
  const attention = (scale: number): number => (factor <= 1 ? 1 : 0.1 * scale * Math.log(factor) + 1);
  return mscale && mscaleAllDim ? attention(mscale) / attention(mscaleAllDim) : attention(1);
}
