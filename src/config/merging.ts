import type { ConfigReader } from "./reader.js";

/** What a checkpoint says of joining neighbouring segments of a recording. */
export interface Merging {
  /** Segments are joined up to this length, s; 0: never. Absent: the checkpoint does not say. */
  mergeSeconds?: number;
}

/**
 * Reads `merge_length_s`, and `merge_vad`, where false means never.
 * @throws ConfigError  a value of another type
 * @source funasr `auto_model.py`, inference_with_vad
 */
export function readMerging(root: ConfigReader): Merging {
  const length = root.isNull("merge_length_s") ? {} : { mergeSeconds: root.notNegative("merge_length_s") };
  return root.flag("merge_vad", true) ? length : { mergeSeconds: 0 };
}
