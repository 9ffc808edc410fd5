"""Adaptor cases: encoder output [T, D] → projector and bidirectional blocks at the LLM's width."""

import numpy as np
import torch

import plain
from bundle import Bundle
from cases.encoder import offsets, packed
from double import double_precision
from models import ADAPTOR_PREFIX, arrays, config_json, make_config, make_funasr_adaptor, make_projector
from taps import Taps, tap_adaptor, tap_funasr_adaptor


@torch.no_grad()
def run_adaptor(adaptor, clips: list[torch.Tensor], upstream: str) -> dict[str, torch.Tensor]:
    """Each clip alone through the upstream class, in the dtype of its weights."""
    dtype = next(adaptor.parameters()).dtype
    taps = Taps(dtype)
    (tap_adaptor if upstream == "transformers" else tap_funasr_adaptor)(taps, adaptor)
    for clip in clips:
        x = clip.to(dtype)[None]
        adaptor(x, torch.ones(x.shape[:2], dtype=torch.int64) if upstream == "transformers" else torch.tensor([len(clip)]))
    return taps.rows()


def build(seed: int, lengths: list[int], width: int, adaptor: dict, audio: dict | None = None, upstream: str = "transformers") -> Bundle:
    """One adaptor bundle at LLM width `width`. The input stands for a normalised encoder output:
    N(0, 1).
    """
    config = make_config(adaptor=adaptor, audio=audio, text={"hidden_size": width})
    random = np.random.default_rng(seed)
    size = config.audio_config.hidden_size
    clips = [torch.from_numpy(random.standard_normal((rows, size)).astype(np.float32)) for rows in lengths]
    reference = make_projector(config, seed)
    module = reference if upstream == "transformers" else make_funasr_adaptor(config, seed)
    f32 = run_adaptor(module, clips, upstream)
    with double_precision(module):
        f64 = run_adaptor(module, clips, upstream)
    parameters = arrays(reference, ADAPTOR_PREFIX)
    proof = packed([plain.adaptor(parameters, config.adaptor_config, clip.double().numpy()) for clip in clips])
    return Bundle(
        kind="adaptor",
        inputs={"encoder.output": torch.cat(clips), "input.segments": offsets(lengths)},
        f32=f32, f64=f64, plain=proof,
        metadata={
            "start": "encoder.output", "seed": seed, "config": config_json(config), "upstream": upstream,
            "weights": "generator", "generator_seed": seed,
        },
    )  # fmt: skip
