"""funasr-client against a server: python funasr_client_check.py ADDRESS CLIPS

Its clients without asyncio wait for themselves when they close (0.1.6), whatever the server does:
close() holds the lock that signal_close() waits for. So these checks use the others. Its merging of messages takes those of 2pass alone.
"""

import asyncio
import os
import sys
from importlib.metadata import version

from checks import CLIP, TEXT, holds, run, same
from funasr_client import async_file_asr, async_file_asr_stream, async_funasr_client

ADDRESS, CLIPS = sys.argv[1:]
PATH = os.path.join(CLIPS, CLIP)
URI = ADDRESS.replace("http", "ws")


def in_time(work):
    return asyncio.run(asyncio.wait_for(work, 120))


async def listed(path, **options):
    return [message async for message in async_file_asr_stream(path, URI, **options)]


def offline():
    [answer] = in_time(listed(PATH, mode="offline", itn=False))
    same([answer["text"], answer["is_final"]], [TEXT, True])
    holds(len(answer["timestamp"]) == len(TEXT.split()), f"times {answer.get('timestamp')}")


def offline_mp3():
    [answer] = in_time(listed(os.path.join(CLIPS, "zh-seen-3.mp3"), mode="offline"))
    holds(answer["text"] != "", "no text")


def two_passes():
    messages = in_time(listed(PATH, mode="2pass"))
    finals = [message for message in messages if message["mode"] == "2pass-offline"]
    same("".join(message["text"] for message in finals), TEXT)
    same([message["is_final"] for message in messages], [False] * (len(messages) - 1) + [True])
    return f"{len(messages) - len(finals)} online, {len(finals)} offline"


def online():
    messages = in_time(listed(PATH, mode="online"))
    same({message["mode"] for message in messages}, {"online"})
    same("".join(message["text"] for message in messages), TEXT)


def merged_by_the_client():
    same(in_time(async_file_asr(PATH, URI, mode="2pass"))["text"], TEXT)


async def named():
    words = {"oven": 20, "degrees": 10}
    options = {"mode": "offline", "wav_name": "oven", "hotwords": words, "blocking": True}
    async with async_funasr_client(URI, **options) as client:
        with open(PATH, "rb") as file:
            await client.send(file.read())
        await client.signal_close()
        return await client.recv(timeout=120)


def hotwords_and_a_name():
    message = in_time(named())
    same([message["wav_name"], message["is_final"]], ["oven", True])


async def called(heard):
    async with async_funasr_client(URI, mode="2pass", audio_fs=22_050, callback=heard.append) as client:
        with open(PATH, "rb") as file:
            file.seek(44)
            while piece := file.read(1920):
                await client.send(piece)


def a_callback():
    heard = []
    in_time(called(heard))
    holds(heard and heard[-1]["is_final"], f"no last answer: {heard}")


checks = [offline, offline_mp3, two_passes, online, merged_by_the_client, hotwords_and_a_name, a_callback]
run(f"funasr-client {version('funasr-client')}", checks)
