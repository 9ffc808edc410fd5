"""Speak the demo's domain for the miniature migration: clips, and JSONL of transcripts and
translations.

    python speech.py --work DIR [--train 8000] [--validation 200] [--test 300] [--processes 2] [--seed 21]

Clips go to DIR/wav as 16-bit WAV, 16 kHz, by the demo's own synthesis: training and validation with
its rates, gains, noise and share of silence; the test clips plain, of sentences that neither the
demo nor the text LLM ever saw, --test of each language. DIR gets:

    train-transcripts.jsonl  every training clip with what is said in it
    train-mixed.jsonl        the same clips, but of a share the answer is the translation, under a request to translate
    train-kept.jsonl         the clips of train-mixed.jsonl that are asked to be transcribed
    train-to-zh.jsonl        the others that are English, with their transcripts: for `data --answers`, which has an LLM translate them
    train-to-en.jsonl        the others that are Mandarin, likewise
    validation-*.jsonl, test-transcripts-{en,zh}.jsonl, test-translations-{en-zh,zh-en}.jsonl
"""

import argparse
import json
import random
import sys
import wave as wav
from multiprocessing import Pool
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent.parent / "demo" / "recipe"))

from domain import draw_pair  # noqa: E402
from frontend import SAMPLE_RATE, resample  # noqa: E402
from prompts import SPOKEN_NAME  # noqa: E402
from synthesize import sixteen_bits, utterance  # noqa: E402
from voices import read_wav, seen_voice, speak  # noqa: E402

WORDINGS = json.loads((HERE / "wordings.json").read_text("utf-8"))["speech"]
TRANSLATED_SHARE = 0.3
NAMED_SHARE = 2 / 3  # of the requests to transcribe, those that name the language
USUAL_SHARE = 3 / 4  # of the requests to translate, those in the first wording
SHARD = 250
OTHER = {"en": "zh", "zh": "en"}


def write_wav(path, samples):
    path.parent.mkdir(parents=True, exist_ok=True)
    with wav.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((sixteen_bits(samples) * 32768).astype("<i2").tobytes())


def test_utterance(rng, language):
    """A clip as plain as the demo's own test sets: a seen voice, no augmentation."""
    pair = draw_pair(rng, "test")
    voice = seen_voice(rng, language)
    return resample(*read_wav(speak(voice, pair[language == "zh"]))), {"language": language, "text": pair[language == "zh"]}, pair


def make_shard(task):
    """Clips of one shard, seeded by its name: [{audio, language, text, translation}]."""
    work, name, count, seed = task
    rng = random.Random(f"{seed}-{name}")
    random_state = np.random.default_rng([seed, *name.encode()])
    split, records = name.split("-")[0], []
    for i in range(count):
        samples, record, pair = (
            test_utterance(rng, name.split("-")[1]) if split == "test" else utterance(rng, random_state, split)
        )
        audio = f"wav/{name}/{i:04d}.wav"
        write_wav(Path(work, audio), samples)
        language = record["language"]
        records.append({"audio": audio, "language": language, "text": record["text"], "translation": pair[language == "en"]})
    return records


def transcript(record, rng=None):
    """A request to transcribe, naming the language, or with `rng` mostly."""
    named = f"成{SPOKEN_NAME[record['language']]}" if rng is None or rng.random() < NAMED_SHARE else ""
    return {"audio": record["audio"], "prompt": f"语音转写{named}：", "text": record["text"]}


def translation(record, rng=None):
    """A request to translate, in the usual wording, or with `rng` mostly."""
    usual, other = WORDINGS[OTHER[record["language"]]]
    prompt = usual if rng is None or rng.random() < USUAL_SHARE else other
    return {"audio": record["audio"], "prompt": prompt, "text": record["translation"], "transcript": record["text"]}


def write_lines(work, name, records):
    text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    Path(work, f"{name}.jsonl").write_text(text, "utf-8")
    print(f"{name}: {len(records)}", flush=True)


def write_training(work, records, seed):
    rng = random.Random(f"{seed}-requests")
    chosen = {record["audio"] for record in records if record["text"] and rng.random() < TRANSLATED_SHARE}
    translated = [record for record in records if record["audio"] in chosen]
    requests = {record["audio"]: transcript(record, rng) for record in records}
    write_lines(work, "train-transcripts", requests.values())
    write_lines(work, "train-kept", [line for audio, line in requests.items() if audio not in chosen])
    mixed = requests | {record["audio"]: translation(record, rng) for record in translated}
    write_lines(work, "train-mixed", mixed.values())
    for language in ("en", "zh"):
        write_lines(work, f"train-to-{OTHER[language]}", [transcript(r) for r in translated if r["language"] == language])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", required=True)
    parser.add_argument("--train", type=int, default=8000)
    parser.add_argument("--validation", type=int, default=200)
    parser.add_argument("--test", type=int, default=300, help="of each language")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=21)
    args = parser.parse_args()
    Path(args.work).mkdir(parents=True, exist_ok=True)
    sizes = {f"train-{start // SHARD:03d}": min(SHARD, args.train - start) for start in range(0, args.train, SHARD)}
    sizes |= {"validation-000": args.validation, "test-en": args.test, "test-zh": args.test}
    tasks = [(args.work, name, size, args.seed) for name, size in sizes.items()]
    with Pool(args.processes) as pool:
        made = dict(zip(sizes, pool.map(make_shard, tasks, chunksize=1)))
    write_training(args.work, [r for name, records in made.items() if name.startswith("train") for r in records], args.seed)
    held_out = made["validation-000"]
    write_lines(args.work, "validation-transcripts", map_list(transcript, held_out))
    write_lines(args.work, "validation-translations", map_list(translation, [r for r in held_out if r["text"]]))
    for language in ("en", "zh"):
        write_lines(args.work, f"test-transcripts-{language}", map_list(transcript, made[f"test-{language}"]))
        write_lines(args.work, f"test-translations-{language}-{OTHER[language]}", map_list(translation, made[f"test-{language}"]))


def map_list(make, records):
    return [make(record) for record in records]


if __name__ == "__main__":
    main()
