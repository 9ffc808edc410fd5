import { Argument, Command } from "commander";
import { type Checkpoint, openCheckpoint } from "../checkpoint/checkpoint.js";
import { demoModel } from "../node/demo.js";
import { modelFiles } from "../node/model-files.js";
import { elementCount } from "../shape.js";
import { loadTokenizer } from "../tokenizer/tokenizer.js";
import { findModel, modelForms } from "./model.js";
import { bytes, count, print, printJson, table } from "./output.js";

interface Part {
  readonly name: string;
  readonly prefix: string;
  /** What a migration to a larger Qwen3 does with it. */
  readonly migration: string;
}

const parts: readonly Part[] = [
  { name: "encoder", prefix: "model.audio_tower.", migration: "reused whatever the LLM" },
  {
    name: "adaptor",
    prefix: "model.multi_modal_projector.",
    migration: "rebuilt at the LLM's width; linear_1 keeps its shape",
  },
  { name: "embedding", prefix: "model.language_model.embed_tokens.", migration: "replaced with the LLM" },
  { name: "LLM layers", prefix: "model.language_model.", migration: "replaced with the LLM" },
  { name: "head", prefix: "lm_head.", migration: "replaced with the LLM" },
];

/** What each layout is made of. */
const LAYOUTS: Readonly<Record<Checkpoint["layout"], string>> = {
  transformers: "transformers: config.json, safetensors",
  funasr: "FunASR: config.yaml, model.pt, the LLM's directory",
  gguf: "GGUF: encoder and LLM apart",
  mlx: "MLX port: safetensors under FunASR's structure",
};

interface PartReport {
  readonly name: string;
  readonly tensors: number;
  readonly parameters: number;
  readonly bytes: number;
  readonly dtypes: readonly string[];
  readonly migration: string;
}

/** Tensors by component, each counted once, from the files. */
function countParts(checkpoint: Checkpoint): PartReport[] {
  const entries = [...checkpoint.tensors.values()];
  return parts.map(({ name, prefix, migration }) => {
    const own = entries.filter(
      (e) => parts.find((part) => e.name.startsWith(part.prefix))?.prefix === prefix,
    );
    return {
      name,
      tensors: own.length,
      parameters: own.reduce((sum, entry) => sum + elementCount(entry.shape), 0),
      bytes: own.reduce((sum, { byteLength }) => sum + byteLength, 0),
      dtypes: [...new Set(own.map(({ dtype }) => dtype))].sort(),
      migration,
    };
  });
}

const specialTokens = [
  "<|im_start|>",
  "<|im_end|>",
  "<|endoftext|>",
  "<|object_ref_start|>",
  "<think>",
  "</think>",
];

/** Ids of the tokens that prompts and stop rules are made of, null where the vocabulary lacks one. */
async function readSpecialTokens({ assets }: Checkpoint): Promise<Readonly<Record<string, number | null>>> {
  const { json, file } = await assets.tokenizer();
  const tokenizer = loadTokenizer(json, {}, file);
  return Object.fromEntries(specialTokens.map((token) => [token, tokenizer.id(token) ?? null]));
}

export function inspectCommand(): Command {
  return new Command("inspect")
    .description("show a checkpoint's components, shapes, parameters and bytes, counted from its files")
    .addArgument(new Argument("[model]", modelForms).default(demoModel, "the demo"))
    .option("--tensors", "list every tensor")
    .option("--json", "one JSON object")
    .action(async (model: string, options: { tensors?: boolean; json?: boolean }) => {
      const checkpoint = await openCheckpoint(modelFiles(await findModel(model)));
      try {
        const tokens = await readSpecialTokens(checkpoint);
        if (options.json)
          printJson({ ...inspection(checkpoint, options.tensors === true), specialTokens: tokens });
        else printInspection(checkpoint, tokens, options.tensors === true);
      } finally {
        await checkpoint.close();
      }
    });
}

function inspection(checkpoint: Checkpoint, tensors: boolean): Record<string, unknown> {
  const { encoder, adaptor, llm, audioTokenId, audioTokenRule } = checkpoint.config;
  return {
    model: checkpoint.name,
    layout: checkpoint.layout,
    parts: countParts(checkpoint),
    parameters: checkpoint.parameterCount,
    bytes: checkpoint.totalBytes,
    ...{ encoder, adaptor, llm, audioTokenId, audioTokenRule },
    ctc: { tensors: checkpoint.ctc.length },
    ignored: checkpoint.ignored.map(({ sourceName }) => sourceName),
    notes: checkpoint.notes,
    tensors: tensors ? [...checkpoint.tensors.values()] : undefined,
  };
}

function printInspection(
  checkpoint: Checkpoint,
  tokens: Readonly<Record<string, number | null>>,
  tensors: boolean,
): void {
  const { encoder: e, adaptor: a, llm, audioTokenId, audioTokenRule } = checkpoint.config;
  const reports = countParts(checkpoint);
  print(`checkpoint ${checkpoint.name}`);
  print(`  layout   ${LAYOUTS[checkpoint.layout]}`);
  print(
    `  encoder  SAN-M, ${e.inputSize} → ${e.hiddenSize}, 1 + ${e.layers} + ${e.tpLayers} layers, ${e.heads} heads, FFN ${e.intermediateSize}, FSMN kernel ${e.fsmnKernelSize}`,
  );
  print(
    `  adaptor  ${e.hiddenSize} → ${a.projectorHiddenSize} → ${a.hiddenSize}, ${a.layers} blocks, ${a.heads} heads of ${a.hiddenSize / a.heads}, FFN ${a.intermediateSize}`,
  );
  print(
    `  LLM      Qwen3, width ${llm.hiddenSize}, ${llm.layers} layers, ${llm.heads} heads of ${llm.headDim}, ${llm.kvHeads} KV heads, FFN ${llm.intermediateSize}, vocabulary ${count(llm.vocabSize)}, context ${count(llm.maxPositions)}`,
  );
  print(`  head     ${llm.tiedHead ? "tied to the embedding" : "of its own"}`);
  print(
    `  audio    token ${audioTokenId}, ${audioTokenRule === "all" ? "one per frame" : "the first eighth of the frames (low frame rate)"}`,
  );
  const ids = Object.entries(tokens).map(([token, id]) => `${token} ${id ?? "missing"}`);
  print(`  tokens   ${ids.join(", ")}`);
  print(
    `  CTC      ${checkpoint.ctc.length > 0 ? `${checkpoint.ctc.length} tensors, for timestamps` : "none: this checkpoint cannot give timestamps"}`,
  );
  for (const { sourceName } of checkpoint.ignored) print(`  unused   ${sourceName}: the embedding once more`);
  for (const line of checkpoint.notes) print(`  note     ${line}`);
  print("");
  const rows = reports.map((part) => [
    ...[part.name, count(part.tensors), count(part.parameters), bytes(part.bytes), part.dtypes.join(" ")],
    part.migration,
  ]);
  const all = [
    "all",
    count(checkpoint.tensors.size),
    count(checkpoint.parameterCount),
    bytes(checkpoint.totalBytes),
    "",
    "",
  ];
  print(
    table(
      [["component", "tensors", "parameters", "bytes", "dtype", "in a migration"], ...rows, all],
      [1, 2, 3],
    ),
  );
  if (!tensors) return;
  const list = [...checkpoint.tensors.values()].map(({ name, dtype, shape }) => [
    name,
    dtype,
    `[${shape.join(", ")}]`,
  ]);
  print(`\n${table([["tensor", "dtype", "shape"], ...list])}`);
}
