/**
 * Compares our segments with those of FunASR's program, to the millisecond. `golden/vad_segments.py`
 * writes the directory.
 *
 *   npm run check:vad DIRECTORY
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Segmenter, type SegmenterOptions, type SpeechSegment } from "../src/decode/vad/segmenter.js";
import { uniformNumbers } from "../src/random.js";

type Pairs = readonly (readonly [number, number])[];
type Table = Readonly<Record<string, { readonly samples: number; readonly segments: Record<string, Pairs> }>>;

const settings: Readonly<Record<string, SegmenterOptions>> = {
  default: {},
  fixed: { maxEndSilenceMs: 800 },
  short: { maxSegmentMs: 30_000 },
  stream: { blockMs: 60 },
};

/** Frames in pieces of random sizes. */
function inPieces(silence: Float32Array, samples: number, options: SegmenterOptions): SpeechSegment[] {
  const random = uniformNumbers(silence.length);
  const segmenter = new Segmenter(options);
  const found: SpeechSegment[] = [];
  for (let at = 0; at < silence.length;) {
    const next = at + Math.floor(random() * 200);
    found.push(...segmenter.push(silence.subarray(at, next)));
    at = next;
  }
  return [...found, ...segmenter.end(samples)];
}

function probabilities(path: string): Float32Array {
  const bytes = readFileSync(path);
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
}

function text(segments: readonly SpeechSegment[]): string {
  return JSON.stringify(segments.map(({ startMs, endMs }) => [startMs, endMs]));
}

const [directory] = process.argv.slice(2);
if (directory === undefined) throw new Error("usage: npm run check:vad DIRECTORY");
const table = JSON.parse(readFileSync(join(directory, "segments.json"), "utf8")) as Table;
for (const [setting, options] of Object.entries(settings)) {
  let [clips, equal, segments] = [0, 0, 0];
  for (const [name, { samples, segments: wanted }] of Object.entries(table)) {
    if (!(setting in wanted)) continue;
    const silence = probabilities(join(directory, `${name}.f32`));
    const whole = new Segmenter(options);
    const found = text([...whole.push(silence), ...whole.end(samples)]);
    const pieces = text(inPieces(silence, samples, options));
    const want = JSON.stringify(wanted[setting]);
    clips++;
    segments += wanted[setting].length;
    if (found === want && pieces === want) equal++;
    else
      console.log(
        `${setting}: ${name}: want ${want}, got ${found}${pieces === found ? "" : `, in pieces ${pieces}`}`,
      );
  }
  console.log(`${setting}: ${equal} of ${clips} clips have FunASR's segments (${segments})`);
  if (equal < clips) process.exitCode = 1;
}
