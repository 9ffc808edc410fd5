"""Make the ten clips that ship with the checkpoint, by a rule fixed before any was transcribed.

    python make_clips.py [--out DIR] [--seed 11]

For each of (English, Mandarin) x (seen voices, unseen people) utterances of test sentences are
drawn by the seed, those of 2 to 8 seconds are taken in the order drawn, no sentence twice: three of
each seen set, two of each unseen set. The files are espeak's own 22.05 kHz WAV, but in each set the
second is 16 kHz WAV, and four are re-coded to show the formats.
"""

import argparse
import json
import random
import subprocess
from pathlib import Path

from domain import draw_pair
from evaluate import VOICES
from frontend import SAMPLE_RATE
from model import MODEL_DIR
from voices import read_wav, speak

SETS = [("en", "seen", 3), ("zh", "seen", 3), ("en", "unseen", 2), ("zh", "unseen", 2)]
FORMATS = {("en", "seen", 2): "flac", ("zh", "seen", 2): "mp3", ("en", "unseen", 1): "ogg", ("zh", "unseen", 1): "m4a"}


def utterances(language, voices, count, seed, used):
    """The first `count` drawn utterances of 2 to 8 s whose sentence is not used yet: (text, voice,
    WAV bytes).
    """
    rng, found = random.Random(f"{seed}-{voices}-{language}"), []
    while len(found) < count:
        text, voice = draw_pair(rng, "test")[language == "zh"], VOICES[voices](rng, language)
        data = speak(voice, text)
        samples, rate = read_wav(data)
        if 2 <= len(samples) / rate <= 8 and text not in used:
            used.add(text)
            found.append((text, voice, data))
    return found


def encode(data, path, rate=None):
    """WAV bytes to the format of the path's ending; exact for wav and flac unless resampled."""
    options = ["-ar", str(rate)] if rate else []
    command = ["ffmpeg", "-loglevel", "error", "-y", "-i", "-", "-map_metadata", "-1", "-fflags", "+bitexact", "-flags:a", "+bitexact"]
    subprocess.run([*command, *options, str(path)], input=data, check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default=str(MODEL_DIR / "clips"))
    parser.add_argument("--seed", type=int, default=11)
    args = parser.parse_args()
    out, lines, used = Path(args.out), [], set()
    out.mkdir(parents=True, exist_ok=True)
    for language, voices, count in SETS:
        for i, (text, voice, data) in enumerate(utterances(language, voices, count, args.seed, used)):
            ending = FORMATS.get((language, voices, i), "wav")
            name = f"{language}-{voices}-{i + 1}.{ending}"
            encode(data, out / name, SAMPLE_RATE if i == 1 and ending == "wav" else None)
            lines.append({"audio": name, "text": text, "language": language,
                          "voice": " ".join(str(v) for v in voice.values()), "seen": voices == "seen"})
    (out / "clips.jsonl").write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), "utf-8")


if __name__ == "__main__":
    main()
