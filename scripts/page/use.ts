import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { parse } from "subsrt-ts";
import webvtt from "webvtt-parser";
import { recordingOf } from "./audio.js";
import { type Opened, type Visit, latestText, ready, until } from "./launch.js";

/** Where the page is, and files of the repository. */
export interface Place {
  readonly address: string;
  readonly clips: string;
  readonly scratch: string;
}

/** What a visitor does; fails with what is wrong. */
export interface Check {
  readonly name: string;
  readonly visit?: (place: Place) => Visit;
  readonly run: (opened: Opened, place: Place) => Promise<void>;
}

export function holds(what: string, value: boolean): void {
  if (!value) throw new Error(what);
}

export function equal(what: string, got: unknown, wanted: unknown): void {
  holds(`${what}: expected ${JSON.stringify(wanted)}, got ${JSON.stringify(got)}`, got === wanted);
}

const first = "set the oven to eighty two degrees";

const chip = (page: Page, text: string) => page.locator(".chip", { hasText: text });

async function download(page: Page, format: string): Promise<{ name: string; text: string }> {
  const button = page
    .locator("article")
    .first()
    .getByRole("button", { name: `Download ${format}` });
  const [saved] = await Promise.all([page.waitForEvent("download"), button.click()]);
  return { name: saved.suggestedFilename(), text: readFileSync(await saved.path(), "utf8") };
}

async function examples({ page }: Opened): Promise<void> {
  await ready(page);
  await chip(page, first).click();
  equal("the text of an example", await latestText(page), first);
  await page.locator("summary", { hasText: "Examples" }).click();
  await chip(page, "浴室的洗衣机开着吗").click();
  await page.locator("#item-2 .outputs").waitFor();
  equal("the text of a Chinese example", await latestText(page), "浴室的洗衣机开着吗");
  holds("a real-time factor is shown", /Real-time factor\s*\d+\.\d\d/.test(await page.innerText("dl")));
  holds("the adapter is shown", /Adapter\s*[^\n]*swiftshader/i.test(await page.innerText("dl")));
  holds("memory is shown", /GPU memory\s*\d+\.\d MB/.test(await page.innerText("dl")));
}

async function files({ page }: Opened, { clips, scratch }: Place): Promise<void> {
  await page.setInputFiles("#audio-files", join(clips, "en-seen-1.wav")); // before the model is there
  equal("the text of a file", await latestText(page), first);
  const bytes = [...readFileSync(join(clips, "en-seen-1.wav"))];
  await page.evaluate(`(() => {
    const data = new DataTransfer();
    data.items.add(new File([Uint8Array.from(${JSON.stringify(bytes)})], "dropped.wav"));
    document.querySelector(".drop").dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
  })()`);
  await page.locator("#item-2 .outputs").waitFor();
  equal("the text of a dropped file", await latestText(page), first);
  const wrong = join(scratch, "letter.txt");
  writeFileSync(wrong, "no audio at all");
  await page.setInputFiles("#audio-files", wrong);
  await page.locator("#item-3 .problem").waitFor();
  const problem = await page.innerText("#item-3 .problem");
  holds(
    `a file that is no audio has one line: ${problem}`,
    /letter\.txt/.test(problem) && !problem.includes("\n"),
  );
  await page.getByRole("button", { name: "Remove: letter.txt" }).click();
  await page.locator("#item-3").waitFor({ state: "detached" });
}

async function subtitles({ page }: Opened): Promise<void> {
  await ready(page);
  await chip(page, first).click();
  await latestText(page);
  const srt = await download(page, "SRT");
  equal("the name of the SRT", srt.name, "en-seen-1.srt");
  const cues = parse(srt.text, { format: "srt" }).filter(({ type }) => type === "caption");
  const words = cues.map((cue) => ("text" in cue ? cue.text.trim() : "")).join(" ");
  equal("the cue of the SRT", words, first);
  const { cues: vtt, errors } = new webvtt.WebVTTParser().parse(
    (await download(page, "VTT")).text,
    "subtitles",
  );
  equal("errors of the VTT", errors.length, 0);
  equal("the cue of the VTT", vtt.map(({ text }) => text).join(" "), first);
  equal("the TXT", (await download(page, "TXT")).text, `${first}\n`);
  const json = JSON.parse((await download(page, "JSON")).text) as Record<string, unknown>;
  equal("the text in the JSON", json.text, first);
  holds("the JSON has segments with words", /"words":\s*\[/.test(JSON.stringify(json)));
  await page.getByRole("button", { name: "Copy" }).click();
  equal("the clipboard", await page.evaluate("navigator.clipboard.readText()"), first);
}

async function microphone({ page }: Opened): Promise<void> {
  await ready(page);
  await page.selectOption("#language", "en");
  await page.getByRole("button", { name: "Speak" }).click();
  await page.locator("meter").waitFor();
  await until(page, `document.querySelector("meter")?.value > 0.3`);
  await page.locator("article .open").waitFor();
  await page.evaluate(`document.querySelector("#live").textContent = ""`);
  await until(page, `document.querySelector("article .time")`); // the end of speech gives a final text
  await page.locator(".drop").getByRole("button", { name: "Stop" }).click();
  const text = await latestText(page);
  holds(`the text of the microphone: ${text}`, /^set the .+ degrees/.test(text));
  holds("the recording can be played", (await page.locator("article audio").count()) === 1);
  equal(
    "what a screen reader reads",
    await page.evaluate(`document.querySelector("#live").textContent`),
    text,
  );
}

async function keyboard({ page }: Opened): Promise<void> {
  await ready(page);
  const reached: string[] = [];
  for (let i = 0; i < 30; i++) {
    await page.keyboard.press("Tab");
    const focus = await page.evaluate<string>(
      `document.activeElement.innerText || document.activeElement.id || document.activeElement.tagName`,
    );
    if (reached.includes(focus)) break;
    reached.push(focus);
    if (focus === "remind me to take out the trash in ten minutes") break;
  }
  const wanted = ["Skip to the content", "Transcribe", "Verify", "Speed", "中文", "Choose audio…", "Speak"];
  equal("the order of the focus", reached.slice(0, wanted.length).join(), wanted.join());
  await page.keyboard.press("Enter");
  const text = await latestText(page);
  equal("an example by Enter", text, "remind me to take out the trash in ten minutes");
  await page.getByRole("button", { name: "Download SRT" }).focus();
  const [saved] = await Promise.all([page.waitForEvent("download"), page.keyboard.press("Space")]);
  equal("a download by Space", saved.suggestedFilename(), "en-seen-2.srt");
}

async function chinese({ page }: Opened): Promise<void> {
  equal("the heading", await page.innerText("h1"), "在您自己的显卡上把语音转成文字");
  equal("the language of the page", await page.getAttribute("html", "lang"), "zh-CN");
  await page.getByRole("button", { name: "English" }).click();
  await page.getByRole("heading", { name: "Speech to text" }).waitFor();
  await page.reload();
  await page.getByRole("heading", { name: "Speech to text" }).waitFor(); // the switch is kept
  await ready(page);
  await page.selectOption("#language", "zh");
  await page.getByText("Examples").click({ trial: true });
  await chip(page, "二十二分钟后提醒我喂猫").click();
  equal("the text", await latestText(page), "二十二分钟后提醒我喂猫");
}

/** What visitors do with recordings. */
export const useChecks: readonly Check[] = [
  { name: "examples, with what it ran on", run: examples },
  { name: "files: chosen, dropped, no audio, removed", run: files },
  {
    name: "downloads and the clipboard",
    visit: () => ({ permissions: ["clipboard-read", "clipboard-write"] }),
    run: subtitles,
  },
  {
    name: "a microphone",
    visit: (place) => ({
      permissions: ["microphone"],
      args: [
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        `--use-file-for-fake-audio-capture=${recordingOf(place, "microphone.wav", ["en-seen-1"], 1)}%noloop`,
      ],
    }),
    run: microphone,
  },
  { name: "the keyboard alone", run: keyboard },
  { name: "Chinese, and the switch of languages", visit: () => ({ locale: "zh-CN" }), run: chinese },
];
