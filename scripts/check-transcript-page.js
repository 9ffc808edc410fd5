// The page of `transcribe --report` in headless Chromium: a part of `npm run check:pages`. It is
// used by mouse and keyboard, in light, dark and at a phone's width, and its audio plays. A page of
// two hours is opened too.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { transcriptPage } from "../dist/decode/transcript-page/page.js";
import { startChromium } from "./chromium.js";

/** What a reader does on the page, and what has to hold then; gives the failed ones. */
const use = `(async () => {
  const failed = [];
  const holds = (name, value) => { if (!value) failed.push(name); };
  const lit = () => [...document.querySelectorAll("#text [data-to].now")];
  const frames = (n) => new Promise((done) => { const next = () => (n-- > 0 ? requestAnimationFrame(next) : done()); next(); });
  const words = [...document.querySelectorAll("#text [data-to]")], rows = [...document.querySelectorAll("#text li")];
  holds("words", words.length > 5); holds("rows", rows.length > 1);
  words[3].click(); await frames(3);
  holds("a click on a word lights it up", lit().length === 1 && lit()[0] === words[3]);
  holds("a click on a word seeks", Math.abs(audio.currentTime - Number(words[3].dataset.at)) < 0.05);
  const box = whole.getBoundingClientRect();
  whole.dispatchEvent(new MouseEvent("click", { clientX: box.left + box.width / 2, clientY: box.top + 5, bubbles: true }));
  await frames(3);
  holds("a click on the waveform seeks", Math.abs(audio.currentTime - data.seconds / 2) < 0.5);
  for (const canvas of [whole, near]) {
    const { data: pixels } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    holds(canvas.id + " is drawn", new Set(new Uint32Array(pixels.buffer)).size > 3);
  }
  audio.muted = true;
  audio.currentTime = data.segments[1][0];
  await audio.play();
  await new Promise((done) => setTimeout(done, 1500));
  audio.pause(); await frames(3);
  holds("the audio plays", audio.currentTime > data.segments[1][0] + 0.3);
  holds("the segment lights up", rows[1].classList.contains("now"));
  holds("nothing is wider than the page", document.documentElement.scrollWidth <= innerWidth);
  return failed;
})()`;

const key = async (page, name, code) => {
  for (const type of ["keyDown", "keyUp"])
    await page.send("Input.dispatchKeyEvent", {
      type,
      key: name,
      code: name,
      windowsVirtualKeyCode: code,
      ...(name === "Enter" && type === "keyDown" && { text: "\r" }),
    });
};

/** The button of the second segment, by Tab and Enter. @returns whether the place is its begin */
async function byKeyboard(page) {
  await page.evaluate(`document.querySelectorAll("#text button")[0].focus()`);
  await key(page, "Tab", 9);
  await key(page, "Enter", 13);
  return page.evaluate(`Math.abs(place - data.segments[1][0]) < 0.01`);
}

/** A page of two hours: 1,200 segments of ten words. */
function longPage() {
  const word = (start, i) => ({ text: `word${i}`, start: start + 0.4 * i, end: start + 0.4 * i + 0.3 });
  const segments = Array.from({ length: 1200 }, (_, i) => {
    const words = Array.from({ length: 10 }, (_, j) => word(6 * i, j));
    const text = words.map((w) => w.text).join(" ");
    return { start: 6 * i, end: 6 * i + 4.2, text, words, agreement: 0.9 };
  });
  const levels = () => Uint8Array.from({ length: 720_000 }, (_, i) => 127 + 120 * Math.sin(i / 50));
  return transcriptPage({
    name: "two hours",
    about: [],
    seconds: 7200,
    peaks: levels(),
    speech: levels(),
    segments,
  });
}

/** Seconds that a page needs to draw once, and what it holds. */
const cost = `(async () => {
  const start = performance.now();
  for (let i = 0; i < 20; i++) { seek(360 * i); document.body.offsetHeight; }
  const drawn = (performance.now() - start) / 20;
  return { nodes: document.querySelectorAll("*").length, redrawMs: Math.round(drawn), lit: document.querySelectorAll(".now").length };
})()`;

/**
 * @param file  the page of a recording with words
 * @param kept  a directory for pictures
 * @returns     what failed, a line each
 */
export async function checkTranscriptPage(program, file, scratch, kept) {
  const failed = [];
  const chromium = startChromium(program, join(scratch, "transcript-profile"));
  try {
    for (const [view, options] of [
      ["light", {}],
      ["dark", { dark: true }],
      ["phone", { width: 390, height: 840 }],
    ]) {
      const page = await chromium.open(pathToFileURL(file).href, options);
      const wrong = await page.evaluate(use);
      if (!(await byKeyboard(page))) wrong.push("Tab and Enter reach a segment");
      failed.push(...[...wrong, ...page.lines].map((line) => `${view}: ${line}`));
      if (!kept) continue;
      const { data } = await page.send("Page.captureScreenshot");
      writeFileSync(join(kept, `transcript-${view}.png`), Buffer.from(data, "base64"));
    }
    const long = join(scratch, "long.html");
    writeFileSync(long, longPage());
    const start = performance.now();
    const page = await chromium.open(pathToFileURL(long).href);
    const seconds = (performance.now() - start) / 1000;
    const { nodes, redrawMs, lit } = await page.evaluate(cost);
    const megabytes = readFileSync(long).length / 1e6;
    console.log(
      `transcript of two hours: ${megabytes.toFixed(1)} MB, ${nodes} elements, open after ${seconds.toFixed(1)} s, ${redrawMs} ms a redraw`,
    );
    if (lit === 0) failed.push("two hours: nothing lights up");
    failed.push(...page.lines.map((line) => `two hours: ${line}`));
  } finally {
    chromium.close();
  }
  return failed;
}
