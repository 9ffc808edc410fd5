"""The front-end, by its definition in numpy float64: windowed-sinc resampling, Kaldi filter bank,
low frame rate.

Kaldi options: 25/10 ms, snip edges, no dither, mean removed per frame, pre-emphasis 0.97, Hamming
window, 512-point power spectrum, 80 mel triangles from 20 to 8000 Hz, natural log with floor
FLT_EPSILON; the waveform is in [-1, 1].
"""

import math
from functools import lru_cache

import numpy as np

SAMPLE_RATE = 16000
FRAME, SHIFT, FFT, MELS = 400, 160, 512, 80
LOG_FLOOR = math.log(1.1920928955078125e-07)
LFR_M, LFR_N = 7, 6


@lru_cache(maxsize=32)
def sinc_kernel(source, target, lowpass_filter_width=6, rolloff=0.99):
    """Polyphase kernel [target, 2 * width + source] of the Hann-windowed sinc; rates already
    divided by their gcd.
    """
    cutoff = min(source, target) * rolloff
    width = math.ceil(lowpass_filter_width * source / cutoff)
    offsets = np.arange(-width, width + source)[None, :] / source
    t = (np.arange(0, -target, -1)[:, None] / target + offsets) * cutoff
    t = np.clip(t, -lowpass_filter_width, lowpass_filter_width)
    window = np.cos(t * math.pi / lowpass_filter_width / 2) ** 2
    return np.sinc(t) * window * (cutoff / source), width


def resample(wave, source_rate, target_rate=SAMPLE_RATE):
    """Windowed-sinc resampling (low-pass width 6, roll-off 0.99, Hann), the length rounded up."""
    divisor = math.gcd(source_rate, target_rate)
    source, target = source_rate // divisor, target_rate // divisor
    if source == target:
        return wave
    kernel, width = sinc_kernel(source, target)
    padded = np.pad(wave, (width, width + source))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[1])[::source]
    return (windows @ kernel.T).reshape(-1)[: math.ceil(target * len(wave) / source)]


@lru_cache(maxsize=1)
def mel_filters():
    """[257, 80] triangles, linear in mel = 1127 ln(1 + f / 700); the Nyquist bin has no weight."""
    mel = lambda hertz: 1127.0 * np.log(1.0 + hertz / 700.0)
    low, high = mel(20.0), mel(SAMPLE_RATE / 2)
    step = (high - low) / (MELS + 1)
    left = low + np.arange(MELS)[None, :] * step
    bins = mel(SAMPLE_RATE / FFT * np.arange(FFT // 2))[:, None]
    triangles = np.maximum(0.0, np.minimum((bins - left) / step, (left + 2 * step - bins) / step))
    return np.concatenate([triangles, np.zeros((1, MELS))])


def fbank(wave):
    """Log mel energies [frames, 80] of a 16 kHz waveform at unit scale."""
    frames = np.lib.stride_tricks.sliding_window_view(np.asarray(wave, np.float64), FRAME)[::SHIFT]
    frames = frames - frames.mean(1, keepdims=True)
    previous = np.concatenate([frames[:, :1], frames[:, :-1]], 1)
    window = 0.54 - 0.46 * np.cos(2 * math.pi * np.arange(FRAME) / (FRAME - 1))
    power = np.abs(np.fft.rfft((frames - 0.97 * previous) * window, FFT)) ** 2
    return np.log(np.maximum(power @ mel_filters(), np.exp(LOG_FLOOR)))


def low_frame_rate(features):
    """[frames, 80] to [ceil(frames / 6), 560]: the first frame three times before, the last
    repeated after.
    """
    count = -(-len(features) // LFR_N)
    index = np.arange(count)[:, None] * LFR_N + np.arange(LFR_M)[None, :] - (LFR_M - 1) // 2
    return features[np.clip(index, 0, len(features) - 1)].reshape(count, -1)
