import { spawnSync } from "node:child_process";
import {
  closeSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import {
  adts,
  adtsChain,
  ascii,
  chain,
  flac,
  fixture,
  m4a,
  mp3,
  mp3Chain,
  opus,
  plainHead,
  wavHead,
  webm,
  wrongEnd,
} from "./audio-bombs.js";

// usage: npm run check:audio [-- PATH ...]   (after npm run build)
// Transcribes whole (--vad off) small files that last long, and long files that hold little, with models/demo, each
// in a process of its own. Prints a table. Exit code 1 if a file of N bytes takes more than 300 MB
// + 2 N or 10 s of the processor. A file that is transcribed may also take the cost of the longest
// clip that the model accepts. PATH adds a file, or the files of a directory. ONLY=WORD keeps the
// generated files with it in their name.

const seconds = 10;
const megabytes = 300;
const hour = 3600;
const gibi = 2 ** 30;

/** A file's first bytes and its whole size. The rest is a hole, which reads as zeros. */
interface Sparse {
  readonly head: Uint8Array;
  readonly size: number;
}

const sparse = (head: Uint8Array, size: number): Sparse => ({ head, size });
const wav = (length: number, format?: Parameters<typeof wavHead>[1]): Sparse =>
  sparse(wavHead(length, format), length + 44);
const plain = (kind: "aiff" | "w64" | "au", length: number): Sparse => {
  const head = plainHead(kind, length);
  return sparse(head, head.length + length);
};

/** 100 MiB: a head, then a unit again and again. */
function filled(head: readonly number[], unit: readonly number[]): Buffer {
  const bytes = Buffer.alloc(100 * 2 ** 20, Buffer.from(unit));
  bytes.set(head);
  return bytes;
}

/** Name of the file, its bytes. The model accepts the first. */
const bombs: [string, () => Uint8Array | Sparse][] = [
  ["taken-100s.wav", () => wav(100 * 32_000)],
  ["2h-8-channels.flac", () => flac(2 * hour, 8)],
  ["10h.flac", () => flac(10 * hour, 2)],
  ["2h-8-channels-length-unknown.flac", () => flac(2 * hour, 8, 0)],
  ["2h-8-channels-says-100s.flac", () => flac(2 * hour, 8, 100)],
  ["day.opus", () => opus(24 * hour)],
  ["day-length-unknown.opus", () => opus(24 * hour, 2, false)],
  ["3h.mp3", () => mp3(3 * hour)],
  ["3h.aac", () => adts(3 * hour)],
  ["3h.m4a", () => m4a(3 * hour)],
  ["3h-index-last.m4a", () => m4a(3 * hour, { indexLast: true })],
  ["3h-says-100s.m4a", () => m4a(3 * hour, { claimed: 100 })],
  ["3h-says-100s-index-last.m4a", () => m4a(3 * hour, { claimed: 100, indexLast: true })],
  ["day.webm", () => webm(24 * hour)],
  ["500-streams.mp3", () => mp3Chain(500)],
  ["500-streams-of-vorbis.ogg", () => chain(fixture("speech.ogg"), 500)],
  ["500-streams.opus", () => chain(opus(0.12), 500)],
  ["500-streams-of-flac.ogg", () => chain(fixture("flac.ogg"), 500)],
  ["500-streams.aac", () => adtsChain(500)],
  ["100-streams.flac", () => chain(fixture("speech.flac"), 100)],
  ["80-streams-with-wrong-ends.flac", () => chain(wrongEnd(), 80)],
  ["501-streams.mp3", () => mp3Chain(501)],
  ["3h.wav", () => wav(3 * hour * 32_000)],
  ["100s-64-channels.wav", () => wav(100 * 64 * 48_000, { channels: 64, rate: 48_000, bits: 8 })],
  ["day-ima.wav", () => wav(24 * hour * 8000, { tag: 17, bits: 4, align: 1024 })],
  ["3h.aiff", () => plain("aiff", 3 * hour * 32_000)],
  ["3h.w64", () => plain("w64", 3 * hour * 32_000)],
  ["3h.au", () => plain("au", 3 * hour * 32_000)],
  [
    "100MiB-empty-clusters.webm",
    () => filled([0x1a, 0x45, 0xdf, 0xa3, 0x80], [0x1f, 0x43, 0xb6, 0x75, 0x80]),
  ],
  ["100MiB-empty-boxes.m4a", () => filled([0, 0, 0, 8, ...ascii("ftyp")], [0, 0, 0, 8, ...ascii("free")])],
  ["100MiB-sync.mp3", () => filled([0xff, 0xfb, 0x90, 0], [0xff])],
  ["1GiB-zeros.bin", () => sparse(new Uint8Array(4), gibi)],
  ["1GiB.wav", () => wav(gibi - 44)],
  ["1GiB-after-1s.flac", () => sparse(flac(1, 1), gibi)],
  ["1GiB-after-1s.opus", () => sparse(opus(1), gibi)],
  ["1GiB-after-1s.mp3", () => sparse(mp3(1), gibi)],
  ["1GiB-after-1s.aac", () => sparse(adts(1), gibi)],
  ["1GiB-after-1s.m4a", () => sparse(m4a(1), gibi)],
  ["1GiB-after-1s.webm", () => sparse(webm(1), gibi)],
];

const root = mkdtempSync(join(tmpdir(), "audio-"));

function write(name: string, content: Uint8Array | Sparse): string {
  const path = join(root, name);
  if (content instanceof Uint8Array) writeFileSync(path, content);
  else {
    const file = openSync(path, "w");
    writeSync(file, content.head);
    ftruncateSync(file, content.size);
    closeSync(file);
  }
  return path;
}

/** Memory and time of the longest clip that the model accepts. */
let taken = { took: 0, peak: 0 };
let broken = 0;

function run(path: string, name: string): void {
  const began = performance.now();
  const command = [
    "bin/funasr-webgpu.js",
    "transcribe",
    "--vad",
    "off",
    "--language",
    "en",
    "--quiet",
    "--json",
    path,
  ];
  const { status, signal, stdout, stderr } = spawnSync(
    "/usr/bin/time",
    ["-f", "TIME %M %U %S", process.execPath, ...command],
    { encoding: "utf8", timeout: 300_000, killSignal: "SIGKILL" },
  );
  const wall = (performance.now() - began) / 1000;
  const [peak, ...cpu] = (/TIME (\S+) (\S+) (\S+)/.exec(stderr)?.slice(1) ?? []).map(Number);
  const took = cpu.reduce((sum, each) => sum + each, 0);
  const megs = peak / 1024;
  const size = statSync(path).size;
  if (taken.peak === 0) taken = { took, peak: megs };
  const need = status === 0 ? taken : { took: 0, peak: 0 };
  const good =
    (status === 0 || status === 1) &&
    took <= need.took + seconds &&
    megs <= need.peak + megabytes + (2 * size) / 2 ** 20;
  if (!good) broken++;
  const outcome = outcomeOf(stdout).replaceAll(root, "").slice(0, 120);
  const cells = [name, size, wall.toFixed(1), took.toFixed(1), megs.toFixed(0), status ?? signal];
  console.log(`| ${cells.join(" | ")} | ${good ? "" : "BROKEN "}${outcome} |`);
}

/** What the command says of its one clip. */
function outcomeOf(stdout: string): string {
  const [line = "{}"] = stdout.split("\n").filter((text) => text.startsWith("{"));
  const { audioSeconds, warning, error } = JSON.parse(line) as {
    readonly audioSeconds?: number;
    readonly warning?: string;
    readonly error?: { readonly message: string };
  };
  if (error) return error.message;
  if (audioSeconds === undefined) return "no result";
  return `transcribed ${audioSeconds.toFixed(1)} s${warning === undefined ? "" : `; ${warning}`}`;
}

function more(path: string): string[] {
  return statSync(path).isDirectory() ? readdirSync(path).map((name) => join(path, name)) : [path];
}

console.log("| file | bytes | s | s of the processor | peak MB | exit | outcome |");
console.log("| --- | ---: | ---: | ---: | ---: | ---: | --- |");
try {
  const only = process.env.ONLY;
  for (const [name, content] of bombs) {
    if (only !== undefined && name !== bombs[0][0] && !name.includes(only)) continue;
    const path = write(name, content());
    run(path, name);
    rmSync(path);
  }
  for (const path of process.argv.slice(2).flatMap(more)) run(path, basename(path));
} finally {
  rmSync(root, { recursive: true, force: true });
}
if (broken > 0) console.error(`${broken} files exceed a bound`);
process.exitCode = broken > 0 ? 1 : 0;
