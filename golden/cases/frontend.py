"""Front-end cases: waveform → (resampled) → log-mel energies → stacked frames."""

import numpy as np
import torch
from funasr.frontends.wav_frontend import WavFrontend, apply_lfr
from transformers import FunAsrNanoFeatureExtractor

import plain
from bundle import Bundle
from double import double_precision
from pure_torchaudio import torchaudio
from signals import near_silence, quantise, speech_like

RATE = 16000
FLOOR = np.log(2.0**-23)


def frontend_json(scale: int) -> dict:
    """The front-end part of a checkpoint's configuration."""
    return {
        "sampling_rate": RATE, "num_mel_bins": 80, "frame_length": 25, "frame_shift": 10, "num_frames_lfr": 7, "stride_lfr": 6,
        "window": "hamming", "waveform_scale": scale, "dither": 0,
    }  # fmt: skip


def upstream_fbank(wave: torch.Tensor, scale: int) -> torch.Tensor:
    """[n] → [frames, 80] in the dtype of the waveform. Scale 32768 is FunASR's WavFrontend, 1 is
    transformers'.
    """
    if scale == 32768:
        frontend = WavFrontend(fs=RATE, dither=0.0, lfr_m=1, lfr_n=1)
        return frontend(wave[None], torch.tensor([len(wave)]))[0][0]
    assert scale == 1
    return FunAsrNanoFeatureExtractor()._extract_fbank_features(wave)


def upstream_features(wave: torch.Tensor, scale: int) -> torch.Tensor:
    """[n] f32 → [T, 560] f32 by the whole upstream front-end."""
    if scale == 32768:
        frontend = WavFrontend(fs=RATE, dither=0.0, lfr_m=7, lfr_n=6)
        return frontend(wave[None], torch.tensor([len(wave)]))[0][0]
    return FunAsrNanoFeatureExtractor()(wave.numpy(), sampling_rate=RATE).input_features[0]


def stack(fbank: torch.Tensor) -> torch.Tensor:
    """[frames, 80] → [T, 560] in any dtype; FunASR's own apply_lfr ends in float32, and must pick
    the same frames.
    """
    stacked = FunAsrNanoFeatureExtractor()._apply_lfr(fbank)
    assert torch.equal(stacked.float(), apply_lfr(fbank, 7, 6))
    return stacked


def resample(source: torch.Tensor, rate: int) -> torch.Tensor:
    """[channels, n] at `rate` → [m] at 16 kHz: mean of the channels, then torchaudio's windowed
    sinc, as FunASR's loader does.

    The transform builds its kernel (all but the phases) in double and rounds it to float32 unless a
    dtype is given; at 22.05 kHz its error is 3e-6. `functional.resample` builds all of it in
    float32: 6e-6.
    """
    kernel = torch.float64 if source.dtype == torch.float64 else None
    return torchaudio.transforms.Resample(rate, RATE, dtype=kernel)(source.mean(0))


def run(source: torch.Tensor, rate: int | None, scale: int) -> dict[str, torch.Tensor]:
    """All stages in the dtype of the source; `rate` None: it is a 16 kHz waveform [n] already."""
    stages = {} if rate is None else {"frontend.resampled": resample(source, rate)}
    wave = stages.get("frontend.resampled", source)
    stages["frontend.fbank"] = upstream_fbank(wave, scale)
    stages["input.features"] = stack(stages["frontend.fbank"])
    if source.dtype == torch.float32:
        assert torch.equal(stages["input.features"], upstream_features(wave, scale))
    return stages


def run_plain(source: np.ndarray, rate: int | None, scale: int) -> dict[str, np.ndarray]:
    """The same stages from the formulas, float64."""
    stages = {} if rate is None else {"frontend.resampled": plain.resample(source.mean(0), rate, RATE)}
    stages["frontend.fbank"] = plain.fbank(stages.get("frontend.resampled", source) * scale)
    stages["input.features"] = plain.lfr(stages["frontend.fbank"])
    return stages


def compute(source: torch.Tensor, rate: int | None, scale: int) -> tuple[dict, dict, dict]:
    """Stages in f32, in f64 and from the formulas."""
    f32 = run(source, rate, scale)
    with double_precision():
        f64 = run(source.double(), rate, scale)
    return f32, f64, run_plain(source.double().numpy(), rate, scale)


def make_source(seed: int, seconds: float, rate: int | None, channels: int, bits: int) -> np.ndarray:
    """[channels, n] f32, channels different; [n] when `rate` is None."""
    clips = [quantise(speech_like(seconds, rate or RATE, seed + c), bits) for c in range(channels)]
    return clips[0] if rate is None else np.stack(clips)


def build(
    seed: int, seconds: float, scale: int, rate: int | None = None, channels: int = 1, bits: int = 16, silent: bool = False,
    stages: tuple[str, ...] = ("frontend.resampled", "frontend.fbank", "input.features"),
) -> Bundle:  # fmt: skip
    """One front-end bundle. `silent`: the near-silent signal; `stages`: which of them to keep (the
    long clip drops some).
    """
    samples = round(seconds * RATE)
    source = torch.from_numpy(near_silence(samples, seed) if silent else make_source(seed, seconds, rate, channels, bits))
    f32, f64, proof = compute(source, rate, scale)
    start = "input.waveform" if rate is None else "input.source"
    metadata = {"start": start, "seed": seed, "frontend": frontend_json(scale)} | ({"source_rate": rate} if rate else {})
    if silent:
        floored = float((f64["frontend.fbank"] == FLOOR).double().mean())
        assert floored > 0.2, f"the log floor should bite, it does in {floored:.0%} of the bins"
        metadata["floored_share"] = round(floored, 4)
    keep = lambda values: {stage: value for stage, value in values.items() if stage in stages}  # noqa: E731
    return Bundle(
        kind="frontend", inputs={start: source}, f32=keep(f32), f64=keep(f64), plain=keep(proof), metadata=metadata,
    )  # fmt: skip
