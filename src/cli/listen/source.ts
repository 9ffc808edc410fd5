import type { LiveSession } from "../../decode/live/session.js";
import { PcmReader } from "../../frontend/pcm-reader.js";
import { note } from "../output.js";
import { LiveInputError } from "./errors.js";
import { type Recorder, Recording } from "./recorder.js";

/** Audio that comes as raw PCM of 16 bits, little-endian, mono. */
export interface Source {
  readonly name: string;
  /** Hz */
  readonly rate: number;
  /** Seconds of audio that the engine may be behind; reading waits then. */
  readonly mostBehind: number;
  readonly pieces: () => AsyncIterable<Uint8Array>;
  /** Ends the audio. */
  readonly stop: () => void;
  /** @throws LiveInputError  the audio ended too early */
  readonly end: () => Promise<void>;
}

/** The microphone through a recorder, which begins at once. */
export function microphone(recorder: Recorder): Source {
  const recording = new Recording(recorder);
  return {
    name: "microphone",
    rate: 16_000,
    mostBehind: 60,
    pieces: () => recording.pieces(),
    stop: () => recording.stop(),
    end: () => recording.end(),
  };
}

/** @param rate  Hz */
export function standardInput(rate: number): Source {
  return {
    name: "-",
    rate,
    mostBehind: 30,
    pieces: () => process.stdin,
    stop: () => process.stdin.destroy(),
    end: () => Promise.resolve(),
  };
}

/** What files of audio begin with, of those that could be taken for PCM. */
const container = /^(RIFF|RIFX|RF64|BW64|FORM|fLaC|OggS|ID3|\x1aE\xdf\xa3|\.snd|[^]{4}ftyp)/;

/**
 * Feeds a session until the source ends, or the signal comes.
 * @returns  what is wrong with the audio
 * @throws LiveInputError  a file of audio, or nothing
 */
export async function hear(session: LiveSession, source: Source, signal: AbortSignal): Promise<string[]> {
  const { name, mostBehind } = source;
  const reader = new PcmReader(source.rate);
  let [bytes, waiting, slow] = [0, 0, false];
  const push = async (samples: Float32Array): Promise<void> => {
    session.push(samples);
    waiting += samples.length / 16_000;
    if (waiting < mostBehind) return;
    const begun = performance.now();
    await session.idle();
    waiting = 0;
    if (slow || name === "-" || performance.now() - begun < 1000 * lateSeconds) return;
    slow = true;
    note("warning: the text comes later than the speech, and audio may be lost: the model is too slow here");
  };
  signal.addEventListener("abort", source.stop, { once: true });
  if (signal.aborted) source.stop();
  try {
    for await (const piece of source.pieces()) {
      if (bytes === 0) refuseContainer(piece, name);
      bytes += piece.length;
      await push(reader.push(piece));
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  const { half } = reader;
  await push(reader.end());
  if (bytes < 2 && !signal.aborted) await refuseNothing(source, bytes);
  return half ? [`${name}: half a sample at the end is left out`] : [];
}

const lateSeconds = 4;

function refuseContainer(head: Uint8Array, name: string): void {
  if (
    !container.test(Buffer.from(head.buffer, head.byteOffset, Math.min(12, head.length)).toString("latin1"))
  )
    return;
  throw new LiveInputError({
    file: name,
    field: "content",
    expected: "raw PCM",
    got: "a file of audio",
    advice:
      "`transcribe --stream FILE` takes it, or `ffmpeg -i FILE -f s16le -ar 16000 -ac 1 - | funasr-webgpu listen -`",
  });
}

/** @throws LiveInputError  what the recorder says, or that nothing came */
async function refuseNothing(source: Source, bytes: number): Promise<never> {
  await source.end();
  throw new LiveInputError({ file: source.name, field: "content", expected: "PCM", got: `${bytes} bytes` });
}
