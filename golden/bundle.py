"""Checks and writes a bundle: the last step of every case."""

import hashlib
import json
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save

MAX_F32_ERROR = 1e-4  # above this, PyTorch's own f32 is no yardstick for a port
MAX_PLAIN_ERROR = 1e-12  # f64 run of the upstream class against the numpy formulas; f32 anywhere gives about 1e-8
GRADIENT_FLOOR = 1e-2  # of the RMS over all gradients of a case
MAX_FILE_BYTES = 10 * 2**20


@dataclass
class Bundle:
    """One case: exact inputs, stages in f32 (upstream as it is), the same in f64, and in f64 from
    the formulas.
    """

    kind: str
    inputs: dict[str, torch.Tensor]
    f32: dict[str, torch.Tensor]
    f64: dict[str, torch.Tensor]
    plain: dict[str, np.ndarray]
    metadata: dict[str, object]
    weights: dict[str, torch.Tensor] = field(default_factory=dict)


def relative_rms(got: np.ndarray, want: np.ndarray, floor: float = 0.0) -> float:
    """RMS of got − want over that of want (at least `floor`), in double."""
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    return float(np.sqrt(((got - want) ** 2).mean()) / max(np.sqrt((want**2).mean()), floor))


def gradient_floor(bundle: Bundle) -> float:
    """What a gradient's error is measured against at least: some gradients are 0 by symmetry
    (softmax does not see k_proj's bias).
    """
    gradients = [value.numpy().ravel() for stage, value in bundle.f64.items() if stage.startswith("grad.")]
    return GRADIENT_FLOOR * float(np.sqrt((np.concatenate(gradients) ** 2).mean())) if gradients else 0.0


def check(name: str, bundle: Bundle) -> dict[str, float]:
    """Refuse a bundle whose f64 is not double or whose f32 is off. Returns stage → relative RMS
    error of f32.
    """
    errors = {}
    floor = gradient_floor(bundle)
    if not (set(bundle.f32) == set(bundle.f64) == set(bundle.plain)):
        raise SystemExit(f"{name}: stages differ: {set(bundle.f32) ^ set(bundle.f64) | set(bundle.f64) ^ set(bundle.plain)}")
    for stage, f64 in bundle.f64.items():
        f32, plain = bundle.f32[stage], bundle.plain[stage]
        if f32.dtype != torch.float32 or f64.dtype != torch.float64 or f32.shape != f64.shape or tuple(f64.shape) != plain.shape:
            raise SystemExit(f"{name}: {stage}: f32 {f32.dtype} {tuple(f32.shape)}, f64 {f64.dtype} {tuple(f64.shape)}, plain {plain.shape}")
        if not (torch.isfinite(f32).all() and torch.isfinite(f64).all()):
            raise SystemExit(f"{name}: {stage}: not finite")
        least = floor if stage.startswith("grad.") else 0.0
        errors[stage] = relative_rms(f32.numpy(), f64.numpy(), least)
        proof = relative_rms(plain, f64.numpy(), least)
        if not errors[stage] <= MAX_F32_ERROR:
            raise SystemExit(f"{name}: {stage}: f32 is {errors[stage]:.1e} from f64, at most {MAX_F32_ERROR:.0e} allowed")
        if not proof <= MAX_PLAIN_ERROR:
            raise SystemExit(f"{name}: {stage}: f64 is {proof:.1e} from the formulas, at most {MAX_PLAIN_ERROR:.0e} allowed")
    return errors


def metadata_strings(name: str, bundle: Bundle) -> dict[str, str]:
    """The `__metadata__` map: every value a string, JSON for what is not one."""
    common = {"case": name, "kind": bundle.kind, "torch": torch.__version__.split("+")[0], "transformers": version("transformers")}
    merged = common | bundle.metadata
    return {k: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False, sort_keys=True) for k, v in merged.items()}


def serialise(name: str, bundle: Bundle) -> bytes:
    """Safetensors bytes with sorted metadata (the library writes its metadata map in random order).
    """
    tensors = dict(bundle.inputs)
    tensors |= bundle.f32
    tensors |= {f"f64.{stage}": value for stage, value in bundle.f64.items()}
    tensors |= {f"weights.{parameter}": value for parameter, value in bundle.weights.items()}
    raw = save({key: value.contiguous() for key, value in tensors.items()})
    length = int.from_bytes(raw[:8], "little")
    header = {"__metadata__": dict(sorted(metadata_strings(name, bundle).items()))} | json.loads(raw[8 : 8 + length])
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + raw[8 + length :]


def write(path: Path, data: bytes) -> None:
    """Write a bundle and read it back."""
    if len(data) > MAX_FILE_BYTES:
        raise SystemExit(f"{path.name}: {len(data)} bytes, at most {MAX_FILE_BYTES} allowed")
    path.write_bytes(data)
    if path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as file:
            assert file.metadata()["case"] == path.stem and file.keys()


def manifest_entry(name: str, file: str, kind: str, description: str, data: bytes) -> dict:
    """One row of manifest.json."""
    return {
        "name": name,
        "file": file,
        "kind": kind,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "description": description,
    }
