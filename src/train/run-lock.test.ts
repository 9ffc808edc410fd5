import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, expect, test } from "vitest";
import { TrainError } from "./errors.js";
import { lockFile, withRunLock } from "./run-lock.js";

// A second training is refused by name; one whose lock another has taken over ends with an error.
const out = mkdtempSync(join(tmpdir(), "run-lock-"));
afterAll(() => rmSync(out, { recursive: true }));

test("a second training in the directory is refused", async () => {
  await withRunLock(out, async (check) => {
    await expect(withRunLock(out, () => Promise.resolve())).rejects.toThrow(
      `${out}: expected no other training in this directory, got that of process ${process.pid};`,
    );
    check();
  });
});

test("a training whose directory another has taken over ends", async () => {
  const body = async (check: () => void): Promise<void> => {
    check();
    writeFileSync(lockFile(out), JSON.stringify({ id: "other", pid: process.pid, host: hostname() }));
    for (;;) {
      await sleep(5);
      check();
    }
  };
  await expect(withRunLock(out, body, { staleMs: 40 })).rejects.toThrow(
    new TrainError(
      `${out}: expected to be the only training in this directory, got another that took it over while this process stood still; this one ends, its last saved state stays as the other has it`,
    ),
  );
});
