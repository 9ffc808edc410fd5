import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { launch } from "../browser/launch.js";

/** How a browser is started, and what a visitor prefers. */
export interface Visit extends BrowserContextOptions {
  /** More arguments of the browser. */
  readonly args?: readonly string[];
  /** Without WebGPU. */
  readonly withoutAdapter?: boolean;
  /** Script in front of the engine's worker: another browser. */
  readonly before?: string;
}

/** A visitor's page, with the lines of its console and its requests to other servers. */
export interface Opened {
  readonly page: Page;
  readonly browser: Browser;
  readonly lines: readonly string[];
  readonly strangers: readonly string[];
}

/** Opens a browser of its own at an address. */
export async function visit(address: string, visit: Visit = {}): Promise<Opened> {
  const { args = [], withoutAdapter = false, before, ...context } = visit;
  const browser = await launch({
    webgpu: !withoutAdapter,
    args: [...(withoutAdapter ? ["--disable-blink-features=WebGPU"] : []), ...args],
  });
  const page = await (await browser.newContext({ locale: "en-US", ...context })).newPage();
  if (before !== undefined)
    await page.context().route(/worker-[^/]*\.js$/, async (route) => {
      const response = await route.fetch();
      await route.fulfill({ response, body: `${before}\n${await response.text()}` });
    });
  const lines: string[] = [];
  const strangers: string[] = [];
  page.on("console", (message) => lines.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", ({ message }) => lines.push(`error: ${message}`));
  page.on("request", (request) => {
    const { origin, protocol } = new URL(request.url());
    if (protocol !== "blob:" && protocol !== "data:" && origin !== new URL(address).origin)
      strangers.push(request.url());
  });
  page.setDefaultTimeout(120_000);
  await page.goto(address);
  return { page, browser, lines, strangers };
}

/** Waits until the engine is ready. @throws  what the page says in its place */
export async function ready(page: Page): Promise<void> {
  await page.waitForSelector(".ready, .card .problem");
  const problem = page.locator(".card .problem");
  if ((await problem.count()) > 0) throw new Error(await problem.first().innerText());
}

/** Waits until the newest recording is done. @returns its text, or its problem */
export async function latestText(page: Page): Promise<string> {
  const latest = page.locator("article").first();
  await latest.locator(".outputs, .problem").first().waitFor();
  return (await latest.locator(".segments .text, .problem").allInnerTexts()).join(" ");
}

/** Waits until an expression is true; the page's policy forbids Playwright's own way, which evaluates text. */
export async function until(page: Page, expression: string, seconds = 60): Promise<void> {
  for (let i = 0; i < 10 * seconds; i++) {
    if (await page.evaluate<boolean>(`Boolean(${expression})`)) return;
    await page.waitForTimeout(100);
  }
  throw new Error(`not within ${seconds} s: ${expression}`);
}
