// A process of its own that trains: node --import tsx train-child.ts SETTINGS.json [TICK]. It goes
// on from the saved state if there is one. With TICK it kills itself (SIGKILL) at that tick: before
// the write, flush or renaming of a file, before a GPU step, or before a line of metrics, counted
// together.
import fs, { readFileSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { fileURLToPath } from "node:url";
import type { TrainChildSettings } from "./training.js";

const settings = JSON.parse(readFileSync(process.argv[2], "utf8")) as TrainChildSettings;
const last = Number(process.argv[3] ?? Infinity);
let ticks = 0;

function tick(): void {
  if (++ticks === last) process.kill(process.pid, "SIGKILL");
}

/** Counts every call of a method. */
function count<T extends object>(target: T, name: keyof T): void {
  const original = target[name] as (...args: unknown[]) => unknown;
  target[name] = function (this: unknown, ...args: unknown[]) {
    tick();
    return original.apply(this, args);
  } as T[keyof T];
}

const handle = await fs.promises.open(fileURLToPath(import.meta.url));
const prototype = Object.getPrototypeOf(handle) as fs.promises.FileHandle;
await handle.close();
for (const name of ["write", "sync", "appendFile"] as const) count(prototype, name);
count(fs.promises, "rename");
syncBuiltinESMExports(); // so that modules that import the function by name get the counting one

const { openSession } = await import("../../src/train/session.js");
const { train } = await import("../../src/train/loop.js");
const { withRunLock } = await import("../../src/train/run-lock.js");
const { openDevice } = await import("../../src/node/device.js");
const { modelFiles } = await import("../../src/node/model-files.js");
const { gpu } = await openDevice();
count(gpu, "step");
await withRunLock(settings.out, async () => {
  const session = await openSession(gpu, {
    ...settings,
    model: modelFiles(settings.model),
    skipBad: false,
    onBad: (message) => process.stderr.write(`${message}\n`),
  });
  await train(session.run, true);
});
process.stdout.write(`${ticks}\n`);
gpu.destroy();
