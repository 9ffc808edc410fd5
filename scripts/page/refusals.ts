import type { Opened } from "./launch.js";
import { ready } from "./launch.js";
import { type Check, equal, holds } from "./use.js";

/** The problem that the page shows: one line with what to do. */
async function problemOf({ page }: Opened, where = ".card .problem"): Promise<string> {
  await page.locator(where).waitFor();
  const text = await page.innerText(where);
  holds(`one line: ${text}`, !text.includes("\n") && text.length > 20);
  return text;
}

async function withoutWebGpu(opened: Opened): Promise<void> {
  const problem = await problemOf(opened);
  holds(
    `no WebGPU is named, with advice: ${problem}`,
    /WebGPU/.test(problem) && /(Chrome|Firefox|switch)/.test(problem),
  );
  await opened.page.locator(".chip").first().click();
  const text = await problemOf(opened, "article .problem");
  equal("a clip's problem", text, problem);
  equal("the button", await opened.page.getByRole("button", { name: "Try again" }).count(), 1);
}

async function withoutRoom(opened: Opened): Promise<void> {
  const problem = await problemOf(opened);
  holds(`the quota is named: ${problem}`, /grants this page 1\.00 MB.*free disk space/.test(problem));
}

async function refusedMicrophone(opened: Opened): Promise<void> {
  const { page } = opened;
  await page.getByRole("button", { name: "Speak" }).click();
  const problem = await problemOf(opened, ".drop .problem");
  holds(`the microphone is explained: ${problem}`, /allow it in the site settings/.test(problem));
  equal("the button", await page.locator(".drop [aria-pressed]").innerText(), "Speak");
}

async function noSuchModel(opened: Opened): Promise<void> {
  const { page } = opened;
  await ready(page);
  await page.getByRole("button", { name: "Another model" }).click();
  await page.selectOption("#model", "folder");
  await page.setInputFiles("#model-files", {
    name: "notes.txt",
    mimeType: "text/plain",
    buffer: Buffer.from("x"),
  });
  const problem = await problemOf(opened);
  holds(`what is no model is refused: ${problem}`, /config\.json|chosen files/.test(problem));
  await page.selectOption("#model", "demo");
  await ready(page);
}

/** What the page cannot do here, and says so. */
export const refusalChecks: readonly Check[] = [
  {
    name: "too little storage",
    visit: () => ({ before: "navigator.storage.estimate = async () => ({ quota: 1e6, usage: 0 });" }),
    run: withoutRoom,
  },
  { name: "no WebGPU", visit: () => ({ withoutAdapter: true }), run: withoutWebGpu },
  {
    name: "a microphone that is refused",
    visit: () => ({ args: ["--use-fake-device-for-media-stream", "--deny-permission-prompts"] }),
    run: refusedMicrophone,
  },
  { name: "files that are no model, then the demo again", run: noSuchModel },
];
