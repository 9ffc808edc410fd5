"""Running the upstream model with one module's parameters in memory at a time, read from the
checkpoint when it is called.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import nn
from transformers import FunAsrNanoConfig
from transformers.models.fun_asr_nano.modeling_fun_asr_nano import FunAsrNanoPositionEmbedding
from transformers.models.qwen3.modeling_qwen3 import Qwen3RotaryEmbedding

from fullsize.checkpoint import skeleton

EMBEDDING, HEAD = "model.language_model.embed_tokens.weight", "lm_head.weight"


class Weights(Mapping):
    """Parameter name → float64 array, read from the checkpoint at each access: what `plain.py`
    computes with.
    """

    def __init__(self, directory: Path):
        index = directory / "model.safetensors.index.json"
        names = json.loads(index.read_text())["weight_map"].values() if index.exists() else ["model.safetensors"]
        files = [safe_open(directory / name, framework="pt") for name in sorted(set(names))]
        self.files = {key: file for file in files for key in file.keys()}

    def tensor(self, name: str, dtype: torch.dtype) -> torch.Tensor:
        """A tied head is the embedding matrix."""
        stored = EMBEDDING if name == HEAD and HEAD not in self.files else name
        return self.files[stored].get_tensor(stored).to(dtype)

    def rows(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Some rows of a matrix, float64."""
        return self.files[name].get_tensor(name)[torch.from_numpy(rows)].double().numpy()

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.files:
            raise KeyError(name)
        return self.tensor(name, torch.float64).numpy()

    def __contains__(self, name: object) -> bool:
        return name in self.files

    def __iter__(self):
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)


def streamed_model(config: FunAsrNanoConfig, weights: Weights):
    """The upstream model whose modules take their parameters from `weights` for the time of their
    call, in the model's dtype then.
    """
    model = skeleton(config, torch.float32)
    audio = model.config.audio_config
    model.model.audio_tower.position_embeddings = FunAsrNanoPositionEmbedding(audio.max_position_embeddings, audio.input_size)
    model.model.language_model.rotary_emb = Qwen3RotaryEmbedding(model.config.text_config)
    assert not [name for name, value in model.named_buffers() if value.is_meta]
    for path, module in model.named_modules():
        if module._parameters:
            _stream(module, path, weights)
    return model


def _stream(module: nn.Module, path: str, weights: Weights) -> None:
    kept: dict[str, nn.Parameter] = {}

    def load(_module, _arguments) -> None:
        for leaf, meta in module._parameters.items():
            if meta is not None:
                kept[leaf] = meta
                module._parameters[leaf] = nn.Parameter(weights.tensor(f"{path}.{leaf}", meta.dtype), requires_grad=False)

    def drop(_module, _arguments, _output) -> None:
        module._parameters.update(kept)
        kept.clear()

    module.register_forward_pre_hook(load)
    module.register_forward_hook(drop)
