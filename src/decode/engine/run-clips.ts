import type { RunClips } from "../segments/transcribe-recording.js";
import type { TranscriptionEngine } from "./engine.js";
import type { SubmitOptions } from "./options.js";

/**
 * Runs the segments of a recording in an engine, beside its other requests: `run` of
 * `transcribeRecording`. A full queue is waited for.
 * @param options  of every segment. Default owner: the recording
 */
export function runInEngine(
  engine: TranscriptionEngine,
  options: Pick<SubmitOptions, "priority" | "owner" | "timeoutMs"> = {},
): RunClips {
  const owner = options.owner ?? {};
  return async (clips, { onText, ...asked }) => {
    const runs = clips.map((clip, i) => {
      const wanted = { ...asked, ...options, owner, waitForRoom: true };
      return engine.submit(clip, onText ? { ...wanted, onText: (text) => onText(i, text) } : wanted);
    });
    await Promise.allSettled(runs); // none runs on behind an error
    return Promise.all(runs);
  };
}
