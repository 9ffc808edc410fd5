import { expect, test } from "vitest";
import { type Turn, Turns } from "./turns.js";

// Plan: bodies that run, wait for something else, and end when the test says so: who has a place. An
// abort while one waits, first and after it was away, and a throw leave no place taken.
class Body {
  readonly log: string[] = [];
  #next: (step: () => Promise<unknown>) => void = () => undefined;
  #away: () => void = () => undefined;
  readonly ended: Promise<unknown>;
  readonly abort = new AbortController();

  constructor(turns: Turns, large = false) {
    const body = async (turn: Turn): Promise<void> => {
      this.log.push("begins");
      for (;;) {
        const step = await new Promise<() => Promise<unknown>>((resolve) => (this.#next = resolve));
        if ((await step()) === "end") return;
        await turn.away(() => new Promise<void>((resolve) => (this.#away = resolve)));
        this.log.push("is back");
      }
    };
    this.ended = turns.run(body, this.abort.signal, large).catch((error: unknown) => error);
  }

  async step(how: "goes" | "returns" | "end" | Error): Promise<void> {
    if (how === "returns") this.#away();
    else this.#next(() => (how instanceof Error ? Promise.reject(how) : Promise.resolve(how)));
    await settle();
  }
}
const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));

test("one that is away makes room for the next, and waits for its place after it", async () => {
  const turns = new Turns(1);
  const [long, short] = [new Body(turns), new Body(turns)];
  await settle();
  expect([long.log, short.log, turns.waiting]).toEqual([["begins"], [], 1]);
  await long.step("goes");
  expect(short.log).toEqual(["begins"]);
  await long.step("returns");
  expect([long.log, turns.waiting]).toEqual([["begins"], 1]);
  await short.step("end");
  expect([long.log, turns.waiting]).toEqual([["begins", "is back"], 0]);
  await long.step("end");
  expect(await long.ended).toBeUndefined();
});

test("of large ones no more begin than there are places; they keep no other back", async () => {
  const turns = new Turns(1);
  const [first, second] = [new Body(turns, true), new Body(turns, true)];
  const small = new Body(turns);
  await settle();
  await first.step("goes");
  expect([second.log, small.log]).toEqual([[], ["begins"]]);
  await small.step("end");
  await first.step("returns");
  await first.step("end");
  expect([first.log, second.log]).toEqual([["begins", "is back"], ["begins"]]);
  await second.step("end");
  await second.ended;
});

test.each(["waits", "is away", "waits again", "runs"] as const)(
  "one that ends while it %s leaves no place taken",
  async (when) => {
    const turns = new Turns(1);
    const [one, other] = [new Body(turns, true), new Body(turns)];
    const gone = when === "waits" ? other : one;
    const error = new Error("gone");
    await settle();
    if (when === "is away" || when === "waits again") await one.step("goes");
    if (when === "waits again") await one.step("returns");
    if (when === "runs") await one.step(error);
    else gone.abort.abort(error);
    if (when === "is away") await one.step("returns");
    expect(await gone.ended).toBe(error);
    const left = gone === one ? other : one;
    await left.step("end");
    expect(await left.ended).toBeUndefined();
    const last = new Body(turns, true);
    await settle();
    expect([last.log, turns.waiting]).toEqual([["begins"], 0]);
    await last.step("end");
  },
);
