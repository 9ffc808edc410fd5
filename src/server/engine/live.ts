import { liveParts } from "../../decode/live/engine-parts.js";
import { LiveSession } from "../../decode/live/session.js";
import { longestSegment } from "../../decode/segments/transcribe-recording.js";
import type { LiveEvent, LiveOptions } from "./engine.js";
import { type Models, promptOf } from "./transcribe.js";

/** What hears of a live session. */
export interface LiveSink {
  readonly event: (event: Exclude<LiveEvent, { type: "failed" }>) => void;
  /** The session has ended. */
  readonly fail: (error: unknown) => void;
}

/** Opens a live session that reports how much of its audio was heard. */
export function openLive(
  { engine, detector, transcriber }: Models,
  options: LiveOptions,
  sink: LiveSink,
): LiveSession {
  const { endpoints, partials, words, maxEndSilenceMs, freeFinal = false } = options;
  const parts = liveParts(engine, detector);
  let heard = 0; // samples
  const hear = (count: number): void => {
    heard += count;
    sink.event({ type: "heard", seconds: heard / parts.sampleRate });
  };
  const openStream = (): ReturnType<typeof parts.openStream> => {
    const stream = parts.openStream();
    return {
      push: async (samples, end) => {
        const silence = await stream.push(samples, end);
        hear(samples.length);
        return silence;
      },
      free: () => stream.free(),
    };
  };
  const prompt = promptOf(options);
  const session = new LiveSession(
    { ...parts, openStream },
    {
      ...prompt,
      endpoints,
      partials,
      freeFinal,
      wordTimes: words,
      ...(maxEndSilenceMs !== undefined && { maxEndSilenceMs }),
      ...(!endpoints && { maxSegmentMs: longestSegment(transcriber.maxSeconds(prompt)) }),
    },
    sink.event,
    sink.fail,
  );
  return session;
}
