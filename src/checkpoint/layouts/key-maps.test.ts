import { describe, expect, test } from "vitest";
import { fixtureFiles, realConfig, refusal } from "../../../test/helpers/checkpoint.js";
import { parseModelConfig } from "../../config/model-config.js";
import { expectedTensors } from "../../config/expected-tensors.js";
import { canonicalNames } from "./key-maps.js";

// Plan: both older spellings, written by hand for a stem and two transcription layers, two
// timestamp-prediction layers and two blocks, give exactly the names of transformers 5.23. Mixtures
// are refused.

const config = parseModelConfig(
  JSON.parse(new TextDecoder().decode(fixtureFiles("tiny").get("config.json"))),
);
const canonical = [...expectedTensors(config).keys()];
const language = canonical.filter((n) => n.startsWith("model.language_model."));

const both = (name: string): string[] => [`${name}.weight`, `${name}.bias`];
const layer = (at: string, fsmn: string | undefined): string[] => [
  ...both(`${at}.self_attn_layer_norm`),
  ...["q_proj", "k_proj", "v_proj", "out_proj"].flatMap((p) => both(`${at}.self_attn.${p}`)),
  ...(fsmn === undefined ? [] : [`${at}.${fsmn}.conv.weight`]),
  ...both(`${at}.final_layer_norm`),
  ...both(`${at}.fc1`),
  ...both(`${at}.fc2`),
];
const tower = (fsmn: string): string[] => [
  ...[
    "stem",
    "layers.0",
    "layers.1",
    "timestamp_prediction_layers.0",
    "timestamp_prediction_layers.1",
  ].flatMap((l) => layer(`model.audio_tower.${l}`, fsmn)),
  ...both("model.audio_tower.layer_norm"),
  ...both("model.audio_tower.timestamp_prediction_layer_norm"),
];
const adaptor = (linears: string, blocks: string): string[] => [
  ...both(`${linears}.linear_1`),
  ...both(`${linears}.linear_2`),
  ...[0, 1].flatMap((i) => layer(`${blocks}.${i}`, undefined)),
];

const SPELLINGS = {
  "transformers 5.17 to 5.23": canonical,
  "hub, later: feedforward_sequential_memory, linears in the projector": [
    ...tower("feedforward_sequential_memory"),
    ...adaptor("model.multi_modal_projector", "model.audio_adaptor.blocks"),
    ...language,
  ],
  "hub, first: fsmn, the adaptor one module": [
    ...tower("fsmn"),
    ...adaptor("model.multi_modal_projector", "model.multi_modal_projector.blocks"),
    ...language,
  ],
  "hub, the adaptor one module by its other name": [
    ...tower("fsmn"),
    ...adaptor("model.audio_adaptor", "model.audio_adaptor.blocks"),
    ...language,
  ],
};

describe.each(Object.entries(SPELLINGS))("%s", (_, names) => {
  test("gives every canonical name", () => {
    const got = canonicalNames(names, config, "m");
    expect([...got.keys()].sort()).toEqual([...canonical].sort());
    expect([...got.values()].sort()).toEqual([...names].sort());
  });
});

test("layers, norms and inner names, one by one", () => {
  const older = SPELLINGS["hub, later: feedforward_sequential_memory, linears in the projector"];
  const from = new Map([...canonicalNames(older, config, "m")].map(([to, name]) => [name, to]));
  const pairs: Record<string, string> = {
    "audio_tower.stem.self_attn.q_proj.weight": "audio_tower.layers.0.self_attn.q_proj.weight",
    "audio_tower.layers.0.self_attn_layer_norm.bias": "audio_tower.layers.1.input_layernorm.bias",
    "audio_tower.layers.1.final_layer_norm.weight": "audio_tower.layers.2.post_attention_layernorm.weight",
    "audio_tower.layer_norm.weight": "audio_tower.layers.2.final_layernorm.weight",
    "audio_tower.timestamp_prediction_layers.0.self_attn.out_proj.bias":
      "audio_tower.layers.3.self_attn.o_proj.bias",
    "audio_tower.timestamp_prediction_layers.1.fc2.weight": "audio_tower.layers.4.mlp.fc2.weight",
    "audio_tower.timestamp_prediction_layer_norm.bias": "audio_tower.layers.4.final_layernorm.bias",
    "audio_tower.stem.feedforward_sequential_memory.conv.weight":
      "audio_tower.layers.0.self_attn.fsmn.conv.weight",
    "audio_adaptor.blocks.1.fc1.bias": "multi_modal_projector.layers.1.mlp.fc1.bias",
    "multi_modal_projector.linear_2.weight": "multi_modal_projector.linear_2.weight",
    "language_model.layers.1.input_layernorm.weight": "language_model.layers.1.input_layernorm.weight",
  };
  for (const [name, to] of Object.entries(pairs)) expect(from.get(`model.${name}`)).toBe(`model.${to}`);
});

describe("refusals", () => {
  test("two spellings in one checkpoint", async () => {
    const names = [...canonical, "model.audio_tower.stem.fc1.weight"];
    expect((await refusal(() => canonicalNames(names, config, "m"))).message).toBe(
      'm: tensor names: expected one spelling, got "model.audio_tower.layers.0.input_layernorm.weight" (flat) beside ' +
        '"model.audio_tower.stem.fc1.weight" (split); two checkpoints were mixed',
    );
  });

  test("one tensor under two names of the older spelling", async () => {
    const names = [
      "model.audio_tower.stem.fsmn.conv.weight",
      "model.audio_tower.stem.feedforward_sequential_memory.conv.weight",
    ];
    expect((await refusal(() => canonicalNames(names, config, "m"))).message).toBe(
      'm: "model.audio_tower.layers.0.self_attn.fsmn.conv.weight": expected one tensor of that meaning, ' +
        'got "model.audio_tower.stem.fsmn.conv.weight" and "model.audio_tower.stem.feedforward_sequential_memory.conv.weight"',
    );
  });
});

test("names without a rule do not change, so that checkTensors can report them", () => {
  const got = canonicalNames(["ctc.weight", "lm_head.weight"], config, "m");
  expect([...got.keys()]).toEqual(["ctc.weight", "lm_head.weight"]);
});

test("the released sizes have 1,194 encoder tensors and 36 of the adaptor", () => {
  const names = [...expectedTensors(realConfig("0.6B")).keys()];
  // the released -hf file's audio tower has 1,194; FunASR's has 914, with q, k and v fused
  expect(names.filter((n) => n.startsWith("model.audio_tower.")).length).toBe(1194);
  expect(names.filter((n) => n.startsWith("model.multi_modal_projector.")).length).toBe(36);
  expect(names.filter((n) => n.startsWith("model.language_model.")).length).toBe(310);
  expect(names.length).toBe(1540);
  expect(expectedTensors(realConfig("8B")).get("lm_head.weight")).toEqual([151936, 4096]);
});
