// Plan: the worklet of the page's microphone runs as an audio thread runs it. Every sample that it got comes once
// and in order, the last piece when the page asks for it, whatever its length.
import { readFileSync } from "node:fs";
import { runInNewContext } from "node:vm";
import { expect, it } from "vitest";

const code = readFileSync(new URL("../web/public/microphone-worklet.js", import.meta.url), "utf8");
const quantum = 128;

interface Processor {
  readonly port: { onmessage?: () => void; postMessage(data: Float32Array | null): void };
  process(inputs: readonly (readonly Float32Array[])[]): boolean;
}

/** A processor at a rate in Hz, and what it sends. */
function processor(sampleRate: number): { made: Processor; sent: (Float32Array | null)[] } {
  const sent: (Float32Array | null)[] = [];
  let made: Processor | undefined;
  class AudioWorkletProcessor {
    readonly port = { postMessage: (data: Float32Array | null) => void sent.push(data) };
  }
  const registerProcessor = (_: string, Kind: new () => Processor): void => void (made = new Kind());
  runInNewContext(code, { sampleRate, AudioWorkletProcessor, registerProcessor, Float32Array });
  return { made: made!, sent };
}

it.each([
  [48_000, 0],
  [48_000, 1],
  [48_000, 14],
  [48_000, 15],
  [48_000, 16],
  [44_100, 100],
  [16_000, 7],
  [8000, 3],
])("at %i Hz sends all of %i quanta", (rate, count) => {
  const { made, sent } = processor(rate);
  const all = Float32Array.from({ length: count * quantum }, (_, i) => i);
  for (let at = 0; at < all.length; at += quantum) {
    expect(made.process([[all.subarray(at, at + quantum)]])).toBe(true);
    expect(made.process([[]])).toBe(true); // no input is connected
  }
  made.port.onmessage!();
  expect(sent.at(-1)).toBeNull();
  const pieces = sent.filter((piece) => piece !== null);
  expect(pieces.length).toBe(sent.length - 1);
  expect(pieces.flatMap((piece) => [...piece])).toEqual([...all]);
});
