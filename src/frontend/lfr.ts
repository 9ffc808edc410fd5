import type { Features } from "./fbank.js";

/**
 * Low frame rate: row t is the concatenation of frames t * stride - left .. + stack - 1 with left =
 * (stack - 1) >> 1, where frames before the first are the first and frames after the last are the
 * last.
 * @param features  [F, W]
 * @param stack     frames side by side in a row (7)
 * @param stride    frames from a row to the next (6)
 * @returns         [ceil(F / stride), stack * W]
 * @source FunASR wav_frontend.apply_lfr; transformers FunAsrNanoFeatureExtractor._apply_lfr
 */
export function lowFrameRate(features: Features, stack: number, stride: number): Features {
  const { width } = features;
  const left = (stack - 1) >> 1;
  const rows = Math.ceil(features.frames / stride);
  const data = new Float32Array(rows * stack * width);
  for (let t = 0; t < rows; t++) {
    for (let s = 0; s < stack; s++) {
      const source = Math.min(Math.max(t * stride + s - left, 0), features.frames - 1);
      data.set(features.data.subarray(source * width, (source + 1) * width), (t * stack + s) * width);
    }
  }
  return { data, frames: rows, width: stack * width };
}
