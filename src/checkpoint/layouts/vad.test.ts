import { describe, expect, test } from "vitest";
import { counted, refusal, utf8 } from "../../../test/helpers/checkpoint.js";
import { key, wholeGguf } from "../../../test/helpers/gguf.js";
import { torchFile } from "../../../test/helpers/torch-zip.js";
import { releasedVad, smallVad, vadWeights } from "../../../test/helpers/vad.js";
import { inputDim } from "../../config/vad-config.js";
import { fromFloat32 } from "../../formats/dtypes.js";
import { vadModel } from "../../node/demo.js";
import { modelDirectory } from "../../node/files.js";
import type { HeldTensor } from "../../weights/zero-extended.js";
import { safetensorsBytes } from "../safetensors/write.js";
import { memoryFiles } from "../source.js";
import { openLayout } from "./open.js";
import { openVad } from "./vad.js";

// Plan: one net in three containers gives the same values, from half floats too; the shipped net has
// the released sizes; each thing that can be wrong with a directory is refused in one line that
// names it, and no file stays open.

const weights = vadWeights(smallVad);

const fields = {
  frontend_conf: { n_mels: 4, lfr_m: 3, lfr_n: 1, window: "hamming", fs: 16_000, dither: 0 },
  encoder_conf: {
    input_dim: inputDim(smallVad),
    input_affine_dim: smallVad.inputAffineDim,
    fsmn_layers: smallVad.layers,
    linear_dim: smallVad.linearDim,
    proj_dim: smallVad.projDim,
    lorder: smallVad.taps,
    rorder: 0,
    lstride: 1,
    rstride: 0,
    output_affine_dim: smallVad.outputAffineDim,
    output_dim: smallVad.outputDim,
  },
  model_conf: { sil_pdf_ids: [0], frame_in_ms: 10 },
};
type Files = Record<string, Uint8Array>;
type Tensors = ReadonlyMap<string, HeldTensor>;

const bytes = (values: Float32Array, dtype: "F32" | "F16" = "F32"): Uint8Array => fromFloat32(values, dtype);
const json = (value: unknown): Uint8Array => utf8(JSON.stringify(value));

async function ours(
  tensors: Tensors = weights,
  config: object = { model_type: "fsmn_vad", ...fields },
): Promise<Files> {
  const list = [...tensors].map(([name, { shape, data }]) => ({
    name,
    dtype: "F32" as const,
    shape,
    data: bytes(data),
  }));
  return { "model.safetensors": await safetensorsBytes(list), "config.json": json(config) };
}

/** FunASR's directory. JSON is YAML too. */
function funasr(
  tensors: Tensors = weights,
  config: object = { model: "FsmnVADStreaming", encoder: "FSMN", ...fields },
): Files {
  const list = [...tensors]
    .filter(([name]) => !name.startsWith("cmvn."))
    .map(([name, { shape, data }]) => {
      const stored = shape.length === 3 ? [...shape, 1] : shape;
      return { name, dtype: "F32" as const, shape: stored, data: bytes(data) };
    });
  const numbers = (name: string): string => [...tensors.get(name)!.data].join(" ");
  const mvn =
    `<Nnet>\n<Splice> 12 12\n[ 0 ]\n<AddShift> 12 12\n<LearnRateCoef> 0 [ ${numbers("cmvn.shift")} ]\n` +
    `<Rescale> 12 12\n<LearnRateCoef> 0 [ ${numbers("cmvn.scale")} ]\n</Nnet>\n`;
  return { "model.pt": torchFile(list), "config.yaml": json(config), "am.mvn": utf8(mvn) };
}

/** The file of FunASR's llama.cpp runtime: taps before channels. */
function gguf(
  tensors: Tensors = weights,
  change: (keys: Map<string, number | string>) => void = () => undefined,
): Files {
  const keys = new Map<string, number | string>([["general.architecture", "fsmn-vad"]]);
  for (const [name, value] of Object.entries({ ...fields.encoder_conf, n_mels: 4, lfr_m: 3, lfr_n: 1 }))
    keys.set(`vad.${name}`, value);
  change(keys);
  const list = [...tensors].map(([name, { shape, data }]) => {
    if (shape.length !== 3) return { name, shape, type: 0, data: bytes(data) };
    const [width, , taps] = shape;
    const turned = data.map((_, i) => data[(i % width) * taps + Math.floor(i / width)]);
    return { name, shape: [taps, width], type: 0, data: bytes(turned) };
  });
  return {
    "fsmn-vad.gguf": wholeGguf(
      [...keys].map(([name, value]) => key(name, value)),
      list,
    ),
  };
}

const directory = (files: Files): ReturnType<typeof memoryFiles> =>
  memoryFiles("m", new Map(Object.entries(files)));

describe("one net", () => {
  test.each([
    ["our safetensors", () => ours()],
    ["FunASR's directory", () => funasr()],
    ["FunASR's directory with the ONNX file beside", () => ({ ...funasr(), "model.onnx": utf8("x") })],
    ["GGUF", () => gguf()],
  ])("%s", async (_, files) => {
    const { files: watched, open } = counted(directory(await files()));
    const { config, tensors } = await openVad(watched);
    expect(config).toEqual(smallVad);
    expect(new Map([...tensors].sort())).toEqual(new Map([...weights].sort()));
    await expect(openLayout(watched)).rejects.toThrow(
      /^m: model: expected Fun-ASR-Nano, got FSMN-VAD, .*; it is the model of `vad --vad`/,
    );
    expect(open()).toBe(0);
  });

  test("matrices in half floats are widened", async () => {
    const rounded = (data: Float32Array): Float32Array => data.map((value) => Math.round(value * 64) / 64);
    const halves = new Map(
      [...weights].map(([name, { shape, data }]) => [name, { shape, data: rounded(data) }]),
    );
    const list = [...halves].map(([name, { shape, data }]) => ({
      name,
      dtype: "F16" as const,
      shape,
      data: bytes(data, "F16"),
    }));
    const files = { ...(await ours()), "model.safetensors": await safetensorsBytes(list) };
    const { tensors } = await openVad(directory(files));
    expect(new Map([...tensors].sort())).toEqual(new Map([...halves].sort()));
  });

  test("the shipped one has the released sizes", async () => {
    const { config, tensors } = await openVad(modelDirectory(vadModel));
    expect(config).toEqual(releasedVad);
    const net = [...tensors].filter(([name]) => !name.startsWith("cmvn."));
    expect(net.length).toBe(24);
    expect(net.reduce((sum, [, { data }]) => sum + data.length, 0)).toBe(428_738);
  });
});

/** All tensors with a change. */
function changed(change: (tensors: Map<string, HeldTensor>) => void): Map<string, HeldTensor> {
  const tensors = new Map(weights);
  change(tensors);
  return tensors;
}
const without = (files: Files, name: string): Files =>
  Object.fromEntries(Object.entries(files).filter(([other]) => other !== name));
const bias = "encoder.in_linear2.linear.bias";
const other = { shape: [3], data: Float32Array.of(1, 2, 3) };
const withNet = (net: object): object => ({ ...fields, encoder_conf: { ...fields.encoder_conf, ...net } });
const withFrontend = (frontend: object): object => ({
  ...fields,
  frontend_conf: { ...fields.frontend_conf, ...frontend },
});

describe("refused", () => {
  const missing = changed((tensors) => tensors.delete(bias));
  const reshaped = changed((tensors) => tensors.set(bias, other));
  test.each<[string, () => Files | Promise<Files>, string]>([
    [
      "nothing there",
      () => ({}),
      "m: model.safetensors, model.pt or *.gguf: expected a file of that name, got none",
    ],
    [
      "two forms",
      () => ({ ...gguf(), ...funasr() }),
      "m: weights: expected one form of them, got fsmn-vad.gguf beside model.pt",
    ],
    ["no am.mvn", () => without(funasr(), "am.mvn"), "m: am.mvn: expected a file of that name, got none"],
    ["no config", async () => without(await ours(), "config.json"), "m: config.json: expected a file"],
    [
      "a missing tensor",
      () => ours(missing),
      `m: tensor "${bias}": expected a tensor of that name, got none (1 missing`,
    ],
    [
      "a missing tensor of GGUF",
      () => gguf(missing),
      `m/fsmn-vad.gguf: tensor "${bias}": expected a tensor of that name`,
    ],
    ["another shape", () => ours(reshaped), `m: tensor "${bias}": expected [6], got [3] (0 missing`],
    ["another shape in model.pt", () => funasr(reshaped), `m: tensor "${bias}": expected [6], got [3]`],
    [
      "a tensor too many",
      () => ours(changed((tensors) => tensors.set("x", other))),
      'm: tensor "x": expected only tensors that the config asks for',
    ],
    [
      "am.mvn of another front-end",
      () => ({ ...funasr(), "am.mvn": utf8("<AddShift> 2 2\n<LearnRateCoef> 0 [ 1 2 ]\n") }),
      "m/am.mvn: <AddShift>: expected 12 numbers in brackets, got 2",
    ],
    [
      "am.mvn without a tag",
      () => ({ ...funasr(), "am.mvn": utf8("x") }),
      "m/am.mvn: <AddShift>: expected 12 numbers in brackets, got none",
    ],
    [
      "am.mvn with a word",
      () => {
        const text = new TextDecoder().decode(funasr()["am.mvn"]);
        return { ...funasr(), "am.mvn": utf8(text.replace(/(<Rescale>[^[]*\[ )\S+/, "$1many")) };
      },
      'm/am.mvn: <Rescale> 0: expected a finite number, got "many"',
    ],
    [
      "a model of speech",
      () => ours(weights, { model_type: "fun_asr_nano" }),
      'm/config.json: model_type: expected "fsmn_vad", got "fun_asr_nano"',
    ],
    [
      "FunASR's model of speech",
      () => funasr(weights, { model: "FunASRNano" }),
      'm/config.yaml: model: expected "FsmnVADStreaming", got "FunASRNano"',
    ],
    [
      "another encoder",
      () => funasr(weights, { encoder: "FSMNExport" }),
      'm/config.yaml: encoder: expected "FSMN", got "FSMNExport"',
    ],
    [
      "rows after",
      () => funasr(weights, withNet({ rorder: 1 })),
      "m/config.yaml: encoder_conf.rorder: expected 0, got 1",
    ],
    [
      "a stride",
      () => funasr(weights, withNet({ lstride: 2 })),
      "m/config.yaml: encoder_conf.lstride: expected 1, got 2",
    ],
    [
      "no width",
      () => funasr(weights, withNet({ proj_dim: 0 })),
      "m/config.yaml: encoder_conf.proj_dim: expected a positive integer, got 0",
    ],
    [
      "a huge width",
      () => funasr(weights, withNet({ proj_dim: 1e6 })),
      "m/config.yaml: encoder_conf.proj_dim: expected at most 4096, got 1000000",
    ],
    [
      "widths that differ",
      () => funasr(weights, withNet({ input_dim: 16 })),
      "m/config.yaml: encoder_conf.input_dim: expected 12, n_mels times lfr_m, got 16",
    ],
    [
      "a low frame rate",
      () => funasr(weights, withFrontend({ lfr_n: 2 })),
      "m/config.yaml: frontend_conf.lfr_n: expected 1, got 2",
    ],
    [
      "another rate",
      () => funasr(weights, withFrontend({ fs: 8000 })),
      "m/config.yaml: frontend_conf.fs: expected 16000, got 8000",
    ],
    [
      "a width that the config lacks",
      () => ours(weights, { model_type: "fsmn_vad", ...withNet({ proj_dim: null }) }),
      "m/config.json: encoder_conf.proj_dim: expected a positive integer, got null",
    ],
    [
      "several classes of silence",
      () => funasr(weights, { ...fields, model_conf: { sil_pdf_ids: [0, 1] } }),
      "m/config.yaml: model_conf.sil_pdf_ids: expected [0], got [0, 1]",
    ],
    [
      "GGUF of another model",
      () => gguf(weights, (keys) => keys.set("general.architecture", "qwen3")),
      'm/fsmn-vad.gguf: metadata "general.architecture": expected "fsmn-vad", got "qwen3"',
    ],
    [
      "GGUF without a key",
      () => gguf(weights, (keys) => keys.delete("vad.lorder")),
      'm/fsmn-vad.gguf: metadata "vad.lorder": expected a positive integer',
    ],
  ])("%s", async (_, files, message) => {
    const { files: watched, open } = counted(directory(await files()));
    const { message: got } = await refusal(() => openVad(watched));
    expect(got).toContain(message);
    expect(got).not.toContain("\n");
    expect(open()).toBe(0);
  });

  test("a file that is cut short", async () => {
    for (const [name, files] of Object.entries({ "model.pt": funasr(), "fsmn-vad.gguf": gguf() })) {
      const cut = { ...files, [name]: files[name].subarray(0, files[name].length - 200) };
      expect((await refusal(() => openVad(directory(cut)))).message).toContain(`m/${name}`);
    }
  });
});
