// `npm run check:page` builds the page, serves it as `serve` does, and uses it in headless Chromium with
// SwiftShader. `-- --only TEXT` runs the checks whose name has it; `-- --pictures DIR` keeps pictures.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { fakeServer } from "../test/helpers/fake-engine.js";
import { visit } from "./page/launch.js";
import { lookChecks, pictures } from "./page/looks.js";
import { recordingChecks } from "./page/recordings.js";
import { refusalChecks } from "./page/refusals.js";
import { type Check, type Place, useChecks } from "./page/use.js";

const { values } = parseArgs({ options: { only: { type: "string" }, pictures: { type: "string" } } });

/** Lines of the console that a browser writes for what a check asks of it. */
const expectedLines = /Failed to load resource|No available adapters|\[GroupMarkerNotSet|powerPreference/;

async function run(check: Check, place: Place): Promise<void> {
  const opened = await visit(place.address, check.visit?.(place));
  try {
    await check.run(opened, place);
    const lines = opened.lines.filter((line) => !expectedLines.test(line));
    if (lines.length > 0) throw new Error(`the console has lines: ${lines.join("; ")}`);
    if (opened.strangers.length > 0) throw new Error(`other servers were asked: ${opened.strangers.join()}`);
  } finally {
    await opened.browser.close();
  }
}

const scratch = mkdtempSync(join(tmpdir(), "page-"));
const clips = fileURLToPath(new URL("../models/demo/clips", import.meta.url));
const { server, address } = await fakeServer();
const place = { address: `${address}/`, clips, scratch };
let failed = 0;
try {
  for (const check of [...useChecks, ...recordingChecks, ...refusalChecks, ...lookChecks]) {
    if (!check.name.includes(values.only ?? "")) continue;
    const start = performance.now();
    const problem = await run(check, place).then(
      () => undefined,
      (error: unknown) => (error instanceof Error ? error.message : String(error)),
    );
    if (problem !== undefined) failed++;
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    console.log(
      `${problem === undefined ? "ok    " : "FAILED"} ${check.name} (${seconds} s)${problem === undefined ? "" : `: ${problem}`}`,
    );
  }
  if (values.pictures !== undefined) {
    const opened = await visit(place.address);
    await pictures(opened, values.pictures).finally(() => opened.browser.close());
  }
} finally {
  await server.stop();
  rmSync(scratch, { recursive: true, force: true, maxRetries: 3 });
}
console.log(`check:page: ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;
