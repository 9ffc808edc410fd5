"""Qwen3 cases: token ids (or embeddings) → every layer, the final norm and the logits, with or
without a KV cache.
"""

import numpy as np
import torch
from transformers import DynamicCache, Qwen3ForCausalLM

import plain
from bundle import Bundle
from cases.encoder import offsets, packed
from double import double_precision
from models import LLM_PREFIX, arrays, config_json, fill, make_config
from taps import Taps, tap_llm


@torch.no_grad()
def run_llm(model, sequences: list[torch.Tensor], cached_steps: int) -> dict[str, torch.Tensor]:
    """Each sequence (ids [S] or embeddings [S, D]) alone: one prefill, then `cached_steps` rows
    through a DynamicCache.
    """
    dtype = next(model.parameters()).dtype
    taps = Taps(dtype)
    tap_llm(taps, model.model, model.lm_head)
    for sequence in sequences:
        key, rows = ("inputs_embeds", sequence.to(dtype)) if sequence.is_floating_point() else ("input_ids", sequence)
        cache = DynamicCache(config=model.config)
        prefill = len(rows) - cached_steps
        model(**{key: rows[None, :prefill]}, past_key_values=cache, use_cache=True)
        for i in range(prefill, len(rows)):
            model(**{key: rows[None, i : i + 1]}, past_key_values=cache, use_cache=True)
        assert cache.get_seq_length() == len(rows)
    return taps.rows()


def make_ids(lengths: list[int], vocabulary: int, seed: int) -> list[torch.Tensor]:
    """Random token ids, i64 [S] each, repeats included; the last id of the vocabulary (the audio
    token) is left out.
    """
    random = np.random.default_rng(seed)
    return [torch.from_numpy(random.integers(0, vocabulary - 1, rows)) for rows in lengths]


def make_audio_embeds(lengths: list[int], width: int, seed: int) -> list[torch.Tensor]:
    """Text-sized rows around a block of adaptor-sized ones (deviation 28, a few channels near
    1200), f32 [S, D] each.
    """
    random = np.random.default_rng(seed)
    sequences = []
    for rows in lengths:
        x = 0.05 * random.standard_normal((rows, width))
        audio = slice(rows // 4, rows - rows // 4)
        x[audio] = 28 * random.standard_normal(x[audio].shape)
        x[audio, width // 3] = 1187 + random.standard_normal(len(x[audio]))
        x[audio, width // 2] = -700 + 30 * random.standard_normal(len(x[audio]))
        sequences.append(torch.from_numpy(x.astype(np.float32)))
    return sequences


def build(seed: int, lengths: list[int], text: dict, cached_steps: int = 0, start: str = "ids") -> Bundle:
    """One LLM bundle. `start` is "ids" or "embeds"."""
    config = make_config(text=text)
    size = config.text_config
    if start == "ids":
        sequences = make_ids(lengths, size.vocab_size, seed)
    else:
        sequences = make_audio_embeds(lengths, size.hidden_size, seed)
    model = fill(Qwen3ForCausalLM(size), LLM_PREFIX, seed)
    f32 = run_llm(model, sequences, cached_steps)
    with double_precision(model):
        f64 = run_llm(model, sequences, cached_steps)
    parameters = arrays(model, LLM_PREFIX)
    table = parameters["model.language_model.embed_tokens.weight"]
    embeds = [table[s.numpy()] if start == "ids" else s.double().numpy() for s in sequences]
    proof = packed([plain.qwen3(parameters, size, x) for x in embeds])
    inputs = {"input.token_ids": torch.cat(sequences)} if start == "ids" else {"llm.inputs_embeds": torch.cat(sequences)}
    if start == "embeds":
        for stages in (f32, f64, proof):
            del stages["llm.inputs_embeds"]
    metadata = {"start": next(iter(inputs)), "seed": seed, "config": config_json(config), "weights": "generator", "generator_seed": seed}
    return Bundle(
        kind="llm", inputs=inputs | {"input.token_segments": offsets(lengths)}, f32=f32, f64=f64, plain=proof,
        metadata=metadata | ({"cached_steps": cached_steps} if cached_steps else {}),
    )  # fmt: skip
