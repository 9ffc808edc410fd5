import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from "prom-client";
import type { Engine, EngineCounts, JobResult } from "../engine/engine.js";
import type { Admission } from "./admission.js";
import type { Spool } from "./spool.js";

/** What the metrics read. */
export interface MetricsSources {
  readonly engine: Engine;
  readonly admission: Admission;
  readonly spool: Spool;
  /** WebSocket sessions that are open. */
  readonly sessions: () => number;
}

interface Reading extends EngineCounts {
  readonly ready: number;
  readonly inside: number;
  readonly uploads: number;
  readonly sessions: number;
  readonly tokenRate: number;
  readonly realTimeFactor: number;
}

const gauges = {
  engine_ready: ["1 while the engine is ready", ({ ready }: Reading) => ready],
  engine_restarts: ["how often the engine's process was started again", ({ restarts }: Reading) => restarts],
  engine_hangs: ["how often it was ended because it got nothing done", ({ hangs }: Reading) => hangs],
  requests_open: ["requests with audio that are in work or wait", ({ inside }: Reading) => inside],
  queue_length: ["recordings and segments that wait in the engine", ({ queued }: Reading) => queued],
  rows_running: ["clips that the engine works on", ({ running }: Reading) => running],
  uploads: ["uploads on the disk", ({ uploads }: Reading) => uploads],
  sessions: ["WebSocket sessions that are open", ({ sessions }: Reading) => sessions],
  tokens_per_second: [
    "tokens written a second since the metrics were last read",
    ({ tokenRate }: Reading) => tokenRate,
  ],
  real_time_factor: [
    "seconds of work for a second of audio, of the newest request",
    ({ realTimeFactor }: Reading) => realTimeFactor,
  ],
  gpu_weight_bytes: ["bytes of the weights on the GPU", ({ gpuKept }: Reading) => gpuKept],
  gpu_bytes: ["bytes of all buffers on the GPU", ({ gpuReserved }: Reading) => gpuReserved],
} as const;

/** What the server counts, in the text format of Prometheus. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #gauges = new Map<keyof typeof gauges, Gauge>();
  #latest = { tokens: 0, at: performance.now() };
  #factor = 0;
  readonly #requests = this.#counter("requests_total", "requests by route and status", ["route", "status"]);
  readonly #errors = this.#counter("errors_total", "answers that are errors, by kind", ["kind"]);
  readonly #audio = this.#counter("audio_seconds_total", "seconds of audio that were transcribed");
  readonly #work = this.#counter("work_seconds_total", "seconds that transcribing it took, of each request");
  readonly #tokens = this.#counter("tokens_total", "tokens that the model wrote in answers");
  readonly #seconds = new Histogram({
    name: "funasr_request_seconds",
    help: "seconds from a request to the end of its answer",
    labelNames: ["route"],
    buckets: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800],
    registers: [this.#registry],
  });

  /** @param sources  what is read when the metrics are asked for */
  constructor(private readonly sources: MetricsSources) {
    collectDefaultMetrics({ register: this.#registry, prefix: "funasr_" });
    for (const [name, [help]] of Object.entries(gauges))
      this.#gauges.set(
        name as keyof typeof gauges,
        new Gauge({ name: `funasr_${name}`, help, registers: [this.#registry] }),
      );
  }

  /** Sets the gauges. */
  async #read(): Promise<void> {
    const { engine, admission, spool, sessions } = this.sources;
    const counts = await engine.counts();
    const at = performance.now();
    const { tokens: before, at: since } = this.#latest;
    this.#latest = { tokens: counts.tokens, at };
    const reading: Reading = {
      ready: engine.state === "ready" ? 1 : 0,
      inside: admission.inside,
      uploads: spool.files,
      sessions: sessions(),
      tokenRate: Math.max(0, (counts.tokens - before) / Math.max(1e-3, (at - since) / 1000)),
      realTimeFactor: this.#factor,
      ...counts,
    };
    for (const [name, [, value]] of Object.entries(gauges))
      this.#gauges.get(name as keyof typeof gauges)!.set(value(reading));
  }

  #counter<T extends string>(name: string, help: string, labelNames: readonly T[] = []): Counter<T> {
    return new Counter({
      name: `funasr_${name}`,
      help,
      labelNames: [...labelNames],
      registers: [this.#registry],
    });
  }

  answered(route: string, status: number, seconds: number): void {
    this.#requests.inc({ route, status });
    this.#seconds.observe({ route }, seconds);
  }

  failed(kind: string): void {
    this.#errors.inc({ kind });
  }

  finished({ audioSeconds, workSeconds, tokens }: JobResult): void {
    this.#audio.inc(audioSeconds);
    this.#work.inc(workSeconds);
    this.#tokens.inc(tokens.output);
    if (audioSeconds > 0) this.#factor = workSeconds / audioSeconds;
  }

  get type(): string {
    return this.#registry.contentType;
  }

  async text(): Promise<string> {
    await this.#read();
    return this.#registry.metrics();
  }
}
