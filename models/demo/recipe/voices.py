"""Speech synthesis by the Debian programs espeak-ng, flite and festival, and who is seen and who is
not.
"""

import io
import subprocess
import tempfile
import wave
from pathlib import Path

import numpy as np

ENGLISH = ["en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029", "en-us-nyc"]
# `cmn` of espeak-ng 1.51 spells most characters out as English text ("da three kai one"), so
# Mandarin is its
# sister voice, which reads the same dictionary as Pinyin with tones.
MANDARIN = ["cmn-latn-pinyin"]
SEEN_VARIANTS = [""] + [f"+m{i}" for i in range(1, 9)] + [f"+f{i}" for i in range(1, 6)]
FLITE = ["kal", "kal16", "awb", "rms", "slt"]
FESTIVAL = ["cmu_us_slt_arctic_hts"]

# Never trained on. The first list is espeak's variants that bear a person's name, the second its
# effects.
UNSEEN_PEOPLE = (
    "adam Alex Alicia Andrea Andy Annie antonio belinda benjamin boris caleb david Denis Diogo ed edward edward2 Gene "
    "Gene2 gustave Henrique Hugo iven iven2 iven3 iven4 Jacky john Lee linda marcelo Marco Mario max Michael michel "
    "miguel Mike Nguyen norbert pablo paul pedro quincy rob robert sandro shelby steph steph2 steph3 travis victor zac"
).split()
UNSEEN_EFFECTS = (
    "AnxiousAndy aunty announcer croak Demonic grandma grandpa kaukovalta klatt klatt2 klatt3 klatt4 klatt5 klatt6 "
    "RicishayMax robosoft robosoft2 robosoft3 Storm Tweaky UniRobot whisper whisperf"
).split()


def read_wav(data):
    """(samples in [-1, 1], rate) of 16-bit mono WAV bytes; sizes in a streamed header may be wrong.
    """
    with wave.open(io.BytesIO(data)) as file:
        samples = np.frombuffer(file.readframes(min(file.getnframes(), len(data))), "<i2")
        return samples.astype(np.float64) / 32768.0, file.getframerate()


def run(command, text=None):
    return subprocess.run(command, input=text, capture_output=True, check=True).stdout


def speak(voice, text):
    """Bytes of a WAV file: `voice` is {engine, name} and for espeak also {speed, pitch}."""
    if voice["engine"] == "espeak":
        options = ["-v", voice["name"], "-s", str(voice["speed"]), "-p", str(voice["pitch"])]
        return run(["espeak-ng", *options, "--stdout", "--stdin"], text.encode())
    with tempfile.TemporaryDirectory() as directory:
        out = str(Path(directory, "out.wav"))
        if voice["engine"] == "flite":
            run(["flite", "-voice", voice["name"], "-t", text, "-o", out])
        else:
            run(["text2wave", "-eval", f"(voice_{voice['name']})", "-o", out], text.encode())
        return Path(out).read_bytes()


def espeak_voice(rng, language, variants):
    name = rng.choice(ENGLISH if language == "en" else MANDARIN) + rng.choice(variants)
    return {"engine": "espeak", "name": name, "speed": rng.randint(140, 220), "pitch": rng.randint(30, 70)}


def seen_voice(rng, language):
    """A training voice: for English 9 % flite and 1 % festival, else espeak plain or with m1..m8,
    f1..f5.
    """
    draw = rng.random()
    if language == "en" and draw < 0.09:
        return {"engine": "flite", "name": rng.choice(FLITE)}
    if language == "en" and draw < 0.10:
        return {"engine": "festival", "name": rng.choice(FESTIVAL)}
    return espeak_voice(rng, language, SEEN_VARIANTS)


def unseen_voice(rng, language, names=UNSEEN_PEOPLE):
    return espeak_voice(rng, language, ["+" + name for name in names])
