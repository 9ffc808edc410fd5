import { viewOf } from "./spans.js";

/** Format tags of mmreg.h: 4 bits a sample, in blocks that begin with whole samples. */
export const MS_ADPCM = 2;
export const IMA_ADPCM = 0x11;

/** The layout of the blocks, each of `blockAlign` bytes. */
export interface AdpcmFormat {
  readonly tag: number;
  readonly channels: number;
  readonly blockAlign: number;
}

export function isAdpcm(tag: number): boolean {
  return tag === MS_ADPCM || tag === IMA_ADPCM;
}

/** Bytes of a block's head, over all channels. No block is shorter. */
export function adpcmHead({ tag, channels }: Omit<AdpcmFormat, "blockAlign">): number {
  return (tag === MS_ADPCM ? 7 : 4) * channels;
}

/** Samples of a channel in `bytes` bytes of blocks. The last block may be short. */
export function adpcmFrames(format: AdpcmFormat, bytes: number): number {
  const { blockAlign } = format;
  return Math.floor(bytes / blockAlign) * inBlock(format, blockAlign) + inBlock(format, bytes % blockAlign);
}

function inBlock({ tag, channels }: AdpcmFormat, bytes: number): number {
  const rest = bytes - adpcmHead({ tag, channels });
  if (rest < 0) return 0;
  return tag === MS_ADPCM ? 2 + Math.floor((rest * 2) / channels) : 1 + 8 * Math.floor(rest / (4 * channels));
}

/**
 * Decodes Microsoft ADPCM, and IMA ADPCM with the product form of the difference that ffmpeg
 * computes.
 * @param data    blocks of one or two channels
 * @param frames  samples of a channel to decode, at most `adpcmFrames`
 * @returns channels [C][frames] f32, and the number of blocks with an invalid head: their samples
 *          are 0
 * @source Microsoft, Multimedia Data Standards Update (1994); IMA, Recommended Practices for
 *         Digital Audio (1992)
 */
export function readAdpcm(
  data: Uint8Array,
  frames: number,
  format: AdpcmFormat,
): { readonly channels: Float32Array[]; readonly damaged: number } {
  const channels = Array.from({ length: format.channels }, () => new Float32Array(frames));
  const decode = format.tag === MS_ADPCM ? microsoftBlock : imaBlock;
  const step = inBlock(format, format.blockAlign);
  let damaged = 0;
  for (let at = 0, block = 0; at < frames; at += step, block++) {
    const bytes = data.subarray(block * format.blockAlign, (block + 1) * format.blockAlign);
    const view = viewOf(bytes);
    const count = Math.min(frames - at, inBlock(format, bytes.length));
    const whole = channels.map((_, c) => decode(view, c, channels.length));
    if (whole.includes(undefined)) damaged++;
    else for (const [c, next] of whole.entries()) fill(channels[c].subarray(at, at + count), next!);
  }
  return { channels, damaged };
}

function fill(samples: Float32Array, next: (i: number) => number): void {
  for (let i = 0; i < samples.length; i++) samples[i] = next(i) / 2 ** 15;
}

function clip(value: number): number {
  return Math.max(-32768, Math.min(32767, value));
}

const MS_ADAPT = [230, 230, 230, 230, 307, 409, 512, 614, 768, 614, 512, 409, 307, 230, 230, 230];
const MS_COEFFICIENTS = [
  [256, 0],
  [512, -256],
  [0, 0],
  [192, 64],
  [240, 0],
  [460, -208],
  [392, -232],
];
/** The largest scale: far above any of a valid file, and within 32 bits. */
const MAX_SCALE = Math.floor((2 ** 31 - 1) / 768);

/**
 * @returns the samples of channel c, to be read in order; undefined: the head names no predictor
 */
function microsoftBlock(view: DataView, c: number, count: number): ((i: number) => number) | undefined {
  const predictor = view.getUint8(c);
  if (predictor >= MS_COEFFICIENTS.length) return undefined;
  const [first, second] = MS_COEFFICIENTS[predictor];
  const word = (index: number): number => view.getInt16(count * (1 + 2 * index) + 2 * c, true);
  let [scale, last, before] = [word(0), word(1), word(2)];
  const [stored, start] = [[before, last], 7 * count];
  return (i) => {
    if (i < 2) return stored[i];
    const at = (i - 2) * count + c; // in nibbles, the high one of a byte first
    const byte = view.getUint8(start + (at >> 1));
    const nibble = at & 1 ? byte & 15 : byte >> 4;
    const predicted = Math.trunc((last * first + before * second) / 256);
    before = last;
    last = clip(predicted + (nibble < 8 ? nibble : nibble - 16) * scale);
    scale = Math.min(MAX_SCALE, Math.max(16, (MS_ADAPT[nibble] * scale) >> 8));
    return last;
  };
}

const IMA_INDEX = [-1, -1, -1, -1, 2, 4, 6, 8];
const IMA_STEPS = [
  7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 19, 21, 23, 25, 28, 31, 34, 37, 41, 45, 50, 55, 60, 66, 73, 80, 88, 97,
  107, 118, 130, 143, 157, 173, 190, 209, 230, 253, 279, 307, 337, 371, 408, 449, 494, 544, 598, 658, 724,
  796, 876, 963, 1060, 1166, 1282, 1411, 1552, 1707, 1878, 2066, 2272, 2499, 2749, 3024, 3327, 3660, 4026,
  4428, 4871, 5358, 5894, 6484, 7132, 7845, 8630, 9493, 10442, 11487, 12635, 13899, 15289, 16818, 18500,
  20350, 22385, 24623, 27086, 29794, 32767,
];

/**
 * @returns the samples of channel c, to be read in order; undefined: the head's step is out of
 *          range
 */
function imaBlock(view: DataView, c: number, count: number): ((i: number) => number) | undefined {
  let last = view.getInt16(4 * c, true);
  let index = view.getUint8(4 * c + 2);
  if (index >= IMA_STEPS.length) return undefined;
  return (i) => {
    if (i === 0) return last;
    const at = i - 1; // 8 nibbles of a channel, then of the next; the low one of a byte first
    const byte = view.getUint8(4 * count + ((at >> 3) * count + c) * 4 + ((at & 7) >> 1));
    const nibble = at & 1 ? byte >> 4 : byte & 15;
    const size = nibble & 7;
    const difference = ((2 * size + 1) * IMA_STEPS[index]) >> 3;
    last = clip(nibble & 8 ? last - difference : last + difference);
    index = Math.max(0, Math.min(IMA_STEPS.length - 1, index + IMA_INDEX[size]));
    return last;
  };
}
