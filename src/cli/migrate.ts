import { bytes, count, table } from "../report/text.js";
import { createHash } from "node:crypto";
import { Command, Option } from "commander";
import { type AdaptorTensor, type Migration, planMigration } from "../checkpoint/migrate/migrate.js";
import { openLlm } from "../checkpoint/migrate/open-llm.js";
import { countParameters } from "../config/expected-tensors.js";
import { writeDirectoryAtomic } from "../node/files.js";
import { loraFiles, modelFiles } from "../node/model-files.js";
import { elementCount } from "../shape.js";
import { funasrTemplate } from "../tokenizer/funasr-template.js";
import { findModel, loraOption, modelForms, openModel, warnOf, warnOfOtherEncoder } from "./model.js";
import { whole } from "./numbers.js";
import { note, print, printJson, progressBar, shown } from "./output.js";

interface MigrateCommandOptions {
  readonly encoder: string;
  readonly llm: string;
  readonly lora?: readonly string[];
  readonly out: string;
  readonly blocks?: number;
  readonly seed: number;
  readonly reuse: "linear_1" | "none";
  readonly emptyThought?: boolean;
  readonly json?: boolean;
}

export function migrateCommand(): Command {
  return new Command("migrate")
    .description(
      "put another Qwen3 behind a checkpoint's encoder, with a new, untrained adaptor of its width",
    )
    .requiredOption("--encoder <model>", `Fun-ASR checkpoint whose encoder is kept: ${modelForms}`)
    .requiredOption(
      "--llm <model>",
      "Qwen3 to put behind it: a directory, or OWNER/NAME[@REVISION] on the hub",
    )
    .addOption(loraOption("LoRA to merge into the LLM: a directory of peft; may be repeated"))
    .requiredOption("--out <dir>", "directory to make; an existing one must be empty")
    .option(
      "--blocks <count>",
      "blocks of the new adaptor; default: as many as the old one has",
      whole(0, 16),
    )
    .option("--seed <number>", "seed of the new adaptor's values", whole(0, 2 ** 32 - 1), 0)
    .addOption(
      new Option("--reuse <what>", "tensors that the new adaptor takes from the old one")
        .choices(["linear_1", "none"])
        .default("linear_1"),
    )
    .option(
      "--empty-thought",
      "end prompts with an empty thought; default: where the LLM's own chat template can switch thinking off",
    )
    .option("--no-empty-thought", "end prompts without one")
    .option("--json", "one JSON object")
    .action(async (_: unknown, command: Command) => migrate(command.opts<MigrateCommandOptions>()));
}

async function migrate({ encoder, llm: llmName, out, ...options }: MigrateCommandOptions): Promise<void> {
  const source = await openModel(encoder);
  const bar = progressBar("migrating");
  try {
    await warnOfOtherEncoder(source);
    const loras = loraFiles(options.lora);
    const llm = await openLlm(modelFiles(await findModel(llmName)), undefined, loras);
    try {
      warnOf(llm.warnings);
      let total = 0;
      const migration = await planMigration(source, llm, {
        ...options,
        template: funasrTemplate,
        sha256: () => createHash("sha256"),
        onProgress: (done) => bar.update(done, total),
      });
      total = weightBytes(migration);
      bar.update(0, total);
      await writeDirectoryAtomic(out, migration.files);
      bar.stop();
      report(migration, out, { ...options, merged: loras.length > 0 });
    } finally {
      await llm.close();
    }
  } finally {
    bar.stop();
    await source.close();
  }
}

function weightBytes({ files }: Migration): number {
  return files.reduce((sum, f) => sum + f.weightBytes, 0);
}

function parameters(tensors: readonly AdaptorTensor[]): number {
  return tensors.reduce((sum, { shape }) => sum + elementCount(shape), 0);
}

function report(
  migration: Migration,
  out: string,
  { seed, json, merged }: { seed: number; json?: boolean; merged: boolean },
): void {
  const { config, adaptor, encoderSha256, emptyThought, files } = migration;
  const counts = countParameters(config);
  const kept = parameters(adaptor.filter((t) => t.kept));
  if (json) {
    printJson({
      out,
      files: files.map((f) => f.name),
      bytes: weightBytes(migration),
      parameters: counts,
      adaptor,
      adaptorKept: kept,
      encoderSha256,
      emptyThought,
      seed,
      audioTokenId: config.audioTokenId,
    });
    return;
  }
  const { hiddenSize, layers, heads } = config.adaptor;
  const llm = counts.llm + counts.head;
  print(`${shown(out)}: ${files.length} files, ${bytes(weightBytes(migration))} of weights`);
  print(
    table(
      [
        ["encoder", count(counts.encoder), `bit for bit the source's, SHA-256 ${encoderSha256}`],
        [
          "adaptor",
          count(counts.adaptor),
          `new at ${hiddenSize}, ${layers} blocks, ${heads} heads of ${hiddenSize / heads}, seed ${seed}; ${count(kept)} kept`,
        ],
        ["LLM", count(llm), merged ? "the LLM's with the LoRA" : "bit for bit the LLM's"],
      ],
      [1],
    ),
  );
  if (emptyThought) note("note: prompts end with an empty thought: this LLM would think before it answers");
  note("note: the new adaptor is untrained: train it (funasr-webgpu train --tune adaptor)");
}
