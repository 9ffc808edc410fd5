import { viewOf } from "./spans.js";
import { checkSampleRate } from "./audio.js";
import { Budget } from "./budget.js";
import { AudioError, convertIt, fetchAgain } from "./errors.js";
import type { Heard } from "./hearing.js";
import { A_LAW, FLOAT, MU_LAW, PCM, pcmAudio } from "./pcm.js";

const MAX_CHANNELS = 64;
/** Tag and bits by the header's encoding. */
const ENCODINGS: Readonly<Record<number, readonly [tag: number, bits: number] | undefined>> = {
  1: [MU_LAW, 8],
  2: [PCM, 8],
  3: [PCM, 16],
  4: [PCM, 24],
  5: [PCM, 32],
  6: [FLOAT, 32],
  7: [FLOAT, 64],
  27: [A_LAW, 8],
};

/** Whether the bytes begin as an AU (.snd) file does. */
export function isAu(bytes: Uint8Array): boolean {
  return String.fromCharCode(...bytes.subarray(0, 4)) === ".snd";
}

/**
 * Samples of an AU file: PCM of 8 to 32 bits, floats, A-law, mu-law. A size past the file's end is
 * `damage`. Sizes of 0 and 2^32 - 1 mean "not known".
 * @throws AudioError  another encoding, no samples
 * @source Sun Microsystems, audio(7I) and the header of NeXT's .snd
 */
export function parseAu(bytes: Uint8Array, name: string, budget = new Budget(name)): Heard {
  if (bytes.length < 24)
    throw new AudioError(name, "file size", "at least 24 bytes", bytes.length, fetchAgain);
  const view = viewOf(bytes);
  const [offset, size, encoding, rate, channels] = [4, 8, 12, 16, 20].map((at) => view.getUint32(at));
  const known = ENCODINGS[encoding];
  if (!known) throw new AudioError(name, "encoding", Object.keys(ENCODINGS).join(", "), encoding, convertIt);
  checkSampleRate(name, "sample rate", rate);
  if (channels < 1 || channels > MAX_CHANNELS)
    throw new AudioError(name, "channels", `1..${MAX_CHANNELS}`, channels, convertIt);
  const [tag, bits] = known;
  const blockAlign = (channels * bits) / 8;
  const left = bytes.subarray(Math.max(24, offset));
  const promised = size === 0 || size === 0xffffffff ? left.length : size;
  const format = { tag, channels, rate, bits, blockAlign, little: false, signedBytes: true };
  return pcmAudio(name, "data size", format, { data: left.subarray(0, promised), promised, budget });
}
