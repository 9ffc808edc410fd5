export const [chipLine, beginLine, endLine] = ["@chip", "@begin", "@end"];

/** What a compiler says of a pipeline. */
export interface Stats {
  /** Vector registers of a lane. */
  readonly registers: number;
  /** Registers that did not fit. */
  readonly spilled: number;
  /** Bytes of memory of a lane's own, for what spilled and for arrays that are indexed. */
  readonly scratch: number;
  readonly instructions: number;
}

export const columns: readonly (keyof Stats)[] = ["registers", "spilled", "scratch", "instructions"];

/** What a process of compile.ts has written. */
export interface Compiled {
  readonly adapter: string;
  readonly lanes: number;
  readonly pipelines: ReadonlyMap<string, Stats>;
  /** What the device refused. */
  readonly failed: readonly string[];
}

/** Lines of RADV (RADV_DEBUG=shaderstats) and of NVK (NAK_DEBUG=print), and what they add to. */
const known: Readonly<Record<string, keyof Stats>> = {
  VGPRs: "registers",
  "Spilled SGPRs": "spilled",
  "Spilled VGPRs": "spilled",
  "Scratch size": "scratch",
  Instructions: "instructions",
  "Num GPRs": "registers",
  "SLM size": "scratch",
  "Instruction count": "instructions",
};

/** Reads a compiler's lines as they come. */
export class StatsReader {
  readonly #pipelines = new Map<string, Stats>();
  readonly #failed: string[] = [];
  #facts = { adapter: "", lanes: 0 };
  #name: string | undefined;
  #stats: Record<keyof Stats, number> | undefined;

  line(text: string): void {
    const [word] = text.split(" ", 1);
    const rest = text.slice(word.length + 1);
    if (word === chipLine) this.#facts = JSON.parse(rest) as { adapter: string; lanes: number };
    else if (word === beginLine) [this.#name, this.#stats] = [rest, undefined];
    else if (word === "failed") this.#failed.push(`${this.#name}: ${rest}`);
    else if (word === endLine) this.#end();
    else if (this.#name !== undefined) this.#number(text);
  }

  result(): Compiled {
    return { ...this.#facts, pipelines: this.#pipelines, failed: this.#failed };
  }

  #number(text: string): void {
    const [, label, value] = /^([A-Z][\w ]*): (\d+)$/.exec(text) ?? [];
    const key = label && Object.hasOwn(known, label) ? known[label] : undefined;
    if (!key) return;
    this.#stats ??= { registers: 0, spilled: 0, scratch: 0, instructions: 0 };
    this.#stats[key] += Number(value);
  }

  #end(): void {
    const name = this.#name ?? "";
    if (this.#stats) this.#pipelines.set(name, this.#stats);
    else this.#failed.push(`${name}: the compiler wrote no numbers`);
    this.#name = undefined;
  }
}
