"""Measure the demo checkpoint: greedy transcripts of test sentences, character and word error
rates.

    python evaluate.py [--model DIR] [--work DIR] [--count 400] [--seed 7] [--wav | --wav-only]

Test sets, each of --count utterances of test-split sentences without augmentation, drawn by the
seed alone: English and Mandarin by seen voices, by unseen people and by unseen effects (see
voices.py), and a fifth as many of silence and of noise; with --clips also the ten clips beside the
checkpoint. The manifest with every reference, voice and hypothesis goes to DIR/test.jsonl, which is
all that is needed to synthesise the same set again; --wav also writes the audio there, and
DIR/test-{seen,unseen,effects}.jsonl, which name the language in their prompts and are what
`funasr-webgpu evaluate --data` reads; --wav-only writes those and stops.
"""

import argparse
import json
import random
import unicodedata
from pathlib import Path

import numpy as np
import torch

from data import Collator
from domain import draw_pair
from frontend import SAMPLE_RATE, fbank, low_frame_rate, resample
from model import MODEL_DIR, load_model, load_tokenizer
from prompts import SPOKEN_NAME, transcription
from synthesize import empty_utterance
from voices import UNSEEN_EFFECTS, UNSEEN_PEOPLE, read_wav, run, seen_voice, speak, unseen_voice

VOICES = {
    "seen": seen_voice,
    "unseen": lambda rng, language: unseen_voice(rng, language, UNSEEN_PEOPLE),
    "effects": lambda rng, language: unseen_voice(rng, language, UNSEEN_EFFECTS),
}

HOTWORDS = {"en": ["coffee maker", "garage", "jazz"], "zh": ["咖啡机", "车库", "爵士乐"]}
REQUESTS = {
    "hypothesis": ("language named in the prompt", lambda language: (transcription(SPOKEN_NAME[language]), True)),
    "withoutLanguage": ("language not named", lambda language: (transcription(), True)),
    "withoutItn": ("language named, no text normalisation", lambda language: (transcription(SPOKEN_NAME[language]), False)),
    "withHotwords": ("language named, three hotwords", lambda language: (transcription(SPOKEN_NAME[language], None, HOTWORDS[language]), True)),
}


def canonical(text):
    """Upper case, word characters and CJK only."""
    return "".join(c for c in text.upper() if unicodedata.category(c)[0] in "LN")


def edit_distance(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            previous, row[j] = row[j], min(previous + (x != y), row[j] + 1, row[j - 1] + 1)
    return row[-1]


def test_utterances(count, seed):
    """Manifest lines without hypotheses."""
    lines = []
    for voices, draw in VOICES.items():
        for language in ("en", "zh"):
            rng = random.Random(f"{seed}-{voices}-{language}")
            for i in range(count):
                text = draw_pair(rng, "test")[language == "zh"]
                lines.append({"id": f"{voices}-{language}-{i:04d}", "set": f"{voices}-{language}", "language": language,
                              "text": text, "voice": draw(rng, language)})
    for kind in ("silence", "noise"):
        for i in range(count // 5):
            lines.append({"id": f"{kind}-{i:04d}", "set": kind, "language": ["en", "zh"][i % 2], "text": "", "voice": None})
    return lines


def waveform(line, seed):
    """The line's 16 kHz waveform."""
    if line["voice"]:
        return resample(*read_wav(speak(line["voice"], line["text"])))
    random_state = np.random.default_rng([seed, int(line["id"][-4:])])
    if line["set"] == "silence":
        return np.zeros(int(random_state.uniform(0.5, 8.0) * SAMPLE_RATE))
    while not (wave := empty_utterance(random_state)).any():
        pass
    return wave


@torch.no_grad()
def transcribe(model, tokenizer, collate, features, requests):
    """Greedy transcripts of a batch of (content, itn) requests: prompts padded on the left,
    features on the right.
    """
    prompts = [collate.prompt_ids(content, itn, len(f)) for (content, itn), f in zip(requests, features)]
    length, frames = max(map(len, prompts)), max(map(len, features))
    ids = torch.tensor([[collate.stop_id] * (length - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (length - len(p)) + [1] * len(p) for p in prompts])
    x = torch.stack([torch.nn.functional.pad(torch.from_numpy(f).float(), (0, 0, 0, frames - len(f))) for f in features])
    x_mask = torch.tensor([[1] * len(f) + [0] * (frames - len(f)) for f in features])
    out = model.generate(input_ids=ids, attention_mask=mask, input_features=x, input_features_mask=x_mask, max_new_tokens=48)
    return [tokenizer.decode(row[length:].tolist(), skip_special_tokens=True) for row in out]


def transcribe_all(model, tokenizer, lines, features, request, size=25):
    """A transcript for each line, batched by length; `request(language)` gives its prompt."""
    collate = Collator(tokenizer, {})
    order, texts = sorted(range(len(lines)), key=lambda i: len(features[i])), [None] * len(lines)
    for start in range(0, len(order), size):
        batch = order[start : start + size]
        requests = [request(lines[i]["language"]) for i in batch]
        for i, text in zip(batch, transcribe(model, tokenizer, collate, [features[i] for i in batch], requests)):
            texts[i] = text
    return texts


def score(lines, key):
    """{set: {utterances, cer, wer, exact}} by micro average; for empty references the share with
    any text.
    """
    table = {}
    for name in dict.fromkeys(line["set"] for line in lines):
        rows = [(line["text"], line[key]) for line in lines if line["set"] == name]
        if not any(reference for reference, _ in rows):
            table[name] = {"utterances": len(rows), "falseText": sum(bool(h.strip()) for _, h in rows) / len(rows)}
            continue
        cer = sum(edit_distance(canonical(r), canonical(h)) for r, h in rows) / sum(len(canonical(r)) for r, _ in rows)
        table[name] = {"utterances": len(rows), "cer": cer, "exact": sum(r == h for r, h in rows) / len(rows)}
        if name.endswith("en"):
            words = sum(len(r.split()) for r, _ in rows)
            table[name]["wer"] = sum(edit_distance(r.split(), h.split()) for r, h in rows) / words
    return table


def show(title, table):
    print(title)
    for name, row in table.items():
        print(f"  {name:12}", "  ".join(f"{k} {v}" if isinstance(v, int) else f"{k} {100 * v:.2f} %" for k, v in row.items()), flush=True)


def clip_lines():
    """The shipped clips as manifest lines, and their features."""
    import soundfile

    lines = [json.loads(line) for line in (MODEL_DIR / "clips" / "clips.jsonl").read_text("utf-8").splitlines()]
    features = []
    for line in lines:
        line["set"] = f"clips-{line['language']}"
        path = str(MODEL_DIR / "clips" / line["audio"])
        if path.endswith(".m4a"):  # soundfile reads no AAC
            wave, rate = read_wav(run(["ffmpeg", "-loglevel", "error", "-i", path, "-f", "wav", "-"]))
        else:
            wave, rate = soundfile.read(path, dtype="float64")
        features.append(low_frame_rate(fbank(resample(wave, rate))))
    return lines, features


def write_audio(work, lines, waves):
    """The audio of all lines, and a JSONL of {audio, text, prompt} for each kind of voices."""
    for line, wave in zip(lines, waves):
        line["audio"] = f"test/{line['id']}.wav"
        write_wav(Path(work, line["audio"]), wave)
    for voices in VOICES:
        own = [line for line in lines if line["set"].startswith(voices)]
        prompts = [f"语音转写成{SPOKEN_NAME[line['language']]}：" for line in own]
        rows = [{"audio": line["audio"], "text": line["text"], "prompt": prompt} for line, prompt in zip(own, prompts)]
        Path(work, f"test-{voices}.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")


def write_wav(path, wave):
    """Floats, so that what is measured on the files is what is measured here: 16 bits change 2 of
    800 transcripts.
    """
    import soundfile

    soundfile.write(path, wave, SAMPLE_RATE, subtype="FLOAT")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(MODEL_DIR))
    parser.add_argument("--work", default=str(MODEL_DIR / "work"))
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--wav", action="store_true")
    parser.add_argument("--wav-only", action="store_true")
    parser.add_argument("--clips", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    out = Path(args.work, "test")
    out.mkdir(parents=True, exist_ok=True)
    lines = test_utterances(args.count, args.seed)
    waves = [waveform(line, args.seed) for line in lines]
    if args.wav or args.wav_only:
        write_audio(args.work, lines, waves)
    if args.wav_only:
        return
    model, tokenizer = load_model(args.model), load_tokenizer(args.model)
    features = [low_frame_rate(fbank(wave)) for wave in waves]
    for key, (title, request) in REQUESTS.items():
        for line, text in zip(lines, transcribe_all(model, tokenizer, lines, features, request)):
            line[key] = text
        show(title, score(lines, key))
    if args.clips:
        clips, clip_features = clip_lines()
        for line, text in zip(clips, transcribe_all(model, tokenizer, clips, clip_features, REQUESTS["hypothesis"][1])):
            line["hypothesis"] = text
            print(f"{line['audio']}: {text}" + ("" if text == line["text"] else f"   (spoken: {line['text']})"))
        show("clips", score(clips, "hypothesis"))
    manifest = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    Path(args.work, "test.jsonl").write_text(manifest, "utf-8")


if __name__ == "__main__":
    main()
