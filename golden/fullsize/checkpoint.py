"""Writing a full-size checkpoint with seeded weights through upstream's own `save_pretrained`."""

import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import FunAsrNanoConfig, FunAsrNanoFeatureExtractor, FunAsrNanoForConditionalGeneration, Qwen3ForCausalLM

from generator import _scale, fnv1a32, lowbias32
from models import LLM_PREFIX, canonical
from prompts import TOKENIZER

CHUNK = 1 << 19  # elements: the integer temporaries stay in the cache
SHARD = "2GB"
SPARE_BYTES = 2 * 2**30
RESIDENT_BYTES = 6 * 2**30  # above this the parameters being written lie in a mapped file, which the system may write out


def bfloat16_bits(name: str, shape: tuple[int, ...], seed: int, out: np.ndarray) -> None:
    """Write the generator's values of one parameter into `out`, u16 [elements], as bfloat16: 256
    values, looked up by the hash.
    """
    bits = _scale(name, np.arange(-128, 128, dtype=np.int32), shape).view(np.uint32)
    assert not (bits & 0xFFFF).any(), f"{name}: a value is not exact in bfloat16"
    table = (bits >> 16).astype(np.uint16)
    stream = lowbias32(np.array([fnv1a32(name) ^ seed], dtype=np.uint32))
    for start in range(0, len(out), CHUNK):
        index = np.arange(start, min(start + CHUNK, len(out)), dtype=np.uint32)
        index += stream
        np.take(table, lowbias32(index) >> np.uint32(24), out=out[start : start + len(index)])


def skeleton(config: FunAsrNanoConfig, dtype: torch.dtype) -> FunAsrNanoForConditionalGeneration:
    """The upstream model without memory for its parameters."""
    with torch.device("meta"):
        return FunAsrNanoForConditionalGeneration(config).to(dtype).eval()


def parameter_count(config: FunAsrNanoConfig) -> int:
    return sum(value.numel() for value in skeleton(config, torch.bfloat16).parameters())


def space_to_write(parameters: int) -> int:
    """Bytes on disk while a checkpoint is written: its file and, where its parameters are mapped,
    those.
    """
    return 2 * parameters * (2 if 2 * parameters > RESIDENT_BYTES else 1)


def check_space(work: Path, needed: int) -> None:
    """Refuse before gigabytes are written, not after."""
    free = shutil.disk_usage(work).free
    if free < needed + SPARE_BYTES:
        sys.exit(f"prove: {work}: expected {(needed + SPARE_BYTES) / 1e9:.1f} GB free, got {free / 1e9:.1f} GB")


def set_parameter(model: nn.Module, name: str, value: torch.Tensor) -> None:
    owner, _, leaf = name.rpartition(".")
    model.get_submodule(owner)._parameters[leaf] = nn.Parameter(value, requires_grad=False)


def storage(total: int, mapped: Path) -> np.ndarray:
    """u16 [total], in memory or, where that is too much of it, in a mapped file."""
    if 2 * total <= RESIDENT_BYTES:
        return np.empty(total, dtype=np.uint16)
    return np.memmap(mapped, dtype=np.uint16, mode="w+", shape=(total,))


def write_model(model: nn.Module, seed: int, directory: Path, named: Callable[[str], str] = str) -> None:
    """`save_pretrained` (sharded above 2 GB) of a model without memory, given the generator's
    values; `named` gives a parameter's -hf name.
    """
    shapes = {name: tuple(value.shape) for name, value in model.named_parameters()}
    mapped = directory.with_name(f"{directory.name}.parameters")
    data, at, slices = storage(sum(map(prod, shapes.values())), mapped), 0, {}
    for name, shape in shapes.items():
        slices[name] = data[at : at + prod(shape)]
        at += prod(shape)
        value = torch.from_numpy(np.asarray(slices[name]).view(np.int16)).view(torch.bfloat16).reshape(shape)
        set_parameter(model, name, value)
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(lambda name: bfloat16_bits(named(name), shapes[name], seed, slices[name]), shapes))
    model.tie_weights()
    model.generation_config.eos_token_id = [151645, 151643]
    model.save_pretrained(directory, max_shard_size=SHARD)
    mapped.unlink(missing_ok=True)


def copy_tokenizer(directory: Path) -> None:
    for file in TOKENIZER.parent.glob("*.json"):
        shutil.copy(file, directory)


def write_checkpoint(config: FunAsrNanoConfig, seed: int, directory: Path) -> None:
    """Safetensors (sharded above 2 GB), configuration, front-end and tokenizer files in
    `directory`.
    """
    write_model(skeleton(config, torch.bfloat16), seed, directory)
    FunAsrNanoFeatureExtractor().save_pretrained(directory)
    copy_tokenizer(directory)


def write_llm(config: FunAsrNanoConfig, seed: int, directory: Path) -> None:
    """The Qwen3 of `config` alone, as its own class writes it, with the weights that it has behind
    the encoder.
    """
    with torch.device("meta"):
        model = Qwen3ForCausalLM(config.text_config).to(torch.bfloat16).eval()
    write_model(model, seed, directory, partial(canonical, LLM_PREFIX))
    copy_tokenizer(directory)
