import { expect, it, test, vi } from "vitest";
import { transcriptPage } from "./page.js";
import { Waveform, levelsOf } from "./waveform.js";

const hostile = `</script><b onclick="x">&'`;
const report = {
  name: `talk ${hostile}`,
  about: [`model ${hostile}`],
  seconds: 3.25,
  audio: `a"b.mp3`,
  peaks: Uint8Array.of(0, 128, 255),
  speech: Uint8Array.of(1, 2, 3),
  segments: [
    {
      start: 0.5,
      end: 2,
      text: `Hello, ${hostile}`,
      words: [{ text: "Hello", start: 0.6, end: 1 }],
      finish: "loop",
      agreement: 0.5,
    },
    { start: 2.5, end: 3, text: "no words" },
  ],
};

// Plan: text cannot become markup, and the page loads nothing but the audio that it is given.
it("escapes all text", () => {
  const html = transcriptPage(report);
  expect(html).not.toContain("<b onclick");
  expect(html.match(/<\/script>/g)).toHaveLength(2);
  expect(Array.from(html.matchAll(/(?:src|href)="([^"]*)"/g), ([, url]) => url)).toEqual([
    "data:,",
    "a&#34;b.mp3",
  ]);
  expect(html).not.toMatch(/https?:/);
});

it("has the times of segments and words, the notes, and the levels", () => {
  const html = transcriptPage(report);
  expect(html).toContain(`<span data-at="0.6" data-to="1">Hello,</span> `);
  expect(html).toContain(`<button type="button" data-at="0.5">0:00.5–0:02.0</button>`);
  expect(html).toContain("ended as loop, agreement 0.50");
  expect(html).toContain(`<span class="text">no words</span></li>`);
  const data: unknown = JSON.parse(/id="data">(.*?)<\/script>/.exec(html)![1]);
  expect(data).toEqual({ seconds: 3.25, peaks: "AID/", speech: "AQID", segments: [[0.5, 2], [2.5, 3]] }); // prettier-ignore
});

it("is the same in a browser, which has no Buffer", () => {
  const long = { ...report, peaks: Uint8Array.from({ length: 100_000 }, (_, i) => i % 251) };
  const html = transcriptPage(long);
  expect(html).toContain(Buffer.from(long.peaks).toString("base64"));
  vi.stubGlobal("Buffer", undefined);
  try {
    expect(transcriptPage(long)).toBe(html);
  } finally {
    vi.unstubAllGlobals();
  }
});

it("says of a segment without text that it has none, and what was left out", () => {
  const segments = [
    { start: 0, end: 1, text: "", finish: "stop", agreement: 1 },
    { start: 1, end: 2, text: "", finish: "no-speech", agreement: 0, dropped: `four ${hostile}` },
  ];
  const rows = transcriptPage({ ...report, segments }).match(/<li.*<\/li>/g)!;
  expect(rows[0]).toContain(`<span class="note">no text</span>`);
  expect(rows[1]).toContain(`<span class="note">no text, left out, as no speech was heard: four &#60;`);
  for (const row of rows) expect(row).not.toContain("agreement");
});

it("without audio has no player, without segments says so", () => {
  const html = transcriptPage({ name: "x", about: [], seconds: 0, peaks: new Uint8Array(), segments: [] });
  expect(html).not.toContain("<audio");
  expect(html).toContain("No speech was found.");
});

// Plan: levels of 10 ms at any rate, whatever the pieces.
test.each([16_000, 44_100, 8_000])("levels at %i Hz do not depend on the pieces", (rate) => {
  const samples = Float32Array.from({ length: Math.round(rate * 1.005) }, (_, i) => Math.sin(i * i) / 2);
  samples[Math.ceil(rate * 0.5)] = -2; // the first sample of frame 50
  const whole = new Waveform(rate);
  whole.add(samples);
  const pieces = new Waveform(rate);
  for (let at = 0; at < samples.length; at += 317) pieces.add(samples.subarray(at, at + 317));
  expect(pieces.peaks).toEqual(whole.peaks);
  expect(whole.peaks).toHaveLength(101);
  expect([whole.peaks[49] < 129, whole.peaks[50]]).toEqual([true, 255]);
  expect(pieces.seconds).toBeCloseTo(1.005, 4);
});

test("levels of probabilities", () => {
  expect(levelsOf([0, 0.5, 1, 2, -1])).toEqual(Uint8Array.of(0, 128, 255, 255, 0));
});
