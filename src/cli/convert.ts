import { bytes } from "../report/text.js";
import { Command, Option } from "commander";
import { transformersFiles } from "../checkpoint/convert.js";
import type { WriteDtype } from "../checkpoint/output-files.js";
import { loadParts } from "../decode/parts.js";
import { writeDirectoryAtomic } from "../node/files.js";
import { funasrTemplate } from "../tokenizer/funasr-template.js";
import { loraOption, modelForms, openModel, warnOf } from "./model.js";
import { note, print, printJson, progressBar, shown } from "./output.js";

const dtypes = { bf16: "BF16", f16: "F16", f32: "F32" } as const satisfies Record<string, WriteDtype>;

interface ConvertCommandOptions {
  readonly lora?: readonly string[];
  readonly dtype?: keyof typeof dtypes;
  readonly json?: boolean;
}

export function convertCommand(): Command {
  return new Command("convert")
    .description(
      "write a checkpoint of any layout as the transformers layout, which transformers itself loads",
    )
    .argument("<model>", modelForms)
    .argument("<out>", "directory to make; an existing one must be empty")
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
  const checkpoint = await openModel(model, options.lora);
  const bar = progressBar("converting");
  try {
    await loadParts(checkpoint); // what transcribe refuses is not written
    let weightBytes = 0;
    const files = await transformersFiles(checkpoint, {
      ...(options.dtype ? { dtype: dtypes[options.dtype] } : {}),
      template: funasrTemplate,
      onProgress: (done) => bar.update(done, weightBytes),
    });
    weightBytes = files.reduce((sum, f) => sum + f.weightBytes, 0);
    bar.update(0, weightBytes);
    await writeDirectoryAtomic(out, files);
    bar.stop();
    if (options.json) {
      printJson({
        model: checkpoint.name,
        layout: checkpoint.layout,
        out,
        files: files.map((f) => f.name),
        bytes: weightBytes,
      });
      return;
    }
    print(
      `${shown(out)}: ${files.length} files, ${bytes(weightBytes)} of weights, from the ${checkpoint.layout} layout`,
    );
    if (checkpoint.ctc.length > 0)
      note(
        `note: the ${checkpoint.ctc.length} CTC tensors are left out: the transformers layout has no place for them`,
      );
    for (const line of checkpoint.notes) note(`note: ${line}`);
    warnOf(checkpoint.warnings);
  } finally {
    bar.stop();
    await checkpoint.close();
  }
}
