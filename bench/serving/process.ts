import { readFileSync } from "node:fs";
import type { Serving } from "../../test/helpers/serve.js";
import type { MemorySample } from "./results.js";

/** Values of `/metrics` by their names without `funasr_`, labels included. */
export async function metrics(address: string): Promise<ReadonlyMap<string, number>> {
  const text = await (await fetch(`${address}/metrics`)).text();
  const found = text.matchAll(/^funasr_(\S+) (\S+)$/gm);
  return new Map([...found].map(([, name, value]) => [name, Number(value)]));
}

/** Waits until no request with audio is open and no clip is worked on. @throws Error  after a minute */
export async function idle(address: string): Promise<ReadonlyMap<string, number>> {
  const end = Date.now() + 60_000;
  for (;;) {
    const now = await metrics(address);
    const busy = ["requests_open", "queue_length", "rows_running"].filter((name) => now.get(name) !== 0);
    if (busy.length === 0) return now;
    if (Date.now() > end)
      throw new Error(`bench/serve: expected no work after a minute, got ${busy.join(", ")} above 0`);
    await sleep(200);
  }
}

/** The engine's process. @source proc(5), task/children */
export function enginePid({ child }: Pick<Serving, "child">): number {
  const list = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "utf8").trim();
  return Number(list.split(" ")[0]);
}

/** Resident bytes of a process. @source proc(5), VmRSS */
export function resident(pid: number): number {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]) * 1024;
}

/** Waits for the end of all work and reads the memory. */
export async function memory(serving: Serving, requests: number): Promise<MemorySample> {
  const now = await idle(serving.address);
  return {
    requests,
    server: resident(serving.child.pid!),
    engine: resident(enginePid(serving)),
    gpu: now.get("gpu_bytes")!,
    weights: now.get("gpu_weight_bytes")!,
    uploads: now.get("uploads")!,
  };
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
