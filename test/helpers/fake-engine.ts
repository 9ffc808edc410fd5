import { readFileSync, statSync } from "node:fs";
import type {
  Engine,
  EngineCounts,
  Job,
  JobEvents,
  JobResult,
  LiveEvent,
  LiveOptions,
  LiveSession,
} from "../../src/server/engine/engine.js";
import { EngineError } from "../../src/server/engine/errors.js";
import { type Server, startServer } from "../../src/server/server.js";
import { SERVER_DEFAULTS, type ServerSettings } from "../../src/server/settings.js";

const word = (
  text: string,
  start: number,
): { text: string; start: number; end: number; confidence: number } => ({
  text,
  start,
  end: start + 0.4,
  confidence: 0.5,
});

/** What the fake engine says of every recording. */
export const said: JobResult = {
  text: "turn on the light 打开灯",
  segments: [
    {
      start: 0.5,
      end: 2.5,
      text: "turn on the light",
      tokenIds: [1, 2, 3, 4],
      finish: "stop",
      words: [word("turn", 0.5), word("on", 1), word("the", 1.5), word("light", 2)],
      agreement: 1,
    },
    {
      start: 3,
      end: 4.25,
      text: "打开灯",
      tokenIds: [5, 6],
      finish: "stop",
      words: [word("打开灯", 3)],
      agreement: 1,
    },
  ],
  audioSeconds: 4.5,
  workSeconds: 0.5,
  tokens: { audio: 40, text: 20, output: 6 },
};

/** A live session of the fake engine: what it was told, and its listener. */
export interface FakeLive {
  readonly options: LiveOptions;
  readonly listener: (event: LiveEvent) => void;
  samples: number;
  commits: number;
  clears: number;
  closed: boolean;
}

/** An engine without a model: it keeps the jobs that it gets and answers them as it is told. */
export class FakeEngine implements Engine {
  state: Engine["state"] = "ready";
  about = { device: "none", languages: ["en", "zh"] as const, words: true, warnings: [] };
  readonly jobs: (Job & { readonly bytes: Buffer; readonly mode: number })[] = [];
  readonly lives: FakeLive[] = [];
  cancelled = 0;
  /** How a job is answered. */
  answer: (job: Job, events: JobEvents) => Promise<JobResult> = (_, { onDelta }) => {
    onDelta?.("turn on the light");
    onDelta?.(" 打开灯");
    return Promise.resolve(said);
  };
  /** What a live session says to a commit. */
  live: (live: FakeLive, call: "push" | "commit") => void = () => undefined;

  run(job: Job, events: JobEvents = {}): Promise<JobResult> {
    const { signal } = events;
    this.jobs.push({ ...job, bytes: readFileSync(job.file), mode: statSync(job.file).mode & 0o777 });
    return new Promise((resolve, reject) => {
      signal?.addEventListener("abort", () => {
        this.cancelled++;
        const { reason } = signal as { reason: unknown };
        reject(reason instanceof EngineError ? reason : new Error("aborted"));
      });
      this.answer(job, events).then(resolve, reject);
    });
  }

  open(options: LiveOptions, listener: (event: LiveEvent) => void): LiveSession {
    const live: FakeLive = { options, listener, samples: 0, commits: 0, clears: 0, closed: false };
    this.lives.push(live);
    return {
      push: ({ length }) => {
        live.samples += length;
        this.live(live, "push");
      },
      commit: () => {
        live.commits++;
        this.live(live, "commit");
      },
      clear: () => live.clears++,
      close: () => (live.closed = true),
    };
  }

  /** As at the begin, without what it was told. */
  reset(): void {
    const fresh = new FakeEngine();
    this.jobs.length = 0;
    this.lives.length = 0;
    this.answer = fresh.answer;
    this.live = fresh.live;
  }

  counts(): Promise<EngineCounts> {
    const bytes = { gpuKept: 100, gpuReserved: 200 };
    return Promise.resolve({ queued: 3, running: 2, tokens: 6, ...bytes, restarts: 1, hangs: 2 });
  }
}

/** A server over a fake engine, on a free port. */
export async function fakeServer(
  settings: Partial<ServerSettings> = {},
): Promise<{ readonly engine: FakeEngine; readonly server: Server; readonly address: string }> {
  const engine = new FakeEngine();
  const server = await startServer(engine, {
    ...SERVER_DEFAULTS,
    model: "demo",
    port: 0,
    drainMs: 5000,
    ...settings,
  });
  return { engine, server, address: server.address };
}
