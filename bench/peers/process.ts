import { type ChildProcess, spawn } from "node:child_process";
import { type Interface, createInterface } from "node:readline";

/** One answer of a contender. */
export interface Run {
  /** Of the whole. */
  readonly seconds: number;
  /** Of the tokens after the first. */
  readonly decode: number;
  readonly ids: readonly number[];
}

/** Tokens at the beginning that are the same. */
export function sameAtFirst(ids: readonly number[], want: readonly number[]): number {
  const differs = ids.findIndex((id, i) => id !== want[i]);
  return differs < 0 ? ids.length : differs;
}

/**
 * A Python script of this folder as a contender. It prints one JSON object a line: first its
 * versions, then an answer to each request.
 */
export class PeerProcess {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #reader: Interface;

  constructor(
    python: string,
    private readonly script: string,
    args: readonly string[],
  ) {
    const path = new URL(script, import.meta.url).pathname;
    this.#child = spawn(python, [path, ...args], { stdio: ["pipe", "pipe", "inherit"] });
    this.#reader = createInterface({ input: this.#child.stdout! });
    this.#lines = this.#reader[Symbol.asyncIterator]();
  }

  async #line<T>(): Promise<T> {
    const next = await this.#lines.next();
    if (next.done) throw new Error(`${this.script} ended`);
    return JSON.parse(next.value) as T;
  }

  /** Versions of what it runs on, once it is loaded. */
  async ready(): Promise<Readonly<Record<string, string>>> {
    return this.#line();
  }

  async run(request: object): Promise<Run> {
    this.#child.stdin!.write(`${JSON.stringify(request)}\n`);
    return this.#line<Run>();
  }

  end(): void {
    this.#child.stdin!.end();
    this.#reader.close();
  }
}
