import { readFileSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { CheckpointError, ConfigError } from "../../src/formats/errors.js";
import type { ModelConfig } from "../../src/config/model-config.js";
import type { ModelFiles } from "../../src/checkpoint/source.js";

const FIXTURES = new URL("../fixtures/safetensors/", import.meta.url);

/** Path of a fixture made by test/fixtures/safetensors/make.py. */
export function fixturePath(name: string): string {
  return fileURLToPath(new URL(name, FIXTURES));
}

export function fixtureBytes(name: string): Uint8Array {
  return new Uint8Array(readFileSync(fixturePath(name)));
}

/** A fixture directory in memory, for tests that damage it. */
export function fixtureFiles(name: string): Map<string, Uint8Array> {
  return new Map(readdirSync(fixturePath(name)).map((file) => [file, fixtureBytes(`${name}/${file}`)]));
}

export function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/**
 * A safetensors file from a header (an object, or text as it stands) and `dataBytes` zero bytes.
 */
export function rawSafetensors(
  header: unknown,
  dataBytes: number,
  declaredLength?: number | bigint,
): Uint8Array {
  const json = utf8(typeof header === "string" ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + json.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(declaredLength ?? json.length), true);
  bytes.set(json, 8);
  return bytes;
}

/** The files, and the number that is open. */
export function counted(files: ModelFiles): { files: ModelFiles; open: () => number } {
  let open = 0;
  return {
    open: () => open,
    files: {
      ...files,
      open: async (file) => {
        const source = await files.open(file);
        open++;
        return { ...source, close: () => (open--, source.close()) };
      },
    },
  };
}

/** Runs `action`, which must throw a one-line error of the project; returns it. */
export async function refusal(action: () => unknown): Promise<CheckpointError | ConfigError> {
  let error: unknown;
  try {
    await action();
  } catch (e) {
    error = e;
  }
  if (!(error instanceof CheckpointError || error instanceof ConfigError)) {
    throw new Error(`expected a CheckpointError or ConfigError, got ${String(error)}`);
  }
  expect(error.message).not.toMatch(/[\p{Cc}\u2028\u2029]/u);
  expect(error.message).toMatch(/^.+: .+: expected .+, got .+$/u);
  return error;
}

const LLM = {
  "0.6B": [1024, 3072, 28, 16, true],
  "1.7B": [2048, 6144, 28, 16, true],
  "4B": [2560, 9728, 36, 32, true],
  "8B": [4096, 12288, 36, 32, false],
} as const;

/** The released encoder and adaptor with one of the Qwen3 sizes, as numbers. */
export function realConfig(size: keyof typeof LLM): ModelConfig {
  const [hiddenSize, intermediateSize, layers, heads, tiedHead] = LLM[size];
  return {
    encoder: {
      inputSize: 560,
      hiddenSize: 512,
      heads: 4,
      intermediateSize: 2048,
      layers: 49,
      tpLayers: 20,
      fsmnKernelSize: 11,
      layerNormEps: 1e-5,
    },
    adaptor: {
      projectorHiddenSize: 2048,
      hiddenSize,
      heads: 8,
      intermediateSize: hiddenSize / 4,
      layers: 2,
      layerNormEps: 1e-5,
    },
    llm: {
      vocabSize: 151936,
      hiddenSize,
      intermediateSize,
      layers,
      heads,
      kvHeads: 8,
      headDim: 128,
      rmsNormEps: 1e-6,
      ropeTheta: 1e6,
      tiedHead,
      maxPositions: 40960,
    },
    audioTokenId: 151646,
    audioTokenRule: "all",
    raw: {},
  };
}
