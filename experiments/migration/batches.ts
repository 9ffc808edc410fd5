/**
 * Prints the batches of a run of the miniature, for `experiments/migration/recipe/torch_curve.py`:
 * `npx tsx experiments/migration/batches.ts --work DIR [--variant mixed] [--count 200] >
 * DIR/batches.jsonl`.
 * A line is an optimiser step. For each clip it has the file of its encoder states in DIR/cache,
 * the prompt ids with the place of the audio, and the answer ids.
 */
import { createHash } from "node:crypto";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { openCheckpoint } from "../../src/checkpoint/checkpoint.js";
import { encoderSha256 } from "../../src/checkpoint/migrate/encoder-hash.js";
import { loadText } from "../../src/decode/parts.js";
import { parseFrontendConfig } from "../../src/frontend/config.js";
import { modelFiles } from "../../src/node/model-files.js";
import { BatchStream } from "../../src/train/batches.js";
import { Corpus, clipTokens } from "../../src/train/corpus.js";
import { FeatureCache } from "../../src/train/feature-cache.js";
import { defaultOptions } from "../../src/train/options.js";
import { readJsonl, trainingData } from "./data.js";
import { batchTokens, variants } from "./variants.js";

const { values } = parseArgs({
  options: {
    work: { type: "string" },
    variant: { type: "string", default: "mixed" },
    count: { type: "string", default: "200" },
  },
});
const variant = variants.find(({ name }) => name === values.variant);
if (!values.work || !variant)
  throw new Error("experiments/migration/batches: expected --work DIR, --variant of the table");
const work = resolve(values.work);
const file = await trainingData(work, variant.data);
const checkpoint = await openCheckpoint(modelFiles(join(work, `migrated-${variant.blocks}`)));
const { config } = checkpoint;
const { json, file: frontendFile } = await checkpoint.assets.frontend();
const { tokenizer, prompts } = await loadText(checkpoint);
const cache = new FeatureCache(join(work, "cache"), config.encoder.hiddenSize);
const corpus = new Corpus({
  config,
  tokenizer,
  prompts,
  cache,
  frontend: parseFrontendConfig(json, frontendFile),
  encoder: `${await encoderSha256(checkpoint, createHash("sha256"))} as stored`,
  encode: () =>
    Promise.reject(new Error(`${work}: expected all encoder states in cache; train the variant first`)),
});
await checkpoint.close();
const clips = await corpus.prepare(readJsonl(file), { file, skipBad: false, onBad: console.error });
const stream = new BatchStream(clips.map(clipTokens), { budget: batchTokens, seed: defaultOptions.seed });
for (let step = 0; step < Number(values.count); step++) {
  const members = stream.at(step).clips.map((i) => clips[i]);
  const line = members.map(({ key, prompt, answer }) => ({ rows: cache.path(key), ...prompt, answer }));
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
