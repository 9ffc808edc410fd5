"""Seeded speech-like waveforms: voiced chirps with harmonics, noise bursts, pauses. No recordings.
"""

import numpy as np


def speech_like(seconds: float, rate: int, seed: int, level: float = 0.3) -> np.ndarray:
    """[n] float64 in [−1, 1]: syllables of 120 to 280 ms, voiced or fricative, with silent gaps and
    a faint noise floor.
    """
    random = np.random.default_rng(seed)
    n = round(seconds * rate)
    x = 3e-4 * random.standard_normal(n)
    start = int(0.02 * rate)
    while start < n:
        length = int(random.uniform(0.12, 0.28) * rate)
        t = np.arange(min(length, n - start)) / rate
        envelope = np.sin(np.pi * np.arange(len(t)) / length) ** 2
        if random.random() < 0.7:
            pitch = random.uniform(90, 240) * (1 + random.uniform(-0.6, 0.6) * t)
            phase = 2 * np.pi * np.cumsum(pitch) / rate
            gains = 1 / (1 + ((np.arange(1, 25) * 150 - random.uniform(300, 2500)) / 400) ** 2)
            harmonics = np.arange(1, 25) * pitch.max() < 0.45 * rate
            sound = sum(g * np.sin(h * phase) for h, g, ok in zip(range(1, 25), gains, harmonics, strict=True) if ok)
        else:
            sound = 0.5 * np.diff(random.standard_normal(len(t) + 1))
        x[start : start + len(t)] += level * envelope * sound
        start += length + int(random.choice([0.01, 0.03, 0.15]) * rate)
    return x / max(1.0, np.abs(x).max() / 0.95)


def quantise(x: np.ndarray, bits: int) -> np.ndarray:
    """What a PCM file of that many bits holds, as f32 (exact up to 24 bits)."""
    full = 2.0 ** (bits - 1)
    return (np.clip(np.round(x * full), -full, full - 1) / full).astype(np.float32)


def near_silence(samples: int, seed: int) -> np.ndarray:
    """[samples] f32: digital zero, ±1 and ±3 least-significant bits of 16, and one faint tone of 8
    bits' height.
    """
    random = np.random.default_rng(seed)
    x = np.zeros(samples)
    quarter = samples // 4
    x[quarter : 2 * quarter] = random.integers(-1, 2, quarter)
    x[2 * quarter : 3 * quarter] = random.integers(-3, 4, quarter)
    x[3 * quarter :] = np.round(8 * np.sin(2 * np.pi * 440 / 16000 * np.arange(samples - 3 * quarter)))
    return (x / 32768).astype(np.float32)
