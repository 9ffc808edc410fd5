"""Train the demo's CTC head on the shipped encoder, which is frozen.

    python train_ctc.py --work DIR [--steps 900] [--batch 32] [--rate 2e-3] [--threads 1] [--seed 1]

Writes DIR/ctc.safetensors and DIR/multilingual.tiktoken, in FunASR's names. The head is FunASR's own
adaptor class. Its tokens are those of the demo's tokenizer. Loss: cross-entropy of each frame's
token, where espeak-ng's events say which word is spoken (the word's tokens share its frames; a frame
between words is blank), plus 0.3 x CTC. The running mean of the weights is saved, in bf16.
"""

import argparse
import base64
import json
import random
import time
from pathlib import Path

import numpy as np
import torch
from funasr.models.llm_asr.adaptor import Transformer
from safetensors.torch import save_file
from torch.nn import functional

from model import MODEL_DIR, WIDTH, load_tokenizer
from train import follow, groups, one_cycle

HIDDEN, FFN, BLOCKS = 128, 512, 2
CTC_WEIGHT, MEAN_DECAY = 0.3, 0.99
FRAME = 0.06


class Head(torch.nn.Module):
    """Encoder outputs to logits; the blank is the last class."""

    def __init__(self, labels):
        super().__init__()
        self.ctc_decoder = Transformer(downsample_rate=1, encoder_dim=WIDTH, llm_dim=HIDDEN, ffn_dim=FFN, n_layer=BLOCKS)
        self.ctc = torch.nn.ModuleDict({"ctc_lo": torch.nn.Linear(HIDDEN, labels + 1)})

    def forward(self, states, lengths):
        hidden, _ = self.ctc_decoder(states, lengths)
        return self.ctc["ctc_lo"](hidden)


def spelled_bytes(token):
    """Bytes of a token of a byte-level vocabulary."""
    printed = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [b for b in range(256) if b not in printed]
    alphabet = {chr(b): b for b in printed} | {chr(0x100 + i): b for i, b in enumerate(rest)}
    return bytes(alphabet[c] for c in token)


def ranks(directory=MODEL_DIR):
    """Token bytes in the order of their ids: the base vocabulary of the demo's tokenizer, whose ids
    are in the order of its merges.
    """
    vocabulary = json.loads(Path(directory, "tokenizer.json").read_text("utf-8"))["model"]["vocab"]
    order = sorted(vocabulary, key=vocabulary.get)
    assert [vocabulary[token] for token in order] == list(range(len(order)))
    return [spelled_bytes(token) for token in order]


def frame_labels(record, encoding, blank):
    """(label of each frame, -100 where none is known; the tokens): a stretch's tokens share its
    frames, with a blank between equal neighbours.
    """
    tokens = list(zip(encoding.ids, encoding.offsets))
    labels = [blank] * record["frames"]
    if record["spans"] is None:
        return [-100] * record["frames"], encoding.ids
    previous = None
    for start, end, first, last in record["spans"]:
        own = [t for t, (a, b) in tokens if first <= letter(record["text"], a, b) < last]
        begin, stop = round(start / FRAME), min(round(end / FRAME), record["frames"])
        spelled = [] if own or previous is None else [previous]  # a token of two characters goes on
        for token in own:
            if token == previous:
                spelled.append(blank)
            spelled.append(token)
            previous = token
        if spelled and spelled[0] == blank:  # the blank before a repeat is the last frame of the word before
            if begin > 0:
                labels[begin - 1] = blank
            spelled = spelled[1:]
        if not spelled or stop - begin < len(spelled):
            labels[begin:stop] = [-100] * max(0, stop - begin)
            continue
        for frame in range(begin, stop):
            labels[frame] = spelled[(frame - begin) * len(spelled) // (stop - begin)]
    return labels, encoding.ids


def letter(text, first, last):
    """Place of a token's first letter."""
    return next((i for i in range(first, last) if text[i] != " "), first)


def load(work, split, tokenizer, blank, cache):
    """[(encoder outputs, labels, tokens)] of every shard that is there."""
    for path in sorted(Path(work).glob(f"ctc-{split}-*.json")):
        if path.name in cache or not path.with_suffix(".npy").exists():
            continue
        states, start, items = np.load(path.with_suffix(".npy")), 0, []
        for record in json.loads(path.read_text("utf-8")):
            labels, tokens = frame_labels(record, tokenizer.encode(record["text"]), blank)
            items.append((states[start : start + record["frames"]], labels, tokens))
            start += record["frames"]
        cache[path.name] = items
    return [item for items in cache.values() for item in items]


def collate(items):
    frames = max(len(s) for s, _, _ in items)
    states = torch.zeros(len(items), frames, WIDTH)
    labels = torch.full((len(items), frames), -100)
    for i, (s, l, _) in enumerate(items):
        states[i, : len(s)] = torch.from_numpy(s.astype(np.float32))
        labels[i, : len(l)] = torch.tensor(l)
    lengths = torch.tensor([len(s) for s, _, _ in items])
    tokens = torch.tensor([t for _, _, ts in items for t in ts], dtype=torch.long)
    return states, lengths, labels, tokens, torch.tensor([len(ts) for _, _, ts in items])


def losses(head, batch, blank):
    states, lengths, labels, tokens, counts = batch
    logits = head(states, lengths)
    frame = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)
    log_probs = logits.log_softmax(-1).transpose(0, 1)
    ctc = functional.ctc_loss(log_probs, tokens, lengths, counts, blank=blank, reduction="sum", zero_infinity=True)
    return frame, ctc / (len(tokens) + len(lengths))


@torch.no_grad()
def validate(head, items, blank):
    head.eval()
    values = [losses(head, collate(items[i : i + 30]), blank) for i in range(0, len(items), 30)]
    head.train()
    return [float(sum(column) / len(values)) for column in zip(*values)]


def save(head, tokens, work):
    tensors = {name: value.to(torch.bfloat16).contiguous() for name, value in head.state_dict().items()}
    save_file(tensors, Path(work, "ctc.safetensors"), metadata={"format": "pt"})
    lines = [f"{base64.b64encode(token).decode()} {rank}\n" for rank, token in enumerate(tokens)]
    Path(work, "multilingual.tiktoken").write_text("".join(lines))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", default=str(MODEL_DIR / "work"))
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    rng = random.Random(args.seed)
    tokenizer, tokens, cache = load_tokenizer(), ranks(), {}
    blank = len(tokens)
    head = Head(blank).train()
    mean = Head(blank)
    mean.load_state_dict(head.state_dict())
    held_out = load(args.work, "validation", tokenizer, blank, {})
    optimiser = torch.optim.AdamW(groups(head), lr=args.rate, betas=(0.9, 0.98))
    start, step, queue = time.time(), 0, []
    while step < args.steps:
        if not queue:
            items = load(args.work, "train", tokenizer, blank, cache)
            items = sorted(rng.sample(items, len(items)), key=lambda item: len(item[0]) // 8)
            queue = [items[i : i + args.batch] for i in range(0, len(items), args.batch)]
            rng.shuffle(queue)
        for group in optimiser.param_groups:
            group["lr"] = args.rate * one_cycle(step / args.steps)
        step += 1
        frame, ctc = losses(head, collate(queue.pop()), blank)
        optimiser.zero_grad()
        (frame + CTC_WEIGHT * ctc).backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimiser.step()
        follow(mean, head, min(MEAN_DECAY, 1 - 10 / (step + 10)))
        if step % 50 == 0 or step == args.steps:
            values = validate(mean, held_out, blank)
            count = sum(map(len, cache.values()))
            print(f"{step} {time.time() - start:.0f}s  {count} utterances  train {frame.item():.4f} {ctc.item():.4f}"
                  f"  validation {values[0]:.4f} {values[1]:.4f}", flush=True)
            save(mean, tokens, args.work)


if __name__ == "__main__":
    main()
