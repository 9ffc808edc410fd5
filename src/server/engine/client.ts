import { type ChildProcess, fork } from "node:child_process";
import type {
  About,
  Engine,
  EngineCounts,
  Job,
  JobEvents,
  JobResult,
  LiveEvent,
  LiveOptions,
  LiveSession,
} from "./engine.js";
import { EngineError } from "./errors.js";
import type { Command, EngineSettings, Report } from "./messages.js";
import { Pending } from "./pending.js";
import { type Sign, Watchdog } from "./watchdog.js";

/** How the engine's process is run. */
export interface EngineClientOptions {
  readonly settings: EngineSettings;
  /** The process's program. Default: the engine. */
  readonly program?: URL;
  /** Gets a line about each start and end that was not asked for. */
  readonly onNote?: (text: string) => void;
  /** Pause before the second start in a row, ms; each more doubles it. Default: 500. */
  readonly pauseMs?: number;
  /** How long a job that is run once more is run before the next one begins, ms. Default: 5000. */
  readonly aloneMs?: number;
  /** A process that has work and gets nothing done for so long is killed, ms. Default: never. */
  readonly hangMs?: number;
}

type Counts = Extract<Report, { type: "counts" }>["counts"];
const none: Counts = { queued: 0, running: 0, tokens: 0, progress: 0, gpuKept: 0, gpuReserved: 0 };

const tries = 2; // of a job
const longestPause = 30_000; // ms
const countsWait = 2000; // ms
const stopWait = 5000; // ms

/**
 * The engine in a process of its own. A process that ends is started again. What it had in work is
 * run once more, one job after the other, so that a job that ends the process seldom takes another
 * with it; after a second end it fails as unavailable.
 */
export class EngineClient implements Engine {
  readonly #options: EngineClientOptions;
  #child: ChildProcess | undefined;
  #state: Engine["state"] = "starting";
  #about: About | undefined;
  #id = 0;
  readonly #jobs = new Map<number, Pending>();
  readonly #suspects: Pending[] = [];
  #alone: Pending | undefined;
  readonly #lives = new Map<number, (event: LiveEvent) => void>();
  readonly #asked = new Map<number, (counts: Counts) => void>();
  #counts = none;
  #tokensBefore = 0;
  #restarts = 0;
  #hangs = 0;
  readonly #watchdog: Watchdog;
  #failed = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: EngineClientOptions) {
    this.#options = options;
    this.#watchdog = new Watchdog(
      options.hangMs ?? Infinity,
      (waitMs) => this.#sign(waitMs),
      () => {
        this.#hangs++;
        options.onNote?.(`the engine got nothing done for ${options.hangMs! / 1000} s; it is ended`);
        this.#child?.kill("SIGKILL");
      },
    );
  }

  get state(): Engine["state"] {
    return this.#state;
  }

  get about(): About | undefined {
    return this.#about;
  }

  /** Process number, while there is one. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Starts the process. @returns once the model is loaded. @throws EngineError  it cannot be */
  start(): Promise<About> {
    return new Promise((resolve, reject) => this.#spawn(resolve, reject));
  }

  run(job: Job, events: JobEvents = {}): Promise<JobResult> {
    const { signal } = events;
    return new Promise((resolve, reject) => {
      if (this.#state === "stopped" || signal?.aborted) {
        reject(signal?.aborted ? cancelled(signal) : stopped());
        return;
      }
      const pending = new Pending(++this.#id, job, events, { resolve, reject });
      this.#jobs.set(pending.id, pending);
      signal?.addEventListener("abort", (pending.onAbort = () => this.#cancel(pending, signal)), {
        once: true,
      });
      if (this.#state === "ready") this.#begin(pending);
    });
  }

  open(options: LiveOptions, listener: (event: LiveEvent) => void): LiveSession {
    const id = ++this.#id;
    if (this.#state !== "ready") {
      const error = new EngineError({
        kind: "unavailable",
        message: "the engine is not ready",
        retryAfterSeconds: 2,
      });
      queueMicrotask(() => listener({ type: "failed", error }));
      return {
        push: () => undefined,
        commit: () => undefined,
        clear: () => undefined,
        close: () => undefined,
      };
    }
    this.#lives.set(id, listener);
    this.#send({ type: "open", id, options });
    const send = (command: Command): void => {
      if (this.#lives.has(id)) this.#send(command);
    };
    return {
      push: (samples) => send({ type: "push", id, samples }),
      commit: () => send({ type: "commit", id }),
      clear: () => send({ type: "clear", id }),
      close: () => {
        send({ type: "close", id });
        this.#lives.delete(id);
      },
    };
  }

  /** The last known counts where the engine does not answer at once. */
  async counts(): Promise<EngineCounts> {
    if (this.#state === "ready") await this.#ask();
    const { queued, running, gpuKept, gpuReserved } = this.#counts;
    const tokens = this.#tokensBefore + this.#counts.tokens;
    return {
      queued,
      running,
      tokens,
      gpuKept,
      gpuReserved,
      restarts: this.#restarts,
      hangs: this.#hangs,
    };
  }

  /** Asks for the counts. @returns  undefined where the engine does not answer at once */
  async #ask(wait = countsWait): Promise<Counts | undefined> {
    const id = ++this.#id;
    const answer = await new Promise<Counts | undefined>((resolve) => {
      const timer = setTimeout(() => resolve(undefined), wait);
      this.#asked.set(id, (counts) => {
        clearTimeout(timer);
        this.#counts = counts;
        resolve(counts);
      });
      this.#send({ type: "count", id });
    });
    this.#asked.delete(id);
    return answer;
  }

  async #sign(waitMs: number): Promise<Sign> {
    const counts = await this.#ask(Math.min(waitMs, countsWait));
    const jobs = [...this.#jobs.values()].some(({ running }) => running);
    const open = this.#lives.size > 0;
    const busy = jobs || (counts ? counts.queued + counts.running > 0 : open);
    return { busy, progress: counts?.progress };
  }

  /** Ends the process; what runs fails. */
  async stop(): Promise<void> {
    this.#state = "stopped";
    this.#watchdog.stop();
    clearTimeout(this.#timer);
    for (const pending of [...this.#jobs.values()]) this.#settle(pending, stopped());
    this.#failLives(stopped());
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => child.kill("SIGKILL"), stopWait);
      child.once("exit", () => {
        clearTimeout(timer);
        resolve();
      });
      if (child.connected) child.disconnect();
    });
  }

  #spawn(ready: (about: About) => void, refused: (error: EngineError) => void): void {
    const program = this.#options.program ?? new URL("./process.js", import.meta.url);
    const child = fork(program, [], { serialization: "advanced", stdio: ["ignore", 2, 2, "ipc"] });
    this.#child = child;
    let message = "the engine's process ended before it was ready";
    let isReady = false;
    child.on("error", (error) => (message = `the engine's process: ${error.message}`));
    child.on("message", (report: Report) => {
      if (child !== this.#child) return;
      if (report.type === "refused") {
        ({ message } = report);
        child.kill("SIGKILL");
      } else if (report.type === "ready") {
        isReady = true;
        this.#ready(report.about);
        ready(report.about);
      } else this.#hear(report);
    });
    child.once("exit", (code, signal) => {
      if (child !== this.#child) return;
      if (!isReady) refused(new EngineError({ kind: "unavailable", message }));
      else if (this.#state !== "stopped") {
        this.#options.onNote?.(
          `the engine's process ended (${signal ?? `code ${code}`}); it is started again`,
        );
        this.#lost();
      }
    });
    this.#send({ type: "load", settings: this.#options.settings });
  }

  #ready(about: About): void {
    if (this.#state === "stopped") return;
    this.#about = about;
    this.#state = "ready";
    this.#failed = 0;
    this.#watchdog.start();
    for (const pending of this.#jobs.values()) if (pending.tries === 0) this.#begin(pending);
    this.#nextSuspect();
  }

  /** The process ended while it was ready. */
  #lost(): void {
    this.#state = "restarting";
    this.#watchdog.stop();
    this.#restarts++;
    this.#tokensBefore += this.#counts.tokens;
    this.#counts = none;
    this.#failLives(lost());
    this.#alone = undefined;
    for (const pending of [...this.#jobs.values()]) {
      if (!pending.running) continue;
      pending.running = false;
      if (pending.tries >= tries) this.#settle(pending, lost());
      else this.#suspects.push(pending);
    }
    this.#restart();
  }

  #restart(): void {
    const { pauseMs = 500, onNote } = this.#options;
    const pause = this.#failed === 0 ? 0 : Math.min(longestPause, pauseMs * 2 ** (this.#failed - 1));
    this.#timer = setTimeout(() => {
      this.#spawn(
        () => onNote?.("the engine is ready again"),
        (error) => {
          if (this.#state === "stopped") return;
          this.#failed++;
          onNote?.(`the engine cannot be started: ${error.message}`);
          for (const pending of [...this.#jobs.values()]) this.#settle(pending, lost());
          this.#restart();
        },
      );
    }, pause);
  }

  #begin(pending: Pending): void {
    pending.begin();
    this.#send({
      type: "run",
      id: pending.id,
      job: pending.job,
      deltas: pending.events.onDelta !== undefined,
    });
  }

  /** The next one begins when the one before it has ended, or has not ended the process for a while. */
  #nextSuspect(): void {
    if (this.#alone || this.#state !== "ready") return;
    const alone = this.#suspects.shift();
    if (!alone) return;
    this.#alone = alone;
    this.#begin(alone);
    const { aloneMs = 5000 } = this.#options;
    setTimeout(() => this.#leave(alone), aloneMs).unref();
  }

  #leave(pending: Pending): void {
    if (this.#alone !== pending) return;
    this.#alone = undefined;
    this.#nextSuspect();
  }

  #cancel(pending: Pending, signal: AbortSignal): void {
    if (pending.running) this.#send({ type: "cancel", id: pending.id });
    this.#settle(pending, cancelled(signal));
  }

  /** Ends a job; each job ends once. */
  #settle(pending: Pending, outcome: JobResult | EngineError): void {
    if (!this.#jobs.delete(pending.id)) return;
    const at = this.#suspects.indexOf(pending);
    if (at >= 0) this.#suspects.splice(at, 1);
    pending.settle(outcome);
    this.#leave(pending);
  }

  #hear(report: Exclude<Report, { type: "ready" | "refused" }>): void {
    const { id } = report;
    const pending = this.#jobs.get(id);
    switch (report.type) {
      case "delta":
        pending?.delta(report.text);
        return;
      case "done":
        if (pending) this.#settle(pending, report.result);
        return;
      case "failed":
        if (pending) this.#settle(pending, new EngineError(report.failure));
        this.#lives.get(id)?.({ type: "failed", error: new EngineError(report.failure) });
        this.#lives.delete(id);
        return;
      case "live":
        this.#lives.get(id)?.(report.event);
        return;
      case "counts":
        this.#asked.get(id)?.(report.counts);
    }
  }

  #failLives(error: EngineError): void {
    const listeners = [...this.#lives.values()];
    this.#lives.clear();
    for (const listener of listeners) listener({ type: "failed", error });
  }

  #send(command: Command): void {
    if (this.#child?.connected) this.#child.send(command, () => undefined); // its end is reported by "exit"
  }
}

function lost(): EngineError {
  return new EngineError({
    kind: "unavailable",
    message: "the engine failed; try again",
    retryAfterSeconds: 5,
  });
}

function stopped(): EngineError {
  return new EngineError({ kind: "unavailable", message: "the server stops" });
}

function cancelled({ reason }: AbortSignal): EngineError {
  if (reason instanceof EngineError) return reason;
  return new EngineError({ kind: "cancelled", message: "the request was cancelled" });
}
