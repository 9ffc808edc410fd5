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
/** Special tokens between the ranks and the blank. @source the released head: 58,836 ranks, blank 60,514 */
const funasrSpecials = 1678;
export const noHead = "the checkpoint has no CTC head: there are no times of words";

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

/**
 * Opens the head as `wordTimes` asks.
 * @returns  the head, or why there is none; "optional": no warning where the checkpoint has none
 * @throws  as openCtc, but for "optional"
 */
export async function openCtcAsAsked(
  files: ModelFiles,
  checkpoint: Checkpoint,
  wordTimes: boolean | "optional" | undefined,
): Promise<{ readonly head?: CtcHead; readonly warning?: string }> {
  if (!wordTimes) return {};
  try {
    const head = await openCtc(files, checkpoint);
    if (head) return { head };
    return wordTimes === true ? { warning: noHead } : {};
  } catch (error) {
    const unsound = error instanceof CheckpointError || error instanceof TokenizerError;
    if (wordTimes === true || !unsound) throw error;
    return { warning: `the CTC head is not used, and invented text is not found: ${error.message}` };
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
  checkRanks(tokenizer, config, tokenizerFile);
  return { config, source: { name: file, tensors, read }, tokenizer, tokenizerText, close };
}

/** @throws CheckpointError  the ranks do not fill the head's rows below the blank */
function checkRanks({ size, count }: Tiktoken, { blankId, vocabSize }: CtcConfig, file: string): void {
  const advice = "do the head and its tokenizer belong together?";
  if (size > blankId)
    throw checkpointError(file, "ranks", `below ${blankId}, the blank of the CTC head`, size - 1, advice);
  if (count === blankId || count === blankId - funasrSpecials) return;
  const released =
    blankId > funasrSpecials
      ? `, or ${blankId - funasrSpecials} beside ${funasrSpecials} special tokens`
      : "";
  const expected = `${blankId} for the head's ${vocabSize} rows${released}`;
  throw checkpointError(file, "ranks", expected, count, advice);
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
