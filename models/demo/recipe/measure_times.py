"""Measure the times of words against espeak-ng's own events.

    python measure_times.py --work DIR [--count 120] [--seed 11] [--voices seen|unseen]

Speaks --count sentences of the test split in each language, transcribes them with this package
(npm run build first) and compares the start of each word with that of espeak-ng's event for it.
Words without an event of their own ("the" in "in the", which espeak speaks as one) and words that
were not recognised are left out and counted.
"""

import argparse
import difflib
import json
import random
import subprocess
from pathlib import Path

import numpy as np

from ctc_data import changed
from domain import draw_pair
from espeak_events import Speaker
from evaluate import write_wav
from model import MODEL_DIR
from voices import SEEN_VARIANTS, espeak_voice, unseen_voice

COMMAND = ["node", str(MODEL_DIR.parents[1] / "bin" / "funasr-webgpu.js"), "transcribe", "--word-times", "--json", "--batch", "8"]
NAMES = {"en": "English", "zh": "Mandarin"}


def written_words(text):
    """(word, its place in the text): words of English, characters of Chinese."""
    words, place = [], 0
    for part in text.split(" "):
        words += [(part, place)] if part.isascii() else [(c, place + i) for i, c in enumerate(part)]
        place += len(part) + 1
    return words


def speak_all(work, language, args):
    """Audio files, and for each [(word, start in seconds or None)]."""
    speaker, rng = Speaker(), random.Random(f"times-{args.seed}-{args.voices}-{language}")
    random_state = np.random.default_rng([args.seed, len(args.voices), len(language)])
    spoken, seen = {}, set()
    while len(spoken) < args.count:
        text = draw_pair(rng, "test")[language == "zh"]
        if text in seen:
            continue
        seen.add(text)
        voice = espeak_voice(rng, language, SEEN_VARIANTS) if args.voices == "seen" else unseen_voice(rng, language)
        wave, rate, starts = speaker.speak(voice, text)
        events = [[start, start, place, place] for place, start in starts.items()]
        wave, moved = changed(random_state, wave, rate, events)
        at = {place: start for start, _, place, _ in moved}
        path = str(Path(work, f"times-{args.voices}-{language}-{len(spoken):04d}.wav"))
        write_wav(path, wave)
        spoken[path] = [(word, at.get(place)) for word, place in written_words(text)]
    return spoken


def transcripts(paths, language):
    """{path: its line of JSON}"""
    command = [*COMMAND, "--language", language, *paths]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    return {line["file"]: line for line in map(json.loads, out.splitlines())}


def errors(reference, words):
    """(|error| in milliseconds of each word with an event that was recognised, words left out)."""
    matcher = difflib.SequenceMatcher(None, [w for w, _ in reference], [w["text"] for w in words], autojunk=False)
    found = []
    for a, b, size in matcher.get_matching_blocks():
        pairs = zip(reference[a : a + size], words[b : b + size])
        found += [1000 * abs(word["start"] - start) for (_, start), word in pairs if start is not None]
    return found, len(reference) - len(found)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", default=str(MODEL_DIR / "work"))
    parser.add_argument("--count", type=int, default=120)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--voices", choices=["seen", "unseen"], default="seen")
    args = parser.parse_args()
    Path(args.work).mkdir(parents=True, exist_ok=True)
    every = []
    for language in ("en", "zh"):
        spoken = speak_all(args.work, language, args)
        lines = transcripts(list(spoken), language)
        results = [errors(reference, lines[path].get("words", [])) for path, reference in spoken.items()]
        own = [e for found, _ in results for e in found]
        every += own
        report(f"{NAMES[language]}, {args.voices} voices, {len(spoken)} sentences", own, sum(out for _, out in results))
    report("both", every, None)


def report(name, values, left_out):
    median, late = np.percentile(values, [50, 95])
    beside = "" if left_out is None else f", {left_out} left out"
    print(f"{name}: {len(values)} words{beside}: median {median:.0f} ms, 95 % within {late:.0f} ms", flush=True)


if __name__ == "__main__":
    main()
