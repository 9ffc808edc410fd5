// Dawn's warnings about dynamic buffers are dropped from stderr, and nothing else is. A child
// process writes to its descriptor 2 as native code does, while stderr is a pipe, a file that is
// appended to, or a file shared with stdout.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";

const directory = mkdtempSync(join(tmpdir(), "driver-lines-"));
afterAll(() => rmSync(directory, { recursive: true }));

const warning = ["Uniform", "Storage"]
  .map(
    (kind) =>
      `Warning: maxDynamic${kind}BuffersPerPipelineLayout artificially reduced from 1000000 to 16 to fit dynamic offset allocation limit.\n`,
  )
  .join("");

/**
 * What reaches the reader of `redirection`, where the child writes `text` inside the call, then one
 * line on each stream.
 */
function printed(text: string, redirection: string, after = ""): string {
  const script = join(directory, "child.mjs");
  const module = new URL("./driver-lines.ts", import.meta.url);
  writeFileSync(
    script,
    `import { writeSync } from "node:fs";
    process.stderr.write("first on stderr\\n"); // Node's stream holds the descriptor before and after
    const { withoutLimitWarnings } = await import(${JSON.stringify(module.href)});
    try { withoutLimitWarnings(() => { writeSync(2, ${JSON.stringify(text)}); ${after} }); }
    catch (error) { writeSync(2, error.message + "\\n"); }
    process.stderr.write("last on stderr\\n");
    writeSync(1, "last on stdout\\n");`,
  );
  const command = `"${process.execPath}" --import tsx "${script}" ${redirection}`;
  return execFileSync("bash", ["-c", command], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
}

describe.skipIf(process.platform === "win32")(
  "withoutLimitWarnings (descriptor 2 has no second name on Windows)",
  () => {
    it("drops the two lines from a pipe", () => {
      expect(printed(warning, "2>&1 >/dev/null | cat")).toBe("first on stderr\nlast on stderr\n");
    });

    it("keeps every other line, in order", () => {
      const text = `Error: first\n${warning}Warning: maxOther reduced\nno end of line`;
      const rest = "Error: first\nWarning: maxOther reduced\nno end of line";
      expect(printed(text, "2>&1 >/dev/null | cat")).toBe(`first on stderr\n${rest}last on stderr\n`);
    });

    it("restores stderr where the call throws", () => {
      expect(printed("", "2>&1 >/dev/null | cat", 'throw new Error("refused")')).toBe(
        "first on stderr\nrefused\nlast on stderr\n",
      );
    });

    it("drops the two lines from a file that is appended to", () => {
      const log = join(directory, "append.log");
      writeFileSync(log, "before\n");
      printed(warning, `>>"${log}" 2>&1`);
      expect(readFileSync(log, "utf8")).toBe("before\nfirst on stderr\nlast on stderr\nlast on stdout\n");
    });

    it.skipIf(process.platform === "darwin")(
      "overwrites nothing in a file that stdout shares (macOS shares the place with the copy)",
      () => {
        const log = join(directory, "shared.log");
        printed(warning, `>"${log}" 2>&1`);
        expect(readFileSync(log, "utf8")).toBe(`first on stderr\n${warning}last on stderr\nlast on stdout\n`);
      },
    );
  },
);
