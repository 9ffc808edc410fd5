import { readFileSync } from "node:fs";
import { join } from "node:path";
import autocannon from "autocannon";
import { demoModel } from "../../src/node/demo.js";
import { form } from "../../test/helpers/serve.js";
import { sleep } from "./process.js";

const path = "/v1/audio/transcriptions";

/** A clip as a request. */
export interface ClipRequest {
  readonly type: string;
  readonly body: Buffer;
  readonly streamed: { readonly type: string; readonly body: Buffer };
  /** The text of the clip alone. */
  text: string;
  audioSeconds: number;
}

async function encoded(data: FormData): Promise<{ type: string; body: Buffer }> {
  const response = new Response(data);
  const body = Buffer.from(await response.arrayBuffer());
  return { type: response.headers.get("content-type")!, body };
}

/** The demo's clips, with the texts that a server without other work has for them. */
export async function clipRequests(address: string): Promise<ClipRequest[]> {
  const lines = readFileSync(join(demoModel, "clips", "clips.jsonl"), "utf8")
    .trimEnd()
    .split("\n");
  const requests: ClipRequest[] = [];
  for (const line of lines) {
    const { audio } = JSON.parse(line) as { audio: string };
    const file = new File([readFileSync(join(demoModel, "clips", audio))], audio);
    const sent = await encoded(form({ model: "demo" }, file));
    const streamed = await encoded(form({ model: "demo", stream: "true" }, file));
    const whole = form({ model: "demo", response_format: "verbose_json" }, file);
    const answer = await fetch(address + path, { method: "POST", body: whole });
    if (!answer.ok) throw new Error(`bench/serve: ${audio}: ${answer.status} ${await answer.text()}`);
    const { text, duration } = (await answer.json()) as { text: string; duration: number };
    requests.push({ ...sent, streamed, text, audioSeconds: duration });
  }
  return requests;
}

/** What a phase saw. */
export class Seen {
  /** Seconds of answers with 200. */
  readonly seconds: number[] = [];
  readonly firstWords: number[] = [];
  readonly statuses = new Map<number, number>();
  audioSeconds = 0;
  different = 0;
  /** Refusals without a time to come back. */
  withoutRetry = 0;
  /** Seconds in which these answers came. */
  elapsed = 0;

  answered(status: number): void {
    this.statuses.set(status, (this.statuses.get(status) ?? 0) + 1);
  }

  get failed(): number {
    let count = 0;
    for (const [status, times] of this.statuses) if (status !== 200) count += times;
    return count;
  }
}

/** When a phase of autocannon ends. */
export interface Limit {
  /** Counted from the moment when each client could have had an answer. */
  readonly seconds?: number;
  /** Or after so many answers, all counted. */
  readonly amount?: number;
}

const longestSettling = 60; // s

/** So many clients by autocannon; each begins with another clip and sends them in turn. */
export async function clients(
  address: string,
  requests: readonly ClipRequest[],
  count: number,
  { seconds = 0, amount }: Limit,
): Promise<Seen> {
  const seen = new Seen();
  const begun = performance.now();
  let counted = amount === undefined ? Infinity : begun;
  let settled = 0;
  const made = requests.map((request): autocannon.Request => {
    return {
      method: "POST",
      path,
      headers: { "content-type": request.type },
      body: request.body,
      onResponse: (status, body, _context, headers) => {
        const now = performance.now();
        settled++;
        if (counted === Infinity && (settled >= count || now - begun > 1000 * longestSettling)) {
          counted = now;
          setTimeout(() => run.stop(), 1000 * seconds);
          return;
        }
        if (now < counted) return;
        seen.answered(status);
        if (status === 429 && !/^\d+$/.test(retryAfter(headers))) seen.withoutRetry++;
        if (status !== 200) return;
        seen.audioSeconds += request.audioSeconds;
        if ((JSON.parse(body) as { text: string }).text !== request.text) seen.different++;
      },
    };
  });
  let client = 0;
  let ended: (error: Error | null, result: autocannon.Result) => void;
  const result = new Promise<autocannon.Result>((resolve, reject) => {
    ended = (error, found) => (error ? reject(error) : resolve(found));
  });
  const options: autocannon.Options = {
    url: address,
    connections: count,
    timeout: 600,
    ...(amount === undefined ? { duration: 86_400 } : { amount }),
    setupClient: (one) => {
      const first = client++ % made.length;
      one.setRequests([...made.slice(first), ...made.slice(0, first)]);
    },
  };
  const run = autocannon(options, (error, found) => ended(error as Error | null, found));
  run.on("response", (_client, status, _bytes, ms) => {
    if (performance.now() > counted && status === 200) seen.seconds.push(ms / 1000);
  });
  const { errors, timeouts } = await result;
  if (errors + timeouts > 0)
    throw new Error(`bench/serve: ${count} clients: ${errors} connections failed, ${timeouts} had no answer`);
  seen.elapsed = amount === undefined ? seconds : (performance.now() - begun) / 1000;
  return seen;
}

/** autocannon gives headers as a list of names and values. */
function retryAfter(headers: unknown): string {
  const list = (Array.isArray(headers) ? headers : Object.entries(headers ?? {}).flat()) as string[];
  const at = list.findIndex((name, i) => i % 2 === 0 && name.toLowerCase() === "retry-after");
  return at < 0 ? "" : list[at + 1];
}

/** One streamed answer. */
async function stream(address: string, request: ClipRequest, seen: Seen): Promise<void> {
  const begun = performance.now();
  const { type, body } = request.streamed;
  const response = await fetch(address + path, { method: "POST", headers: { "content-type": type }, body });
  let first = NaN;
  let text = "";
  for await (const piece of response.body!.pipeThrough(new TextDecoderStream())) {
    text += piece;
    if (Number.isNaN(first) && text.includes("transcript.text.delta")) first = performance.now();
  }
  seen.answered(response.status);
  if (response.status !== 200) return;
  const done = /^data: (\{"type":"transcript\.text\.done".*\})$/m.exec(text);
  if (done === null || (JSON.parse(done[1]) as { text: string }).text !== request.text) seen.different++;
  seen.seconds.push((performance.now() - begun) / 1000);
  seen.audioSeconds += request.audioSeconds;
  if (!Number.isNaN(first)) seen.firstWords.push((first - begun) / 1000);
}

/** So many clients with streamed answers. */
export async function streams(
  address: string,
  requests: readonly ClipRequest[],
  count: number,
  seconds: number,
): Promise<Seen> {
  const seen = new Seen();
  const begun = performance.now();
  const client = async (_: unknown, i: number): Promise<void> => {
    for (let at = i; performance.now() - begun < 1000 * seconds; at++)
      await stream(address, requests[at % requests.length], seen);
  };
  await Promise.all(Array.from({ length: count }, client));
  seen.elapsed = (performance.now() - begun) / 1000;
  return seen;
}

/** Streamed requests at random moments, whether or not those before have their answers. */
export async function arrivals(
  address: string,
  requests: readonly ClipRequest[],
  perSecond: number,
  seconds: number,
): Promise<Seen> {
  const seen = new Seen();
  const running: Promise<void>[] = [];
  let seed = 1;
  const random = (): number => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647;
  const begun = performance.now();
  for (let due = 0, i = 0; ; i++) {
    due += -Math.log(random()) / perSecond;
    if (due > seconds) break;
    await sleep(Math.max(0, 1000 * due - (performance.now() - begun)));
    running.push(stream(address, requests[i % requests.length], seen));
  }
  await Promise.all(running);
  seen.elapsed = (performance.now() - begun) / 1000;
  return seen;
}
