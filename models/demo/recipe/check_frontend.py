"""Print the largest difference between frontend.fbank and kaldi-native-fbank on noise, a quiet clip
and silence.
"""

import kaldi_native_fbank as knf
import numpy as np

from frontend import fbank


def kaldi(wave):
    options = knf.FbankOptions()
    options.frame_opts.dither = 0
    options.frame_opts.window_type = "hamming"
    options.frame_opts.samp_freq = 16000
    options.mel_opts.num_bins = 80
    bank = knf.OnlineFbank(options)
    bank.accept_waveform(16000, wave.tolist())
    bank.input_finished()
    return np.stack([bank.get_frame(i) for i in range(bank.num_frames_ready)])


if __name__ == "__main__":
    noise = np.random.default_rng(0).standard_normal(32000).astype(np.float32)
    for name, wave in {"noise": 0.1 * noise, "quiet": 1e-4 * noise, "silence": 0 * noise}.items():
        print(name, np.abs(kaldi(wave) - fbank(wave)).max())
