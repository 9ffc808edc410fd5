import type { TranscriptionEngine } from "../engine/engine.js";
import type { VoiceActivityDetector } from "../vad/detector.js";
import type { LiveParts } from "./options.js";

/** What a live session needs, of an engine that it shares with other requests. */
export function liveParts(engine: TranscriptionEngine, detector: VoiceActivityDetector): LiveParts {
  const { transcriber } = engine;
  const { sampleRate, tokenizer } = transcriber;
  return {
    sampleRate,
    openStream: () => detector.stream(),
    prepare: (samples, name) => transcriber.prepare({ channels: [samples], sampleRate }, name),
    run: (clip, options) => engine.submit(clip, options),
    decode: (ids) => tokenizer.decode(ids, { skipSpecial: true }),
  };
}
