import { execFileSync } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { parse } from "yaml";

// Plan: every example runs as its first line says, and prints what it promises; an example without
// a line here fails. test/bundlers.test.ts builds those of browsers.
const root = fileURLToPath(new URL("../", import.meta.url));
const runs: Readonly<Record<string, { readonly args: readonly string[]; readonly prints: RegExp }>> = {
  "kernel.ts": { args: [], prints: /^1048576 values in [\d.]+ ms .*, largest error \d\.\de-\d+$/m },
  "transcribe.ts": {
    args: ["models/demo/clips/en-seen-1.wav"],
    prints: /^set the oven to eighty two degrees$/m,
  },
  "long-recording.ts": {
    args: [],
    prints: /^1\n00:00:00,\d{3} --> 00:00:0\d,\d{3}\nset the oven to eighty two degrees\n\n2\n/m,
  },
  "train-adaptor.ts": {
    args: [],
    prints: /^step 20 {2}loss [\s\S]*\nafter training: loss 0\.00\d\d over 10 clips$/m,
  },
  "verify-your-port.ts": {
    args: [],
    prints: /^right: adaptor.projector agrees: .*\nwithout relu: adaptor.projector differs: /m,
  },
};

const programs = readdirSync(new URL("../examples/", import.meta.url)).filter((name) => name.endsWith(".ts"));
it.each(programs)("examples/%s", (name) => {
  expect(runs).toHaveProperty([name]);
  const { args, prints } = runs[name];
  const out = execFileSync(process.execPath, ["node_modules/tsx/dist/cli.mjs", `examples/${name}`, ...args], {
    cwd: root,
    encoding: "utf8",
  });
  expect(out).toMatch(prints);
});

it("the templates of examples/corpus are a shell script and a Job", () => {
  const file = (name: string): string =>
    fileURLToPath(new URL(`../examples/corpus/${name}`, import.meta.url));
  execFileSync("bash", ["-n", file("slurm.sh")]);
  const job = parse(readFileSync(file("kubernetes.yaml"), "utf8")) as Record<string, unknown>;
  expect(job).toMatchObject({ kind: "Job", spec: { completionMode: "Indexed", completions: 64 } });
});
