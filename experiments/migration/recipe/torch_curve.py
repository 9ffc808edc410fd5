"""The same training in PyTorch: is the loss curve of `train` the one that PyTorch has?

    npx tsx experiments/migration/batches.ts --work DIR --count 200 > DIR/batches.jsonl
    python torch_curve.py --work DIR [--variant mixed] [--steps 200] [--lr 1.2e-3]
    python torch_curve.py --work DIR --variant aligned-transcripts --model DIR/trained/aligned/checkpoint --steps 300 --lr 2e-4

Reads the checkpoint that a run of the miniature began with (`--model`, or DIR/migrated-2), its
batches in its order, and the cached encoder states; trains the adaptor by torch's AdamW in f32 with
the run's rates and clipping; compares the losses with those in the run's metrics.jsonl. Prints the
largest and the mean relative difference, and the first of each tenth of the steps; writes
DIR/torch-curve.json.
"""

import argparse
import importlib.util
import json
import math
import sys
import time
from pathlib import Path

if importlib.util.find_spec("torchaudio"):  # its compiled extension may want another torch
    sys.path.insert(0, str(Path(__file__).parents[3] / "golden"))
    import pure_torchaudio  # noqa: F401

# ruff: noqa: E402
import torch
from safetensors.torch import load_file
from torch.nn import functional as F
from transformers import FunAsrNanoForConditionalGeneration


def loss_of(model, clips, states):
    """Mean cross-entropy of the batch's answer tokens. Sequences are padded on the right, which
    causal attention does not see.
    """
    llm, projector = model.model.language_model, model.model.multi_modal_projector
    sequences = [clip["ids"] + clip["answer"][:-1] for clip in clips]
    ids = torch.zeros(len(clips), max(map(len, sequences)), dtype=torch.long)
    for row, sequence in zip(ids, sequences):
        row[: len(sequence)] = torch.tensor(sequence)
    embeds = llm.embed_tokens(ids)
    rows = []
    for row, clip, state in zip(embeds, clips, states):
        first, length = clip["audioOffset"], clip["audioLength"]
        audio = projector(state[None], torch.ones(1, len(state), dtype=torch.long))[0][:length]
        rows.append(torch.cat([row[:first], audio, row[first + length :]]))
    hidden = llm(inputs_embeds=torch.stack(rows), use_cache=False).last_hidden_state
    answers = [hidden[i, len(c["ids"]) - 1 : len(c["ids"]) - 1 + len(c["answer"])] for i, c in enumerate(clips)]
    labels = torch.tensor([token for clip in clips for token in clip["answer"]])
    return F.cross_entropy(model.lm_head(torch.cat(answers)), labels)


def rate(step, peak, warmup, total):
    """`train`'s schedule: a line up, half a cosine down. Steps from 0."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (1 + math.cos(math.pi * min(1, (step - warmup) / max(1, total - warmup)))) / 2


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--variant", default="mixed")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--total", type=int, default=300, help="steps of the run's schedule")
    parser.add_argument("--lr", type=float, default=1.2e-3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--double", action="store_true", help="in f64, to DIR/torch-curve-f64.json")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    dtype = torch.float64 if args.double else torch.float32

    model = FunAsrNanoForConditionalGeneration.from_pretrained(args.model or args.work / "migrated-2", dtype=dtype).train()
    model.requires_grad_(False)
    parameters = [p.requires_grad_(True) for p in model.model.multi_modal_projector.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=args.lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
    metrics = map(json.loads, (args.work / "trained" / args.variant / "metrics.jsonl").read_text("utf-8").splitlines())
    ours = [line for line in metrics if "loss" in line]
    batches = map(json.loads, (args.work / "batches.jsonl").open(encoding="utf-8"))

    curve, seconds = [], []
    for step, clips, line in zip(range(args.steps), batches, ours):
        states = [load_file(clip["rows"])["rows"].to(dtype) for clip in clips]
        start = time.perf_counter()
        for group in optimiser.param_groups:
            group["lr"] = rate(step, args.lr, args.total // 10, args.total)
        assert math.isclose(optimiser.param_groups[0]["lr"], line["learningRate"], rel_tol=1e-9)
        assert line["answerTokens"] == sum(len(clip["answer"]) for clip in clips)
        loss = loss_of(model, clips, states)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        seconds.append(time.perf_counter() - start)
        curve.append({"step": step + 1, "loss": line["loss"], "torch": loss.item(), "norm": line["gradientNorm"], "torch_norm": norm.item()})

    def difference(point):
        return abs(point["loss"] - point["torch"]) / point["torch"]

    differences = [difference(point) for point in curve]
    for point in curve[:: max(1, len(curve) // 10)]:
        print(f"step {point['step']:4d}: {point['loss']:.6f}, torch {point['torch']:.6f}, {difference(point):.1e}")
    result = {
        "steps": len(curve),
        "max": max(differences),
        "mean": sum(differences) / len(differences),
        "within_1e-4": next((i for i, d in enumerate(differences) if d > 1e-4), len(curve)),
        "torch": torch.__version__,
        "torch_seconds_per_step": sorted(seconds)[len(seconds) // 2],
        "curve": curve,
    }
    print(f"{result['steps']} steps: relative difference at most {result['max']:.1e}, mean {result['mean']:.1e}; "
          f"the first {result['within_1e-4']} within 1e-4")
    (args.work / ("torch-curve-f64.json" if args.double else "torch-curve.json")).write_text(json.dumps(result) + "\n", "utf-8")


if __name__ == "__main__":
    main()
