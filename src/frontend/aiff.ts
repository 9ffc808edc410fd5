import { viewOf } from "./spans.js";
import { checkSampleRate } from "./audio.js";
import { Budget } from "./budget.js";
import { chunkAfter, chunkId, findChunk } from "./chunks.js";
import { AudioError, convertIt, fetchAgain } from "./errors.js";
import type { Heard } from "./hearing.js";
import { A_LAW, FLOAT, MU_LAW, PCM, type PcmFormat, pcmAudio, withoutNext } from "./pcm.js";

const MAX_CHANNELS = 64;
const [COMM, SSND] = ["COMM", "SSND"].map(chunkId);

/**
 * AIFF-C's compression types: tag, bits (0: as COMM says), and whether the lowest byte comes first.
 */
const TYPES: Readonly<Record<string, readonly [tag: number, bits: number, little: boolean] | undefined>> = {
  NONE: [PCM, 0, false],
  twos: [PCM, 0, false],
  sowt: [PCM, 0, true],
  in24: [PCM, 24, false],
  in32: [PCM, 32, false],
  "42ni": [PCM, 24, true],
  "23ni": [PCM, 32, true],
  fl32: [FLOAT, 32, false],
  FL32: [FLOAT, 32, false],
  fl64: [FLOAT, 64, false],
  FL64: [FLOAT, 64, false],
  ulaw: [MU_LAW, 8, false],
  ULAW: [MU_LAW, 8, false],
  alaw: [A_LAW, 8, false],
  ALAW: [A_LAW, 8, false],
};

/** Whether the bytes begin as AIFF or AIFF-C does. */
export function isAiff(bytes: Uint8Array): boolean {
  return bytes.length >= 12 && ascii(bytes, 0) === "FORM" && ["AIFF", "AIFC"].includes(ascii(bytes, 8));
}

/**
 * Samples of AIFF and AIFF-C: PCM, floats, A-law, mu-law. Sizes are advice, as in WAV. Fewer frames
 * than COMM counts are `damage`, unless the writer could not seek.
 * @throws AudioError  another compression, no COMM or SSND chunk, no samples
 * @source Apple, Audio Interchange File Format 1.3; AIFF-C draft of 1991-08-26
 */
export function parseAiff(bytes: Uint8Array, name: string, budget = new Budget(name)): Heard {
  const view = viewOf(bytes);
  let common: { format: PcmFormat; frames: number } | undefined;
  let sound: { readonly start: number; readonly end: number; readonly whole: boolean } | undefined;
  let searched = false;
  for (let at = 12; at >= 0 && at + 8 <= bytes.length && !(common && sound);) {
    const id = view.getUint32(at);
    const size = view.getUint32(at + 4);
    const open = id === SSND && size <= 8; // of a writer that cannot seek
    const end = open ? bytes.length : Math.min(bytes.length, at + 8 + size);
    if (id === COMM) common ??= parseCommon(bytes.subarray(at + 8, end), ascii(bytes, 8) === "AIFC", name);
    if (id === SSND && at + 16 <= end)
      sound ??= {
        start: at + 16 + view.getUint32(at + 8),
        end,
        whole: !open && at + 8 + size <= bytes.length,
      };
    const next = chunkAfter(view, at + 8 + size, size);
    if (next >= 0) at = next;
    else if (searched) break;
    else {
      searched = true;
      at = findChunk(view, at + 8, common ? "SSND" : "COMM", false);
    }
  }
  if (!common) throw new AudioError(name, "COMM chunk", "one in the file", "none", fetchAgain);
  if (!sound) throw new AudioError(name, "SSND chunk", "one in the file", "none", fetchAgain);
  const { format, frames } = common;
  const counted = frames * format.blockAlign;
  const streamed = frames === 0 || view.getUint32(4) === 0 || view.getUint32(4) >= 0x7f000000;
  const small = sound.end - sound.start < counted && chunkAfter(view, sound.end, 0) < 0; // SSND.size is wrong
  const data = bytes.subarray(sound.start, small ? bytes.length : sound.end);
  const twice = counted > data.length || 2 * counted <= data.length; // or more: COMM's count is wrong where SSND is whole
  const wrong = twice && sound.whole && ends(view, sound.end);
  const read = streamed || wrong ? data : data.subarray(0, counted);
  const promised = streamed || wrong ? read.length : counted;
  const audio = pcmAudio(name, "SSND.size", format, { data: read, promised, budget });
  return withoutNext(audio, isAiff(bytes.subarray(sound.end)));
}

/** Whether the file ends at `at`, or another chunk begins there. */
function ends(view: DataView, at: number): boolean {
  return at + 1 >= view.byteLength || chunkAfter(view, at, 0) >= 0;
}

function parseCommon(
  chunk: Uint8Array,
  compressed: boolean,
  name: string,
): { format: PcmFormat; frames: number } {
  const least = compressed ? 22 : 18;
  if (chunk.length < least)
    throw new AudioError(name, "COMM.size", `at least ${least}`, chunk.length, convertIt);
  const view = viewOf(chunk);
  const channels = view.getUint16(0);
  if (channels < 1 || channels > MAX_CHANNELS)
    throw new AudioError(name, "COMM.channels", `1..${MAX_CHANNELS}`, channels, convertIt);
  const rate = extended(view, 8);
  checkSampleRate(name, "COMM.sampleRate", rate);
  const type = compressed ? ascii(chunk, 18) : "NONE";
  const known = Object.hasOwn(TYPES, type) ? TYPES[type] : undefined;
  if (!known)
    throw new AudioError(
      name,
      "COMM.compressionType",
      Object.keys(TYPES).join(", "),
      JSON.stringify(type),
      convertIt,
    );
  const [tag, fixed, little] = known;
  const sampleSize = view.getUint16(6);
  if (fixed === 0 && (sampleSize < 1 || sampleSize > 32))
    throw new AudioError(name, "COMM.sampleSize", "1..32", sampleSize, convertIt);
  const bits = fixed || 8 * Math.ceil(sampleSize / 8); // fewer bits stand at the top of whole bytes
  const blockAlign = (channels * bits) / 8;
  return {
    format: { tag, channels, rate, bits, blockAlign, little, signedBytes: true },
    frames: view.getUint32(2),
  };
}

/** A number of 80 bits, IEEE 754 extended, by its first 48. */
function extended(view: DataView, at: number): number {
  return view.getUint32(at + 2) * 2 ** ((view.getUint16(at) & 0x7fff) - 16383 - 31);
}

function ascii(bytes: Uint8Array, at: number): string {
  return String.fromCharCode(...bytes.subarray(at, at + 4));
}
