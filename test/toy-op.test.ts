import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { useGpu } from "./gpu.js";
import { kernelErrors, kernelFiles, kernelText } from "./helpers/kernel-files.js";

// Plan: a copy of src gets one folder more, an op "toy" as docs/adding-a-kernel.md describes it.
// The list that check:wgsl compiles, the lookup of costs, the counting device and the profile see
// it, and no file outside the folder differs.
const gpu = useGpu();
const root = fileURLToPath(new URL("../", import.meta.url));
const copy = mkdtempSync(join(tmpdir(), "funasr-webgpu-toy-"));
const kernels = new URL("src/kernels/", `${pathToFileURL(copy).href}/`);

/** Runs the op on a device that counts, and prints what its cost and its profile are. */
const probe = `
import { countingGpu } from "./src/gpu/counting.js";
import { Timing } from "./src/gpu/timing.js";
import { costOf } from "./src/kernels/cost.js";
import { toy } from "./src/kernels/toy/toy.js";
import { summarise } from "./src/profile/summary.js";

const gpu = countingGpu();
const timing = (gpu.timing = new Timing(gpu.device));
await gpu.step(() => (toy(gpu, gpu.empty([3, 5]), gpu.empty([3, 5])), []));
const run = await timing.collect();
const [{ kernel, dispatch, contents }] = run.dispatches;
const one = { min: 1, median: 1, max: 1 };
const ceilings = { bandwidth: one, flops: one, dispatch: one, readback: one };
const { kernels } = summarise(run, { start: 0, end: 1 }, 1, ceilings);
const rows = kernels.map(({ kernel, calls, flops, bytes }) => ({ kernel, calls, flops, bytes }));
console.log(JSON.stringify({ cost: costOf(kernel.name, dispatch, contents), rows }));
`;

beforeAll(() => {
  cpSync(join(root, "src"), join(copy, "src"), {
    recursive: true,
    filter: (file) => !file.endsWith(".test.ts"),
  });
  symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
  const manifest = { type: "module", imports: { "#wgsl": "./src/wgsl.node.ts" } };
  writeFileSync(join(copy, "package.json"), JSON.stringify(manifest));
  writeFileSync(join(copy, "probe.ts"), probe);
  const toy = join(copy, "src/kernels/toy");
  cpSync(join(root, "src/kernels/relu-backward"), toy, { recursive: true });
  for (const file of readdirSync(toy)) {
    const text = readFileSync(join(toy, file), "utf8");
    const named = text.replaceAll("relu-backward", "toy").replaceAll("reluBackward", "toy");
    writeFileSync(join(toy, file.replace("relu-backward", "toy")), named);
    rmSync(join(toy, file));
  }
});
afterAll(() => rmSync(copy, { recursive: true }));

test("the list of kernels has it, and it compiles for every value of its overrides", async () => {
  expect(kernelFiles(kernels)).toEqual([...kernelFiles(), "toy/toy"].sort());
  expect(await kernelErrors(gpu().device, kernelText("toy/toy", kernels))).toEqual([]);
});

test("its cost and its row of the profile", () => {
  const tsx = join(root, "node_modules/tsx/dist/cli.mjs");
  const printed = execFileSync(process.execPath, [tsx, "probe.ts"], { cwd: copy, encoding: "utf8" });
  const work = { flops: 15, bytes: 3 * 4 * 15 };
  expect(JSON.parse(printed)).toMatchObject({ cost: work, rows: [{ kernel: "toy/toy", calls: 1, ...work }] });
});
