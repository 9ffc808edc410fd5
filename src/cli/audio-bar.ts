import { status, terminalBar } from "./output.js";

/** How much of a clip is done, and how long the rest will take, on stderr. */
export class AudioBar {
  #bar: ReturnType<typeof terminalBar>;
  #total = 0;

  constructor(private readonly label: string) {}

  lasts(seconds: number): void {
    this.#total = Math.max(this.#total, seconds);
    this.#bar?.setTotal(this.#total);
  }

  update(seconds: number): void {
    if (!this.#bar) {
      status("");
      this.#bar = terminalBar({ format: `${this.label} {bar} {done} of {whole}, {eta_formatted} left` });
      this.#bar?.start(Math.max(this.#total, seconds), 0, { done: "0:00", whole: clock(this.#total) });
    }
    this.#bar?.update(seconds, { done: clock(seconds), whole: clock(Math.max(this.#total, seconds)) });
  }

  stop(): void {
    this.#bar?.stop();
    this.#bar = undefined;
  }
}

/** Hours, minutes and seconds: 1:02:03, or 2:03. */
function clock(seconds: number): string {
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, Math.floor(seconds) % 60];
  return parts
    .slice(parts[0] > 0 ? 0 : 1)
    .map((part, i) => (i === 0 ? String(part) : String(part).padStart(2, "0")))
    .join(":");
}
