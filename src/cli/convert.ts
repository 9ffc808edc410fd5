import { bytes } from "../report/text.js";
import { Command, Option } from "commander";
import { type Checkpoint, openCheckpoint } from "../checkpoint/checkpoint.js";
import { type ConvertOptions, ctcFiles, transformersFiles } from "../checkpoint/convert.js";
import { funasrFiles } from "../checkpoint/convert-funasr.js";
import { type CtcHead, openCtc } from "../checkpoint/ctc.js";
import type { ModelFiles } from "../checkpoint/source.js";
import type { OutputFile, WriteDtype } from "../checkpoint/output-files.js";
import { loadParts } from "../decode/parts.js";
import { FunasrError } from "../errors.js";
import { writeDirectoryAtomic } from "../node/files.js";
import { loraFiles, modelFiles } from "../node/model-files.js";
import { funasrTemplate } from "../tokenizer/funasr-template.js";
import { baseOption, findModel, loraOption, modelForms, warnOf } from "./model.js";
import { note, print, printJson, progressBar, shown } from "./output.js";

const dtypes = { bf16: "BF16", f16: "F16", f32: "F32" } as const satisfies Record<string, WriteDtype>;

interface ConvertCommandOptions {
  readonly base?: string;
  readonly lora?: readonly string[];
  readonly to: "transformers" | "funasr";
  readonly dtype?: keyof typeof dtypes;
  readonly json?: boolean;
}

export function convertCommand(): Command {
  return new Command("convert")
    .description(
      "write a checkpoint of any layout as the transformers layout, or as FunASR's, which those programs load",
    )
    .argument("<model>", modelForms)
    .argument("<out>", "directory to make; an existing one must be empty")
    .addOption(
      new Option("--to <layout>", "layout to write")
        .choices(["transformers", "funasr"])
        .default("transformers"),
    )
    .addOption(baseOption())
    .addOption(loraOption())
    .addOption(
      new Option("--dtype <type>", "type of every tensor; default: as stored, blocks of GGUF as f32").choices(
        Object.keys(dtypes),
      ),
    )
    .option("--json", "one JSON object")
    .action(convert);
}

async function convert(model: string, out: string, options: ConvertCommandOptions): Promise<void> {
  const source = modelFiles(await findModel(model, options.base));
  const checkpoint = await openCheckpoint(source, loraFiles(options.lora));
  let head: CtcHead | undefined;
  const bar = progressBar("converting");
  try {
    await loadParts(checkpoint); // a model that transcribe refuses is not written
    let weightBytes = 0;
    const dtype = options.dtype && dtypes[options.dtype];
    const onProgress = (done: number): void => bar.update(done, weightBytes);
    const { files, notes } = await filesOf(checkpoint, options.to, { ...(dtype && { dtype }), onProgress });
    const found = await findHead(source, checkpoint);
    head = found.head;
    if (head) files.push(...ctcFiles(head, dtype));
    weightBytes = files.reduce((sum, f) => sum + f.weightBytes, 0);
    bar.update(0, weightBytes);
    await writeDirectoryAtomic(out, files);
    bar.stop();
    if (options.json) {
      printJson({
        model: checkpoint.name,
        layout: checkpoint.layout,
        to: options.to,
        out,
        files: files.map((f) => f.name),
        bytes: weightBytes,
      });
      return;
    }
    print(
      `${shown(out)}: ${files.length} files, ${bytes(weightBytes)} of weights, from the ${checkpoint.layout} layout${options.to === "funasr" ? " to FunASR's" : ""}`,
    );
    if (found.refused !== undefined) note(`note: the CTC head is left out: ${found.refused}`);
    for (const line of [...checkpoint.notes, ...notes]) note(`note: ${line}`);
    warnOf(checkpoint.warnings);
  } finally {
    bar.stop();
    await head?.close();
    await checkpoint.close();
  }
}

/** The files of a layout, and what the layout's program does otherwise than the checkpoint. */
async function filesOf(
  checkpoint: Checkpoint,
  to: ConvertCommandOptions["to"],
  options: Omit<ConvertOptions, "template">,
): Promise<{ readonly files: OutputFile[]; readonly notes: readonly string[] }> {
  if (to === "funasr") return funasrFiles(checkpoint, options);
  return { files: await transformersFiles(checkpoint, { ...options, template: funasrTemplate }), notes: [] };
}

/** The checkpoint's CTC head, or why it cannot be used. */
async function findHead(
  files: ModelFiles,
  checkpoint: Checkpoint,
): Promise<{ readonly head?: CtcHead | undefined; readonly refused?: string }> {
  try {
    return { head: await openCtc(files, checkpoint) };
  } catch (error) {
    if (!(error instanceof FunasrError)) throw error;
    return { refused: error.message };
  }
}
