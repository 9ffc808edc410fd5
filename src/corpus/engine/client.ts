import { type ChildProcess, fork } from "node:child_process";
import { FunasrError } from "../../errors.js";
import type { Heard, Item } from "../item.js";
import { type CorpusEngine, EngineUnavailable, ItemFailure } from "./engine.js";
import type { Command, LoadSettings, Report } from "./messages.js";
import { nameOf } from "./read.js";

/** How the engine's process is run. */
export interface EngineProcessOptions {
  readonly settings: LoadSettings;
  /** Items at once. Default: 8. */
  readonly width?: number;
  /** The process's program. Default: the engine. */
  readonly program?: URL;
  /** Gets a line about each end that was not asked for. */
  readonly onNote?: (text: string) => void;
  /** Gets each contradiction between the model's files. */
  readonly onWarning?: (text: string) => void;
}

/** Ends of the process while an item runs alone, after which the item is given up. */
const TRIES = 3;
const STARTS = 3; // in a row without a loaded model
const STOP_WAIT = 5000; // ms

interface Pending {
  readonly item: Item;
  readonly resolve: (heard: Heard) => void;
  readonly reject: (error: unknown) => void;
  /** Ends of the process while it ran, and while it ran alone. */
  ends: number;
  alone: number;
  running: boolean;
}

/**
 * The engine in a process of its own, so that no lease is lost to its work. A process that ends is
 * started again, and what it had in work is run again, one item after the other.
 */
export class EngineProcess implements CorpusEngine {
  readonly width: number;
  device = "";
  #child: ChildProcess | undefined;
  #ready = false;
  #stopped = false;
  #id = 0;
  readonly #pending = new Map<number, Pending>();
  #seconds = 0;
  #secondsBefore = 0;
  #restarts = 0;
  #failedStarts = 0;

  constructor(private readonly options: EngineProcessOptions) {
    this.width = options.width ?? 8;
  }

  /** @throws FunasrError  the model cannot be loaded */
  async start(): Promise<void> {
    await new Promise<void>((resolve, reject) => this.#spawn(resolve, reject));
  }

  run(item: Item, signal: AbortSignal): Promise<Heard> {
    return new Promise((resolve, reject) => {
      signal.throwIfAborted();
      if (this.#stopped || this.#failedStarts >= STARTS) {
        reject(new EngineUnavailable("the engine is not there any more"));
        return;
      }
      const id = ++this.#id;
      const leave = (): void => {
        this.#pending.delete(id);
        this.#send({ type: "cancel", id });
        reject(signal.reason as Error);
        this.#begin();
      };
      signal.addEventListener("abort", leave, { once: true });
      const settle = <T>(then: (value: T) => void) => {
        return (value: T): void => {
          this.#pending.delete(id);
          signal.removeEventListener("abort", leave);
          then(value);
        };
      };
      const pending = { item, resolve: settle(resolve), reject: settle(reject), ends: 0, alone: 0 };
      this.#pending.set(id, { ...pending, running: false });
      this.#begin();
    });
  }

  usage(): { readonly gpuSeconds: number; readonly restarts: number } {
    return { gpuSeconds: this.#secondsBefore + this.#seconds, restarts: this.#restarts };
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const pending of [...this.#pending.values()])
      pending.reject(new EngineUnavailable("the engine was stopped"));
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => child.kill("SIGKILL"), STOP_WAIT);
      child.once("exit", () => {
        clearTimeout(timer);
        resolve();
      });
      if (child.connected) child.disconnect();
    });
  }

  #spawn(ready: () => void, refused: (error: FunasrError) => void): void {
    const program = this.options.program ?? new URL("./process.js", import.meta.url);
    const child = fork(program, [], { serialization: "advanced", stdio: ["ignore", 2, 2, "ipc"] });
    this.#child = child;
    let message = "the engine's process ended before it was ready";
    child.on("error", (error) => (message = `the engine's process: ${error.message}`));
    child.on("message", (report: Report) => {
      if (report.type === "refused") ({ message } = report);
      if (report.type === "refused") child.kill("SIGKILL");
      else if (report.type !== "ready") this.#hear(report);
      else {
        for (const warning of report.warnings) this.options.onWarning?.(warning);
        this.device = report.device;
        [this.#ready, this.#failedStarts] = [true, 0];
        ready();
        this.#begin();
      }
    });
    child.once("exit", (code, signal) => {
      if (this.#stopped) return;
      const wasReady = this.#ready;
      this.#ready = false;
      if (wasReady) this.#lost(signal ?? `code ${code}`);
      else refused(new FunasrError(message));
    });
    this.#send({ type: "load", settings: this.options.settings });
  }

  #hear(report: Extract<Report, { id: number }>): void {
    const pending = this.#pending.get(report.id);
    if (report.type === "done") {
      this.#seconds = report.gpuSeconds;
      pending?.resolve(report.heard);
    } else {
      const { kind, message } = report;
      pending?.reject(kind === "passing" ? new FunasrError(message) : new ItemFailure(kind, message));
    }
    this.#begin();
  }

  /** Gives the process what it may have: all, or one item that was in work when it ended. */
  #begin(): void {
    if (!this.#ready) return;
    const all = [...this.#pending];
    const suspect = all.find(([, { ends }]) => ends > 0);
    const next = suspect ? [suspect] : all;
    if (suspect && all.some(([, { running }]) => running)) return;
    for (const [id, pending] of next) {
      if (pending.running) continue;
      pending.running = true;
      this.#send({ type: "run", id, item: pending.item });
    }
  }

  #lost(how: string): void {
    this.#restarts++;
    [this.#secondsBefore, this.#seconds] = [this.#secondsBefore + this.#seconds, 0];
    this.options.onNote?.(`the engine's process ended (${how}); it is started again`);
    const running = [...this.#pending.values()].filter((pending) => pending.running);
    for (const pending of running) {
      pending.running = false;
      pending.ends++;
      if (running.length > 1 || ++pending.alone < TRIES) continue;
      const message = `${nameOf(pending.item)}: it ended the engine's process ${TRIES} times`;
      pending.reject(new ItemFailure("engine", message));
    }
    this.#restart();
  }

  #restart(): void {
    const again = (error: FunasrError): void => {
      this.options.onNote?.(`the engine cannot be started: ${error.message}`);
      if (++this.#failedStarts < STARTS) this.#restart();
      else
        for (const pending of [...this.#pending.values()])
          pending.reject(new EngineUnavailable(error.message));
    };
    setTimeout(() => {
      if (!this.#stopped) this.#spawn(() => undefined, again);
    }, 500 * this.#failedStarts);
  }

  #send(command: Command): void {
    if (this.#child?.connected) this.#child.send(command, () => undefined);
  }
}
