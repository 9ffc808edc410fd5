import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, realpathSync, rmSync, symlinkSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import type { Stage } from "./dockerfile.js";

/** How a command is run in a root directory. */
export interface Within {
  readonly env: Readonly<Record<string, string>>;
  readonly workdir: string;
  readonly user: string;
  /** Shell commands that prepare the mounts; $ROOT is the root directory. */
  readonly mounts?: string;
  /** What starts the command, such as setpriv with its options. */
  readonly before?: readonly string[];
}

const run = (program: string, ...args: string[]): void =>
  void execFileSync(program, args, { stdio: ["ignore", 2, 2] });

/**
 * Debian bookworm with this machine's Node: what node:20-bookworm-slim is. It is made once.
 * @param directory  where it goes
 */
export function baseRoot(directory: string): string {
  const root = join(directory, "base");
  if (existsSync(root)) return root;
  const part = `${root}.part`;
  rmSync(part, { recursive: true, force: true });
  run("debootstrap", "--variant=minbase", "--include=ca-certificates", "bookworm", part);
  cpSync(process.execPath, join(part, "usr/local/bin/node"));
  const npm = dirname(dirname(realpathSync(execFileSync("which", ["npm"], { encoding: "utf8" }).trim())));
  cpSync(npm, join(part, "usr/local/lib/node_modules/npm"), { recursive: true });
  symlinkSync("../lib/node_modules/npm/bin/npm-cli.js", join(part, "usr/local/bin/npm"));
  run("chroot", part, "useradd", "--uid", "1000", "--create-home", "node");
  run("mv", part, root);
  return root;
}

/** Starts a command in a root directory, with mounts that nobody else sees. It keeps its process number. */
export function start(root: string, command: readonly string[], within: Within): ChildProcess {
  const { env, workdir, user, mounts = "", before = [] } = within;
  const certificates = process.env.NODE_EXTRA_CA_CERTS;
  const script = `set -e
    for name in proc dev; do mount --rbind /$name "$ROOT/$name"; done
    touch "$ROOT/etc/resolv.conf"; mount --bind /etc/resolv.conf "$ROOT/etc/resolv.conf"
    if [ -n "$CERTIFICATES" ]; then mount --bind "$CERTIFICATES" "$ROOT/etc/ssl/certs/ca-certificates.crt"; fi
    ${mounts}
    exec chroot --userspec="$USER_" "$ROOT" "$@"`;
  const inside = [
    ...before,
    ...[
      "env",
      "-i",
      `--chdir=${workdir}`,
      "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ],
    ...Object.entries(env).map(([name, value]) => `${name}=${value}`),
    ...(certificates === undefined ? [] : ["NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt"]),
    ...command,
  ];
  return spawn("unshare", ["--mount", "sh", "-c", script, "sh", ...inside], {
    env: { PATH: process.env.PATH, ROOT: resolve(root), USER_: user, CERTIFICATES: certificates ?? "" },
    stdio: ["ignore", "pipe", 2],
  });
}

/** Waits for the end of a process. @throws Error  its exit code is not 0 */
async function ended(child: ChildProcess, what: string): Promise<void> {
  child.stdout!.pipe(process.stderr);
  const code = await new Promise((done) => child.once("close", done));
  if (code !== 0) throw new Error(`${what}: exit code ${String(code)}`);
}

/** Makes the root directory of a stage by its steps. @param made  those of the stages before it */
export async function build(
  stage: Stage,
  root: string,
  { base, made }: { readonly base: string; readonly made: ReadonlyMap<string, string> },
): Promise<void> {
  rmSync(root, { recursive: true, force: true });
  run("cp", "-a", base, root);
  let workdir = "/";
  for (const step of stage.steps) {
    console.error(`${step.kind}: ${JSON.stringify(step)}`);
    if (step.kind === "workdir") mkdirSync(join(root, (workdir = step.path)), { recursive: true });
    else if (step.kind === "volume") mkdirSync(join(root, step.path), { recursive: true });
    else if (step.kind === "run") {
      const within = { env: stage.env, workdir, user: "root" };
      await ended(start(root, ["sh", "-c", step.command], within), step.command);
    } else {
      const to = join(root, resolve(workdir, step.to));
      for (const source of step.sources) {
        const from = step.from === undefined ? source : join(made.get(step.from)!, source);
        const into = step.to.endsWith("/");
        cpSync(from, into ? join(to, basename(source)) : to, { recursive: true, verbatimSymlinks: true });
      }
    }
  }
}
