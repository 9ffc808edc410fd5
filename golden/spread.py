"""How far verify's ratios spread over seeds: `python golden/spread.py [--seeds COUNT] [--first
SEED]`.

Exports small bundles with many seeds, runs `verify --json` on them (after `npm run build`) and
prints, for each recipe, how many stages are above their bound, how many of these the second rules
pass, and the spread of the ratios (docs/numerics.md).
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers

import pure_torchaudio  # noqa: F401  before anything imports torchaudio
from bundle import serialise, write
from cases import encoder, train
from table import LORA

ROOT = Path(__file__).resolve().parent.parent
TINY = {"hidden_size": 40, "num_attention_heads": 2, "intermediate_size": 48, "num_hidden_layers": 3, "num_timestamp_prediction_layers": 1}
RECIPES = {
    "encoder, 1 row of 40": (encoder.build, dict(lengths=[1], audio=TINY)),
    "encoder, 1 row of 256": (encoder.build, dict(lengths=[1], audio=TINY | {"hidden_size": 256})),
    "encoder, 7 rows of 40": (encoder.build, dict(lengths=[7], audio=TINY)),
    "train, adaptor, ten steps": (train.build, dict(frames=[9], prompts=["chinese"], answers=[5], tune=["adaptor"], sizes={"adaptor": {"num_hidden_layers": 1}}, steps=True)),
    "train, LoRA, ten steps": (train.build, dict(frames=[9], prompts=["chinese"], answers=[5], tune=["lora"], lora=LORA, steps=True)),
}  # fmt: skip


def verify(paths: list[Path]) -> list[dict]:
    """The stages of the bundles, each bundle judged with its own stages."""
    stages = []
    for path in paths:
        command = ["node", "bin/funasr-webgpu.js", "verify", "--json", str(path)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        if any(isinstance(line["error"], dict) for line in lines):
            sys.exit(f"spread: {done.stdout}")
        if not lines:
            sys.exit(f"spread: {' '.join(command)}: {done.stderr}")
        stages += lines
    return stages


def bound(stage: dict) -> float:
    return 3 if stage["stage"].startswith(("grad.", "final.", "losses", "norms")) else 1.5


def pooled(stages: list[dict]) -> float:
    """Ratio of the RMS errors of all values together, each stage's relative to its own RMS."""
    count = np.array([np.prod(s["shape"]) for s in stages])
    ours, torch_ = (np.array([s[name] for s in stages]) for name in ("error", "torchError"))
    return float(np.sqrt((count * ours**2).sum() / (count * np.maximum(torch_, 1e-7) ** 2).sum()))


def show(name: str, by_seed: dict[int, list[dict]]) -> None:
    stages = [s for found in by_seed.values() for s in found if s["ratio"]]
    high = [s for s in stages if s["ratio"] > bound(s)]
    ratios = np.array([s["ratio"] for s in stages])
    logs = [np.log([s["ratio"] for s in found if s["ratio"]]).std() for found in by_seed.values()]
    print(f"{name}: {len(by_seed)} seeds, {len(stages)} stages, {min(int(np.prod(s['shape'])) for s in stages)} values or more")
    print(f"  ratio: median {np.median(ratios):.2f}, largest {ratios.max():.2f}; deviation of its logarithm {np.log(ratios).std():.2f}, in one seed {np.mean(logs):.2f}")
    forward = [pooled([s for s in found if bound(s) == 1.5]) for found in by_seed.values()]
    print(f"  pooled over a seed's forward stages: {min(forward):.2f} to {max(forward):.2f}")
    print(f"  above the bound: {len(high)} stages of {len({s['bundle'] for s in high})} seeds; still failing: {sum(not s['ok'] for s in stages)}")
    for s in sorted(high, key=lambda s: -s["ratio"])[:8]:
        print(f"    {s['bundle']} {s['stage']} {s['ratio']:.2f} {'ok: ' + s['reason'] if s['ok'] else 'FAIL'}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--only", help="recipes whose name begins so")
    arguments = parser.parse_args()
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    with tempfile.TemporaryDirectory() as directory:
        for name, (build, options) in RECIPES.items():
            if not name.startswith(arguments.only or ""):
                continue
            by_seed = {}
            for seed in range(arguments.first, arguments.first + arguments.seeds):
                case = f"seed-{seed}"
                path = Path(directory) / f"{case}.safetensors"
                write(path, serialise(case, build(seed=seed, **options)))
                by_seed[seed] = verify([path])
            show(name, by_seed)


if __name__ == "__main__":
    main()
