"""Every stage and the greedy tokens of a full-size model, by upstream in f32, by upstream in f64
and from the formulas.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from transformers import DynamicCache, FunAsrNanoForConditionalGeneration

import plain
from bundle import Bundle, check, serialise
from cases import frontend
from cases.encoder import offsets
from cases.model import Clip, check_margin, prefill
from double import double_precision
from fullsize.engine import STEPS
from fullsize.sizes import AUDIO_TOKEN
from fullsize.streaming import EMBEDDING, Weights, streamed_model
from models import config_json
from prompts import PROMPTS, prompt_text, tokenizer
from signals import quantise, speech_like
from taps import Taps, tap_adaptor, tap_encoder, tap_llm

PROMPT = "chinese"
RESIDENT_BYTES = 10 * 2**30  # f32 parameters above this are streamed
Stages = dict[str, torch.Tensor]


@dataclass
class Measured:
    """What the run prints and the results file keeps."""

    seconds: dict[str, float] = field(default_factory=dict)
    facts: dict[str, object] = field(default_factory=dict)

    def time(self, what: str, run: Callable):
        start = time.monotonic()
        result = run()
        self.seconds[what] = round(time.monotonic() - start, 1)
        print(f"{what}: {self.seconds[what]} s", flush=True)
        return result


def make_clip(seconds: float, seed: int) -> Clip:
    """Upstream's features of a seeded speech-like waveform, and the real prompt with a placeholder
    for each of them.
    """
    wave = torch.from_numpy(quantise(speech_like(seconds, frontend.RATE, seed), 16))
    features = frontend.upstream_features(wave, 1)
    ids = tokenizer().encode(prompt_text(PROMPT, len(features))).ids
    assert ids.count(AUDIO_TOKEN) == len(features)
    return Clip(features, torch.tensor(ids), wave)


def tapped(model) -> Taps:
    taps = Taps(model.dtype)
    tap_encoder(taps, model.model.audio_tower)
    tap_adaptor(taps, model.model.multi_modal_projector)
    tap_llm(taps, model.model.language_model, model.lm_head)
    return taps


@torch.no_grad()
def run_f32(model, clip: Clip) -> tuple[Stages, list[int], torch.Tensor]:
    """Stages of the prompt, greedy ids, and the logits of each of their steps [STEPS, V]: a
    prefill, then steps over the cache.
    """
    taps, cache = tapped(model), DynamicCache(config=model.config.text_config)
    logits = [prefill(model, clip, "all", cache)[-1]]
    stages = taps.rows()
    for _ in range(STEPS - 1):
        token = torch.tensor([[int(logits[-1].argmax())]])
        logits.append(model(input_ids=token, past_key_values=cache, use_cache=True).logits[0, -1])
    return stages, [int(row.argmax()) for row in logits], torch.stack(logits)


@torch.no_grad()
def generate(model, clip: Clip) -> list[int]:
    """`generate` of the upstream class, greedy, end-of-sequence off."""
    model.generation_config.eos_token_id = None
    mask = torch.ones((1, len(clip.features)), dtype=torch.int64)
    out = model.generate(
        input_ids=clip.ids[None], input_features=clip.features[None], input_features_mask=mask,
        do_sample=False, max_new_tokens=STEPS, min_new_tokens=STEPS,
    )  # fmt: skip
    return out[0, -STEPS:].tolist()


def split(stages: dict, rows: int) -> tuple[dict, np.ndarray | torch.Tensor]:
    """Stages of the first `rows` tokens, and the logits from the last of them on. Causal: later
    tokens change nothing before.
    """
    steps = stages["logits"][rows - 1 :]
    trim = lambda stage, value: value[:rows] if stage.startswith(("llm.", "logits")) else value  # noqa: E731
    return {stage: trim(stage, value) for stage, value in stages.items()}, steps


@torch.no_grad()
def run_f64(model, clip: Clip, ids: list[int]) -> tuple[Stages, torch.Tensor]:
    """The same by upstream in double, prompt and greedy ids in one pass. The model is in double."""
    longer = Clip(clip.features, torch.cat([clip.ids, torch.tensor(ids[:-1], dtype=torch.int64)]))
    taps = tapped(model)
    prefill(model, longer, "all", DynamicCache(config=model.config.text_config))
    return split(taps.rows(), len(clip.ids))


def run_plain(config, weights: Weights, clip: Clip, ids: list[int]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The same from the formulas."""
    tokens = np.concatenate([clip.ids.numpy(), ids[:-1]]).astype(np.int64)
    stages = plain.encoder(weights, config.audio_config, clip.features.double().numpy())
    stages |= plain.adaptor(weights, config.adaptor_config, stages["encoder.output"])
    embeds = weights.rows(EMBEDDING, tokens)
    embeds[tokens == AUDIO_TOKEN] = list(stages.values())[-1]
    return split(stages | plain.qwen3(weights, config.text_config, embeds), len(clip.ids))


def upstream_f32(config, directory: Path, weights: Weights, parameters: int, clip: Clip, measured: Measured):
    """The f32 run: loaded by `from_pretrained` where it fits (then `generate` must agree), streamed
    where it does not.
    """
    resident = 4 * parameters <= RESIDENT_BYTES
    measured.facts["f32"] = "from_pretrained" if resident else "upstream's modules, parameters streamed one module at a time"
    if not resident:
        return measured.time("upstream f32", lambda: run_f32(streamed_model(config, weights), clip))
    model = measured.time(
        "from_pretrained",
        lambda: FunAsrNanoForConditionalGeneration.from_pretrained(directory, dtype=torch.float32).eval(),
    )
    result = measured.time("upstream f32", lambda: run_f32(model, clip))
    if generate(model, clip) != result[1]:
        raise SystemExit("prove: the step-by-step tokens differ from generate()")
    return result


def check_tokens(ids: list[int], f32: torch.Tensor, f64: torch.Tensor) -> float:
    """Refuses tokens that double precision would not choose, or a margin that rounding could close.
    Returns the margin.
    """
    if f64.argmax(-1).tolist() != ids:
        raise SystemExit("prove: f32 and f64 choose different tokens: take another --seed")
    return check_margin(f32, f64)


def deviations(stages: Stages) -> dict[str, float]:
    """Standard deviation of the last stage of each kind: random weights must keep sane magnitudes.
    """
    last = {stage.rsplit(".", 1)[0] if stage[-1].isdigit() else stage: stage for stage in stages}
    return {stage: float(f"{float(stages[stage].std()):.3g}") for stage in last.values()}


def make_bundle(size: str, config, directory: Path, parameters: int, clip: Clip, seeds: tuple[int, int], measured: Measured) -> bytes:
    """The bundle's bytes, after the checks of every golden bundle. `seeds` of the audio and of the
    weights.
    """
    weights = Weights(directory)
    f32, ids, logits32 = upstream_f32(config, directory, weights, parameters, clip, measured)
    model = streamed_model(config, weights)
    with double_precision(model):
        f64, logits64 = measured.time("upstream f64", lambda: run_f64(model, clip, ids))
    proof, _ = measured.time("formulas f64", lambda: run_plain(config, weights, clip, ids))
    margin = check_tokens(ids, logits32, logits64)
    inputs = {
        "input.features": clip.features, "input.segments": offsets([len(clip.features)]), "input.token_ids": clip.ids,
        "input.token_segments": offsets([len(clip.ids)]), "generated_ids": torch.tensor(ids),
    }  # fmt: skip
    metadata = {
        "start": "input.features", "seed": seeds[0], "config": config_json(config), "audio_token_rule": "all", "generate": STEPS,
        "min_margin": f"{margin:.3e}", "prompts": [PROMPTS[PROMPT]], "weights": "generator", "generator_seed": seeds[1],
    }  # fmt: skip
    bundle = Bundle(kind="model", inputs=inputs, f32=f32, f64=f64, plain=proof, metadata=metadata)
    errors = check(size, bundle)
    worst = max(errors, key=errors.get)
    measured.facts |= {
        "frames": len(clip.features), "prompt_tokens": len(clip.ids), "greedy_ids": ids, "min_margin": float(f"{margin:.3e}"),
        "torch_f32_error_worst": float(f"{errors[worst]:.3e}"), "torch_f32_error_worst_stage": worst, "deviations": deviations(f64),
    }  # fmt: skip
    print(f"{len(errors)} stages, f32 error {min(errors.values()):.1e} to {errors[worst]:.1e} ({worst}), margin {margin:.2e}")
    print("deviations:", ", ".join(f"{stage} {value}" for stage, value in measured.facts["deviations"].items()), flush=True)
    return serialise(size, bundle)
