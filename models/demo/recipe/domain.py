"""The demo checkpoint's language: templates, slots, number words and the train/validation/test
split.
"""

import hashlib
import itertools
import json
import random
from pathlib import Path

DOMAIN = json.loads((Path(__file__).parent / "domain.json").read_text("utf-8"))

EN_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
).split()
EN_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
ZH_DIGITS = "零一二三四五六七八九"

# How often a template is drawn: those with open slots more often than those with a dozen fillings.
TEMPLATE_WEIGHTS = [9, 9, 5, 5, 9, 14, 4, 4, 5, 12, 24]


def english_number(n):
    """0..99 in English words: 21 is 'twenty one'."""
    if n < 20:
        return EN_UNITS[n]
    tens = EN_TENS[n // 10 - 2]
    return tens if n % 10 == 0 else f"{tens} {EN_UNITS[n % 10]}"


def chinese_number(n):
    """0..99 in Chinese: 21 is 二十一, 10 is 十."""
    if n < 10:
        return ZH_DIGITS[n]
    tens = "" if n < 20 else ZH_DIGITS[n // 10]
    units = "" if n % 10 == 0 else ZH_DIGITS[n % 10]
    return f"{tens}十{units}"


def number_pairs(low, high):
    return [[english_number(n), chinese_number(n)] for n in range(low, high + 1)]


def hour_pairs():
    """One to twelve o'clock; two o'clock is 两点."""
    return [[english_number(h), ("两" if h == 2 else chinese_number(h)) + "点"] for h in range(1, 13)]


def digit_pair(digits):
    return [" ".join(EN_UNITS[d] for d in digits), "".join(ZH_DIGITS[d] for d in digits)]


def slot_values():
    """Every closed slot with its (English, Chinese) fillings; `digits` is open and not in it."""
    slots = {name: value for name, value in DOMAIN["slots"].items() if isinstance(value, list)}
    return slots | {"n": number_pairs(0, 99), "m": number_pairs(2, 59), "hour": hour_pairs()}


SLOTS = slot_values()


def slots_of(template):
    return [name for name in [*SLOTS, "digits"] if "{" + name + "}" in template[0]]


def fill(template, filling):
    """One (English, Chinese) pair: `filling` maps a slot to its (English, Chinese) value."""
    return tuple(template[i].format(**{name: value[i] for name, value in filling.items()}) for i in (0, 1))


def closed_pairs():
    """Every pair of every template without the digits slot."""
    pairs = []
    for template in DOMAIN["templates"]:
        names = slots_of(template)
        if "digits" not in names:
            pairs += [fill(template, dict(zip(names, values))) for values in itertools.product(*(SLOTS[n] for n in names))]
    return pairs


def split_of(english):
    """'test', 'validation' or 'train', by the first byte of the English sentence's SHA-256."""
    byte = hashlib.sha256(english.encode("utf-8")).digest()[0]
    return "test" if byte < 20 else "validation" if byte < 32 else "train"


def draw_pair(rng: random.Random, split):
    """A random pair of the split: a weighted template, then uniform slots."""
    while True:
        template = rng.choices(DOMAIN["templates"], TEMPLATE_WEIGHTS)[0]
        filling = {
            name: digit_pair([rng.randrange(10) for _ in range(rng.randint(3, 8))]) if name == "digits" else rng.choice(SLOTS[name])
            for name in slots_of(template)
        }
        pair = fill(template, filling)
        if split_of(pair[0]) == split:
            return pair


def domain_words():
    """Words of the closed slots in both languages: material for hotword lists."""
    names = [n for n in SLOTS if n not in ("n", "m", "hour")]
    return [value[i] for i in (0, 1) for name in names for value in SLOTS[name]]
