/**
 * Compares our segments with those of FunASR's program, to the millisecond. `golden/vad_segments.py`
 * writes the directory.
 *
 *   npm run check:vad DIRECTORY [MODEL]
 *
 * On FunASR's probabilities and, with MODEL (models/vad), on those of our net.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Segmenter, type SegmenterOptions, type SpeechSegment } from "../src/decode/vad/segmenter.js";
import { VoiceActivityDetector } from "../src/decode/vad/detector.js";
import { decodeAudio } from "../src/frontend/decode.js";
import { openDevice } from "../src/node/device.js";
import { modelFiles } from "../src/node/model-files.js";
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

const [directory, model] = process.argv.slice(2);
if (directory === undefined) throw new Error("usage: npm run check:vad DIRECTORY [MODEL]");
const table = JSON.parse(readFileSync(join(directory, "segments.json"), "utf8")) as Table;

interface Found {
  readonly silence: Float32Array;
  readonly samples: number;
  readonly wanted: Readonly<Record<string, Pairs>>;
}

/** Compares each clip in each setting. */
function compare(title: string, clips: ReadonlyMap<string, Found>): void {
  for (const [setting, options] of Object.entries(settings)) {
    let [count, equal, segments] = [0, 0, 0];
    for (const [name, { silence, samples, wanted }] of clips) {
      if (!(setting in wanted)) continue;
      const whole = new Segmenter(options);
      const found = text([...whole.push(silence), ...whole.end(samples)]);
      const pieces = text(inPieces(silence, samples, options));
      const want = JSON.stringify(wanted[setting]);
      count++;
      segments += wanted[setting].length;
      if (found === want && pieces === want) equal++;
      else console.log(`${setting}: ${name}: want ${want}, got ${found}, in pieces ${pieces}`);
    }
    console.log(`${title}, ${setting}: ${equal} of ${count} clips have FunASR's ${segments} segments`);
    if (equal < count) process.exitCode = 1;
  }
}

const theirs = new Map<string, Found>();
for (const [name, { samples, segments }] of Object.entries(table))
  theirs.set(name, { silence: probabilities(join(directory, `${name}.f32`)), samples, wanted: segments });
compare("FunASR's probabilities", theirs);
if (model !== undefined) {
  const { gpu } = await openDevice();
  const detector = await VoiceActivityDetector.load(gpu, modelFiles(model));
  const ours = new Map<string, Found>();
  let worst = 0;
  for (const [name, found] of theirs) {
    const file = `${name}.wav`;
    const { channels } = await decodeAudio(readFileSync(join(directory, file)), file);
    const { silence } = await detector.probabilities(channels[0]);
    for (const [i, value] of silence.entries()) worst = Math.max(worst, Math.abs(value - found.silence[i]));
    ours.set(name, { ...found, silence });
  }
  gpu.destroy();
  console.log(`largest difference of a probability: ${worst.toExponential(1)}`);
  compare("our probabilities", ours);
}
