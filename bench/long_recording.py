"""Make a long recording of the demo's domain, and its reference.

    python bench/long_recording.py --out DIR [--minutes 120] [--seed 17] [--language both|en|zh]

It needs the programs and packages of models/demo/recipe/README.md.

Test sentences by seen voices, in turns of one to four with gaps of 1.2 to 3 seconds: the demo was
trained on single sentences. Between the turns lie pauses of 2 to 15 seconds, a third silence, a
third noise, a third music (chords of plucked and bowed tones), and a gap again.

DIR gets long.wav (16 kHz, 16 bits), long.json ({start, end, text, language} of each sentence, and
{start, end, kind} of each pause, seconds), long.stm, and cut/ with each sentence's samples as a
file of their own and cut.jsonl, the same sentences cut by hand.
"""

import argparse
import json
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "models" / "demo" / "recipe"))

import numpy as np
import soundfile

from domain import draw_pair
from frontend import SAMPLE_RATE, resample
from synthesize import coloured_noise, sixteen_bits
from voices import read_wav, seen_voice, speak

MARGIN = 0.1  # seconds around a sentence that is cut by hand


def music(random_state, length):
    """Chords at -26 dBFS, a new one every 0.4 to 1.2 s; each tone has five harmonics and decays."""
    wave, at = np.zeros(length), 0
    while at < length:
        count = min(length - at, int(random_state.uniform(0.4, 1.2) * SAMPLE_RATE))
        time = np.arange(count) / SAMPLE_RATE
        root = 110 * 2 ** (random_state.integers(0, 25) / 12)
        for step in random_state.choice([0, 3, 4, 7, 9, 12], 3, replace=False):
            for harmonic in range(1, 6):
                hertz = root * 2 ** (step / 12) * harmonic
                wave[at : at + count] += np.sin(2 * np.pi * hertz * time) / harmonic**1.5
        wave[at : at + count] *= np.exp(-random_state.uniform(0, 4) * time) * np.minimum(1, time / 0.02)
        at += count
    return wave / (np.sqrt(np.mean(wave**2)) + 1e-12) * 10 ** (-26 / 20)


def pause(random_state, kind, length):
    if kind == "silence":
        return np.zeros(length)
    if kind == "noise":
        return coloured_noise(random_state, length) * 10 ** (random_state.uniform(-60, -30) / 20)
    return music(random_state, length)


def pieces(rng, random_state, languages):
    """Endless (waveform, record or None) of turns and pauses."""
    while True:
        for _ in range(rng.randint(1, 4)):
            language = rng.choice(languages)
            text = draw_pair(rng, "test")[language == "zh"]
            wave = resample(*read_wav(speak(seen_voice(rng, language), text)))
            yield wave, {"text": text, "language": language}
            yield np.zeros(int(rng.uniform(1.2, 3) * SAMPLE_RATE)), None
        kind = rng.choice(["silence", "noise", "music"])
        yield pause(random_state, kind, int(rng.uniform(2, 15) * SAMPLE_RATE)), {"kind": kind}
        yield np.zeros(int(rng.uniform(1.2, 3) * SAMPLE_RATE)), None


def write_sentences(out, wave, sentences):
    """cut/NNNN.wav of each sentence, and cut.jsonl."""
    (out / "cut").mkdir(exist_ok=True)
    lines = []
    for i, sentence in enumerate(sentences):
        start = max(0, int((sentence["start"] - MARGIN) * SAMPLE_RATE))
        end = int((sentence["end"] + MARGIN) * SAMPLE_RATE)
        soundfile.write(out / f"cut/{i:04d}.wav", wave[start:end], SAMPLE_RATE, subtype="PCM_16")
        lines.append({"audio": f"cut/{i:04d}.wav", "text": sentence["text"]})
    (out / "cut.jsonl").write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), "utf-8")


def stm(sentence):
    return f"long 1 speaker {sentence['start']:.3f} {sentence['end']:.3f} {sentence['text']}\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--language", choices=["both", "en", "zh"], default="both")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    rng, random_state = random.Random(f"long-{args.seed}"), np.random.default_rng(args.seed)
    languages = ["en", "zh"] if args.language == "both" else [args.language]
    parts, sentences, pauses, at = [], [], [], 0
    for wave, record in pieces(rng, random_state, languages):
        parts.append(sixteen_bits(wave).astype(np.float32))
        if record:
            times = {"start": at / SAMPLE_RATE, "end": (at + len(wave)) / SAMPLE_RATE}
            (pauses if "kind" in record else sentences).append(times | record)
        at += len(wave)
        if record and "kind" in record and at >= args.minutes * 60 * SAMPLE_RATE:
            break
    wave = np.concatenate(parts)
    soundfile.write(args.out / "long.wav", wave, SAMPLE_RATE, subtype="PCM_16")
    reference = json.dumps({"sentences": sentences, "pauses": pauses}, ensure_ascii=False)
    (args.out / "long.json").write_text(reference, "utf-8")
    (args.out / "long.stm").write_text("".join(map(stm, sentences)), "utf-8")
    write_sentences(args.out, wave, sentences)
    print(f"{args.out / 'long.wav'}: {at / SAMPLE_RATE / 60:.1f} min, {len(sentences)} sentences, {len(pauses)} pauses")


if __name__ == "__main__":
    main()
