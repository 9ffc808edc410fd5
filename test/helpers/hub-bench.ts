import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeEach, expect } from "vitest";
import { type HubOptions } from "../../src/hub/download.js";
import { HubError } from "../../src/hub/errors.js";
import { resolveModel } from "../../src/hub/resolve.js";
import { values } from "../gpu.js";
import { HubServer, sha256 } from "./hub-server.js";

export const commit = "a".repeat(40);
export const otherCommit = "b".repeat(40);
export const repo = "owner/tiny-model";
export const weights = new Uint8Array(values(100_000, 7).buffer); // 400 kB
export const text = (content: string): Uint8Array => new TextEncoder().encode(content);
export const files: ReadonlyMap<string, Uint8Array> = new Map([
  ["README.md", text("read me")],
  ["config.json", text('{"model_type":"fun_asr_nano"}')],
  ["example/zh.mp3", text("a clip")],
  ["model.safetensors", weights],
  ["pytorch_model.bin", new Uint8Array(5000)],
  ["tokenizer.json", text(`{"model":"${"x".repeat(2000)}"}`)],
]);
export const needed = ["config.json", "model.safetensors", "tokenizer.json"];
export const quick = { stallMs: 5000, tries: 3, retryMs: 5 };

/** A hub and an empty cache for one test. */
export class Bench {
  readonly server = new HubServer();
  readonly env: Record<string, string> = {};
  #home = "";
  #children: ChildProcess[] = [];

  constructor(readonly root: string) {}

  /** Directory of the user: the cache, the token. */
  get home(): string {
    return this.#home;
  }

  set home(path: string) {
    this.#home = this.env.HF_HOME = this.env.HOME = path;
  }

  async start(): Promise<void> {
    await this.server.start();
    this.server.repos.set(repo, { files, refs: { main: commit, "v1.0": otherCommit } });
    this.home = mkdtempSync(join(this.root, "home-"));
    this.env.HF_ENDPOINT = this.server.endpoint;
  }

  async stop(): Promise<void> {
    for (const child of this.#children) child.kill("SIGKILL");
    await this.server.stop();
  }

  get storage(): string {
    return join(this.home, "hub", "models--owner--tiny-model");
  }

  get blob(): string {
    return join(this.storage, "blobs", sha256(weights));
  }

  get part(): string {
    return `${this.blob}.incomplete`;
  }

  get(model = repo, options: HubOptions = {}): Promise<string> {
    return resolveModel(model, { env: this.env, patience: quick, ...options });
  }

  /**
   * The one line that the model is refused with, with HOST and HOME in place of what differs from
   * run to run.
   */
  async refused(model = repo, options: HubOptions = {}): Promise<string> {
    const error: unknown = await this.get(model, options).then(
      (path) => expect.fail(`resolved to ${path}`),
      (e: unknown) => e,
    );
    expect(error).toBeInstanceOf(HubError);
    const { message } = error as HubError;
    expect(message).not.toMatch(/[\n\r]/);
    return message.replaceAll(new URL(this.server.endpoint).host, "HOST").replaceAll(this.home, "HOME");
  }

  /** Resolves the model in a process of its own; `stderr()` is what it has said so far. */
  inChild(): { child: ChildProcess; stderr: () => string; stdout: Promise<string> } {
    const script = fileURLToPath(new URL("hub-child.ts", import.meta.url));
    const child = spawn(process.execPath, ["--import", "tsx", script, repo], {
      env: { PATH: process.env.PATH, ...this.env },
    });
    this.#children.push(child);
    const got = { stdout: "", stderr: "" };
    child.stdout.on("data", (data) => (got.stdout += String(data)));
    child.stderr.on("data", (data) => (got.stderr += String(data)));
    const stdout = new Promise<string>((resolve) => child.once("close", () => resolve(got.stdout.trim())));
    return { child, stderr: () => got.stderr, stdout };
  }
}

/** A hub and an empty cache for each test of this file. */
export function useBench(): () => Bench {
  const root = mkdtempSync(join(tmpdir(), "funasr-hub-"));
  let bench: Bench;
  beforeEach(async () => {
    bench = new Bench(root);
    await bench.start();
  });
  afterEach(() => bench.stop());
  afterAll(() => rmSync(root, { recursive: true }));
  return () => bench;
}

export function expectWhole(path: string): void {
  for (const name of needed) {
    expect(existsSync(join(path, name)) && readFileSync(join(path, name)).equals(files.get(name)!)).toBe(
      true,
    );
  }
}

/** Waits as long as the test may last: a busy machine takes its time. */
export async function until(happened: () => boolean): Promise<void> {
  while (!happened()) await sleep(5);
}
