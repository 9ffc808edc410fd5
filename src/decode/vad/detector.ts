import { openVad } from "../../checkpoint/layouts/vad.js";
import type { ModelFiles } from "../../checkpoint/source.js";
import { inputDim, vadFrontend } from "../../config/vad-config.js";
import { concatenated } from "../../frontend/audio.js";
import type { FrontendConfig } from "../../frontend/config.js";
import { type Normalisation, VadFeatures } from "../../frontend/vad-features.js";
import type { Gpu } from "../../gpu/device.js";
import { expectGpu } from "../../gpu/errors.js";
import { type FsmnVad, VadState, fsmnVad, loadFsmnVad } from "../../model/fsmn-vad.js";

/** Two numbers a frame of 10 ms, each from 0 to 1. */
export interface FrameProbabilities {
  /** [frames] f32 */
  readonly silence: Float32Array;
  /** [frames] f32, 1 - silence */
  readonly speech: Float32Array;
}

/** Options of one recording. */
export interface VadOptions {
  /** Name of the audio in errors. */
  readonly name?: string;
  /** Ends the call before its next step, with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

const rate = 16_000; // Hz
const chunk = 30 * rate; // samples of a step, which bound its memory

/** An FSMN-VAD that says where in audio there is speech. */
export class VoiceActivityDetector {
  /** Hz of the samples that it takes. */
  readonly sampleRate = rate;

  private constructor(
    private readonly gpu: Gpu,
    private readonly net: FsmnVad,
    private readonly frontend: FrontendConfig,
    private readonly normalisation: Normalisation,
  ) {}

  /**
   * Loads a net in any layout that openVad reads.
   * @throws CheckpointError, ConfigError  a file is missing, damaged, or does not fit the others
   */
  static async load(gpu: Gpu, files: ModelFiles): Promise<VoiceActivityDetector> {
    expectGpu("VoiceActivityDetector.load", gpu);
    const { name, config, tensors } = await openVad(files);
    const net = await loadFsmnVad(gpu, config, tensors, name);
    const shift = tensors.get("cmvn.shift")!.data;
    const scale = tensors.get("cmvn.scale")!.data;
    return new VoiceActivityDetector(gpu, net, vadFrontend(config), { shift, scale });
  }

  /**
   * The probabilities of every frame, computed in parts of 30 s.
   * @param samples  [n] f32, mono, 16 kHz, range [-1, 1]
   * @returns        1 + floor((n - 400) / 160) frames; none below 400 samples
   * @throws AudioError  a sample that is NaN or infinite
   */
  async probabilities(samples: Float32Array, options: VadOptions = {}): Promise<FrameProbabilities> {
    const stream = this.stream(options);
    try {
      return await stream.push(samples, true);
    } finally {
      stream.free();
    }
  }

  /** The same for audio that comes in pieces. */
  stream(options: VadOptions = {}): VadStream {
    const features = new VadFeatures(this.frontend, this.normalisation, options.name);
    return new VadStream(this.gpu, this.net, features, options.signal);
  }

  /** Gives the net's GPU memory back. Its streams must be freed before. */
  free(): void {
    this.net.free();
  }
}

/** Audio in pieces of any length. All pieces' frames together have the bits of the whole's. */
export class VadStream {
  readonly #state: VadState;
  #last: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly gpu: Gpu,
    private readonly net: FsmnVad,
    private readonly features: VadFeatures,
    private readonly signal: AbortSignal | undefined,
  ) {
    this.#state = new VadState(gpu, net);
  }

  /**
   * The frames that these samples complete: a frame waits for the two after it, or for the end.
   * Calls run one after the other.
   * @param samples  [n] f32, mono, 16 kHz, range [-1, 1]
   * @param end      no samples follow
   * @throws AudioError  a sample that is NaN or infinite
   */
  push(samples: Float32Array, end = false): Promise<FrameProbabilities> {
    const run = this.#last.then(() => this.#push(samples, end));
    this.#last = run.catch(() => undefined);
    return run;
  }

  /** Gives the stream's GPU memory back. */
  free(): void {
    this.#state.free();
  }

  async #push(samples: Float32Array, end: boolean): Promise<FrameProbabilities> {
    const parts: Float32Array[] = [];
    let at = 0;
    do {
      const part = samples.subarray(at, at + chunk);
      at += part.length;
      this.signal?.throwIfAborted();
      const rows = this.features.push(part, end && at === samples.length);
      if (rows.length > 0) parts.push(await this.#step(rows));
    } while (at < samples.length);
    const silence = concatenated(parts);
    return { silence, speech: silence.map((value) => 1 - value) };
  }

  async #step(rows: Float32Array): Promise<Float32Array> {
    const { gpu, net } = this;
    const width = inputDim(net.config);
    const frames = rows.length / width;
    const [silence] = await gpu.step(() => {
      const features = gpu.upload(rows, [frames, width]);
      return [fsmnVad(gpu, net, features, [frames], { state: this.#state })];
    });
    return silence as Float32Array;
  }
}
