"""espeak-ng as a library: a sentence's samples and the start of each of its words.

The library reports an event for each word as it speaks: its place in the text and in the audio. Two
words that it speaks as one ("in the") have one event.
"""

import ctypes

import numpy as np

WORD = 1  # espeakEVENT_WORD of espeak-ng's speak_lib.h
SYNCHRONOUS, CHARACTERS, UTF8 = 2, 1, 1
RATE, PITCH = 1, 3  # espeak_PARAMETER


class Identity(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int), ("unique_identifier", ctypes.c_uint), ("text_position", ctypes.c_int),
        ("length", ctypes.c_int), ("audio_position", ctypes.c_int), ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p), ("id", Identity),
    ]


class Voice(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p), ("languages", ctypes.c_char_p), ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte), ("age", ctypes.c_ubyte), ("variant", ctypes.c_ubyte), ("unused", ctypes.c_ubyte),
        ("score", ctypes.c_int), ("spare", ctypes.c_void_p),
    ]


CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(Event))


class Speaker:
    def __init__(self):
        self.library = ctypes.CDLL("libespeak-ng.so.1")
        self.sample_rate = self.library.espeak_Initialize(SYNCHRONOUS, 0, None, 0)
        self.callback = CALLBACK(self.receive)
        self.library.espeak_SetSynthCallback(self.callback)
        self.samples, self.words = [], {}

    def receive(self, wave, count, events):
        if wave and count > 0:
            self.samples.append(ctypes.string_at(wave, 2 * count))
        i = 0
        while events[i].type != 0:
            if events[i].type == WORD:
                self.words.setdefault(events[i].text_position - 1, events[i].sample)
            i += 1
        return 0

    def choose(self, name):
        """By name, else by language, as the program does."""
        if self.library.espeak_SetVoiceByName(name) == 0:
            return
        if self.library.espeak_SetVoiceByProperties(ctypes.byref(Voice(languages=name))) != 0:
            raise ValueError(f"espeak-ng has no voice {name.decode()}")

    def speak(self, voice, text):
        """(samples in [-1, 1], rate, {place in the text: start in seconds})."""
        self.samples, self.words = [], {}
        self.choose(voice["name"].encode())
        self.library.espeak_SetParameter(RATE, voice["speed"], 0)
        self.library.espeak_SetParameter(PITCH, voice["pitch"], 0)
        data = text.encode() + b"\0"
        self.library.espeak_Synth(data, len(data), 0, CHARACTERS, 0, UTF8, None, None)
        self.library.espeak_Synchronize()
        wave = np.frombuffer(b"".join(self.samples), "<i2").astype(np.float64) / 32768.0
        return wave, self.sample_rate, {place: sample / self.sample_rate for place, sample in self.words.items()}
