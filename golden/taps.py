"""Forward hooks on the upstream modules, under the stage names of the bundles."""

from collections import defaultdict

import torch
from torch import nn


class Taps:
    """Collects stage outputs, one row block a call, and checks their dtype.

    Every hooked value is [1, rows, width]; `rows()` joins the calls of all clips and all cached
    steps.
    """

    def __init__(self, dtype: torch.dtype):
        self.dtype = dtype
        self.blocks: dict[str, list[torch.Tensor]] = defaultdict(list)
        self.handles = []

    def record(self, stage: str, value: torch.Tensor) -> None:
        assert value.dtype == self.dtype, f"{stage}: expected {self.dtype}, got {value.dtype}"
        assert value.ndim == 3 and value.shape[0] == 1, f"{stage}: expected [1, rows, width], got {tuple(value.shape)}"
        self.blocks[stage].append(value[0].detach().clone())

    def output(self, stage: str, module: nn.Module) -> None:
        """Record what a module returns (its first value when it returns a tuple)."""
        hook = lambda _m, _a, out: self.record(stage, out[0] if isinstance(out, tuple) else out)  # noqa: E731
        self.handles.append(module.register_forward_hook(hook))

    def input(self, stage: str, module: nn.Module) -> None:
        """Record the first argument of a module."""
        hook = lambda _m, args: self.record(stage, args[0])  # noqa: E731
        self.handles.append(module.register_forward_pre_hook(hook))

    def rows(self) -> dict[str, torch.Tensor]:
        """Stage name → [rows, width], and remove the hooks."""
        for handle in self.handles:
            handle.remove()
        return {stage: torch.cat(blocks) for stage, blocks in self.blocks.items()}


def tap_encoder(taps: Taps, encoder: nn.Module) -> None:
    """Hook transformers' FunAsrNanoEncoder. A layer with a final norm is recorded before and after
    that norm.
    """
    config = encoder.config
    main = config.num_hidden_layers - config.num_timestamp_prediction_layers
    for i, layer in enumerate(encoder.layers):
        stage = "encoder.stem" if i == 0 else f"encoder.layers.{i - 1}" if i < main else f"encoder.tp_layers.{i - main}"
        if i in (main - 1, config.num_hidden_layers - 1):
            taps.input(stage, layer.final_layernorm)
            taps.output("encoder.norm" if i < main else "encoder.output", layer)
        else:
            taps.output(stage, layer)


def tap_funasr_encoder(taps: Taps, encoder: nn.Module) -> None:
    """Hook FunASR's SenseVoiceEncoderSmall."""
    taps.output("encoder.stem", encoder.encoders0[0])
    for i, layer in enumerate(encoder.encoders):
        taps.output(f"encoder.layers.{i}", layer)
    taps.output("encoder.norm", encoder.after_norm)
    for i, layer in enumerate(encoder.tp_encoders):
        taps.output(f"encoder.tp_layers.{i}", layer)
    taps.output("encoder.output", encoder.tp_norm)


def tap_adaptor(taps: Taps, projector: nn.Module) -> None:
    """Hook transformers' FunAsrNanoMultiModalProjector."""
    taps.output("adaptor.projector", projector.linear_2)
    for i, layer in enumerate(projector.layers):
        taps.output(f"adaptor.blocks.{i}", layer)


def tap_funasr_adaptor(taps: Taps, adaptor: nn.Module) -> None:
    """Hook FunASR's Transformer adaptor."""
    taps.output("adaptor.projector", adaptor.linear2)
    for i, layer in enumerate(adaptor.blocks):
        taps.output(f"adaptor.blocks.{i}", layer)


def tap_llm(taps: Taps, language_model: nn.Module, head: nn.Module) -> None:
    """Hook transformers' Qwen3Model and the output head."""
    taps.input("llm.inputs_embeds", language_model.layers[0])
    for i, layer in enumerate(language_model.layers):
        taps.output(f"llm.layers.{i}", layer)
    taps.output("llm.norm", language_model.norm)
    taps.output("logits", head)
