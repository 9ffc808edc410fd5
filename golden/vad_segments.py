"""Clips of speech, noise, silence and tones, and what FunASR's FSMN-VAD makes of them.

    python golden/vad_segments.py MODEL OUT [--clips 210] [--human DIR]

MODEL is a FunASR directory of FSMN-VAD. OUT gets CLIP.wav, CLIP.f32 (the probability of silence of
each frame, little-endian f32) and segments.json: samples of each clip, and its segments in
milliseconds for each setting. Speech is that of espeak-ng. `npm run check:vad OUT` compares.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pure_torchaudio
import soundfile
import torch
from funasr import AutoModel

RATE = 16000
SENTENCES = {
    "en-us": [
        "Good morning, everyone.",
        "The second question is harder than the first, so let us take it slowly.",
        "Yes.",
        "Turn left at the station and walk until you see the bridge.",
        "We measured the same value three times on three different days in the spring of last year.",
        "Nobody knows why the lights went out.",
    ],
    "cmn": ["今天天气很好。", "请把窗户关上，外面的声音太大了。", "好的。", "我们下个星期三再讨论这个问题。"],
    "de": ["Guten Tag.", "Der Zug nach Hamburg hat heute leider zwanzig Minuten Verspätung."],
    "yue": ["你食咗飯未呀？"],
}
SETTINGS = {
    "default": ({}, {}),
    "fixed": ({}, {"max_end_silence_time": 800}),
    "short": ({"max_single_segment_time": 30000}, {}),
    "stream": ({}, {"chunk_size": 60, "is_final": True}),
}
STREAM_SECONDS = 20  # FunASR takes long for longer clips in pieces of 60 ms


def spoken():
    """Sentences at three speeds, f32 at 16 kHz."""
    voices = []
    with tempfile.TemporaryDirectory() as folder:
        for voice, sentences in SENTENCES.items():
            for i, text in enumerate(sentences):
                path = Path(folder) / "a.wav"
                speed = str((130, 170, 220)[i % 3])
                subprocess.run(["espeak-ng", "-v", voice, "-s", speed, "-w", path, text], check=True)
                samples, rate = soundfile.read(path, dtype="float32")
                wave = pure_torchaudio.torchaudio.functional.resample(torch.from_numpy(samples), rate, RATE)
                voices.append(wave.numpy())
    return voices


def noise(rng, n):
    white = rng.standard_normal(n).astype(np.float32)
    kind = rng.integers(3)
    if kind == 0:
        return white
    if kind == 1:
        return np.convolve(white, np.ones(32, np.float32) / 6, "same").astype(np.float32)
    return (white * (1 + np.sin(np.arange(n) * rng.uniform(1e-4, 2e-3)))).astype(np.float32)


def tones(rng, n):
    """Notes of three harmonics, 0.1 to 0.6 s each."""
    out = np.zeros(n, np.float32)
    at = 0
    while at < n:
        length = int(rng.uniform(0.1, 0.6) * RATE)
        t = np.arange(min(length, n - at)) / RATE
        pitch = 110 * 2 ** (rng.integers(36) / 12)
        wave = sum(np.sin(2 * np.pi * pitch * k * t) / k for k in (1, 2, 3))
        out[at : at + len(t)] = wave * np.exp(-3 * t)
        at += length
    return out


def clip(rng, n, voices):
    """n samples: speech with pauses over a background, or a background alone."""
    out = np.zeros(n, np.float32)
    kind = rng.choice(["speech", "dense", "noise", "tones", "silence"], p=[0.45, 0.3, 0.08, 0.09, 0.08])
    at = int(rng.uniform(0, 1.5) * RATE)
    while kind in ("speech", "dense") and at < n:
        wave = voices[rng.integers(len(voices))] * rng.uniform(0.2, 1)
        wave = wave[: n - at]
        out[at : at + len(wave)] += wave
        at += len(wave) + int((rng.exponential(1.2) if kind == "speech" else rng.uniform(0, 0.25)) * RATE)
    level = 10 ** rng.uniform(-4.5, -1)
    if kind == "silence" and rng.random() < 0.5:
        level = 0
    if kind == "tones" or rng.random() < 0.15:
        out += tones(rng, n) * level * 3
    else:
        out += noise(rng, n) * level
    return np.clip(out, -1, 32767 / 32768)


def lengths(rng, count):
    """Samples of each clip: 1 s to 10 min, and those about the blocks of 60 s that FunASR reads."""
    edges = [400, 560, 880, 16000, 959919, 959920, 960000, 960079, 960080, 960400, 1920000]
    spans = [(1, 8, 0.72), (8, 25, 0.2), (30, 90, 0.055), (120, 240, 0.02)]
    seconds = [rng.uniform(low, high) for low, high, share in spans for _ in range(round(count * share))]
    seconds.append(600)
    return edges + [int(s * RATE) for s in seconds]


class Upstream:
    """FunASR's program with a setting; it keeps the probabilities of silence of its last run."""

    def __init__(self, model, build, call):
        self.auto = AutoModel(
            model=model, device="cpu", disable_update=True, disable_pbar=True, log_level="ERROR", **build
        )
        self.call = call
        self.silence = []
        self.auto.model.encoder.register_forward_hook(lambda _, __, y: self.silence.append(y[0, :, 0]))

    def run(self, samples):
        self.silence.clear()
        with torch.no_grad():
            value = self.auto.generate(input=samples, cache={}, **self.call)[0]["value"]
        return joined(value, self.frames())

    def frames(self):
        return sum(len(piece) for piece in self.silence)

    def probabilities(self):
        return torch.cat(self.silence).numpy().astype("<f4") if self.silence else np.zeros(0, "<f4")


def joined(signals, frames):
    """[begin, -1] and [-1, end] of a stream as [begin, end]; what is open ends with the last frame."""
    segments = []
    for begin, end in signals:
        if begin >= 0:
            segments.append([begin, end])
        else:
            segments[-1][1] = end
    if segments and segments[-1][1] < 0:
        segments[-1][1] = 10 * frames
    return segments


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--clips", type=int, default=210)
    parser.add_argument("--human", type=Path, help="directory with WAV files at 16 kHz")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(15)
    voices = spoken()
    clips = {f"clip-{i:03}": clip(rng, n, voices) for i, n in enumerate(lengths(rng, args.clips))}
    for path in sorted(args.human.glob("*.wav")) if args.human else []:
        clips[path.stem] = soundfile.read(path, dtype="float32")[0]
    programs = {name: Upstream(args.model, *setting) for name, setting in SETTINGS.items()}
    table = {}
    for name, wave in clips.items():
        soundfile.write(args.out / f"{name}.wav", wave, RATE, subtype="PCM_16")
        samples = soundfile.read(args.out / f"{name}.wav", dtype="float32")[0]
        segments = {}
        for setting, program in programs.items():
            if setting == "stream" and len(samples) > STREAM_SECONDS * RATE:
                continue
            segments[setting] = program.run(samples)
            if setting == "default":
                program.probabilities().tofile(args.out / f"{name}.f32")
        table[name] = {"samples": len(samples), "segments": segments}
        (args.out / "segments.json").write_text(json.dumps(table))
        print(f"{name}: {len(samples) / RATE:.2f} s, {len(segments['default'])} segments", flush=True)


if __name__ == "__main__":
    main()
