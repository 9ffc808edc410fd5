"""Voice activity cases: waveform or features → every stage of FunASR's FSMN, and how probable
silence is in each frame.
"""

import json
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from funasr.frontends.wav_frontend import apply_cmvn, apply_lfr
from funasr.models.fsmn_vad_streaming.encoder import FSMN
from safetensors.torch import load_file

import plain
from bundle import Bundle
from cases.encoder import make_features, offsets, packed
from cases.frontend import RATE, frontend_json, upstream_fbank
from double import double_precision
from signals import quantise
from taps import Taps

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "models/vad"
SMALL = {
    "frontend_conf": {"fs": 16000, "window": "hamming", "n_mels": 4, "frame_length": 25, "frame_shift": 10, "lfr_m": 3, "lfr_n": 1},
    "encoder_conf": {
        "input_dim": 12, "input_affine_dim": 21, "fsmn_layers": 3, "linear_dim": 30, "proj_dim": 13, "lorder": 7, "rorder": 0,
        "lstride": 1, "rstride": 0, "output_affine_dim": 19, "output_dim": 11,
    },
}  # fmt: skip


def make_net(sizes: dict, weights: dict[str, torch.Tensor]) -> FSMN:
    """Upstream's class with these weights, named as in a bundle."""
    net = FSMN(**sizes)
    net.load_state_dict({name.removeprefix("encoder."): value for name, value in weights.items() if name.startswith("encoder.")})
    return net.eval()


def random_weights(sizes: dict, seed: int) -> dict[str, torch.Tensor]:
    """Seeded weights under which activations keep their size, and the two vectors of am.mvn."""
    random = np.random.default_rng(seed)
    weights = {"cmvn.shift": 6 + random.standard_normal(sizes["input_dim"]), "cmvn.scale": random.uniform(0.2, 0.6, sizes["input_dim"])}
    for name, value in FSMN(**sizes).state_dict().items():
        spread = np.sqrt(2 / max(1, np.prod(value.shape[1:]))) if value.ndim > 1 else 0.3
        weights[f"encoder.{name}"] = spread * random.standard_normal(tuple(value.shape))
    return {name: torch.from_numpy(np.asarray(value, np.float32)) for name, value in weights.items()}


@torch.no_grad()
def run_net(net: FSMN, clips: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    """Each clip of features alone through upstream's class, in the dtype of its weights."""
    dtype = next(net.parameters()).dtype
    taps = Taps(dtype)
    taps.output("vad.in_linear1", net.in_linear1)
    taps.output("vad.in_linear2", net.relu)
    for i, block in enumerate(net.fsmn):
        taps.output(f"vad.blocks.{i}.memory", block.fsmn_block)
        taps.output(f"vad.blocks.{i}.output", block.relu)
    taps.output("vad.out_linear1", net.out_linear1)
    taps.output("vad.out_linear2", net.out_linear2)
    taps.output("vad.silence", net.softmax)
    for clip in clips:
        net(clip.to(dtype)[None])
    stages = taps.rows()
    stages["vad.silence"] = stages["vad.silence"][:, :1]
    return stages


def plain_net(weights: dict[str, np.ndarray], sizes: dict, x: np.ndarray) -> dict[str, np.ndarray]:
    """The same stages from the formulas, float64."""
    layer = lambda name, value: plain.linear(weights, f"encoder.{name}.linear", value)  # noqa: E731
    stages = {"vad.in_linear1": layer("in_linear1", x)}
    stages["vad.in_linear2"] = h = np.maximum(layer("in_linear2", stages["vad.in_linear1"]), 0)
    for i in range(sizes["fsmn_layers"]):
        taps = weights[f"encoder.fsmn.{i}.fsmn_block.conv_left.weight"][..., 0]
        memory = plain.fsmn(layer(f"fsmn.{i}.linear", h), taps, left=sizes["lorder"] - 1)
        h = np.maximum(layer(f"fsmn.{i}.affine", memory), 0)
        stages |= {f"vad.blocks.{i}.memory": memory, f"vad.blocks.{i}.output": h}
    stages["vad.out_linear1"] = layer("out_linear1", h)
    stages["vad.out_linear2"] = logits = layer("out_linear2", stages["vad.out_linear1"])
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    stages["vad.silence"] = (exponentials / exponentials.sum(-1, keepdims=True))[:, :1]
    return stages


def doubles(weights: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return {name: value.double().numpy() for name, value in weights.items()}


def build_packed(seed: int, lengths: list[int]) -> Bundle:
    """Clips of features through a small net of odd widths, random weights."""
    sizes = SMALL["encoder_conf"]
    weights = random_weights(sizes, seed)
    clips = make_features(lengths, sizes["input_dim"], seed)
    net = make_net(sizes, weights)
    f32 = run_net(net, clips)
    with double_precision(net):
        f64 = run_net(net, clips)
    proof = packed([plain_net(doubles(weights), sizes, clip.double().numpy()) for clip in clips])
    return Bundle(
        kind="vad", inputs={"input.features": torch.cat(clips), "input.segments": offsets(lengths)},
        f32=f32, f64=f64, plain=proof, weights=weights,
        metadata={"start": "input.features", "seed": seed, "config": SMALL, "upstream": "funasr", "weights": "bundle"},
    )  # fmt: skip


def read_wave(path: Path, begin: float = 0, seconds: float | None = None) -> np.ndarray:
    """[n] of a part of a recording, at 16 kHz in the range [−1, 1]."""
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getsampwidth(), file.getnchannels()) == (RATE, 2, 1), f"{path}: not 16 kHz, 16 bits, mono"
        file.setpos(round(begin * RATE))
        count = file.getnframes() if seconds is None else round(seconds * RATE)
        return np.frombuffer(file.readframes(count), "<i2") / 32768


def make_waveform(clip: str, begin: float, speech: float, noise: float, seed: int) -> np.ndarray:
    """[n]: a part of a committed clip of synthetic speech, then faint noise."""
    voice = read_wave(ROOT / "models/demo/clips" / clip, begin, speech)
    hiss = 0.01 * np.random.default_rng(seed).standard_normal(round(noise * RATE))
    return quantise(np.concatenate([voice, hiss]), 16)


def features(waveform: torch.Tensor, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """FunASR's front-end in the dtype of the waveform. Its own stacking and normalisation end in
    float32; in that dtype they must give the same bits.
    """
    fbank = upstream_fbank(waveform, 32768)
    rows = torch.arange(len(fbank))[:, None] + torch.arange(-2, 3)
    stacked = fbank[rows.clamp(0, len(fbank) - 1)].flatten(1)
    shift, scale = (weights[name].to(waveform.dtype) for name in ("cmvn.shift", "cmvn.scale"))
    moved = (stacked + shift) * scale
    if waveform.dtype == torch.float32:
        assert torch.equal(moved, apply_cmvn(apply_lfr(fbank, 5, 1), torch.stack([shift, scale])))
    return {"frontend.fbank": fbank, "input.features": moved}


def through_shipped(samples: np.ndarray) -> Bundle:
    """A waveform through the whole of the shipped net."""
    config = json.loads((SHIPPED / "config.json").read_text())
    sizes = config["encoder_conf"]
    weights = load_file(SHIPPED / "model.safetensors")
    waveform = torch.from_numpy(samples.astype(np.float32))
    net = make_net(sizes, weights)
    made = features(waveform, weights)
    f32 = made | run_net(net, [made["input.features"]])
    with double_precision(net):
        made = features(waveform.double(), weights)
        f64 = made | run_net(net, [made["input.features"]])
    fbank = plain.fbank(waveform.double().numpy() * 32768)
    rows = np.arange(len(fbank))[:, None] + np.arange(-2, 3)
    p = doubles(weights)
    moved = (fbank[rows.clip(0, len(fbank) - 1)].reshape(len(fbank), -1) + p["cmvn.shift"]) * p["cmvn.scale"]
    proof = {"frontend.fbank": fbank, "input.features": moved} | plain_net(p, sizes, moved)
    frontend = frontend_json(32768) | {"num_frames_lfr": 5, "stride_lfr": 1}
    return Bundle(
        kind="vad", inputs={"input.waveform": waveform}, f32=f32, f64=f64, plain=proof, weights=weights,
        metadata={"start": "input.waveform", "config": config, "frontend": frontend, "upstream": "funasr", "weights": "bundle"},
    )  # fmt: skip


def build_shipped(seed: int, **signal) -> Bundle:
    """Every stage of a short waveform."""
    bundle = through_shipped(make_waveform(seed=seed, **signal))
    return replace(bundle, metadata=bundle.metadata | {"seed": seed})


def build_frames(samples: np.ndarray) -> Bundle:
    """Every frame's probability, of a recording of any length."""
    bundle = through_shipped(samples)
    only = lambda stages: {"vad.silence": stages["vad.silence"]}  # noqa: E731
    return replace(bundle, f32=only(bundle.f32), f64=only(bundle.f64), plain=only(bundle.plain))
