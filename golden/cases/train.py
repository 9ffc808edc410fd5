"""Training cases: features, prompts and answers → the loss, the gradient of every tuned parameter,
and ten AdamW steps.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import FunAsrNanoForConditionalGeneration

import plain
from bundle import Bundle
from cases.encoder import make_features, offsets
from cases.model import Clip, audio_rows, splice
from double import double_precision
from models import ADAPTOR_PREFIX, AUDIO_PREFIX, arrays, config_json, fill, make_config
from prompts import FOLDING, PROMPTS, prompt_ids

STEPS = 10
ADAMW = {"lr": 1e-3, "betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0.01, "max_norm": 1.0}
MAX_SLOPE_ERROR = 1e-6  # gradient along a direction against central differences of the formulas' loss, of both vectors' norms
ZERO = 1e-12  # of the largest gradient: one below is rounding in double
PARTS = {"adaptor": ADAPTOR_PREFIX, "encoder": AUDIO_PREFIX}


@dataclass
class Example:
    """A clip with its prompt ids, and the ids that are learnt, [A] i64."""

    clip: Clip
    answer: torch.Tensor


def add_lora(model: nn.Module, rank: int, alpha: float, targets: list[str]) -> None:
    """peft's low-rank addition without dropout: y += alpha / rank · B(A(x)), as `NAME.lora_A` and
    `NAME.lora_B`.
    """
    for name, module in list(model.model.language_model.named_modules()):
        if name.rsplit(".", 1)[-1] in targets:
            module.lora_A = nn.Linear(module.in_features, rank, bias=False)
            module.lora_B = nn.Linear(rank, module.out_features, bias=False)
            module.register_forward_hook(lambda m, args, out: out + m.lora_B(m.lora_A(args[0])) * (alpha / rank))


def tuned(model: nn.Module, tune: list[str]) -> dict[str, nn.Parameter]:
    """Name → parameter of the tuned parts; the others are frozen."""
    starts = tuple(PARTS[part] for part in tune if part in PARTS)
    chosen = {}
    for name, value in model.named_parameters():
        value.requires_grad_(name.startswith(starts) or ".lora_" in name)
        if value.requires_grad:
            chosen[name] = value
    return chosen


def total_loss(model: nn.Module, examples: list[Example], rule: str, smoothing: float) -> torch.Tensor:
    """Mean over all answer tokens; each clip alone, its token losses summed."""
    total = 0
    for example in examples:
        clip, answer = example.clip, example.answer
        ids = torch.cat([clip.ids, answer[:-1]])
        embeds = splice(model, Clip(clip.features, ids), clip.features.to(model.dtype)[None], rule)
        logits = model(inputs_embeds=embeds, use_cache=False).logits[0, len(clip.ids) - 1 :]
        total = total + F.cross_entropy(logits, answer, reduction="sum", label_smoothing=smoothing)
    return total / sum(len(example.answer) for example in examples)


def gradients(model: nn.Module, parameters: dict, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    """`loss` and `grad.NAME`, detached copies."""
    for value in parameters.values():
        value.grad = None
    loss.backward()
    found = {f"grad.{name}": value.grad.detach().clone() for name, value in parameters.items()}
    return {"loss": loss.detach().clone()[None]} | found


def ten_steps(model: nn.Module, parameters: dict, loss) -> dict[str, torch.Tensor]:
    """`losses` [10] before each step, `norms` [10] of the gradient, `final.NAME`. Changes the
    model.
    """
    kept = {k: v for k, v in ADAMW.items() if k != "max_norm"}
    optimiser = torch.optim.AdamW(parameters.values(), **kept)
    losses, norms = [], []
    for _ in range(STEPS):
        optimiser.zero_grad()
        value = loss()
        value.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(parameters.values(), ADAMW["max_norm"]))
        losses.append(value.detach())
        optimiser.step()
    final = {f"final.{name}": value.detach().clone() for name, value in parameters.items()}
    return {"losses": torch.stack(losses), "norms": torch.stack(norms)} | final


def run(model: nn.Module, tune: list[str], steps: bool, loss) -> dict[str, torch.Tensor]:
    """Gradients at the model's weights, then (steps) ten optimiser steps from there. The weights
    are put back.
    """
    parameters = tuned(model, tune)
    stages = gradients(model, parameters, loss())
    if not steps:
        return stages
    before = {name: value.detach().clone() for name, value in parameters.items()}
    stages |= ten_steps(model, parameters, loss)
    for name, value in parameters.items():
        value.data.copy_(before[name])
    return stages


def blind(f64: dict[str, torch.Tensor]) -> list[str]:
    """Parameters whose gradient is 0 by symmetry: softmax does not see k_proj's bias. AdamW makes
    steps of the rounding noise there.
    """
    size = max(float(v.abs().max()) for k, v in f64.items() if k.startswith("grad."))
    return [k.removeprefix("grad.") for k, v in f64.items() if k.startswith("grad.") and float(v.abs().max()) < ZERO * size]


def plain_loss(p: dict[str, np.ndarray], config, examples: list[Example], rule: str, smoothing: float, scale: float) -> float:
    """The loss from the formulas, LoRA merged into its weights."""
    p = dict(p)
    for name in [name for name in p if name.endswith(".lora_A.weight")]:
        at = name.removesuffix(".lora_A.weight")
        p[f"{at}.weight"] = p[f"{at}.weight"] + scale * p[f"{at}.lora_B.weight"] @ p[name]
    total, count = 0.0, 0
    for example in examples:
        clip, answer = example.clip, example.answer.numpy()
        ids = np.concatenate([clip.ids.numpy(), answer[:-1]])
        states = plain.encoder(p, config.audio_config, clip.features.double().numpy())["encoder.output"]
        audio = list(plain.adaptor(p, config.adaptor_config, states).values())[-1]
        embeds = p["model.language_model.embed_tokens.weight"][ids]
        embeds[ids == config.audio_token_id] = audio[: audio_rows(rule, len(clip.features))]
        logits = plain.qwen3(p, config.text_config, embeds)["logits"][len(clip.ids) - 1 :]
        best = logits.max(-1, keepdims=True)
        shares = logits - best - np.log(np.exp(logits - best).sum(-1, keepdims=True))
        nll = -shares[np.arange(len(answer)), answer]
        total += ((1 - smoothing) * nll - smoothing * shares.mean(-1)).sum()
        count += len(answer)
    return total / count


def prove(f64: dict[str, torch.Tensor], p: dict[str, np.ndarray], loss, seed: int) -> dict[str, np.ndarray]:
    """The formulas' loss, and every gradient once its slope along a direction is that of the
    formulas. `loss` takes parameters.
    """
    random = np.random.default_rng(seed)
    size = np.sqrt(sum(float((v**2).sum()) for k, v in f64.items() if k.startswith("grad.")))
    proof = {"loss": np.array([loss(p)])}
    for stage in [stage for stage in f64 if stage.startswith("grad.")]:
        name, gradient = stage.removeprefix("grad."), f64[stage].numpy()
        norm = np.linalg.norm(gradient)
        draw = random.standard_normal(gradient.shape)
        direction = draw / np.linalg.norm(draw) + (gradient / norm if norm > 1e-9 * size else 0)
        step = 1e-7 * max(np.linalg.norm(p[name]), 1)
        slope = (loss(p | {name: p[name] + step * direction}) - loss(p | {name: p[name] - step * direction})) / (2 * step)
        error = abs(slope - float((gradient * direction).sum()))
        rounding = 8 * np.finfo(np.float64).eps * abs(float(proof["loss"][0])) / step
        if not error <= MAX_SLOPE_ERROR * norm + rounding:
            raise SystemExit(f"{stage}: slope {slope:.9e} along a direction, the gradient says {(gradient * direction).sum():.9e}")
        proof[stage] = gradient
    return proof


def make_examples(seed: int, frames: list[int], prompts: list[str], answers: list[int], rule: str, config) -> list[Example]:
    """Features, prompts, and random answers that end in the vocabulary's folded <|im_end|>."""
    vocabulary = config.text_config.vocab_size
    random = np.random.default_rng(seed)
    examples = []
    for features, prompt, length in zip(make_features(frames, config.audio_config.input_size, seed), prompts, answers, strict=True):
        ids = torch.tensor(prompt_ids(prompt, audio_rows(rule, len(features)), vocabulary))
        answer = np.append(random.integers(0, vocabulary - 8, length - 1), vocabulary - 2)
        examples.append(Example(Clip(features, ids), torch.from_numpy(answer)))
    return examples


def build(
    seed: int, frames: list[int], prompts: list[str], answers: list[int], tune: list[str], rule: str = "all",
    sizes: dict | None = None, lora: dict | None = None, smoothing: float = 0.0, steps: bool = False,
) -> Bundle:  # fmt: skip
    """One training bundle."""
    config = make_config(**(sizes or {}))
    examples = make_examples(seed, frames, prompts, answers, rule, config)
    model = FunAsrNanoForConditionalGeneration(config)
    scale = 0.0
    if lora:
        add_lora(model, lora["rank"], lora["alpha"], lora["targets"])
        scale = lora["alpha"] / lora["rank"]
    fill(model, "", seed)
    loss = lambda: total_loss(model, examples, rule, smoothing)  # noqa: E731
    f32 = run(model, tune, steps, loss)
    with double_precision(model):
        f64 = run(model, tune, steps, loss)
        proof = prove(f64, arrays(model, ""), lambda p: plain_loss(p, config, examples, rule, smoothing, scale), seed)
    for name in blind(f64) if steps else []:
        del f32[f"final.{name}"], f64[f"final.{name}"]
    proof |= {stage: value.numpy() for stage, value in f64.items() if stage not in proof}  # ten steps: torch's own optimiser
    inputs = {
        "input.features": torch.cat([e.clip.features for e in examples]),
        "input.segments": offsets(frames),
        "input.token_ids": torch.cat([e.clip.ids for e in examples]),
        "input.token_segments": offsets([len(e.clip.ids) for e in examples]),
        "input.answer_ids": torch.cat([e.answer for e in examples]),
        "input.answer_segments": offsets(answers),
    }
    metadata = {
        "start": "input.features", "seed": seed, "config": config_json(config), "audio_token_rule": rule, "tune": tune,
        "label_smoothing": smoothing, "prompts": [PROMPTS[p] for p in prompts], "token_id_map": FOLDING,
        "weights": "generator", "generator_seed": seed,
    }  # fmt: skip
    metadata |= {"lora": lora} if lora else {}
    metadata |= {"steps": STEPS, "adamw": ADAMW} if steps else {}
    return Bundle(kind="train", inputs=inputs, f32=f32, f64=f64, plain=proof, metadata=metadata)
