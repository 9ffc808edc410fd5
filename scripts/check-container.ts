import { type ChildProcess, execFileSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { demoClip, form } from "../test/helpers/serve.js";
import { readDockerfile } from "./container/dockerfile.js";
import { type Within, baseRoot, build, start } from "./container/root.js";
import { readUnit, restrictions } from "./container/unit.js";

// usage: npm run check:container -- DIR [--keep]   (Linux, root, debootstrap)
// Runs the steps of packaging/Dockerfile in a root directory of Debian in DIR, then its entry point
// as its user: the health check before and after the model is loaded, a key, a clip's text, SIGTERM.
// Then the unit packaging/funasr-webgpu.service: systemd-analyze reads it, and its command runs in
// the same root directory with those of its restrictions that need no systemd. --keep takes the root
// directory that an earlier run made. Prints a row for each check. Exit code 1 if one fails.

const args = process.argv.slice(2);
const [given] = args.filter((arg) => !arg.startsWith("--"));
if (!given) throw new Error("check-container: expected a directory");
const directory = resolve(given);
mkdirSync(directory, { recursive: true });

const key = "key-of-the-check";
let failed = 0;
function row(what: string, ok: boolean, detail = ""): void {
  if (!ok) failed++;
  console.log(`| ${what} | ${ok ? "ok" : "FAILED"} ${detail} |`);
}

/** Sends the demo's clip. */
async function speak(address: string, headers: Record<string, string>): Promise<[number, string]> {
  const body = form({ model: "demo", language: "en", response_format: "text" }, demoClip());
  const answer = await fetch(`${address}/v1/audio/transcriptions`, { method: "POST", body, headers });
  return [answer.status, await answer.text()];
}

/** The address that a server says it listens on. */
function listening(child: ChildProcess): Promise<string> {
  return new Promise((done, refuse) => {
    let text = "";
    child.stdout!.setEncoding("utf8").on("data", (piece: string) => {
      text += piece;
      const found = /listening on (\S+) with model demo/.exec(text);
      if (found) done(found[1]);
    });
    child.once("close", (code) => refuse(new Error(`the server ended with ${code}: ${text}`)));
  });
}

async function health(root: string, command: readonly string[], within: Within): Promise<unknown> {
  const [code] = (await once(start(root, command, within), "close")) as [number | null];
  return code;
}

/** Real user and capabilities of a process. @source proc(5), status */
function status(pid: number, name: string): string {
  return new RegExp(`^${name}:\\s+(\\S+)`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1];
}

const stages = readDockerfile(readFileSync("packaging/Dockerfile", "utf8"));
const made = new Map<string, string>();
const image = stages.at(-1)!;
const root = join(directory, "image");
console.log("| check | result |\n| --- | --- |");
if (!args.includes("--keep") || !existsSync(root)) {
  const base = baseRoot(directory);
  for (const stage of stages) {
    const place = stage === image ? root : join(directory, stage.name!);
    await build(stage, place, { base, made });
    made.set(stage.name ?? "", place);
  }
}
const size = execFileSync("du", ["-sm", root], { encoding: "utf8" }).split("\t")[0];
row("steps of the Dockerfile", true, `${size} MB`);

const { workdir, user } = image;
const within = { env: { ...image.env, FUNASR_WEBGPU_API_KEY: key }, workdir, user };
const refused = start(root, image.entrypoint, { ...within, env: image.env });
row("without a key: wrong usage", (await once(refused, "close"))[0] === 2);
const server = start(root, image.entrypoint, within);
row("unhealthy while nothing listens", (await health(root, image.healthcheck, within)) === 1);
const address = (await listening(server)).replace("0.0.0.0", "127.0.0.1");
row("healthy", (await health(root, image.healthcheck, within)) === 0);
row("not root", status(server.pid!, "Uid") === String(statSync(join(root, "home/node")).uid));
row("no answer without the key", (await speak(address, {}))[0] === 401);
const spoken = await speak(address, { authorization: `Bearer ${key}` });
row("a clip", spoken[1] === "set the oven to eighty two degrees", spoken[1]);
const page = await (await fetch(address)).text();
row("the page", page.includes('<script type="module"'));
server.kill("SIGTERM");
row("SIGTERM", (await once(server, "close"))[0] === 0);

const unitFile = "packaging/funasr-webgpu.service";
execFileSync("systemd-analyze", ["verify", resolve(unitFile)], { stdio: ["ignore", 2, 2] });
row("systemd-analyze verify", true);
const unit = readUnit(readFileSync(unitFile, "utf8"));
const limits = restrictions(unit);
const command = unit.get("ExecStart")![0].replace("$OPTIONS", "--port 0").split(" ");
const service = start(root, command, { ...limits.within, workdir: "/", user: "root" });
const local = await listening(service);
const heard = await speak(local, {});
row("the unit's command", heard[1] === "set the oven to eighty two degrees", limits.applied.join(", "));
row("its user", Number(status(service.pid!, "Uid")) >= 61_184, status(service.pid!, "Uid"));
row(
  "no capabilities, no new privileges",
  status(service.pid!, "CapBnd") === "0".repeat(16) && status(service.pid!, "NoNewPrivs") === "1",
);
service.kill((unit.get("KillSignal")?.[0] as NodeJS.Signals | undefined) ?? "SIGTERM");
row("its end", (await once(service, "close"))[0] === 0);
console.log(`${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;
