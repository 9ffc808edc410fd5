"""Seeded weights that need not be stored: every value is a function of the parameter's name, its
index and a seed.

All arithmetic is on unsigned 32-bit integers, and every value is exact in bfloat16, so that any
language reproduces the weights bit for bit. The formula and known values are in README.md.
"""

import math

import numpy as np

CHUNK = 1 << 22  # elements generated at a time: bounds the memory of the integer temporaries


def lowbias32(x: np.ndarray) -> np.ndarray:
    """Integer hash, u32 [n] → u32 [n], in place."""
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x7FEB352D)
    x ^= x >> np.uint32(15)
    x *= np.uint32(0x846CA68B)
    x ^= x >> np.uint32(16)
    return x


def fnv1a32(name: str) -> int:
    """FNV-1a hash of the UTF-8 bytes of a name."""
    value = 0x811C9DC5
    for byte in name.encode("utf-8"):
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


def _scale(name: str, k: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Turn k in [-128, 127], i32 [n], into the parameter's values, f32 [n]."""
    if len(shape) == 1 and name.endswith(".weight"):
        return (128 + (k >> 2)).astype(np.float32) / np.float32(128)
    odd = (2 * k + 1).astype(np.float32)
    if len(shape) == 1 and name.endswith(".bias"):
        return odd * np.float32(2.0**-13)
    exponent = round(math.log2(147.8 * math.sqrt(math.prod(shape[1:]))))
    return odd * np.float32(2.0**-exponent)


def parameter(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Values of one parameter, f32 of the given shape, row-major."""
    stream = lowbias32(np.array([fnv1a32(name) ^ seed], dtype=np.uint32))
    total = math.prod(shape)
    values = np.empty(total, dtype=np.float32)
    for start in range(0, total, CHUNK):
        index = np.arange(start, min(start + CHUNK, total), dtype=np.uint32)
        k = (lowbias32(index + stream) >> np.uint32(24)).astype(np.int32) - 128
        values[start : start + len(k)] = _scale(name, k, shape)
    return values.reshape(shape)
