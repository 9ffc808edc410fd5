"""Sentences of the test split in noise, for `funasr-webgpu evaluate --agreement`.

    python noisy.py --work DIR [--count 100] [--seed 13]

Writes DIR/noisy/*.wav and DIR/noisy.jsonl: --count sentences in each language by seen voices, with
coloured noise 10 dB above to 15 dB below the speech, so that a part of the answers is wrong.
"""

import argparse
import json
import random
from pathlib import Path

import numpy as np

from domain import draw_pair
from espeak_events import Speaker
from evaluate import write_wav
from frontend import resample
from model import MODEL_DIR
from prompts import SPOKEN_NAME
from synthesize import coloured_noise
from voices import SEEN_VARIANTS, espeak_voice


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", default=str(MODEL_DIR / "work"))
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=13)
    args = parser.parse_args()
    Path(args.work, "noisy").mkdir(parents=True, exist_ok=True)
    speaker, rng, random_state = Speaker(), random.Random(f"noisy-{args.seed}"), np.random.default_rng(args.seed)
    rows = []
    for language in ("en", "zh"):
        for i in range(args.count):
            text = draw_pair(rng, "test")[language == "zh"]
            wave, rate, _ = speaker.speak(espeak_voice(rng, language, SEEN_VARIANTS), text)
            wave = resample(wave, rate)
            level = np.sqrt(np.mean(wave**2)) * 10 ** (-random_state.uniform(-10, 15) / 20)
            audio = f"noisy/{language}-{i:04d}.wav"
            write_wav(Path(args.work, audio), np.clip(wave + level * coloured_noise(random_state, len(wave)), -1, 1))
            rows.append({"audio": audio, "text": text, "prompt": f"语音转写成{SPOKEN_NAME[language]}："})
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    Path(args.work, "noisy.jsonl").write_text(lines, "utf-8")
    print(f"{Path(args.work, 'noisy.jsonl')}: {len(rows)} utterances")


if __name__ == "__main__":
    main()
