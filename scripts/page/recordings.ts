import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { recordingOf } from "./audio.js";
import { type Opened, ready, until } from "./launch.js";
import { type Check, type Place, equal, holds } from "./use.js";

const few = ["en-seen-1", "zh-seen-1", "en-seen-2", "zh-seen-2"];
const spoken = [...few, ...few, ...few, ...few, ...few.slice(0, 2)]; // more than the engine takes at once

/** The texts of the demo's clips, by their names without ending. */
function textsOf({ clips }: Place): Record<string, string> {
  const lines = readFileSync(join(clips, "clips.jsonl"), "utf8").trim().split("\n");
  const items = lines.map((line) => JSON.parse(line) as { audio: string; text: string });
  return Object.fromEntries(items.map(({ audio, text }) => [audio.replace(/\.[^.]+$/, ""), text]));
}

const player = (id: number): string => `document.querySelector("#item-${id} audio")`;

/** Presses a segment's time. @returns its end, in seconds */
async function press(page: Page, id: number, segment: number): Promise<number> {
  const button = page.locator(`#item-${id} button.time`).nth(segment);
  const [minutes, seconds] = (await button.innerText()).split("–")[1].split(":").map(Number);
  await button.click();
  return 60 * minutes + seconds;
}

/** Waits until the player stops. @returns the place where it did */
async function endOf(page: Page, id: number): Promise<number> {
  await until(page, `${player(id)}.paused`);
  return page.evaluate<number>(`${player(id)}.currentTime`);
}

/** Each segment plays to its own end, also where another's was pressed just before. */
async function segmentsPlay(page: Page, id: number): Promise<void> {
  const first = await press(page, id, 0);
  await until(page, `!${player(id)}.paused && ${player(id)}.currentTime > ${first - 1.5}`);
  const second = await press(page, id, 1);
  const end = await endOf(page, id);
  holds(
    `the second segment ends at its end, ${second}: ${end}`,
    Math.abs(end - second) < 0.5 && second > first + 3,
  );
  await press(page, id, 0);
  const again = await endOf(page, id);
  holds(`the first segment ends at its end, ${first}: ${again}`, Math.abs(again - first) < 0.5);
}

async function long({ page }: Opened, place: Place): Promise<void> {
  await ready(page);
  await page.setInputFiles("#audio-files", recordingOf(place, "long.wav", spoken, 2));
  await until(
    page,
    `(({ value, max, position }) => position > 0 && value < max && max > 60)(document.querySelector("#item-1 progress") ?? {})`,
  );
  holds("text comes before the end", (await page.locator("#item-1 .time").count()) > 0);
  await page.locator("#item-1 .outputs").waitFor();
  const wanted = spoken.map((name) => textsOf(place)[name]);
  const got = await page.locator("#item-1 .segments .text").allInnerTexts();
  equal("the segments", got.join(" | "), wanted.join(" | "));
  await segmentsPlay(page, 1);
}

async function cancel({ page }: Opened, place: Place): Promise<void> {
  await ready(page);
  const names = ["zh-seen-1.wav", "en-seen-1.wav"].map((name) => join(place.clips, name));
  await page.setInputFiles("#audio-files", [recordingOf(place, "one.wav", spoken, 2), ...names]);
  const problem = (id: number): Promise<string> => page.innerText(`#item-${id} .problem`);
  await page.locator("#item-1 .work", { hasText: "Transcribing" }).waitFor();
  await page.locator("#item-2").getByRole("button", { name: "Cancel" }).click();
  equal("a recording that waits says so at once", await problem(2), "Cancelled.");
  await page.locator("#item-1 .open").waitFor(); // words come
  await page.locator("#item-1").getByRole("button", { name: "Cancel" }).click();
  equal("a recording at work", await problem(1), "Cancelled.");
  await page.locator("#item-3 .outputs").waitFor();
  equal("the next one's text", await page.innerText("#item-3 .segments .text"), textsOf(place)["en-seen-1"]);
  for (const id of [1, 2]) {
    equal(`it stays so: ${id}`, await problem(id), "Cancelled.");
    equal(`text of a cancelled one: ${id}`, await page.locator(`#item-${id} .outputs`).count(), 0);
  }
  await page.locator("#item-2").getByRole("button", { name: "Try again" }).click();
  await page.locator("#item-2 .outputs").waitFor();
  equal(
    "its text after another try",
    await page.innerText("#item-2 .segments .text"),
    textsOf(place)["zh-seen-1"],
  );
  equal("its problem is gone", await page.locator("#item-2 .problem").count(), 0);
}

/** Files that are no audio, by what the page says of them. */
function hostile({ clips, scratch }: Place): readonly (readonly [string, RegExp, RegExp])[] {
  const wav = readFileSync(join(clips, "en-seen-1.wav"));
  const channels = Buffer.from(wav);
  channels.writeUInt16LE(65_535, 22);
  const write = (name: string, bytes: string | Buffer): string => {
    writeFileSync(join(scratch, name), bytes);
    return join(scratch, name);
  };
  return [
    [write("empty.wav", ""), /^empty\.wav is empty/, /^empty\.wav 是空文件/],
    [write("letter.wav", "dear all, no audio"), /^letter\.wav is not audio/, /^letter\.wav 不是音频/],
    [write("channels.wav", channels), /^channels\.wav is damaged/, /^channels\.wav 已损坏/],
    [write("cut.flac", "fLaC\0\0\0"), /^cut\.flac is damaged/, /^cut\.flac 已损坏/],
    [write("tiny.wav", wav.subarray(0, 44 + 64)), /^tiny\.wav is too short/, /^tiny\.wav 太短/],
  ];
}

async function noAudio({ page }: Opened, place: Place): Promise<void> {
  await ready(page);
  const files = hostile(place);
  await page.setInputFiles(
    "#audio-files",
    files.map(([path]) => path),
  );
  await page.locator(`#item-${files.length} .problem`).waitFor();
  const says = async (language: "en" | "zh"): Promise<void> => {
    for (const [i, [, english, chinese]] of files.entries()) {
      const text = await page.innerText(`#item-${i + 1} .problem`);
      holds(`a line in the page's language: ${text}`, (language === "en" ? english : chinese).test(text));
    }
  };
  await says("en");
  const details = page.locator("#item-2 details");
  await details.locator("summary").click();
  holds("the engine's own line is there", (await details.innerText()).includes("letter.wav: "));
  await page.getByRole("button", { name: "中文" }).click();
  await page.getByRole("heading", { name: "在您自己的显卡上" }).waitFor();
  await says("zh");
}

/** Drops files and folders of the disk, as a visitor does. */
async function dropPaths(page: Page, paths: readonly string[]): Promise<void> {
  const box = (await page.locator(".drop").boundingBox())!;
  const session = await page.context().newCDPSession(page);
  const data = { items: [], files: [...paths], dragOperationsMask: 1 };
  for (const type of ["dragEnter", "dragOver", "drop"] as const)
    await session.send("Input.dispatchDragEvent", { type, x: box.x + 20, y: box.y + 10, data });
}

async function many({ page }: Opened, { clips, scratch }: Place): Promise<void> {
  const folder = join(scratch, "folder");
  mkdirSync(join(folder, "inner"), { recursive: true });
  writeFileSync(join(folder, "inner", "b.wav"), readFileSync(join(clips, "en-seen-2.wav")));
  writeFileSync(join(folder, "a.wav"), readFileSync(join(clips, "en-seen-1.wav")));
  writeFileSync(join(folder, "notes.txt"), "no audio");
  await ready(page);
  await dropPaths(page, [folder]);
  await page.locator("#item-2 .outputs").waitFor();
  const names = await page.locator("article h2").allInnerTexts();
  equal("the recordings of a folder", names.join(), "a.wav,b.wav");
  equal(
    "what is left out",
    await page.innerText(".drop .problem"),
    "1 file of the folder is no audio and was left out.",
  );
  const files = Array.from({ length: 105 }, (_, i) => {
    const path = join(scratch, `${i}.wav`);
    writeFileSync(path, "");
    return path;
  });
  await page.setInputFiles("#audio-files", files);
  const problem = await page.innerText(".drop .problem");
  holds(
    `what does not fit is named: ${problem}`,
    /^The page keeps 100 .* 7 files \(98\.wav, 99/.test(problem),
  );
  equal("recordings", await page.locator("article").count(), 100);
  equal("the first stays", await page.innerText("#name-1"), "a.wav");
  await page.locator(".chip").first().dispatchEvent("click");
  await page.getByText("The page keeps 100 recordings; remove some first.").waitFor();
  await page.getByRole("button", { name: "Remove all" }).click();
  await page.locator("article").first().waitFor({ state: "detached" });
}

/** Recordings that are long, many, ended early, or none. */
export const recordingChecks: readonly Check[] = [
  { name: "a recording above a minute, and its segments play", run: long },
  { name: "cancel: at work, and before its turn", run: cancel },
  { name: "files that are no audio, in both languages", run: noAudio },
  { name: "a folder, and more files than the page keeps", run: many },
];
