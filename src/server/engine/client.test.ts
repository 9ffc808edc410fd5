import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, describe, expect, onTestFinished, test } from "vitest";
import { EngineClient } from "./client.js";
import type { Job, LiveEvent } from "./engine.js";

// Plan: a small process takes the engine's place and ends on demand. A job that was in work then runs
// once more, by itself. It is answered once, and its text is passed once. A job that ends the
// process twice fails, and no other fails with it. A live session ends with its process. Then a
// process that cannot start, an abort, and the stop.

const folder = mkdtempSync(join(tmpdir(), "engine-"));
afterAll(() => rmSync(folder, { recursive: true }));
const program = join(folder, "engine.mjs");
writeFileSync(
  program,
  `import { appendFileSync, existsSync, writeFileSync } from "node:fs";
  const say = (message) => process.send(message);
  const counts = { queued: 0, running: 0, tokens: 3, gpuKept: 4, gpuReserved: 5, progress: 0 };
  process.on("disconnect", () => process.exit(0));
  process.on("message", (command) => {
    const { type, id, job } = command;
    if (type === "load") {
      if (command.settings.model === "none") say({ type: "refused", message: "no model" });
      else say({ type: "ready", about: { device: "none", languages: undefined, words: false, warnings: [] } });
    }
    if (type === "count") say({ type: "counts", id, counts });
    if (type === "cancel") appendFileSync(${JSON.stringify(join(folder, "cancelled"))}, id + "\\n");
    if (type === "open") say({ type: "live", id, event: { type: "started", start: 0 } });
    if (type === "push") process.kill(process.pid, "SIGKILL");
    if (type !== "run") return;
    const result = { text: job.name, segments: [], audioSeconds: 1, workSeconds: 1, tokens: { audio: 0, text: 0, output: 0 } };
    const done = () => say({ type: "done", id, result });
    const [how, name] = job.name.split(" ");
    const seen = ${JSON.stringify(folder)} + "/" + name;
    if (how === "fail") say({ type: "failed", id, failure: { kind: "damaged", message: "bad" } });
    else if (how === "twice") { say({ type: "delta", id, text: "one" }); done(); say({ type: "delta", id, text: "more" }); done(); }
    else if (how === "die" || (how === "once" && !existsSync(seen))) {
      writeFileSync(seen, "");
      process.send({ type: "delta", id, text: "one t" }, undefined, undefined, () => process.kill(process.pid, "SIGKILL"));
    } else if (how === "once") { say({ type: "delta", id, text: "one " }); say({ type: "delta", id, text: "two" }); done(); }
    else if (how === "wait") setTimeout(done, 300);
    else if (how === "hang" && existsSync(seen)) done();
    else if (how === "hang") writeFileSync(seen, "");
    else if (how === "spin" && existsSync(seen)) done();
    else if (how === "spin") { writeFileSync(seen, ""); for (;;); }
    else if (how !== "never") done();
  });`,
);

async function client(model = "m", hangMs = Infinity): Promise<{ engine: EngineClient; notes: string[] }> {
  const notes: string[] = [];
  const engine = new EngineClient({
    settings: { model, vad: "v", jobs: 4 },
    program: pathToFileURL(program),
    onNote: (text) => notes.push(text),
    pauseMs: 1,
    aloneMs: 2000,
    hangMs,
  });
  onTestFinished(() => engine.stop());
  await engine.start();
  return { engine, notes };
}
const job = (name: string): Job => ({ file: "f", name, task: "transcribe", words: false, maxSeconds: 60 });

describe("jobs", () => {
  test("a result, once; a failure; counts", async () => {
    const { engine } = await client();
    expect(await engine.run(job("done"))).toMatchObject({ text: "done" });
    let text = "";
    const twice = engine.run(job("twice"), { onDelta: (delta) => (text += delta) });
    expect(await twice).toMatchObject({ text: "twice" });
    await engine.run(job("done")); // what came for the one before it is heard
    expect(text).toBe("one");
    await expect(engine.run(job("fail"))).rejects.toMatchObject({ kind: "damaged", message: "bad" });
    expect(await engine.counts()).toEqual({
      queued: 0,
      running: 0,
      tokens: 3,
      gpuKept: 4,
      gpuReserved: 5,
      restarts: 0,
      hangs: 0,
    });
  });

  test("in work when the process is killed: run once more, no text twice", async () => {
    const { engine, notes } = await client();
    let text = "";
    const other = engine.run(job("wait"));
    const result = await engine.run(job("once a"), { onDelta: (delta) => (text += delta) });
    expect([result.text, text]).toEqual(["once a", "one two"]);
    expect((await other).text).toBe("wait");
    expect(notes[0]).toContain("the engine's process ended (SIGKILL)");
    expect((await engine.counts()).restarts).toBe(1);
  });

  test("one that ends the process each time fails, and takes no other with it", async () => {
    const { engine } = await client();
    const never = engine.run(job("never mind"));
    never.catch(() => undefined); // ends with the engine
    const good = engine.run(job("wait"));
    await expect(engine.run(job("die b"))).rejects.toMatchObject({ kind: "unavailable" });
    expect((await good).text).toBe("wait");
    expect((await engine.run(job("done"))).text).toBe("done");
    expect((await engine.counts()).restarts).toBe(2);
  });

  test("asked for while the process is started again", async () => {
    const { engine } = await client();
    process.kill(engine.pid!, "SIGKILL");
    await expect.poll(() => engine.state, { timeout: 60_000 }).toBe("restarting");
    expect((await engine.run(job("done"))).text).toBe("done");
  });

  test("an abort ends it here and there", async () => {
    const { engine } = await client();
    const gone = new AbortController();
    const run = engine.run(job("never"), { signal: gone.signal });
    gone.abort();
    await expect(run).rejects.toMatchObject({ kind: "cancelled" });
    await expect(engine.run(job("done"), { signal: gone.signal })).rejects.toMatchObject({
      kind: "cancelled",
    });
    const file = join(folder, "cancelled");
    await expect
      .poll(() => existsSync(file) && readFileSync(file, "utf8"), { timeout: 60_000 })
      .toMatch(/^\d+\n$/);
  });
});

// Plan: a process with work that gets nothing done is ended, whether it answers or not. The watchdog's
// own tests have the rest.
test.each(["hang c", "spin d"])("a job that gets nothing done is run once more: %s", async (name) => {
  const { engine, notes } = await client("m", 1000);
  expect((await engine.run(job(name))).text).toBe(name);
  expect(await engine.counts()).toMatchObject({ restarts: 1, hangs: 1 });
  expect(notes[0]).toBe("the engine got nothing done for 1 s; it is ended");
});

test("a live session fails with its process", async () => {
  const { engine } = await client();
  const events: LiveEvent[] = [];
  const session = engine.open({ endpoints: true, partials: true, words: false }, (event) =>
    events.push(event),
  );
  await expect.poll(() => events.length, { timeout: 60_000 }).toBe(1);
  session.push(new Float32Array(4));
  await expect.poll(() => events.length, { timeout: 60_000 }).toBe(2);
  expect(events).toMatchObject([{ type: "started" }, { type: "failed", error: { kind: "unavailable" } }]);
});

test("a model that cannot be loaded", async () => {
  await expect(client("none")).rejects.toMatchObject({ message: "no model" });
});

test("the stop ends what runs, and the process", async () => {
  const { engine } = await client();
  const run = engine.run(job("never"));
  const { pid } = engine;
  void engine.stop();
  await expect(run).rejects.toMatchObject({ kind: "unavailable" });
  await expect.poll(() => isThere(pid!), { timeout: 60_000 }).toBe(false);
  await expect(engine.run(job("done"))).rejects.toMatchObject({ kind: "unavailable" });
});

function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
