import { type Command, InvalidArgumentError, Option } from "commander";
import type { TargetLanguage } from "../decode/translator.js";
import type { WeightFormat } from "../gpu/matrix.js";
import type { Language } from "../tokenizer/languages.js";
import { MOST_SILENCE_MS } from "../decode/vad/segmenter.js";
import {
  LEAST_WHOLE_SECONDS,
  RECORDING_DEFAULTS,
  WHOLE_SECONDS,
} from "../decode/segments/transcribe-recording.js";
import { natural, number, whole } from "./numbers.js";
import type { TranscriptFileOptions } from "./transcript-files.js";
import { type Condition } from "./usage.js";
import { vadForms } from "./vad-model.js";

export interface TranscribeCliOptions extends TranscriptFileOptions {
  readonly base?: string;
  readonly lora?: readonly string[];
  /** Language to translate into; absent: the words as spoken. */
  readonly to?: TargetLanguage;
  readonly cascade?: boolean;
  readonly language?: Language;
  readonly hotwords?: string[];
  readonly context?: string;
  readonly itn: boolean;
  readonly weights?: WeightFormat;
  /** Default: 1 clip, and as many segments of a long one as `batchTokens` allow. */
  readonly batch?: number;
  readonly batchTokens: number;
  /** Default: as the checkpoint says. */
  readonly mergeSeconds?: number;
  /** ms */
  readonly maxEndSilence: number;
  /** A file with the segments of a clip. */
  readonly segments?: string;
  readonly maxTokens?: number;
  readonly repetitionPenalty?: number;
  readonly strict?: boolean;
  /** Text as a live session gives it. */
  readonly stream?: boolean;
  readonly debug?: boolean;
}

/** Words of an option, with commas between. */
export function wordList(text: string): string[] {
  const words = text
    .split(/[,，]/)
    .map((word) => word.trim())
    .filter((word) => word !== "");
  if (words.length === 0) throw new InvalidArgumentError("Expected words separated by commas.");
  return words;
}

/** Clips, or segments of a long one, in a run. */
export function batchOption(): Option {
  return new Option(
    "--batch <clips>",
    "clips, or segments of a long one, that run together; default: 1 clip, or the segments of --batch-tokens",
  ).argParser(natural);
}

/** The options of commands that take clips of any length. */
export function longOptions(command: Command): Command {
  return command
    .option(
      "--vad <model>",
      `transcribe every clip in segments of speech: ${vadForms}; off: whole. Default: the net of this package, for clips longer than ${WHOLE_SECONDS} s (${LEAST_WHOLE_SECONDS} s where merge_length_s of the checkpoint's config is below that) or than the model takes`,
    )
    .option(
      "--max-end-silence <ms>",
      "silence that ends a segment of a long clip",
      whole(0, MOST_SILENCE_MS),
      RECORDING_DEFAULTS.maxEndSilenceMs,
    )
    .option(
      "--merge-seconds <seconds>",
      `neighbouring segments of a long clip are joined up to this length over silences of 1 s at most; 0: never; default: merge_length_s of the checkpoint's config, or ${RECORDING_DEFAULTS.mergeMs / 1000}`,
      number("seconds from 0", (value) => value >= 0),
    )
    .option(
      "--batch-tokens <count>",
      "segments of a long clip run together up to so many tokens of audio",
      natural,
      RECORDING_DEFAULTS.batchTokens,
    );
}

/** When the options of `longOptions` have an effect. */
export function longConditions({
  vad,
  segments,
  report,
}: Pick<TranscribeCliOptions, "vad" | "segments" | "report">): Condition[] {
  const given = segments !== undefined;
  const cuts = ["maxEndSilence", "mergeSeconds"];
  return [
    // a report shows what the net hears
    {
      options: ["vad"],
      met: !given || report !== undefined,
      needs: "segments that are found, not --segments",
    },
    { options: cuts, met: !given, needs: "segments that are found, not --segments" },
    { options: [...cuts, "batchTokens"], met: given || vad !== "off", needs: "segments, not --vad off" },
  ];
}
