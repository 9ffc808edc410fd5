"""funasr-python against a server: python funasr_python_check.py ADDRESS CLIPS"""

import asyncio
import os
import sys
from importlib.metadata import version

from checks import holds, run, same
from funasr_client import AsyncFunASRClient, FunASRClient, RecognitionMode, SimpleCallback

ADDRESS, CLIPS = sys.argv[1:]
PATH = os.path.join(CLIPS, "en-seen-2.wav")  # at 16 kHz
TEXT = "remind me to take out the trash in ten minutes"
URI = ADDRESS.replace("http", "ws")


def recognize(mode, **options):
    return FunASRClient(server_url=URI, mode=mode, log_level="WARNING", **options).recognize_file(PATH)


def offline():
    answer = recognize(RecognitionMode.OFFLINE)
    same([answer.text, answer.is_final], [TEXT, True])


def two_passes():
    answer = recognize(RecognitionMode.TWO_PASS)
    same([answer.text, answer.is_final], [TEXT, True])


def partial_results():
    """By the client with asyncio: the other wraps a callback twice, and no result reaches it (0.1.5)."""
    partials, finals = [], []
    callback = SimpleCallback(on_partial=partials.append, on_final=finals.append)

    async def talk():
        client = AsyncFunASRClient(server_url=URI, mode=RecognitionMode.TWO_PASS, log_level="WARNING")
        try:
            await client.recognize_file(PATH, callback)
        finally:
            await client.close()

    asyncio.run(talk())
    same([final.text for final in finals], [TEXT])
    return f"{len(partials)} partial, {len(finals)} final"


def without_blocking():
    async def talk():
        client = AsyncFunASRClient(server_url=URI, log_level="WARNING")
        try:
            return (await client.recognize_file(PATH)).text
        finally:
            await client.close()

    same(asyncio.run(talk()), TEXT)


checks = [offline, two_passes, partial_results, without_blocking]
run(f"funasr-python {version('funasr-python')}", checks)
