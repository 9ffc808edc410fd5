"""Every frame's probability of silence by upstream's class, for recordings of any source.

    python golden/vad_frames.py --out DIR WAV...     16 kHz, mono, 16 bits
    npx funasr-webgpu verify DIR/*.safetensors

Writes a bundle for each recording, with the stage vad.silence alone, through the shipped net.
"""

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import argparse
from pathlib import Path

import torch

import pure_torchaudio  # noqa: F401  before anything imports torchaudio
from bundle import check, serialise, write
from cases.vad import build_frames, read_wave


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("recordings", nargs="+", type=Path, metavar="WAV")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    for path in options.recordings:
        name = f"vad-{path.stem}"
        bundle = build_frames(read_wave(path))
        [(stage, error)] = check(name, bundle).items()
        write(options.out / f"{name}.safetensors", serialise(name, bundle))
        print(f"{name}: {len(bundle.f64[stage])} frames, f32 error {error:.1e}")


if __name__ == "__main__":
    main()
