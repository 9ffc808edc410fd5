import { isObject, show } from "../json.js";
import { FrontendConfigError } from "./errors.js";

export const WINDOWS = ["hamming", "hanning", "povey"] as const;
export type WindowName = (typeof WINDOWS)[number];

/** How a checkpoint wants its features made. */
export interface FrontendConfig {
  readonly samplingRate: number; // Hz
  readonly melBins: number;
  readonly frameLength: number; // ms
  readonly frameShift: number; // ms
  readonly lfrStack: number; // frames stacked into one
  readonly lfrStride: number; // frames between two stacks
  readonly window: WindowName;
  readonly waveformScale: number; // the waveform is multiplied by it: 1 for transformers, 32768 for FunASR
  readonly dither: number; // standard deviation of gaussian noise added to every frame, after the scale; 0 is off
  readonly ditherSeed: number; // u32
}

/**
 * The defaults of transformers' FunAsrNanoFeatureExtractor. Its save_pretrained leaves out
 * "window".
 */
export const DEFAULT_FRONTEND: FrontendConfig = {
  samplingRate: 16_000,
  melBins: 80,
  frameLength: 25,
  frameShift: 10,
  lfrStack: 7,
  lfrStride: 6,
  window: "hamming",
  waveformScale: 1,
  dither: 0,
  ditherSeed: 0,
};

const EXTRACTOR = "FunAsrNanoFeatureExtractor";

/**
 * Front-end configuration from preprocessor_config.json, or from processor_config.json with the
 * fields under "feature_extractor", as transformers writes them. Absent fields have the feature
 * extractor's defaults; "waveform_scale" (1), "dither" (0) and "dither_seed" (0) are this package's
 * own; "num_mel_bins" may stand for "feature_size".
 * @param json  the parsed file
 * @param file  its name, for errors
 * @throws FrontendConfigError  a field of the wrong type or out of range, another feature
 *   extractor, an unsupported window
 */
export function parseFrontendConfig(json: unknown, file: string): FrontendConfig {
  if (!isObject(json)) throw new FrontendConfigError(file, "top level", "an object", show(json));
  const nested = json.feature_extractor;
  if (nested !== undefined && !isObject(nested)) {
    throw new FrontendConfigError(file, "feature_extractor", "an object", show(nested));
  }
  const prefix = nested ? "feature_extractor." : "";
  const fields = nested ?? json;
  const fail = (field: string, expected: string): never => {
    throw new FrontendConfigError(file, prefix + field, expected, show(fields[field]));
  };
  const number = (field: string, fallback: number, low: number, high: number, whole: boolean): number => {
    const value = fields[field] ?? fallback;
    const ok =
      typeof value === "number" && value >= low && value <= high && (!whole || Number.isInteger(value));
    return ok ? value : fail(field, `${whole ? "an integer" : "a number"} in ${low}..${high}`);
  };
  if ((fields.feature_extractor_type ?? EXTRACTOR) !== EXTRACTOR)
    fail("feature_extractor_type", `"${EXTRACTOR}"`);
  const window = fields.window ?? DEFAULT_FRONTEND.window;
  const d = DEFAULT_FRONTEND;
  const config: FrontendConfig = {
    samplingRate: number("sampling_rate", d.samplingRate, 4_000, 768_000, true),
    melBins: number("feature_size" in fields ? "feature_size" : "num_mel_bins", d.melBins, 1, 512, true),
    frameLength: number("frame_length", d.frameLength, 1, 1_000, false),
    frameShift: number("frame_shift", d.frameShift, 1, 1_000, false),
    lfrStack: number("num_frames_lfr", d.lfrStack, 1, 64, true),
    lfrStride: number("stride_lfr", d.lfrStride, 1, 64, true),
    window: isWindow(window) ? window : fail("window", `one of ${WINDOWS.join(", ")}`),
    waveformScale: number("waveform_scale", d.waveformScale, 1e-9, 2 ** 31, false),
    dither: number("dither", d.dither, 0, 2 ** 31, false),
    ditherSeed: number("dither_seed", d.ditherSeed, 0, 2 ** 32 - 1, true),
  };
  if ("num_mel_bins" in fields && fields.num_mel_bins !== config.melBins)
    fail("num_mel_bins", `${config.melBins}, as feature_size`);
  return config;
}

function isWindow(value: unknown): value is WindowName {
  return WINDOWS.some((name) => name === value);
}
