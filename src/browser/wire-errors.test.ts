import { expect, test } from "vitest";
import { AudioError } from "../frontend/errors.js";
import { DeviceMemoryError, GpuError } from "../gpu/errors.js";
import { BrowserError, EngineFailure, fromWire } from "./errors.js";
import { toWire } from "./wire-errors.js";

// Plan: an error of the worker reaches the page with its name, though a bundler shortened the names
// of classes, and with its code where it has one.

const short = <T extends Error>(error: T): T => Object.assign(error, { name: "t" });

test.each<[string, Error]>([
  ["AudioError", short(new AudioError("a", "b", "c", "d"))],
  ["GpuError", short(new GpuError("x"))],
  ["RangeError", new RangeError("x")],
])("%s", (name, error) => {
  const received = fromWire(toWire(error));
  expect(received).toBeInstanceOf(EngineFailure);
  expect([received.name, received.message]).toEqual([name, error.message]);
});

test("an error of a subclass has the subclass's name", () => {
  expect(toWire(Object.create(DeviceMemoryError.prototype, { message: { value: "x" } }) as Error).name).toBe(
    "DeviceMemoryError",
  );
});

test("a refusal keeps its code; a value that is no error is its text", () => {
  const refusal = fromWire(toWire(new BrowserError("quota", "x")));
  expect(refusal).toBeInstanceOf(BrowserError);
  expect(refusal).toMatchObject({ code: "quota", message: "x" });
  expect(toWire("gone")).toEqual({ name: "Error", message: "gone" });
});
