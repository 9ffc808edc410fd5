// The page's words: each is used and stands in both languages, and each error of the engine has a sentence
// that names the file.
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { EngineFailure, fromWire } from "../src/browser/errors.js";
import { toWire } from "../src/browser/wire-errors.js";
import { decodeAudio } from "../src/frontend/decode.js";
import { audioKind } from "../web/src/audio-kind.js";
import { type Texts, languages } from "../web/src/texts.js";

const { en, zh } = languages;
const sources = fileURLToPath(new URL("../web/src/", import.meta.url));
const code = readdirSync(sources)
  .filter((name) => name !== "texts.ts")
  .map((name) => readFileSync(join(sources, name), "utf8"))
  .join("\n");
const demo = readFileSync(new URL("../models/demo/clips/en-seen-1.wav", import.meta.url));

/** Leaves of the texts, by their paths. */
function leaves(texts: object, path = ""): [string, unknown][] {
  return Object.entries(texts).flatMap(([key, value]) =>
    typeof value === "object" && value !== null
      ? leaves(value as object, `${path}${key}.`)
      : [[path + key, value]],
  );
}

describe("texts of the page", () => {
  it("are all used", () => {
    const views = ["transcribe"]; // drawn by `t[view]`
    const isUsed = (key: string): boolean => new RegExp(`\\b(t|texts\\(\\))\\.${key}\\b`).test(code);
    const unused = Object.keys(en).filter((key) => !isUsed(key) && !views.includes(key));
    expect(unused).toEqual([]);
  });

  it("are Chinese on the Chinese page", () => {
    const foreign = leaves(zh).filter(
      ([path, text]) =>
        path !== "otherLanguage" &&
        !/\p{Script=Han}/u.test(typeof text === "function" ? String(text) : (text as string)),
    );
    expect(foreign.map(([path]) => path)).toEqual([]);
  });
});

function edited(at: number, bytes: readonly number[]): Uint8Array {
  const copy = new Uint8Array(demo);
  copy.set(bytes, at);
  return copy;
}

/** What the engine throws of a file, as it comes to the page. */
async function failure(file: Uint8Array, name: string): Promise<Error> {
  const error: unknown = await decodeAudio(file, name).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  return fromWire(toWire(error));
}

describe("an error of a recording", () => {
  const text = (words: string): Uint8Array => new TextEncoder().encode(words);
  const cases: readonly [string, Uint8Array, keyof Texts["audio"]][] = [
    ["empty.wav", new Uint8Array(0), "empty"],
    ["letter.wav", text("dear all, this is no audio"), "foreign"],
    ["page.wav", text("<!doctype html>"), "foreign"],
    ["pointer.wav", text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n"), "foreign"],
    ["channels.wav", edited(22, [255, 255]), "damaged"],
    ["rate.wav", edited(24, [0, 0, 0, 0]), "damaged"],
    ["head.wav", demo.subarray(0, 20), "damaged"],
    ["cut.flac", text("fLaC\0\0\0"), "damaged"],
  ];
  it.each(cases)("%s", async (name, file, kind) => {
    const error = await failure(file, name);
    expect(error).toBeInstanceOf(EngineFailure);
    expect(audioKind(error.message)).toBe(kind);
    expect(en.audio[kind](name)).toContain(name);
    expect(zh.audio[kind](name)).toContain(name);
  });
});

it("every refusal of the engine has a Chinese sentence", () => {
  const source = readFileSync(new URL("../src/browser/errors.ts", import.meta.url), "utf8");
  const codes = [...source.matchAll(/^ {2}\| "([a-z-]+)"/gm)].map(([, code]) => code);
  expect(codes.length).toBeGreaterThan(5);
  expect(Object.keys(zh.engine).sort()).toEqual(codes.sort());
});
