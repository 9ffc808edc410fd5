"""CTC cases: encoder output [T, D] → hidden states → logits, by FunASR's own classes."""

import numpy as np
import torch
from funasr.models.fun_asr_nano.ctc import CTC
from funasr.models.llm_asr.adaptor import Transformer

import plain
from bundle import Bundle
from cases.encoder import offsets, packed
from double import double_precision
from generator import parameter
from models import FUNASR_LAYER
from taps import Taps

SMALL = {"encoderSize": 48, "projectorHiddenSize": 88, "hiddenSize": 64, "layers": 2, "vocabSize": 131}


class Head(torch.nn.Module):
    """The two modules under FunASR's names."""

    def __init__(self, sizes: dict):
        super().__init__()
        self.ctc_decoder = Transformer(
            downsample_rate=1, encoder_dim=sizes["encoderSize"], llm_dim=sizes["hiddenSize"],
            ffn_dim=sizes["projectorHiddenSize"], n_layer=sizes["layers"],
        )  # fmt: skip
        self.ctc = CTC(odim=sizes["vocabSize"], encoder_output_size=sizes["hiddenSize"], blank_id=sizes["vocabSize"] - 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden, _ = self.ctc_decoder(x, torch.tensor([x.shape[1]]))
        return self.ctc.ctc_lo(hidden)


def canonical(name: str) -> str:
    """The engine's name of a parameter."""
    for theirs, ours in FUNASR_LAYER.items():
        name = name.replace(f".{theirs}.", f".{ours}.")
    return name.replace(".blocks.", ".layers.").replace(".linear1.", ".linear_1.").replace(".linear2.", ".linear_2.")


def make_head(sizes: dict, seed: int) -> Head:
    head = Head(sizes)
    for name, value in head.named_parameters():
        value.data.copy_(torch.from_numpy(parameter(canonical(name), tuple(value.shape), seed)))
    return head.eval()


@torch.no_grad()
def run(head: Head, clips: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    """Each clip alone, in the dtype of the weights."""
    dtype = next(head.parameters()).dtype
    taps = Taps(dtype)
    taps.output("ctc.projector", head.ctc_decoder.linear2)
    for i, block in enumerate(head.ctc_decoder.blocks):
        taps.output(f"ctc.blocks.{i}", block)
    taps.output("ctc.logits", head.ctc.ctc_lo)
    for clip in clips:
        head(clip.to(dtype)[None])
    return taps.rows()


def formulas(p: dict, sizes: dict, x: np.ndarray) -> dict[str, np.ndarray]:
    """Encoder output [T, D] → the head's stages, in f64."""
    x = plain.linear(p, "ctc_decoder.linear_2", np.maximum(plain.linear(p, "ctc_decoder.linear_1", x), 0))
    stages = {"ctc.projector": x}
    for i in range(sizes["layers"]):
        x = plain.sanm_layer(p, f"ctc_decoder.layers.{i}", x, sizes["heads"], sizes["layerNormEps"])
        stages[f"ctc.blocks.{i}"] = x
    return stages | {"ctc.logits": plain.linear(p, "ctc.ctc_lo", x)}


def build(seed: int, lengths: list[int], sizes: dict) -> Bundle:
    """One bundle. The input stands for a normalised encoder output: N(0, 1)."""
    sizes = SMALL | sizes
    sizes |= {"heads": 8, "intermediateSize": sizes["hiddenSize"] // 4, "layerNormEps": 1e-12, "blankId": sizes["vocabSize"] - 1}
    random = np.random.default_rng(seed)
    clips = [torch.from_numpy(random.standard_normal((rows, sizes["encoderSize"])).astype(np.float32)) for rows in lengths]
    head = make_head(sizes, seed)
    f32 = run(head, clips)
    with double_precision(head):
        f64 = run(head, clips)
    parameters = {canonical(name): value.detach().double().numpy() for name, value in head.named_parameters()}
    proof = packed([formulas(parameters, sizes, clip.double().numpy()) for clip in clips])
    return Bundle(
        kind="ctc",
        inputs={"encoder.output": torch.cat(clips), "input.segments": offsets(lengths)},
        f32=f32, f64=f64, plain=proof,
        metadata={"start": "encoder.output", "seed": seed, "ctc": sizes, "upstream": "funasr", "weights": "generator", "generator_seed": seed},
    )  # fmt: skip
