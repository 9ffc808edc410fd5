import { describe, expect, it } from "vitest";
import { DEFAULT_FRONTEND, parseFrontendConfig, type FrontendConfig } from "./config.js";
import { FrontendConfigError } from "./errors.js";
import { fbank } from "./fbank.js";
import { PowerSpectrum } from "./fft.js";
import { extractFeatures } from "./features.js";
import { fbankCases, relativeRms, testWave } from "../../test/helpers/frontend.js";
import { lowFrameRate } from "./lfr.js";
import { gaussianNoise } from "./noise.js";

const F32_ROUNDING = 2 ** -24;

// Plan: the fast transform against the sum that defines it, from the smallest size to the one in
// use.
describe("PowerSpectrum", () => {
  it.each([4, 8, 64, 512])("%i points", (size) => {
    const frame = Float64Array.from({ length: size }, (_, i) => Math.sin(i * i) + (i === 3 ? 5 : 0.1));
    const want = Array.from({ length: size / 2 + 1 }, (_, k) => {
      let re = 0;
      let im = 0;
      frame.forEach((x, i) => {
        const angle = (2 * Math.PI * ((i * k) % size)) / size;
        re += x * Math.cos(angle);
        im -= x * Math.sin(angle);
      });
      return re * re + im * im;
    });
    const got = new Float64Array(size / 2 + 1);
    const spectrum = new PowerSpectrum(size);
    spectrum.compute(new Float64Array(size).fill(1e9), got); // nothing of an earlier frame may remain
    spectrum.compute(frame, got);
    expect(relativeRms(got, want)).toBeLessThan(1e-14);
  });
});

// Plan: three windows, both scales, and a level at which the log floor bites, against f64 values
// from the definition; our error is one rounding to f32, far below that of kaldi's own f32 program.
describe("fbank: values", () => {
  it.each(fbankCases())("$window, amplitude $amplitude, scale $scale", (c) => {
    const samples = testWave(c.n, 16000).map((x) => x * Math.fround(c.amplitude));
    const config = { ...DEFAULT_FRONTEND, window: c.window, waveformScale: c.scale };
    const got = fbank(samples, config);
    expect([got.frames, got.width]).toEqual([3, 80]);
    const error = relativeRms(got.data, c.y);
    expect(error).toBeLessThan(F32_ROUNDING);
    expect(error).toBeLessThan(c.kaldiError);
  });

  it("holds the floor in digital silence", () => {
    const { data } = fbank(new Float32Array(400), DEFAULT_FRONTEND);
    expect(new Set(data)).toEqual(new Set([Math.fround(Math.log(2 ** -23))]));
  });
});

// Plan: frame counts on both sides of every step; short clips and samples that are no numbers
// refused by name.
describe("fbank: frames and refusals", () => {
  it.each([
    [400, 1],
    [559, 1],
    [560, 2],
    [719, 2],
    [720, 3],
    [16000, 98],
  ])("%i samples: %i frames", (n, frames) => {
    expect(fbank(new Float32Array(n), DEFAULT_FRONTEND).frames).toBe(frames);
  });

  it("refuses less than 25 ms", () => {
    const message = "short.wav: audio: expected at least 400 samples (25 ms), got 399";
    expect(() => extractFeatures(new Float32Array(399), DEFAULT_FRONTEND, "short.wav")).toThrow(message);
    expect(() => extractFeatures(new Float32Array(), DEFAULT_FRONTEND)).toThrow("got 0");
  });

  it.each([NaN, Infinity, -Infinity])("refuses a sample of %f", (value) => {
    const samples = new Float32Array(800);
    samples[500] = value;
    const message = `a.wav: sample 500: expected a finite number, got ${value}`;
    expect(() => extractFeatures(samples, DEFAULT_FRONTEND, "a.wav")).toThrow(message);
  });
});

// Plan: rows are the frames that the definition picks, for counts around the stride, a single
// frame, and another stack.
describe("lowFrameRate", () => {
  const count = (frames: number): Parameters<typeof lowFrameRate>[0] => ({
    data: Float32Array.from({ length: frames * 2 }, (_, i) => Math.floor(i / 2) + (i % 2) / 2), // frame f is [f, f + 0.5]
    frames,
    width: 2,
  });
  it.each([
    [1, 7, 6, [[0, 0, 0, 0, 0, 0, 0]]],
    [5, 7, 6, [[0, 0, 0, 0, 1, 2, 3]]],
    [6, 7, 6, [[0, 0, 0, 0, 1, 2, 3]]],
    [
      7,
      7,
      6,
      [
        [0, 0, 0, 0, 1, 2, 3],
        [3, 4, 5, 6, 6, 6, 6],
      ],
    ],
    [
      10,
      7,
      6,
      [
        [0, 0, 0, 0, 1, 2, 3],
        [3, 4, 5, 6, 7, 8, 9],
      ],
    ],
    [
      13,
      7,
      6,
      [
        [0, 0, 0, 0, 1, 2, 3],
        [3, 4, 5, 6, 7, 8, 9],
        [9, 10, 11, 12, 12, 12, 12],
      ],
    ],
    [
      4,
      2,
      3,
      [
        [0, 1],
        [3, 3],
      ],
    ],
    [3, 1, 1, [[0], [1], [2]]],
  ])("%i frames, stack %i, stride %i", (frames, stack, stride, picked) => {
    const got = lowFrameRate(count(frames), stack, stride);
    expect([got.frames, got.width]).toEqual([picked.length, stack * 2]);
    expect(Array.from(got.data)).toEqual(picked.flat().flatMap((f) => [f, f + 0.5]));
  });

  it("makes [T, 560] of a second", () => {
    const features = extractFeatures(testWave(16000, 16000), DEFAULT_FRONTEND);
    expect([features.frames, features.width, features.data.length]).toEqual([17, 560, 17 * 560]);
  });
});

// Plan: dither is noise of the stated deviation, the same for the same seed, and none at 0.
describe("dither", () => {
  const samples = testWave(4000, 16000);
  const run = (change: Partial<FrontendConfig>): number[] =>
    Array.from(extractFeatures(samples, { ...DEFAULT_FRONTEND, ...change }).data);

  it("repeats with its seed and changes with another", () => {
    expect(run({ dither: 1e-3 })).toEqual(run({ dither: 1e-3, ditherSeed: 0 }));
    expect(run({ dither: 1e-3 })).not.toEqual(run({ dither: 1e-3, ditherSeed: 1 }));
    expect(run({ dither: 1e-3 })).not.toEqual(run({}));
    expect(run({ ditherSeed: 1 })).toEqual(run({}));
  });

  it("has mean 0, deviation 1 and normal tails", () => {
    const noise = gaussianNoise(7);
    const values = Array.from({ length: 100_000 }, noise);
    const moment = (p: number): number => values.reduce((sum, x) => sum + x ** p, 0) / values.length;
    expect(Math.abs(moment(1))).toBeLessThan(0.015);
    expect(Math.abs(moment(2) - 1)).toBeLessThan(0.02);
    expect(Math.abs(moment(4) - 3)).toBeLessThan(0.15);
  });
});

// Plan: what transformers writes, in both files; absent fields as its defaults; each wrong field
// refused by name.
describe("parseFrontendConfig", () => {
  const written = {
    feature_extractor_type: "FunAsrNanoFeatureExtractor",
    feature_size: 80,
    frame_length: 25,
    frame_shift: 10,
    num_frames_lfr: 7,
    padding_side: "right",
    padding_value: 0.0,
    return_attention_mask: true,
    sampling_rate: 16000,
    stride_lfr: 6,
  };
  const nested = {
    audio_token: "<|object_ref_start|>",
    feature_extractor: written,
    processor_class: "FunAsrNanoProcessor",
  };

  it.each([
    ["preprocessor_config.json", written],
    ["processor_config.json", nested],
    ["an empty object", {}],
  ])("%s gives the defaults", (_, json) => {
    expect(parseFrontendConfig(json, "f.json")).toEqual(DEFAULT_FRONTEND);
  });

  it("reads every field", () => {
    const json = {
      feature_size: 40,
      frame_length: 20,
      frame_shift: 5,
      num_frames_lfr: 3,
      sampling_rate: 8000,
      stride_lfr: 2,
      window: "povey",
      waveform_scale: 32768,
      dither: 1,
      dither_seed: 9,
    };
    const config = parseFrontendConfig({ feature_extractor: json }, "f.json");
    expect(Object.values(config)).toEqual([8000, 40, 20, 5, 3, 2, "povey", 32768, 1, 9]);
    expect(parseFrontendConfig({ num_mel_bins: 23 }, "f.json").melBins).toBe(23);
  });

  it.each([
    [[], "f.json: top level: expected an object, got []"],
    [null, "f.json: top level: expected an object, got null"],
    [{ feature_extractor: 3 }, "f.json: feature_extractor: expected an object, got 3"],
    [
      { feature_extractor: { window: "blackman" } },
      'f.json: feature_extractor.window: expected one of hamming, hanning, povey, got "blackman"',
    ],
    [
      { feature_extractor_type: "WhisperFeatureExtractor" },
      'f.json: feature_extractor_type: expected "FunAsrNanoFeatureExtractor", got "WhisperFeatureExtractor"',
    ],
    [{ sampling_rate: "16000" }, 'f.json: sampling_rate: expected an integer in 4000..768000, got "16000"'],
    [{ feature_size: 0 }, "f.json: feature_size: expected an integer in 1..512, got 0"],
    [{ feature_size: 80.5 }, "f.json: feature_size: expected an integer in 1..512, got 80.5"],
    [{ feature_size: 80, num_mel_bins: 40 }, "f.json: num_mel_bins: expected 80, as feature_size, got 40"],
    [{ frame_length: 0 }, "f.json: frame_length: expected a number in 1..1000, got 0"],
    [{ frame_shift: -10 }, "f.json: frame_shift: expected a number in 1..1000, got -10"],
    [{ num_frames_lfr: 65 }, "f.json: num_frames_lfr: expected an integer in 1..64, got 65"],
    [{ stride_lfr: 0 }, "f.json: stride_lfr: expected an integer in 1..64, got 0"],
    [{ waveform_scale: 0 }, "f.json: waveform_scale: expected a number in 1e-9..2147483648, got 0"],
    [{ dither: -1 }, "f.json: dither: expected a number in 0..2147483648, got -1"],
    [{ dither: Number.NaN }, "f.json: dither: expected a number in 0..2147483648, got NaN"],
  ])("refuses %j", (json, message) => {
    expect(() => parseFrontendConfig(json, "f.json")).toThrow(FrontendConfigError);
    expect(() => parseFrontendConfig(json, "f.json")).toThrow(message);
  });
});
