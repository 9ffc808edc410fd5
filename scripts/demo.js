// Transcribes the clips of the demo checkpoint and compares the texts with the spoken words.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const clips = readFileSync(join(root, "models/demo/clips/clips.jsonl"), "utf8")
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line));
let right = 0;
for (const language of ["en", "zh"]) {
  const chosen = clips.filter((clip) => clip.language === language);
  const files = chosen.map(({ audio }) => join(root, "models/demo/clips", audio));
  const { status, stdout } = spawnSync(
    process.execPath,
    [join(root, "bin/funasr-webgpu.js"), "transcribe", "--json", "--language", language, ...files],
    { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] },
  );
  if (status !== 0) process.exit(status ?? 1);
  for (const [i, line] of stdout.trim().split("\n").entries()) {
    const { text, audioSeconds, seconds } = JSON.parse(line);
    const taken = Object.values(seconds).reduce((a, b) => a + b, 0);
    const verdict = text === chosen[i].text ? "as spoken" : `spoken: ${chosen[i].text}`;
    if (text === chosen[i].text) right++;
    console.log(
      `${chosen[i].audio.padEnd(12)} ${audioSeconds.toFixed(1)} s in ${taken.toFixed(1)} s  ${text}  (${verdict})`,
    );
  }
}
console.log(`${right} of ${clips.length} clips to the letter`);
