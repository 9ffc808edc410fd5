import { stat } from "node:fs/promises";
import type { Gpu } from "../../gpu/device.js";
import { GpuError } from "../../gpu/errors.js";
import type { About, Job, JobResult, LiveOptions } from "./engine.js";
import { EngineError } from "./errors.js";
import { failureOf } from "./failure.js";
import type { LiveSession } from "../../decode/live/session.js";
import { openLive } from "./live.js";
import type { Command, LiveReport, Report } from "./messages.js";
import { type Turn, Turns } from "./turns.js";
import { type Models, Work } from "./transcribe.js";

/** The models of an engine, loaded. */
export interface Loaded extends Models {
  readonly gpu: Gpu;
  readonly about: About;
  /** Clips that wait and that run; tokens and steps so far. */
  readonly counts: () => {
    readonly queued: number;
    readonly running: number;
    readonly tokens: number;
    readonly steps: number;
  };
}

/** The engine's side of the messages: runs jobs and live sessions, and reports what they give. */
export class EngineHost {
  readonly #jobs = new Map<number, AbortController>();
  readonly #lives = new Map<number, LiveSession>();
  readonly #turns: Turns;
  /** Reports, and blocks of audio that were read. */
  #progress = 0;

  constructor(
    private readonly loaded: Loaded,
    jobs: number,
    private readonly send: (report: Report) => void,
  ) {
    this.#turns = new Turns(jobs);
  }

  #report(report: Report): void {
    this.#progress++;
    this.send(report);
  }

  take(command: Exclude<Command, { type: "load" }>): void {
    const { id } = command;
    switch (command.type) {
      case "run":
        void this.#run(id, command.job, command.deltas);
        return;
      case "cancel":
        this.#jobs.get(id)?.abort();
        return;
      case "open":
        this.#open(id, command.options);
        return;
      case "push":
        this.#lives.get(id)?.push(command.samples);
        return;
      case "commit":
      case "clear":
        this.#lives.get(id)?.[command.type]();
        return;
      case "close":
        this.#lives.get(id)?.close();
        this.#lives.delete(id);
        return;
      case "count":
        this.send({ type: "counts", id, counts: this.#counts() });
    }
  }

  #counts(): Extract<Report, { type: "counts" }>["counts"] {
    const { queued, running, tokens, steps } = this.loaded.counts();
    const { kept, reserved } = this.loaded.gpu.bytes;
    return {
      queued: queued + this.#turns.waiting,
      running,
      tokens,
      progress: this.#progress + steps,
      gpuKept: kept,
      gpuReserved: reserved,
    };
  }

  async #run(id: number, job: Job, deltas: boolean): Promise<void> {
    const controller = new AbortController();
    const { signal } = controller;
    this.#jobs.set(id, controller);
    const events = {
      signal,
      onRead: () => {
        this.#progress++;
      },
      ...(deltas && { onDelta: (text: string) => this.#report({ type: "delta", id, text }) }),
    };
    try {
      const { size } = await stat(job.file);
      const work = (turn: Turn): Promise<JobResult> =>
        new Work(this.loaded, job, { ...events, ...turn }).result();
      const result = await this.#turns.run(work, signal, size > largeBytes);
      this.#report({ type: "done", id, result });
    } catch (error) {
      await this.#fail(id, error);
    } finally {
      this.#jobs.delete(id);
    }
  }

  #open(id: number, options: LiveOptions): void {
    const fail = (error: unknown): void => {
      this.#lives.delete(id);
      void this.#fail(id, error);
    };
    try {
      const event = (event: LiveReport["event"]): void => this.#report({ type: "live", id, event });
      this.#lives.set(id, openLive(this.loaded, options, { event, fail }));
    } catch (error) {
      fail(error);
    }
  }

  /** A lost device ends the process, which the server starts again: nothing is reported then. */
  async #fail(id: number, error: unknown): Promise<void> {
    if (error instanceof GpuError) {
      const silent = new Promise<boolean>((resolve) => setTimeout(() => resolve(false), lossAnnounced));
      if (await Promise.race([this.loaded.gpu.device.lost.then(() => true), silent])) return;
    }
    const failure = failureOf(error);
    if (failure.kind === "internal" && !(error instanceof EngineError))
      process.stderr.write(
        `engine: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
      );
    this.#report({ type: "failed", id, failure });
  }
}

/** Until when a device that failed is reported as lost, ms. */
const lossAnnounced = 200;

/** Larger files are not read beside each other without bound: most formats are held whole. */
const largeBytes = 4 * 2 ** 20;
