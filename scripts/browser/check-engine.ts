// `npm run check:browser` runs the engine in Chromium on SwiftShader: the texts of the demo's clips are those of
// Node, golden bundles pass, downloads resume and are kept, and refusals, lost devices, tabs and ends do what
// docs/browser.md says. `-- PART…` runs the parts whose names begin so.
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { Transcriber } from "../../src/decode/transcriber.js";
import { decodeAudio } from "../../src/frontend/decode.js";
import { demoModel, vadModel } from "../../src/node/demo.js";
import { openDevice } from "../../src/node/device.js";
import { modelDirectory } from "../../src/node/files.js";
import { launch } from "./launch.js";
import { enginePages } from "./page.js";
import { type CutText, cutText, madeRecordings, recordingsInNode } from "./recordings.js";
import { StaticServer } from "./serve.js";

const golden = fileURLToPath(new URL("../../golden/bundles", import.meta.url));
const clips = join(demoModel, "clips");
const names = readdirSync(clips).filter((name) => !name.endsWith(".jsonl"));
const language = (name: string): string => name.slice(0, 2);

const mostSeconds = Number(process.env.CHECK_BROWSER_SECONDS ?? 15); // from the start to the first words, cold

const failures: string[] = [];
function expect(what: string, ok: boolean, got: unknown = ""): void {
  if (ok) return;
  failures.push(what);
  console.log(`  FAILED ${what}: got ${JSON.stringify(got)}`);
}

/** What the parts share. */
interface Bench {
  readonly server: StaticServer;
  readonly port: number;
  readonly browser: Browser;
}

/** Runs the body of an async function in a page. */
async function run<T>(page: Page, body: string, argument?: unknown): Promise<T> {
  return page.evaluate(`(async (argument) => {${body}})(${JSON.stringify(argument ?? null)})`);
}

async function open({ port }: Bench, context: BrowserContext, host = "localhost"): Promise<Page> {
  const page = await context.newPage();
  page.on("pageerror", (error) => expect("no error in the page", false, error.message));
  await page.goto(`http://${host}:${port}/page/`);
  return page;
}

const helpers = `
  const options = { model: { url: "/demo/" }, vad: { url: "/vad/" } };
  const file = async (name) => new File([await (await fetch("/clips/" + name)).blob()], name);
  const failure = async (promise) => promise.then(() => "none", (e) => ({ name: e.name, code: e.code, message: e.message }));
`;

interface Failure {
  readonly name: string;
  readonly code?: string;
  readonly message: string;
}

/** The texts and word times of the clips in Node. */
async function inNode(): Promise<Record<string, { text: string; words: unknown }>> {
  const { gpu } = await openDevice({ quiet: true });
  const transcriber = await Transcriber.load(gpu, modelDirectory(demoModel), { wordTimes: true });
  const texts: Record<string, { text: string; words: unknown }> = {};
  for (const name of names) {
    const audio = await decodeAudio(readFileSync(join(clips, name)), name, { keep: { rate: 16_000 } });
    const clip = transcriber.prepare(audio, name);
    const [{ text, words }] = await transcriber.transcribe([clip], { language: language(name) });
    texts[name] = { text, words };
  }
  transcriber.free();
  gpu.destroy();
  return texts;
}

interface Heard {
  readonly firstMs: number;
  readonly facts: { readonly adapter: { readonly description: string }; readonly subgroups: number };
  readonly got: Record<string, { text: string; words: unknown }>;
}

async function transcripts(bench: Bench): Promise<void> {
  const want = await inNode();
  const context = await bench.browser.newContext();
  const page = await open(bench, context);
  const { firstMs, facts, got } = await run<Heard>(
    page,
    `${helpers}
    const began = performance.now();
    const speech = globalThis.speech = await SpeechWorker.start(newWorker(), options);
    let firstMs;
    const got = {};
    for (const [name, language] of argument) {
      const { text, segments } = await speech.transcribe(await file(name), { language }, (event) => {
        if (event.type === "partial") firstMs ??= performance.now() - began;
      });
      got[name] = { text, words: segments[0]?.words };
    }
    return { firstMs, facts: speech.facts, got };`,
    names.map((name) => [name, language(name)]),
  );
  console.log(
    `  ${facts.adapter.description}, subgroups of ${facts.subgroups}; first words after ${(firstMs / 1000).toFixed(1)} s`,
  );
  for (const name of names) {
    expect(`${name}: Node's text`, got[name].text === want[name].text, got[name].text);
    expect(
      `${name}: Node's times`,
      JSON.stringify(got[name].words) === JSON.stringify(want[name].words),
      got[name].words,
    );
  }
  expect(`first words within ${mostSeconds} s`, firstMs <= 1000 * mostSeconds, firstMs / 1000);
  await live(page);
  await context.close();
}

/** Live speech of a clip between silences, in the page's open engine. */
async function live(page: Page): Promise<void> {
  const { finals, stable } = await run<{ finals: string[]; stable: string[] }>(
    page,
    `${helpers}
    const bytes = new Int16Array((await (await fetch("/clips/en-seen-2.wav")).arrayBuffer()).slice(44));
    const samples = new Float32Array(bytes.length + 48000);
    bytes.forEach((value, i) => (samples[8000 + i] = value / 32768));
    const finals = [], stable = [];
    const session = speech.live({ language: "en" }, (event) => {
      if (event.type === "final") finals.push(event.segment.text);
      if (event.type === "partial") stable.push(event.stable);
    });
    for (let at = 0; at < samples.length; at += 4000) session.push(samples.slice(at, at + 4000));
    await session.finish();
    return { finals, stable };`,
  );
  expect("live text", finals.join() === "remind me to take out the trash in ten minutes", finals);
  expect(
    "stable words stay",
    stable.every((text) => finals[0]?.startsWith(text)),
    stable,
  );
}

/** Audio that voice activity cuts: a recording above a minute, and a short one with `cut`. */
async function recordings(bench: Bench): Promise<void> {
  const want = await recordingsInNode(await madeRecordings(clips));
  const context = await bench.browser.newContext();
  const page = await open(bench, context);
  const got = await run<Record<string, CutText>>(
    page,
    `${helpers}
    const speech = await SpeechWorker.start(newWorker(), options);
    const got = {};
    for (const [name, request] of argument) {
      const blob = await (await fetch("/made/" + name)).blob();
      const { text, segments } = await speech.transcribe(new File([blob], name), request);
      got[name] = { text, segments };
    }
    await speech.close();
    return got;`,
    Object.keys(want).map((name) => [name, name === "cut.wav" ? { cut: true } : {}]),
  );
  for (const name of Object.keys(want)) {
    const [heard, node] = [cutText(got[name]), cutText(want[name])];
    console.log(`  ${name}: ${node.segments.length} segments`);
    expect(`${name} has segments`, node.segments.length > 0);
    expect(`${name}: Node's segments`, JSON.stringify(heard) === JSON.stringify(node), heard);
  }
  await context.close();
}

async function verify(bench: Bench): Promise<void> {
  const bundles = readdirSync(golden).filter((name) => name.endsWith(".safetensors"));
  const context = await bench.browser.newContext();
  const page = await open(bench, context);
  const rows = await run<
    { bundle: string; failed: number; problem?: string; stages: number; seconds: number }[]
  >(
    page,
    `const speech = await SpeechWorker.start(newWorker());
    const rows = await speech.verify(argument.map((name) => ({ url: "/bundles/" + name, name })));
    await speech.close();
    return rows.map(({ bundle, failed, problem, stages, seconds }) => ({ bundle, failed, problem, seconds, stages: stages.length }));`,
    bundles,
  );
  const stages = rows.reduce((sum, row) => sum + row.stages, 0);
  console.log(`  ${rows.length} bundles, ${stages} stages`);
  expect("every bundle has a row", rows.length === bundles.length, rows.length);
  for (const row of rows) expect(`${row.bundle}: 0 failed`, row.failed === 0, row);
  await context.close();
}

/** Two tabs want the model at once; the download breaks off, goes on, and later visits need no network. */
async function store(bench: Bench): Promise<void> {
  const { server } = bench;
  const context = await bench.browser.newContext();
  const start = `${helpers} return failure(SpeechWorker.start(newWorker(), { model: options.model }));`;
  const page = await open(bench, context);
  server.asked.length = 0;
  server.cuts.set("/demo/model.safetensors", 3_000_000);
  const broken = await run<Failure>(page, start);
  expect("a download that breaks off is a network error", broken.code === "network", broken);
  const tabs = await Promise.all([open(bench, context), open(bench, context)]);
  const ends = await Promise.all(tabs.map((tab) => run<string>(tab, start)));
  expect("both tabs start", ends.join() === "none,none", ends);
  const ranges = server
    .weights()
    .filter(({ path }) => path === "/demo/model.safetensors")
    .map(({ range }) => range);
  expect("the download goes on, once for both tabs", /^,bytes=\d+-$/.test(ranges.join()), ranges);
  server.asked.length = 0;
  const second = await run<string>(await open(bench, context), start);
  expect("a second visit starts", second === "none", second);
  expect("without a request for weights", server.weights().length === 0, server.weights());
  server.offline = true;
  const offline = await run<string>(await open(bench, context), start);
  server.offline = false;
  expect("it starts offline", offline === "none", offline);
  await context.close();
}

async function refusals(bench: Bench): Promise<void> {
  const start = (worker: string): string =>
    `${helpers} return failure(SpeechWorker.start(newWorker("${worker}"), options));`;
  const context = await bench.browser.newContext();
  bench.server.asked.length = 0;
  const quota = await run<Failure>(await open(bench, context), start("small-quota.js"));
  expect(
    "quota",
    quota.code === "quota" &&
      /^demo and vad: the download takes 1\d\.\d MB, the browser grants this page 1\.00 MB; 9\.\d+ MB are missing/.test(
        quota.message,
      ),
    quota,
  );
  const insecure = await run<Failure>(await open(bench, context, "insecure.test"), start("worker.js"));
  expect("no WebGPU", insecure.code === "no-webgpu" && insecure.message.includes("https"), insecure);
  await context.close();
  const plain = await launch({ webgpu: false });
  const none = await run<Failure>(await open(bench, await plain.newContext()), start("worker.js"));
  await plain.close();
  expect("no adapter", none.code === "no-adapter", none);
  expect("nothing of the weights is fetched", bench.server.weights().length === 0, bench.server.weights());
}

async function ends(bench: Bench): Promise<void> {
  const context = await bench.browser.newContext();
  const page = await open(bench, context);
  const { text, other, repeated, lost, closed, kept, aborted } = await run<Record<string, unknown>>(
    page,
    `${helpers}
    let lost;
    const speech = await SpeechWorker.start(newWorker(), { model: options.model, onLost: (reason) => (lost = reason) });
    const clip = await file("en-seen-2.wav");
    const abort = new AbortController();
    const aborted = await failure(speech.transcribe(clip, { signal: abort.signal }, (event) => event.type === "partial" && abort.abort()));
    let repeated, asked = false;
    const second = speech.transcribe(await file("en-seen-1.wav"), { language: "en" });
    const { text } = await speech.transcribe(clip, { language: "en" }, (event) => {
      if (event.type === "partial" && !asked) { asked = true; speech.loseDevice(); }
      if (event.type === "repeated") repeated = event.reason;
    });
    const other = (await second).text;
    const before = await speech.memory();
    const running = failure(speech.transcribe(clip, { language: "en" }, (event) => event.type === "partial" && speech.close()));
    return { text, other, repeated, lost, kept: before.live, aborted: aborted.name, closed: await running };`,
  );
  expect("a signal ends a call", aborted === "AbortError", aborted);
  expect("a lost device is opened again", typeof repeated === "string" && lost !== undefined, {
    repeated,
    lost,
  });
  expect(
    "and the clip is transcribed again",
    text === "remind me to take out the trash in ten minutes",
    text,
  );
  expect("and one beside it", other === "set the oven to eighty two degrees", other);
  expect("no call leaves memory", kept === 0, kept);
  expect("close ends what runs", (closed as Failure).name !== undefined, closed);
  await context.close();
}

const parts: Readonly<Record<string, (bench: Bench) => Promise<void>>> = {
  transcripts,
  recordings,
  verify,
  store,
  refusals,
  ends,
};

const made = mkdtempSync(join(tmpdir(), "check-browser-"));
for (const [name, bytes] of Object.entries(await madeRecordings(clips)))
  writeFileSync(join(made, name), bytes);
const server = new StaticServer(
  { demo: demoModel, vad: vadModel, clips, bundles: golden, made },
  await enginePages(),
);
const port = await server.listen();
const browser = await launch();
const wanted = process.argv.slice(2);
try {
  console.log(`Chromium ${browser.version()}`);
  for (const [name, part] of Object.entries(parts)) {
    if (wanted.length > 0 && !wanted.some((begin) => name.startsWith(begin))) continue;
    const began = performance.now();
    console.log(`${name}:`);
    await part({ server, port, browser }).catch((error: unknown) => expect(name, false, String(error)));
    console.log(`  ${((performance.now() - began) / 1000).toFixed(1)} s`);
  }
} finally {
  await browser.close();
  server.close();
  rmSync(made, { recursive: true });
}
console.log(failures.length === 0 ? "check:browser: all holds" : `check:browser: ${failures.length} failed`);
process.exit(failures.length === 0 ? 0 : 1);
