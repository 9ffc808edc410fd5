"""Prune the Qwen3 tokenizer to the demo's language.

    python prune_tokenizer.py --source QWEN3_TOKENIZER_JSON --out DIR

Kept: the 256 byte tokens, so that any text still has ids; every merge that byte-pair encoding
applies to a sentence of the domain or to a prompt; all added tokens. A pruned encoding then takes
the same steps as the full one: at each step the full one applies the lowest-ranked merge that fits,
and that merge was kept. Ids keep their order and become dense.
"""

import argparse
import json
import random
from functools import lru_cache
from pathlib import Path

from tokenizers import Tokenizer

from domain import ZH_DIGITS, closed_pairs, digit_pair, domain_words
from prompts import every_prompt_text

DIGIT_SAMPLES = 20000
ROLES = "system\nuser\nassistant\n<think>\n\n</think>\n\n"
STRING_SPECIALS = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}


def random_digits(rng):
    return [rng.randrange(10) for _ in range(rng.randint(3, 8))]


def texts_to_keep(rng):
    """Every closed sentence, all Chinese digit runs up to four, random longer ones, English digits
    and every prompt.
    """
    texts = [text for pair in closed_pairs() for text in pair]
    texts += ["".join(ZH_DIGITS[n // 10**i % 10] for i in range(k)) for k in (1, 2, 3, 4) for n in range(10**k)]
    texts += [text for _ in range(DIGIT_SAMPLES) for text in digit_pair(random_digits(rng))]
    words = domain_words()
    texts += words + [f" {word}" for word in words] + [f"[{word}" for word in words]
    return texts + every_prompt_text() + [ROLES]


def merges_applied(piece, ranks):
    """The merges that byte-pair encoding applies to one pre-token, in order."""
    parts, applied = list(piece), []
    while len(parts) > 1:
        rank, i = min((ranks.get((a, b), 1 << 30), i) for i, (a, b) in enumerate(zip(parts, parts[1:])))
        if rank == 1 << 30:
            break
        pair = (parts[i], parts[i + 1])
        applied.append(pair)
        merged, j = [], 0
        while j < len(parts):
            if tuple(parts[j : j + 2]) == pair:
                merged.append(parts[j] + parts[j + 1])
                j += 2
            else:
                merged.append(parts[j])
                j += 1
        parts = merged
    return applied


def pieces_of(tokenizer, text):
    normal = tokenizer.normalizer.normalize_str(text)
    return [piece for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normal)]


def used_merges(source, data, texts):
    tokenizer = Tokenizer.from_str(source)
    ranks = {tuple(merge): rank for rank, merge in enumerate(data["model"]["merges"])}
    trace = lru_cache(maxsize=None)(lambda piece: tuple(merges_applied(piece, ranks)))
    used = {merge for text in texts for piece in pieces_of(tokenizer, text) for merge in trace(piece)}
    return sorted(used, key=ranks.get)


def prune(source, texts):
    """The pruned tokenizer as a dictionary in the layout of tokenizer.json."""
    data = json.loads(source)
    merges = used_merges(source, data, texts)
    vocab = data["model"]["vocab"]
    single = [token for token in vocab if len(token) == 1]
    assert len(single) == 256, len(single)
    kept = sorted({*single, *(a + b for a, b in merges)}, key=vocab.get)
    data["model"]["vocab"] = {token: index for index, token in enumerate(kept)}
    data["model"]["merges"] = [list(merge) for merge in merges]
    for offset, token in enumerate(data["added_tokens"]):
        token["id"] = len(kept) + offset
    return data


def tokenizer_config(data):
    added = {
        str(t["id"]): {k: t[k] for k in ("content", "lstrip", "normalized", "rstrip", "single_word", "special")}
        for t in data["added_tokens"]
    }
    return {
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": added,
        "additional_special_tokens": [t["content"] for t in data["added_tokens"][1:] if t["special"]],
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "errors": "replace",
        "model_max_length": 2048,
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
        **STRING_SPECIALS,
    }


def check(source, pruned, texts):
    """Every text encodes to the same token strings as before; anything at all comes back from its
    ids.
    """
    before, after = Tokenizer.from_str(source), Tokenizer.from_str(json.dumps(pruned))
    for text in texts:
        assert before.encode(text).tokens == after.encode(text).tokens, text
    for text in ["Grüße, 世界! 🙂 \t\r\n x", "日本語の音声", "<|im_start|>user\n1+1=2<|im_end|>"]:
        assert after.decode(after.encode(text).ids, skip_special_tokens=False) == text, text
    return after


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", required=True)
    parser.add_argument("--out", default=str(Path(__file__).parent.parent))
    args = parser.parse_args()
    source, rng = Path(args.source).read_text("utf-8"), random.Random(0)
    texts = texts_to_keep(rng)
    pruned = prune(source, texts)
    unheard = [text for _ in range(DIGIT_SAMPLES) for text in digit_pair(random_digits(rng))]
    check(source, pruned, texts + unheard)
    out = Path(args.out)
    (out / "tokenizer.json").write_text(json.dumps(pruned, ensure_ascii=False, indent=1) + "\n", "utf-8")
    config = json.dumps(tokenizer_config(pruned), ensure_ascii=False, indent=2)
    (out / "tokenizer_config.json").write_text(config + "\n", "utf-8")
    print(len(pruned["model"]["vocab"]), "tokens,", len(pruned["added_tokens"]), "added")


if __name__ == "__main__":
    main()
