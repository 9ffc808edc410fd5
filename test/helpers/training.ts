import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { DataFile, SessionSetup } from "../../src/train/session.js";
import { tinyFiles } from "./tiny-model.js";
import { wav } from "./wav.js";

/** What a training process is given. */
export interface TrainChildSettings extends Pick<SessionSetup, "tune" | "options" | "out"> {
  /** Directory of the checkpoint. */
  readonly model: string;
  readonly data: DataFile;
  readonly validation?: DataFile;
}

const answers = [
  "set the oven",
  "to eighty two degrees",
  "remind me",
  "to take out the trash",
  "in ten minutes",
  "now",
  "please",
  "and then stop",
];

export interface TrainingDirectory {
  readonly path: string;
  readonly data: DataFile;
  readonly remove: () => void;
}

/** A directory with a tiny checkpoint in `model`, and clips of noise with an answer each. */
export async function trainingDirectory(): Promise<TrainingDirectory> {
  const path = mkdtempSync(join(tmpdir(), "funasr-webgpu-"));
  mkdirSync(join(path, "model"));
  for (const [name, bytes] of await tinyFiles()) writeFileSync(join(path, "model", name), bytes);
  const utterances = answers.map((text, i) => {
    const audio = join(path, `${i}.wav`);
    writeFileSync(audio, wav(0.3 + 0.13 * i, i));
    return { audio, text, line: i + 1 };
  });
  return {
    path,
    data: { name: "data.jsonl", utterances },
    remove: () => rmSync(path, { recursive: true, force: true }),
  };
}

export interface ChildRun {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs train-child.ts to its end, or to the tick at which it kills itself. */
export function trainChild(settings: string, tick?: number): Promise<ChildRun> {
  const script = fileURLToPath(new URL("train-child.ts", import.meta.url));
  const args = ["--import", "tsx", script, settings, ...(tick === undefined ? [] : [String(tick)])];
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
}
