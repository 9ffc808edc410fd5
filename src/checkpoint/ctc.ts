import { type CtcConfig, type CtcSettings, ctcTensors, readCtcConfig } from "../config/ctc-config.js";
import { CheckpointError, checkpointError } from "../formats/errors.js";
import { TokenizerError } from "../tokenizer/errors.js";
import { type Tiktoken, loadTiktoken } from "../tokenizer/tiktoken.js";
import type { ParameterSource } from "../weights/loader.js";
import type { Checkpoint, TensorEntry } from "./checkpoint.js";
import { openSafetensors } from "./safetensors/safetensors.js";
import { type ModelFiles, closeOnError, readRange } from "./source.js";

/** The head in a file of its own, beside weights of any layout. */
export const CTC_FILE = "ctc.safetensors";
/** Its tokenizer, FunASR's name. */
export const CTC_TOKENIZER = "multilingual.tiktoken";
const mostTokenizerBytes = 16 << 20; // the released one has 1 MB

/** A checkpoint's CTC head, which times of words need. */
export interface CtcHead {
  readonly config: CtcConfig;
  /** Its tensors by canonical name. */
  readonly source: ParameterSource;
  readonly tokenizer: Tiktoken;
  /** The tokenizer's file. */
  readonly tokenizerText: string;
  /** Releases the head's own file; the checkpoint stays open. */
  close(): Promise<void>;
}

/** The head's tensors by FunASR's names, before they are checked. */
interface Stored {
  readonly file: string;
  readonly entries: ReadonlyMap<string, TensorEntry>;
  readonly read: ParameterSource["read"];
  readonly close: () => Promise<void>;
}

/**
 * Opens the CTC head of a checkpoint: tensors in FunASR's model.pt and what was made from it, or a
 * file of their own.
 * @returns  undefined where there is none
 * @throws CheckpointError  it is incomplete, or does not fit the encoder or its tokenizer
 * @throws TokenizerError   the tokenizer is damaged
 */
export async function openCtc(files: ModelFiles, checkpoint: Checkpoint): Promise<CtcHead | undefined> {
  const stored = checkpoint.ctc.length > 0 ? ofCheckpoint(checkpoint) : await ofFile(files);
  return stored && closeOnError(stored, () => assemble(files, checkpoint, stored));
}

/** As openCtc, but undefined also for a head that is incomplete, or does not fit. */
export async function openCtcIfSound(
  files: ModelFiles,
  checkpoint: Checkpoint,
): Promise<CtcHead | undefined> {
  try {
    return await openCtc(files, checkpoint);
  } catch (error) {
    if (error instanceof CheckpointError || error instanceof TokenizerError) return undefined;
    throw error;
  }
}

async function assemble(files: ModelFiles, checkpoint: Checkpoint, stored: Stored): Promise<CtcHead> {
  const settings: CtcSettings = checkpoint.ctcSettings ?? {};
  const { file, entries, read, close } = stored;
  const shapes = new Map([...entries].map(([name, { shape }]) => [name, shape]));
  const config = readCtcConfig(shapes, checkpoint.config.encoder.hiddenSize, settings, file);
  const tensors = new Map(
    ctcTensors(config).map(({ source, name }) => [name, { ...entries.get(source)!, name }]),
  );
  const name = settings.tokenizerFile ?? CTC_TOKENIZER;
  const tokenizerFile = `${files.name}/${name}`;
  const tokenizerText = await files.readText(name, mostTokenizerBytes);
  const tokenizer = loadTiktoken(tokenizerText, tokenizerFile);
  if (tokenizer.size > config.blankId)
    throw checkpointError(
      tokenizerFile,
      "ranks",
      `below ${config.blankId}, the blank of the CTC head`,
      tokenizer.size - 1,
      "do the head and its tokenizer belong together?",
    );
  return { config, source: { name: file, tensors, read }, tokenizer, tokenizerText, close };
}

function ofCheckpoint(checkpoint: Checkpoint): Stored {
  const entries = checkpoint.ctc.map(({ name, file, dtype, shape, byteLength }) => {
    const source = name.replace(/^module\./, "");
    return [source, { name: source, sourceName: name, file, dtype, shape, byteLength, offset: 0 }] as const;
  });
  return {
    file: checkpoint.name,
    entries: new Map(entries),
    read: (entry, byteOffset, byteLength, into) =>
      checkpoint.read(entry as TensorEntry, byteOffset, byteLength, into),
    close: () => Promise.resolve(),
  };
}

async function ofFile(files: ModelFiles): Promise<Stored | undefined> {
  if (!(await files.has(CTC_FILE))) return undefined;
  const source = await files.open(CTC_FILE);
  const { tensors } = await closeOnError(source, () => openSafetensors(source));
  const entries = [...tensors.values()].map(({ name, dtype, shape, byteLength }) => {
    return [name, { name, sourceName: name, file: CTC_FILE, dtype, shape, byteLength, offset: 0 }] as const;
  });
  return {
    file: `${files.name}/${CTC_FILE}`,
    entries: new Map(entries),
    read: (entry, byteOffset, byteLength, into) =>
      readRange(source, tensors.get((entry as TensorEntry).sourceName)!, byteOffset, byteLength, into),
    close: () => source.close(),
  };
}
