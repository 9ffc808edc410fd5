"""Encoder cases: features [T, input] → every layer of the SAN-M encoder."""

import numpy as np
import torch

import plain
from bundle import Bundle
from double import double_precision
from models import AUDIO_PREFIX, arrays, config_json, make_config, make_encoder, make_funasr_encoder
from taps import Taps, tap_encoder, tap_funasr_encoder


def make_features(lengths: list[int], width: int, seed: int) -> list[torch.Tensor]:
    """Clips of log-mel-like values (mean −6, a slow drift, deviation 2.5), f32 [T, width] each."""
    random = np.random.default_rng(seed)
    clips = []
    for rows in lengths:
        drift = 3 * np.sin(np.arange(rows) / 5)[:, None] + random.standard_normal((1, width))
        clips.append(torch.from_numpy((-6 + drift + 2.5 * random.standard_normal((rows, width))).astype(np.float32)))
    return clips


def offsets(lengths: list[int]) -> torch.Tensor:
    """[clips + 1] i64 row offsets of a packed batch."""
    return torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int64)


def packed(parts: list[dict]) -> dict:
    """Join the stages of clips that were run alone."""
    join = torch.cat if torch.is_tensor(next(iter(parts[0].values()))) else np.concatenate
    return {stage: join([part[stage] for part in parts]) for stage in parts[0]}


@torch.no_grad()
def run_encoder(encoder, clips: list[torch.Tensor], upstream: str) -> dict[str, torch.Tensor]:
    """Each clip alone through the upstream class, in the dtype of its weights."""
    dtype = next(encoder.parameters()).dtype
    taps = Taps(dtype)
    (tap_encoder if upstream == "transformers" else tap_funasr_encoder)(taps, encoder)
    for clip in clips:
        features = clip.to(dtype)[None].clone()
        if upstream == "transformers":
            encoder(input_features=features, input_features_mask=torch.ones(features.shape[:2], dtype=torch.int64))
        else:
            encoder(features, torch.tensor([len(clip)]))
    return taps.rows()


def build(seed: int, lengths: list[int], audio: dict, upstream: str = "transformers", store_weights: bool = False) -> Bundle:
    """One encoder bundle. `upstream` says whose class computes it."""
    config = make_config(audio=audio)
    clips = make_features(lengths, config.audio_config.input_size, seed)
    reference = make_encoder(config, seed)
    weights = {AUDIO_PREFIX + name: value.detach().clone() for name, value in reference.named_parameters()}
    encoder = reference if upstream == "transformers" else make_funasr_encoder(config, seed)
    f32 = run_encoder(encoder, clips, upstream)
    with double_precision(encoder):
        f64 = run_encoder(encoder, clips, upstream)
    parameters = arrays(reference, AUDIO_PREFIX)
    proof = packed([plain.encoder(parameters, config.audio_config, clip.double().numpy()) for clip in clips])
    return Bundle(
        kind="encoder",
        inputs={"input.features": torch.cat(clips), "input.segments": offsets(lengths)},
        f32=f32, f64=f64, plain=proof,
        weights=weights if store_weights else {},
        metadata={"start": "input.features", "seed": seed, "config": config_json(config), "upstream": upstream}
        | ({"weights": "bundle"} if store_weights else {"weights": "generator", "generator_seed": seed}),
    )  # fmt: skip
