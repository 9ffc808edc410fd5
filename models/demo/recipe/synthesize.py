"""Synthesise the training and validation utterances and keep their filter banks.

    python synthesize.py --work DIR [--shards 40] [--size 1000] [--processes 2] [--seed 1]

Each shard is seeded by its number, so a shard is the same whoever makes it. It is written as
DIR/{split}-{shard}.npy (float16 log mel rows of all its utterances) and .json (per utterance: rows,
language, text in it, voice).
"""

import argparse
import json
import random
from multiprocessing import Pool
from pathlib import Path

import numpy as np

from domain import draw_pair
from frontend import SAMPLE_RATE, fbank, resample
from voices import read_wav, seen_voice, speak

EMPTY_SHARE = 0.04  # silence and noise, with the empty transcript
NOISE_SHARE = 0.5  # of the utterances with words
RATE_SHARE = 0.3
GAIN_SHARE = 0.6


def coloured_noise(random_state, length):
    """Unit-power noise whose spectrum falls by a random slope (white to brown) above a random
    corner, maybe with hum.
    """
    spectrum = np.fft.rfft(random_state.standard_normal(length))
    hertz = np.fft.rfftfreq(length, 1 / SAMPLE_RATE)
    slope = random_state.uniform(0.0, 1.2)
    spectrum *= np.maximum(hertz, random_state.uniform(30, 300)) ** -slope
    noise = np.fft.irfft(spectrum, length)
    noise /= np.sqrt(np.mean(noise**2)) + 1e-12
    if random_state.random() < 0.2:
        hum = random_state.choice([50, 60, 100, 120]) * random_state.integers(1, 4)
        noise += random_state.uniform(0.2, 1.5) * np.sin(2 * np.pi * hum * np.arange(length) / SAMPLE_RATE)
    if random_state.random() < 0.3:  # slowly moving level
        knots = random_state.uniform(0.2, 1.5, size=max(2, length // 8000 + 2))
        noise *= np.interp(np.linspace(0, len(knots) - 1, length), np.arange(len(knots)), knots)
    return noise / (np.sqrt(np.mean(noise**2)) + 1e-12)


def sixteen_bits(wave):
    """Clipped and rounded as a 16-bit file would hold it."""
    return np.clip(np.round(wave * 32768.0), -32768, 32767) / 32768.0


def empty_utterance(random_state):
    """Half a second to eight of digital zero (one in four), noise at -70 to -15 dBFS, or noise that
    starts or stops.
    """
    length = int(random_state.uniform(0.5, 8.0) * SAMPLE_RATE)
    if random_state.random() < 0.25:
        return np.zeros(length)
    wave = coloured_noise(random_state, length) * 10 ** (random_state.uniform(-70, -15) / 20)
    if random_state.random() < 0.3:
        start, stop = sorted(random_state.integers(0, length, 2))
        wave[start:stop] = 0
    if random_state.random() < 0.2:  # clicks
        wave[random_state.integers(0, length, random_state.integers(1, 9))] += random_state.uniform(-0.5, 0.5)
    return sixteen_bits(wave)


def augment(random_state, wave, rate):
    """16 kHz waveform with a random rate, silent margins, gain and noise, each with its share."""
    if random_state.random() < RATE_SHARE:  # read at another rate: pitch, formants and tempo move together
        rate = int(rate * random_state.choice([0.88, 0.92, 0.96, 1.04, 1.08, 1.12])) // 200 * 200
    wave = resample(wave, rate)
    margins = (random_state.uniform(0, 0.4, 2) * SAMPLE_RATE).astype(int) * (random_state.random(2) < 0.5)
    wave = np.pad(wave, tuple(margins))
    if random_state.random() < GAIN_SHARE:
        wave = wave * 10 ** (random_state.uniform(-25, 6) / 20)
    if random_state.random() < NOISE_SHARE:
        level = np.sqrt(np.mean(wave**2)) * 10 ** (-random_state.uniform(5, 40) / 20)
        wave = wave + level * coloured_noise(random_state, len(wave))
    return sixteen_bits(wave)


def utterance(rng, random_state, split):
    """(16 kHz waveform, {language, text, voice}, (English, Chinese)) of one random utterance of the
    split.
    """
    language = rng.choice(["en", "zh"])
    if rng.random() < EMPTY_SHARE:
        return empty_utterance(random_state), {"language": language, "text": "", "voice": None}, ("", "")
    pair = draw_pair(rng, split)
    text = pair[0] if language == "en" else pair[1]
    voice = seen_voice(rng, language)
    wave, rate = read_wav(speak(voice, text))
    return augment(random_state, wave, rate), {"language": language, "text": text, "voice": voice}, pair


def make_shard(task):
    work, split, shard, size, seed = task
    name = Path(work, f"{split}-{shard:03d}")
    rng, random_state = random.Random(f"{seed}-{split}-{shard}"), np.random.default_rng([seed, shard, len(split)])
    features, records = [], []
    for _ in range(size):
        wave, record, _ = utterance(rng, random_state, split)
        mel = fbank(wave)
        features.append(mel.astype(np.float16))
        records.append({"rows": len(mel), **record})
    np.save(name.with_suffix(".npy"), np.concatenate(features))
    name.with_suffix(".json").write_text(json.dumps(records, ensure_ascii=False), "utf-8")
    return name.name, sum(r["rows"] for r in records) / 100


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", default=str(Path(__file__).parent.parent / "work"))
    parser.add_argument("--shards", type=int, default=40)
    parser.add_argument("--size", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    Path(args.work).mkdir(parents=True, exist_ok=True)
    tasks = [(args.work, "validation", 0, 400, args.seed)]
    tasks += [(args.work, "train", shard, args.size, args.seed) for shard in range(args.shards)]
    with Pool(args.processes) as pool:
        for name, seconds in pool.imap(make_shard, tasks):
            print(f"{name}: {seconds / 3600:.2f} h", flush=True)


if __name__ == "__main__":
    main()
