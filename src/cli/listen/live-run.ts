import { TranscriptionEngine } from "../../decode/engine/engine.js";
import { liveParts } from "../../decode/live/engine-parts.js";
import type { LiveOptions } from "../../decode/live/options.js";
import { LiveSession } from "../../decode/live/session.js";
import type { Transcriber } from "../../decode/transcriber.js";
import type { VoiceActivityDetector } from "../../decode/vad/detector.js";
import { streamClip } from "../../node/clip.js";
import type { LivePrinter } from "./live-printer.js";

/** The models of live sessions. */
export interface LiveModels {
  readonly engine: TranscriptionEngine;
  readonly detector: VoiceActivityDetector;
}

/** Tokens of a prompt and an answer at most. */
const longestRequest = 4096;

/** An engine for one session after the other. */
export function liveEngine(transcriber: Transcriber): TranscriptionEngine {
  return new TranscriptionEngine(transcriber, { maxTokens: longestRequest });
}

/**
 * Runs a session until `feed` has given its audio and all of it has its final text.
 * @returns  the result of `feed`
 * @throws as `feed` and LiveSession
 */
export async function runLive<T>(
  { engine, detector }: LiveModels,
  options: LiveOptions,
  printer: LivePrinter,
  feed: (session: LiveSession) => Promise<T>,
): Promise<T> {
  let fail: (error: unknown) => void = () => undefined;
  const failed = new Promise<never>((_, reject) => (fail = reject));
  const session = new LiveSession(
    liveParts(engine, detector),
    options,
    (event) => printer.hear(event),
    (error) => fail(error),
  );
  try {
    const result = await Promise.race([failed, feed(session)]);
    session.commit();
    await Promise.race([failed, session.idle()]);
    return result;
  } finally {
    session.close();
    await session.idle();
  }
}

const pieceSeconds = 0.1;

/**
 * Feeds a recording as fast as it is decoded, and no faster, so that each decoding of an open
 * segment has its turn, as on a machine that keeps up with live audio.
 * @returns  what is wrong with the audio
 */
export async function feedFile(
  session: LiveSession,
  file: string,
  options: { readonly rate: number; readonly strict?: boolean; readonly channel?: number },
): Promise<string[]> {
  const { rate, strict, channel } = options;
  const piece = Math.round(pieceSeconds * rate);
  const { damage, warning } = await streamClip(file, { strict, rate, channel }, async (samples) => {
    for (let at = 0; at < samples.length; at += piece) {
      session.push(samples.slice(at, at + piece));
      await session.idle();
    }
  });
  return [damage, warning].filter((text) => text !== undefined);
}
