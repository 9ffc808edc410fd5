import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { type Opened, ready } from "./launch.js";
import { type Check, equal, holds } from "./use.js";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const views = ["transcribe", "verify", "speed"] as const;

/** What axe finds, a line each. */
async function found(page: Page): Promise<string[]> {
  await page.evaluate(axe);
  return page.evaluate<string[]>(
    `axe.run().then(({ violations }) => violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => id + ": " + html)))`,
  );
}

async function show(page: Page, view: (typeof views)[number]): Promise<void> {
  await page.evaluate(`location.hash = "#${view}"`);
  await page.locator(`nav a[href="#${view}"][aria-current=page]`).waitFor();
}

/** Recordings on the page, so that all parts of it are there: a Chinese one, an English one above it. */
async function fill(page: Page): Promise<void> {
  await ready(page);
  for (const [i, text] of [
    "二十二分钟后提醒我喂猫",
    "remind me to take out the trash in ten minutes",
  ].entries()) {
    if (i > 0) await page.locator("summary").click();
    await page.locator(".chip", { hasText: text }).click();
    await page.locator(`#item-${i + 1} .outputs`).waitFor();
  }
}

/** All views by axe in both languages and both schemes, and at two phones' widths. */
async function looks({ page }: Opened): Promise<void> {
  const wrong: string[] = [];
  await fill(page);
  for (const language of ["en", "zh"])
    for (const view of views) {
      await show(page, view);
      for (const colorScheme of ["light", "dark"] as const) {
        await page.emulateMedia({ colorScheme });
        wrong.push(...(await found(page)).map((line) => `${view}, ${language}, ${colorScheme}: ${line}`));
      }
      for (const width of [360, 390]) {
        await page.setViewportSize({ width, height: 800 });
        const wide = await page.evaluate<number>("document.documentElement.scrollWidth");
        if (wide > width) wrong.push(`${view}, ${language}: ${wide} pixels wide at ${width}`);
      }
      await page.setViewportSize({ width: 1200, height: 900 });
      if (view === "speed") await page.locator("header button").click();
    }
  holds(`axe and widths:\n  ${wrong.join("\n  ")}`, wrong.length === 0);
}

async function verify({ page }: Opened): Promise<void> {
  await show(page, "verify");
  await page.getByRole("button", { name: "Verify on this" }).click();
  await page.locator("tbody tr").nth(3).waitFor(); // rows come one by one
  await page.getByRole("button", { name: "Stop" }).click();
  await page.getByRole("button", { name: "Copy the incomplete report" }).click();
  await page.getByRole("button", { name: "Copied" }).waitFor();
  const part = await page.evaluate<string>("navigator.clipboard.readText()");
  holds(`a stopped run's report says so: ${part}`, /^Incomplete run: .*\| \d+ of \d+ \|/s.test(part));
  await page.getByRole("button", { name: "Verify on this" }).click();
  await page.getByRole("button", { name: "Copy the report" }).waitFor({ timeout: 600_000 });
  const verdict = await page.innerText("#verdict");
  const failed = await page.locator("tr.failed").allInnerTexts();
  equal(`bundles that failed: ${failed.join("; ")}`, verdict, "0 failed");
  const rows = await page.locator("tbody tr").count();
  holds(`${rows} bundles`, rows > 60);
  await page.getByRole("button", { name: "Copy the report" }).click();
  await page.getByRole("button", { name: "Copied" }).waitFor();
  const report = await page.evaluate<string>("navigator.clipboard.readText()");
  console.log(report);
  const cells = report
    .split("\n")[2]
    .split("|")
    .map((cell) => cell.trim());
  equal("failed stages in the report", cells[7], "0");
  equal("bundles in the report", cells[5], String(rows));
}

async function speed({ page }: Opened): Promise<void> {
  await show(page, "speed");
  await page.getByRole("button", { name: "Measure this" }).click();
  await page.getByRole("button", { name: "Copy the report" }).waitFor({ timeout: 300_000 });
  const sections = (await page.locator("tbody th").allInnerTexts()).map((name) => name.split(":")[0]);
  equal("sections", [...new Set(sections)].join(), "ceilings,gemm,gemv,decode");
  await page.getByRole("button", { name: "Copy the report" }).click();
  await page.getByRole("button", { name: "Copied" }).waitFor();
  console.log(await page.evaluate<string>("navigator.clipboard.readText()"));
}

/** Pictures of the page: light, dark, on a phone. */
export async function pictures({ page }: Opened, directory: string): Promise<void> {
  mkdirSync(directory, { recursive: true });
  await fill(page);
  await page.mouse.move(0, 0);
  const shot = (name: string) => page.screenshot({ path: join(directory, `${name}.png`) });
  for (const [name, colorScheme, width, height] of [
    ["page-light", "light", 960, 1000],
    ["page-dark", "dark", 960, 1000],
    ["page-phone", "light", 390, 844],
  ] as const) {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize({ width, height });
    await shot(name);
  }
  await page.locator("header button").click();
  await shot("page-phone-chinese");
  await page.locator("header button").click();
  await page.setViewportSize({ width: 1000, height: 760 });
  await show(page, "verify");
  await page.getByRole("button", { name: "Verify on this" }).click();
  await page.locator("tbody tr").nth(8).waitFor();
  await shot("page-verify");
}

const clipboard = { permissions: ["clipboard-read", "clipboard-write"] };

/** How the page looks, and its measurements. */
export const lookChecks: readonly Check[] = [
  { name: "axe finds nothing; no sideways scroll on a phone", run: looks },
  { name: "verify: all bundles, row by row, and the report", visit: () => clipboard, run: verify },
  { name: "speed: all sections, and the report", visit: () => clipboard, run: speed },
];
