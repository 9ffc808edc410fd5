import type { Texts } from "./texts.js";

/** What is wrong with a recording, by the engine's line: `FILE: FIELD: expected E, got G; ADVICE`. */
export function audioKind(line: string): keyof Texts["audio"] {
  if (/: file size: expected .*, got 0\b/.test(line)) return "empty";
  if (/: (container|content|format): expected /.test(line)) return "foreign";
  if (/: samples: expected at most /.test(line)) return "long";
  if (/: audio: expected at least /.test(line)) return "short";
  return "damaged";
}
