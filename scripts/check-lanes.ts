// Runs the tests of kernels, models and golden bundles on a device whose subgroups have another size, by
// emulation (test/helpers/emulated-subgroups.ts): npm run check:lanes -- [LANES ...] [--quick]. Default: 4, 16,
// 32 and 64 lanes. First test/lanes.test.ts compares bits with those of this device's own subgroups; --quick
// ends there. Prints a row for each size; exit code 1 where a test fails.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

const sizes = [4, 8, 16, 32, 64];
const whole = ["src/kernels", "src/model", "test/golden.test.ts", "test/gradients.test.ts"];

interface Counted {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
}

/** Runs tests in processes of vitest; what they print goes to stderr. */
function runTests(files: readonly string[], environment: Readonly<Record<string, string>>): Counted {
  const folder = mkdtempSync(join(tmpdir(), "check-lanes-"));
  const report = join(folder, "report.json");
  try {
    const vitest = join("node_modules", "vitest", "vitest.mjs");
    const env = { ...process.env, ...environment, CI_REPORT: report };
    spawnSync(process.execPath, [vitest, "run", ...files], { env, stdio: ["ignore", 2, 2] });
    return JSON.parse(readFileSync(report, "utf8")) as Counted;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { quick: { type: "boolean", default: false } },
});
const asked = positionals.length > 0 ? positionals.map(Number) : [4, 16, 32, 64];
const wrong = asked.findIndex((lanes) => !sizes.includes(lanes));
if (wrong >= 0) {
  console.error(`check-lanes: expected sizes of ${sizes.join(", ")}, got "${positionals[wrong]}"`);
  process.exit(2);
}
console.log("lanes  tests  passed  failed  seconds");
let broken = false;
for (const lanes of asked) {
  const runs: [string, readonly string[], Record<string, string>][] = [
    ["bits", ["test/lanes.test.ts"], { FUNASR_WEBGPU_TEST_LANES: String(lanes) }],
    ["all", whole, { FUNASR_WEBGPU_EMULATED_LANES: String(lanes) }],
  ];
  for (const [name, files, environment] of values.quick ? runs.slice(0, 1) : runs) {
    const start = performance.now();
    const { numPassedTests: passed, numFailedTests: failed } = runTests(files, environment);
    const seconds = ((performance.now() - start) / 1e3).toFixed(0);
    console.log([lanes, name, passed, failed, seconds].join("  "));
    broken ||= failed > 0 || passed === 0;
  }
}
process.exitCode = broken ? 1 : 0;
