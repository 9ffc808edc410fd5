import { Resampler } from "../../dist/frontend/resample.js";
import { PageError } from "./problems.js";

/** A microphone that is on. */
export interface Microphone {
  /** Ends the capture; the last samples have come when it settles. */
  readonly stop: () => Promise<void>;
}

/** Why there is no sound, as the page explains it. */
type MicrophoneProblem = "insecure" | "refused" | "missing" | "busy";

/** A capture that did not start. */
class MicrophoneError extends PageError {
  constructor(problem: MicrophoneProblem, cause?: Error) {
    super((t) => t.microphone[problem], cause?.message);
  }
}

const problems: Readonly<Record<string, MicrophoneProblem>> = {
  NotAllowedError: "refused",
  SecurityError: "refused",
  NotFoundError: "missing",
  OverconstrainedError: "missing",
};

async function openStream(): Promise<MediaStream> {
  const { mediaDevices } = navigator as { readonly mediaDevices?: MediaDevices };
  if (!mediaDevices) throw new MicrophoneError("insecure");
  const audio = { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true };
  return mediaDevices.getUserMedia({ audio }).catch((error: unknown) => {
    const cause = error as Error;
    throw new MicrophoneError(problems[cause.name] ?? "busy", cause);
  });
}

/**
 * Opens the microphone.
 * @param onSamples  gets [n] f32, mono, 16 kHz, range [-1, 1]
 * @throws PageError  there is no sound; it says why
 */
export async function openMicrophone(
  onSamples: (samples: Float32Array<ArrayBuffer>) => void,
): Promise<Microphone> {
  const stream = await openStream();
  const context = new AudioContext();
  const endStream = (): void => stream.getTracks().forEach((track) => track.stop());
  try {
    await context.audioWorklet.addModule(new URL("microphone-worklet.js", document.baseURI));
    await context.resume();
  } catch (cause) {
    endStream();
    await context.close();
    throw new MicrophoneError("busy", cause as Error);
  }
  const resampler = new Resampler(context.sampleRate, 16_000);
  const node = new AudioWorkletNode(context, "microphone", { numberOfOutputs: 0, channelCount: 1 });
  const give = (samples: Float32Array): void => {
    if (samples.length > 0) onSamples(new Float32Array(samples));
  };
  let flushed = (): void => undefined;
  node.port.onmessage = ({ data }: MessageEvent<Float32Array | null>) =>
    data ? give(resampler.push(data)) : flushed();
  context.createMediaStreamSource(stream).connect(node);
  const flush = (): Promise<void> =>
    new Promise((resolve) => {
      flushed = resolve;
      setTimeout(resolve, 500); // a context that the system suspended does not answer
      node.port.postMessage("flush");
    });
  const end = async (): Promise<void> => {
    await flush();
    endStream();
    await context.close();
    give(resampler.end());
  };
  let ended: Promise<void> | undefined;
  return { stop: () => (ended ??= end()) };
}

/** Level of samples from 0 (-60 dB and below) to 1 (full scale). */
export function levelOf(samples: Float32Array): number {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  const decibels = 10 * Math.log10(sum / Math.max(samples.length, 1) + 1e-10);
  return Math.min(1, Math.max(0, 1 + decibels / 60));
}
