"""Utterances for the CTC head: encoder outputs of the shipped checkpoint, and where each word begins.

    python ctc_data.py --work DIR [--shards 8] [--size 400] [--seed 1]

Each shard is DIR/ctc-{split}-{shard}.npy (float16 encoder outputs of its utterances) and .json (per
utterance: frames, text, and spans [start, end, first character, last character + 1] in seconds, or
no spans for voices without events). Sentences of the training split by seen voices.
"""

import argparse
import json
import random
from pathlib import Path

import numpy as np
import torch

from domain import draw_pair
from espeak_events import Speaker
from frontend import SAMPLE_RATE, fbank, low_frame_rate, resample
from model import load_model
from synthesize import coloured_noise, empty_utterance, sixteen_bits
from voices import FLITE, SEEN_VARIANTS, espeak_voice, read_wav, speak

EMPTY_SHARE, FLITE_SHARE = 0.05, 0.05
NOISE_SHARE, GAIN_SHARE, RATE_SHARE, MARGIN_SHARE = 0.4, 0.5, 0.3, 0.4
SILENT = 10 ** (-45 / 20)  # of the loudest sample: the end of the last word


def spoken_end(wave, rate):
    """Seconds to the last sample that is not silence."""
    loud = np.nonzero(np.abs(wave) > SILENT * np.abs(wave).max())[0]
    return (loud[-1] + 1) / rate if len(loud) else 0.0


def word_spans(text, starts, end):
    """[start, end, first, last + 1] of each stretch of the text that has an event of its own."""
    places = sorted(place for place in starts if 0 <= place < len(text))
    spans = []
    for place, following in zip(places, [*places[1:], len(text)]):
        stop = starts[following] if following in starts else end
        if stop > starts[place]:
            spans.append([starts[place], stop, place, following])
    return spans


def changed(random_state, wave, rate, spans):
    """(16 kHz waveform, spans) with a random rate, silent margins, gain and noise."""
    spoken_rate = rate
    if random_state.random() < RATE_SHARE:
        rate = int(rate * random_state.choice([0.92, 0.96, 1.04, 1.08])) // 200 * 200
    wave = resample(wave, rate)
    margins = (random_state.uniform(0, 0.6, 2) * SAMPLE_RATE).astype(int) * (random_state.random(2) < MARGIN_SHARE)
    wave = np.pad(wave, tuple(margins))
    offset, factor = margins[0] / SAMPLE_RATE, spoken_rate / rate
    spans = [[offset + factor * start, offset + factor * end, first, last] for start, end, first, last in spans]
    if random_state.random() < GAIN_SHARE:
        wave = wave * 10 ** (random_state.uniform(-25, 6) / 20)
    if random_state.random() < NOISE_SHARE:
        level = np.sqrt(np.mean(wave**2)) * 10 ** (-random_state.uniform(8, 40) / 20)
        wave = wave + level * coloured_noise(random_state, len(wave))
    return sixteen_bits(wave), spans


def utterance(speaker, rng, random_state, split):
    """(16 kHz waveform, {text, spans})"""
    if rng.random() < EMPTY_SHARE:
        return empty_utterance(random_state), {"text": "", "spans": []}
    language = rng.choice(["en", "zh"])
    text = draw_pair(rng, split)[language == "zh"]
    if language == "en" and rng.random() < FLITE_SHARE:
        wave, rate = read_wav(speak({"engine": "flite", "name": rng.choice(FLITE)}, text))
        return changed(random_state, wave, rate, [])[0], {"text": text, "spans": None}
    wave, rate, starts = speaker.speak(espeak_voice(rng, language, SEEN_VARIANTS), text)
    wave, spans = changed(random_state, wave, rate, word_spans(text, starts, spoken_end(wave, rate)))
    return wave, {"text": text, "spans": spans}


@torch.no_grad()
def encoder_outputs(model, wave):
    """[frames, width] of one clip."""
    features = torch.from_numpy(low_frame_rate(fbank(wave))).float()[None]
    mask = torch.ones(features.shape[:2], dtype=torch.long)
    return model.model.get_audio_features(features, mask, return_dict=True).last_hidden_state[0]


def make_shard(model, speaker, args, split, shard, size):
    name = Path(args.work, f"ctc-{split}-{shard:03d}")
    rng, random_state = random.Random(f"ctc-{args.seed}-{split}-{shard}"), np.random.default_rng([args.seed, shard, len(split)])
    states, records = [], []
    for _ in range(size):
        wave, record = utterance(speaker, rng, random_state, split)
        state = encoder_outputs(model, wave)
        states.append(state.numpy().astype(np.float16))
        records.append({"frames": len(state), **record})
    np.save(name.with_suffix(".npy"), np.concatenate(states))
    name.with_suffix(".json").write_text(json.dumps(records, ensure_ascii=False), "utf-8")
    print(f"{name.name}: {sum(r['frames'] for r in records) * 0.06:.0f} s", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", default=str(Path(__file__).parent.parent / "work"))
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--size", type=int, default=400)
    parser.add_argument("--first", type=int, default=0, help="the first shard to make")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    Path(args.work).mkdir(parents=True, exist_ok=True)
    model, speaker = load_model(), Speaker()
    if args.first == 0:
        make_shard(model, speaker, args, "validation", 0, 150)
    for shard in range(args.first, args.shards):
        make_shard(model, speaker, args, "train", shard, args.size)


if __name__ == "__main__":
    main()
