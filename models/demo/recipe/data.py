"""Training batches: stored filter banks, changed at random, made into prompts and padded."""

import json
import random
from pathlib import Path

import numpy as np
import torch

from frontend import LOG_FLOOR, MELS, low_frame_rate
from prompts import AUDIO_TOKEN, chat_template, draw_content, render

CONTEXT_SHARE = 0.08  # of the batches: prompts with hotwords or a context line
BUCKET = 60  # batches sorted by length together


def load_split(work, split):
    """[(filter bank view, record)] of every shard of the split, in order of name."""
    items = []
    for path in sorted(Path(work).glob(f"{split}-*.json")):
        mel, start = np.load(path.with_suffix(".npy"), mmap_mode="r"), 0
        for record in json.loads(path.read_text("utf-8")):
            items.append((mel[start : start + record["rows"]], record))
            start += record["rows"]
    return items


def warp_tables():
    """For 25 vocal tract factors from 0.84 to 1.19: neighbours and weight of each mel bin after
    scaling its frequency.
    """
    top = 1127 * np.log1p(8000 / 700)
    low = 1127 * np.log1p(20 / 700)
    step = (top - low) / (MELS + 1)
    hertz = 700 * np.expm1((low + step * np.arange(1, MELS + 1)) / 1127)
    tables = []
    for factor in np.geomspace(0.84, 1.19, 25):
        place = np.clip((1127 * np.log1p(hertz * factor / 700) - low) / step - 1, 0, MELS - 1)
        left = np.minimum(place.astype(int), MELS - 2)
        tables.append((left, (place - left).astype(np.float32)))
    return tables


WARPS = warp_tables()


def stretch(mel, factor):
    """Linear interpolation in time to `factor` times the rows."""
    rows = max(2, round(len(mel) * factor))
    place = np.linspace(0, len(mel) - 1, rows)
    left = np.minimum(place.astype(int), max(len(mel) - 2, 0))
    weight = (place - left)[:, None].astype(np.float32)
    return mel[left] * (1 - weight) + mel[np.minimum(left + 1, len(mel) - 1)] * weight


def tilt(rng):
    """A smooth random gain over the mel bins and a level, in nepers of power."""
    x = np.arange(MELS) / (MELS - 1)
    curve = sum(rng.gauss(0, 0.8) * np.cos(np.pi * k * x + rng.uniform(0, 2 * np.pi)) for k in (1, 2, 3))
    return (curve + rng.uniform(-3, 2)).astype(np.float32)


def change(rng, mel):
    """Random vocal tract length, tempo, colour and level, two narrow frequency masks and one short
    time mask.
    """
    if rng.random() < 0.8:
        left, weight = WARPS[rng.randrange(len(WARPS))]
        mel = mel[:, left] * (1 - weight) + mel[:, left + 1] * weight
    if rng.random() < 0.6:
        mel = stretch(mel, rng.uniform(0.8, 1.25))
    if rng.random() < 0.7:
        mel = np.where(mel > LOG_FLOOR + 0.05, np.maximum(mel + tilt(rng), LOG_FLOOR), mel)
    if rng.random() < 0.5:
        mel = mel.copy()
        level = mel.mean()
        for _ in range(2):
            start = rng.randrange(MELS)
            mel[:, start : start + rng.randint(0, 8)] = level
        start = rng.randrange(len(mel))
        mel[start : start + rng.randint(0, 8)] = level
    return mel


class Collator:
    """Turns [(filter bank, record)] into one padded batch; with `rng`, features and prompts are
    varied.
    """

    def __init__(self, tokenizer, ctc_ids, rng=None):
        self.tokenizer, self.ctc_ids, self.rng = tokenizer, ctc_ids, rng
        self.template = chat_template()
        self.audio_id = tokenizer.token_to_id(AUDIO_TOKEN)
        self.stop_id = tokenizer.token_to_id("<|im_end|>")
        self.prompts = {}

    def encode(self, text):
        return self.tokenizer.encode(text).ids

    def prompt_ids(self, content, itn, frames):
        """Prompt ids with the one audio placeholder repeated once a frame."""
        text = render(self.template, content, itn)
        if text not in self.prompts and len(self.prompts) < 5000:
            self.prompts[text] = self.encode(text)
        ids = self.prompts.get(text) or self.encode(text)
        slot = ids.index(self.audio_id)
        return ids[:slot] + [self.audio_id] * frames + ids[slot + 1 :]

    def __call__(self, items):
        rng = self.rng or random.Random(len(items))
        with_context = rng.random() < CONTEXT_SHARE
        features, sequences, answers = [], [], []
        for mel, record in items:
            mel = np.asarray(mel, np.float32)
            features.append(low_frame_rate(change(rng, mel) if self.rng else mel))
            content, itn = draw_content(rng, record["language"], record["text"], with_context)
            answer = self.encode(record["text"])
            sequences.append((self.prompt_ids(content, itn, len(features[-1])), answer + [self.stop_id]))
            answers.append([self.ctc_ids[i] for i in answer])
        return self.pad(features, sequences, answers)

    def pad(self, features, sequences, answers):
        count, frames = len(features), max(map(len, features))
        length = max(len(p) + len(a) for p, a in sequences) - 1
        x, x_mask = torch.zeros(count, frames, features[0].shape[1]), torch.zeros(count, frames, dtype=torch.long)
        ids, mask = torch.full((count, length), self.stop_id), torch.zeros(count, length, dtype=torch.long)
        labels = torch.full((count, length), -100)
        for i, (feature, (prompt, answer)) in enumerate(zip(features, sequences)):
            x[i, : len(feature)] = torch.from_numpy(feature)
            x_mask[i, : len(feature)] = 1
            whole = prompt + answer
            ids[i, : len(whole) - 1] = torch.tensor(whole[:-1])
            mask[i, : len(whole) - 1] = 1
            labels[i, len(prompt) - 1 : len(whole) - 1] = torch.tensor(answer)
        return {
            "input_features": x, "input_features_mask": x_mask, "input_ids": ids, "attention_mask": mask, "labels": labels,
            "ctc": torch.tensor([i for a in answers for i in a], dtype=torch.long),
            "ctc_lengths": torch.tensor([len(a) for a in answers]),
        }


class Batches(torch.utils.data.IterableDataset):
    """Endless random batches, sorted by length within a bucket so that little is padding."""

    def __init__(self, items, tokenizer, ctc_ids, size, seed):
        self.items, self.size = items, size
        self.rng = random.Random(seed)
        self.collate = Collator(tokenizer, ctc_ids, self.rng)

    def __iter__(self):
        while True:
            order = self.rng.sample(range(len(self.items)), len(self.items))
            for start in range(0, len(order), self.size * BUCKET):
                bucket = sorted(order[start : start + self.size * BUCKET], key=lambda i: len(self.items[i][0]))
                batches = [bucket[i : i + self.size] for i in range(0, len(bucket), self.size)]
                self.rng.shuffle(batches)
                for batch in batches:
                    yield self.collate([self.items[i] for i in batch])
