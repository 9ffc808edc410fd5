"""Whole-model cases: features (or a waveform) and a prompt → every stage, the logits, and 32 greedy
tokens.
"""

from dataclasses import dataclass

import numpy as np
import torch
from transformers import DynamicCache, FunAsrNanoForConditionalGeneration

import plain
from bundle import Bundle
from cases import frontend
from cases.encoder import make_features, offsets, packed
from double import double_precision
from models import arrays, config_json, fill, make_config
from prompts import FOLDING, PROMPTS, prompt_ids
from signals import quantise, speech_like
from taps import Taps, tap_adaptor, tap_encoder, tap_llm

STEPS = 32
LOUD_CHANNELS = [5, 17]
MIN_MARGIN = 100  # smallest top-1 minus top-2 logit, in units of the largest f32 logit error


@dataclass
class Clip:
    """One input: features [T, input] f32, prompt ids [S] i64, and, when the case starts there, the
    waveform [n] f32.
    """

    features: torch.Tensor
    ids: torch.Tensor
    waveform: torch.Tensor | None = None


def audio_rows(rule: str, frames: int) -> int:
    """How many of the adaptor's T rows reach the LLM."""
    if rule == "all":
        return frames
    a = 1 + (frames - 3 + 2 * 1) // 2
    b = 1 + (a - 3 + 2 * 1) // 2
    return (b - 1) // 2 + 1


def splice(model, clip: Clip, features: torch.Tensor, rule: str) -> torch.Tensor:
    """Token embeddings [1, S, D] with the first `audio_rows` adaptor rows in place of the
    placeholders.
    """
    mask = torch.ones(features.shape[:2], dtype=torch.int64)
    audio = model.get_audio_features(features, mask, return_dict=True).pooler_output
    embeds = model.get_input_embeddings()(clip.ids)
    embeds[clip.ids == model.config.audio_token_id] = audio[: audio_rows(rule, len(audio))]
    return embeds[None]


def prefill(model, clip: Clip, rule: str, cache: DynamicCache) -> torch.Tensor:
    """One forward over the prompt, logits [S, V]. Rule "all" is the upstream model's own splice."""
    features = clip.features.to(model.dtype)[None]
    if rule == "all":
        mask = torch.ones(features.shape[:2], dtype=torch.int64)
        inputs = {"input_ids": clip.ids[None], "input_features": features, "input_features_mask": mask}
    else:
        inputs = {"inputs_embeds": splice(model, clip, features, rule)}
    return model(**inputs, past_key_values=cache, use_cache=True).logits[0]


@torch.no_grad()
def run_model(model, clips: list[Clip], rule: str) -> tuple[dict[str, torch.Tensor], list[list[int]], torch.Tensor]:
    """Each clip alone. Returns stages, greedy ids of each clip, and the logits of every decoding
    step [clips·32, V].
    """
    taps = Taps(model.dtype)
    tap_encoder(taps, model.model.audio_tower)
    tap_adaptor(taps, model.model.multi_modal_projector)
    tap_llm(taps, model.model.language_model, model.lm_head)
    caches = [DynamicCache(config=model.config.text_config) for _ in clips]
    last = [prefill(model, clip, rule, cache)[-1] for clip, cache in zip(clips, caches, strict=True)]
    stages = taps.rows()
    generated, logits = [], []
    for row, cache in zip(last, caches, strict=True):
        ids = []
        for step in range(STEPS):
            logits.append(row)
            ids.append(int(row.argmax()))
            if step < STEPS - 1:
                row = model(input_ids=torch.tensor([[ids[-1]]]), past_key_values=cache, use_cache=True).logits[0, -1]
        generated.append(ids)
    return stages, generated, torch.stack(logits)


@torch.no_grad()
def upstream_generate(model, clip: Clip, rule: str) -> list[int]:
    """`generate` of the upstream class, greedy, end-of-sequence off."""
    features = clip.features.to(model.dtype)[None]
    inputs = {"inputs_embeds": splice(model, clip, features, rule)}
    if rule == "all":
        mask = torch.ones(features.shape[:2], dtype=torch.int64)
        inputs = {"input_ids": clip.ids[None], "input_features": features, "input_features_mask": mask}
    out = model.generate(**inputs, do_sample=False, max_new_tokens=STEPS, min_new_tokens=STEPS)[0]
    return out[-STEPS:].tolist()


def run_plain(model, clips: list[Clip], rule: str) -> dict[str, np.ndarray]:
    """The same stages from the formulas. The model is in double by now."""
    p, config, parts = arrays(model, ""), model.config, []
    for clip in clips:
        stages = plain.encoder(p, config.audio_config, clip.features.double().numpy())
        stages |= plain.adaptor(p, config.adaptor_config, stages["encoder.output"])
        audio = list(stages.values())[-1][: audio_rows(rule, len(clip.features))]
        embeds = p["model.language_model.embed_tokens.weight"][clip.ids.numpy()]
        embeds[clip.ids.numpy() == config.audio_token_id] = audio
        parts.append(stages | plain.qwen3(p, config.text_config, embeds))
    return packed(parts)


def check_margin(f32: torch.Tensor, f64: torch.Tensor) -> float:
    """Smallest top-1 to top-2 gap over all steps; refuses one that rounding could close."""
    top = f64.topk(2, dim=-1).values
    margin, error = float((top[:, 0] - top[:, 1]).min()), float((f32.double() - f64).abs().max())
    if margin < MIN_MARGIN * error:
        raise SystemExit(f"model: margin {margin:.1e} is less than {MIN_MARGIN} times the f32 error {error:.1e}: take another seed")
    return margin


def bundle_weights(model, seed: int, loud: bool) -> None:
    """Replace the weights by normal ones that are not exact in bf16; `loud` scales the last adaptor
    block's output.
    """
    random = np.random.default_rng(seed)
    for name, value in model.named_parameters():
        spread = 0.02 if value.ndim == 1 else 1 / np.sqrt(np.prod(value.shape[1:]))
        draw = spread * random.standard_normal(value.shape) + (value.ndim == 1 and name.endswith("weight"))
        value.data.copy_(torch.from_numpy(draw.astype(np.float32)))
    if loud:
        last = model.model.multi_modal_projector.layers[-1].mlp.fc2
        last.weight.data *= 36
        last.bias.data[LOUD_CHANNELS] = torch.tensor([1100.37, -613.71])


def loudness(stages: dict[str, torch.Tensor]) -> dict:
    """Size of the adaptor's output, as metadata; the real model's has deviation 28 and a maximum
    near 1187.
    """
    output = [value for stage, value in stages.items() if stage.startswith("adaptor.blocks.")][-1]
    quiet = [i for i in range(output.shape[1]) if i not in LOUD_CHANNELS]
    std, peak = float(output[:, quiet].std()), float(output.abs().max())
    assert 20 < std < 40 and peak > 1000, f"adaptor output: deviation {std:.1f}, maximum {peak:.0f}"
    return {"adaptor_output_std_without_loud_channels": f"{std:.1f}", "adaptor_output_max": f"{peak:.1f}"}


def make_clips(seed: int, frames: list[int], prompts: list[str], rule: str, config, waveform: bool) -> list[Clip]:
    """Features of the given lengths (from a speech-like waveform when `waveform`), each with its
    prompt.
    """
    waves: list = [None] * len(frames)
    if waveform:
        samples = [400 + 160 * (6 * rows - 1) for rows in frames]  # the longest waveform of that many stacked frames
        waves = [torch.from_numpy(quantise(speech_like(n / 16000, 16000, seed + i), 16)) for i, n in enumerate(samples)]
        features = [frontend.run(wave, None, 1)["input.features"] for wave in waves]
    else:
        features = make_features(frames, config.audio_config.input_size, seed)
    vocabulary = config.text_config.vocab_size
    ids = [torch.tensor(prompt_ids(p, audio_rows(rule, n), vocabulary)) for p, n in zip(prompts, frames, strict=True)]
    assert [len(f) for f in features] == frames
    return [Clip(*clip) for clip in zip(features, ids, waves, strict=True)]


def double_clips(clips: list[Clip]) -> tuple[list[Clip], dict, dict, dict]:
    """Clips for the f64 run: a waveform's features are recomputed in double. Also the front-end
    stages of the bundle.
    """
    if clips[0].waveform is None:
        return clips, {}, {}, {}
    parts = [frontend.compute(clip.waveform, None, 1) for clip in clips]
    f32, f64, proof = ({"input.features": packed([p[i] for p in parts])["input.features"]} for i in range(3))
    exact = [Clip(p[1]["input.features"], clip.ids) for clip, p in zip(clips, parts, strict=True)]
    return exact, f32, f64, proof


def run_both(model, clips: list[Clip], rule: str) -> tuple[dict, dict, dict, list[list[int]], float]:
    """Stages in f32, f64 and from the formulas, greedy ids of each clip, and their smallest margin.
    Leaves the model in double.
    """
    f32, ids, logits32 = run_model(model, clips, rule)
    if [upstream_generate(model, clip, rule) for clip in clips] != ids:
        raise SystemExit("model: the step-by-step tokens differ from generate()")
    exact, front32, front64, front_plain = double_clips(clips)
    with double_precision(model):
        f64, ids64, logits64 = run_model(model, exact, rule)
    if ids64 != ids:
        raise SystemExit("model: f32 and f64 choose different tokens: take another seed")
    proof = front_plain | run_plain(model, exact, rule)
    return front32 | f32, front64 | f64, proof, ids, check_margin(logits32, logits64)


def build(
    seed: int, frames: list[int], prompts: list[str], rule: str, sizes: dict | None = None, waveform: bool = False,
    store_weights: bool = False, loud: bool = False,
) -> Bundle:  # fmt: skip
    """One whole-model bundle."""
    config = make_config(**(sizes or {}))
    clips = make_clips(seed, frames, prompts, rule, config, waveform)
    model = fill(FunAsrNanoForConditionalGeneration(config), "", seed)
    model.generation_config.eos_token_id = None
    if store_weights:
        bundle_weights(model, seed, loud)
    weights = {name: value.detach().clone() for name, value in model.named_parameters()} if store_weights else {}
    f32, f64, proof, ids, margin = run_both(model, clips, rule)
    start = {"input.waveform": clips[0].waveform} if waveform else {"input.features": torch.cat([c.features for c in clips])}
    inputs = start | {
        "input.segments": offsets(frames),
        "input.token_ids": torch.cat([clip.ids for clip in clips]),
        "input.token_segments": offsets([len(clip.ids) for clip in clips]),
        "generated_ids": torch.tensor(ids).flatten(),
    }
    metadata = {
        "start": next(iter(start)), "seed": seed, "config": config_json(config), "audio_token_rule": rule, "generate": STEPS,
        "min_margin": f"{margin:.3e}", "prompts": [PROMPTS[p] for p in prompts], "token_id_map": FOLDING,
    }  # fmt: skip
    metadata |= {"weights": "bundle"} if store_weights else {"weights": "generator", "generator_seed": seed}
    metadata |= {"frontend": frontend.frontend_json(1)} if waveform else {}
    metadata |= loudness(f64) if loud else {}
    return Bundle(kind="model", inputs=inputs, f32=f32, f64=f64, plain=proof, weights=weights, metadata=metadata)
