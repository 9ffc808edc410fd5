"""Train the demo checkpoint from the synthesised filter banks.

    python train.py --work DIR [--steps 5652] [--batch 24] [--rate 1.5e-3] [--threads 1] [--seed 1]

Loss: mean cross-entropy on the answer and its closing <|im_end|>, plus 0.4 x CTC on the encoder's
output through a linear head that is not part of the checkpoint. AdamW with a one-cycle rate, over
--steps or, with --minutes, over the time that there is (the log says how many steps that made); the
running mean of the weights is kept, and it is what is measured and saved: every 500 steps to
DIR/run/checkpoint in the published layout, rounded to bf16.
"""

import argparse
import copy
import json
import math
import time
from pathlib import Path

import torch
from torch.nn import functional

from data import Batches, Collator, load_split
from fast_linear import use_rounded_products
from model import load_tokenizer, make_model, save_checkpoint

CTC_WEIGHT = 0.4
MEAN_DECAY = 0.998


def answer_ids(items, tokenizer):
    """A dense CTC label from 1 for each token id that occurs in an answer; 0 is the blank."""
    used = sorted({i for text in {r["text"] for _, r in items} for i in tokenizer.encode(text).ids})
    return {token: label for label, token in enumerate(used, start=1)}


def losses(model, head, batch):
    """(cross-entropy, CTC loss, share of answer tokens predicted wrong)."""
    core = model.model
    mask = batch["input_features_mask"]
    audio = core.get_audio_features(batch["input_features"], mask, return_dict=True)
    embeds = core.get_input_embeddings()(batch["input_ids"])
    slots = (batch["input_ids"] == model.config.audio_token_id).unsqueeze(-1)
    embeds = embeds.masked_scatter(slots, audio.pooler_output.to(embeds.dtype))
    hidden = core.language_model(inputs_embeds=embeds, attention_mask=batch["attention_mask"], use_cache=False).last_hidden_state
    wanted = batch["labels"] >= 0
    logits, labels = model.lm_head(hidden[wanted]).float(), batch["labels"][wanted]
    log_probs = head(audio.last_hidden_state).float().log_softmax(-1).transpose(0, 1)
    ctc = functional.ctc_loss(log_probs, batch["ctc"], mask.sum(1), batch["ctc_lengths"], reduction="sum", zero_infinity=True)
    wrong = (logits.detach().argmax(-1) != labels).float().mean()
    return functional.cross_entropy(logits, labels), ctc / (len(batch["ctc"]) + len(mask)), wrong


@torch.no_grad()
def validate(model, head, items, collate, size=25):
    model.eval()
    order = sorted(range(len(items)), key=lambda i: len(items[i][0]))
    rows = [losses(model, head, collate([items[i] for i in order[s : s + size]])) for s in range(0, len(order), size)]
    model.train()
    return [float(sum(column) / len(rows)) for column in zip(*rows)]


@torch.no_grad()
def follow(mean, model, decay):
    for a, b in zip(mean.parameters(), model.parameters()):
        a.lerp_(b, 1 - decay)


def groups(*modules):
    """Weight decay on matrices only."""
    parameters = [p for module in modules for p in module.parameters()]
    return [{"params": [p for p in parameters if p.ndim > 1], "weight_decay": 0.01},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0}]


def one_cycle(progress, warm=0.08, first=0.05, last=0.005):
    """Share of the peak rate at a progress of 0 to 1: a straight rise, then a cosine fall."""
    if progress < warm:
        return first + (1 - first) * progress / warm
    return last + (1 - last) * 0.5 * (1 + math.cos(math.pi * min(1, (progress - warm) / (1 - warm))))


def train(args):
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    tokenizer = load_tokenizer()
    items, held_out = load_split(args.work, "train"), load_split(args.work, "validation")
    items, held_out = items[: args.limit or None], held_out[: args.limit or None]
    ctc_ids = answer_ids(items + held_out, tokenizer)
    model = make_model(tokenizer).train()
    head = torch.nn.Linear(model.config.audio_config.hidden_size, len(ctc_ids) + 1)
    mean, mean_head = copy.deepcopy(model), copy.deepcopy(head)
    if not args.exact_products:
        use_rounded_products(model)
    print(f"{len(items)} utterances, {sum(r['rows'] for _, r in items) / 360000:.1f} h, "
          f"{sum(p.numel() for p in model.parameters())} parameters, {len(ctc_ids)} CTC labels", flush=True)
    optimiser = torch.optim.AdamW(groups(model, head), lr=args.rate, betas=(0.9, 0.98), fused=True)
    batches = iter(torch.utils.data.DataLoader(Batches(items, tokenizer, ctc_ids, args.batch, args.seed), batch_size=None,
                                               num_workers=args.workers, prefetch_factor=8 if args.workers else None))
    run = Path(args.work, args.run)
    run.mkdir(parents=True, exist_ok=True)
    start, recent, step, progress = time.time(), [], 0, 0.0
    while progress < 1:
        step, batch = step + 1, next(batches)
        for group in optimiser.param_groups:
            group["lr"] = args.rate * one_cycle(progress)
        progress = (time.time() - start) / (60 * args.minutes) if args.minutes else step / args.steps
        cross_entropy, ctc, wrong = losses(model, head, batch)
        optimiser.zero_grad()
        (cross_entropy + CTC_WEIGHT * ctc).backward()
        norm = torch.nn.utils.clip_grad_norm_([*model.parameters(), *head.parameters()], 1.0)
        optimiser.step()
        decay = min(MEAN_DECAY, 1 - 10 / (step + 10))
        follow(mean, model, decay)
        follow(mean_head, head, decay)
        recent.append([cross_entropy.item(), ctc.item(), wrong.item(), norm.item()])
        if step % args.report == 0 or progress >= 1:
            loss = [sum(column) / len(recent) for column in zip(*recent)]
            recent = []
            print(f"{step} {time.time() - start:.0f}s  train " + " ".join(f"{v:.4f}" for v in loss), flush=True)
        if step % args.save == 0 or progress >= 1:
            values = validate(mean, mean_head, held_out, Collator(tokenizer, ctc_ids))
            print(f"{step} {time.time() - start:.0f}s  validation " + " ".join(f"{v:.4f}" for v in values), flush=True)
            save_checkpoint(mean, tokenizer, run / "checkpoint")
            (run / "state.json").write_text(json.dumps({"step": step, "validation": values}))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", default=str(Path(__file__).parent.parent / "work"))
    parser.add_argument("--run", default="run", help="name of the directory under --work for this run")
    parser.add_argument("--steps", type=int, default=5652)
    parser.add_argument("--minutes", type=float, default=0)
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--exact-products", action="store_true", help="matrix products of the step in f32, not bf16")
    parser.add_argument("--limit", type=int, default=0, help="use the first N utterances only (smoke run)")
    parser.add_argument("--report", type=int, default=50)
    parser.add_argument("--save", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
