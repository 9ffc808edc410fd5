import { viewOf } from "./spans.js";
import { Budget } from "./budget.js";
import { AudioError, convertIt, fetchAgain } from "./errors.js";
import type { Heard } from "./hearing.js";
import { type PcmFormat, pcmAudio } from "./pcm.js";
import { parseFormat } from "./wav.js";

const RIFF = "riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00";
/** The last 12 bytes of the GUIDs of all other chunks. */
const TAIL = "\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a";

/** Whether the bytes begin as a Sony Wave64 file does. */
export function isWave64(bytes: Uint8Array): boolean {
  return latin1(bytes, 0, 16) === RIFF && latin1(bytes, 24, 16) === `wave${TAIL}`;
}

/**
 * Samples of a Sony Wave64 file, in the formats of `parseWav`. A data chunk that passes the file's
 * end is `damage`, unless its size is one that streaming writers leave.
 * @throws AudioError  as parseWav
 * @source Sonic Foundry, Sony Pictures Digital Media Software: Wave64 file format (2004)
 */
export function parseWave64(bytes: Uint8Array, name: string, budget = new Budget(name)): Heard {
  const view = viewOf(bytes);
  let format: PcmFormat | undefined;
  for (let at = 40; at + 24 <= bytes.length;) {
    const id = latin1(bytes, at, 16);
    const size = Number(view.getBigUint64(at + 16, true)); // its head of 24 bytes among them
    const left = bytes.length - at - 24;
    if (id === `data${TAIL}`) {
      if (!format) throw new AudioError(name, "fmt chunk", "one before the data chunk", "none", convertIt);
      const promised = size <= 24 || size >= 2 ** 62 ? left : size - 24;
      const data = bytes.subarray(at + 24, at + 24 + Math.min(left, promised));
      return pcmAudio(name, "data.size", format, { data, promised, budget });
    }
    if (id === `fmt ${TAIL}`)
      format ??= parseFormat(bytes.subarray(at + 24, Math.min(bytes.length, at + size)), name, true);
    at += Math.max(24, 8 * Math.ceil(size / 8));
  }
  throw new AudioError(name, format ? "data chunk" : "fmt chunk", "one in the file", "none", fetchAgain);
}

function latin1(bytes: Uint8Array, at: number, length: number): string {
  return String.fromCharCode(...bytes.subarray(at, at + length));
}
