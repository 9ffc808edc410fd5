// Plan: what config.yaml says of the CTC head; fields that are missing or null are FunASR's defaults.
import { expect, test } from "vitest";
import { layoutFiles } from "../../../test/helpers/layouts.js";
import { openCheckpoint } from "../checkpoint.js";
import { memoryFiles } from "../source.js";

const tokenizer = "ctc_tokenizer_conf: {is_multilingual: true, vocab_path: /x/y/other.tiktoken}";

test.each<[string, string, object]>([
  ["nothing", "", { heads: 8 }],
  [
    "the published fields",
    `ctc_decoder_conf: {downsample_rate: 1, n_layer: 5}\ndataset_conf:\n  ${tokenizer}\n`,
    { heads: 8, layers: 5, tokenizerFile: "other.tiktoken" },
  ],
  [
    "others",
    `ctc_decoder_conf: {attention_heads: 4}\nctc_conf: {blank_id: 0}\n${tokenizer}\n`,
    { heads: 4, blankId: 0, tokenizerFile: "other.tiktoken" },
  ],
  [
    "nulls",
    "ctc_decoder_conf: {n_layer: null}\nctc_conf: {blank_id: null}\nctc_tokenizer_conf: null\ndataset_conf: null\n",
    { heads: 8 },
  ],
  ["a tokenizer without a path", "ctc_tokenizer_conf: {vocab_path: null}\n", { heads: 8 }],
])("config.yaml with %s", async (_, more, settings) => {
  const files = layoutFiles("nano");
  const yaml = new TextDecoder().decode(files.get("config.yaml"));
  files.set("config.yaml", new TextEncoder().encode(`${yaml}\n${more}`));
  const checkpoint = await openCheckpoint(memoryFiles("m", files));
  expect(checkpoint.ctcSettings).toEqual(settings);
  await checkpoint.close();
});
