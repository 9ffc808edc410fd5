"""The official openai client against a server: python openai_check.py ADDRESS CLIPS"""

import asyncio
import base64
import os
import re
import sys
import wave

import openai
from checks import CLIP, TEXT, holds, run, same

ADDRESS, CLIPS = sys.argv[1:]
PATH = os.path.join(CLIPS, CLIP)
client = openai.OpenAI(base_url=f"{ADDRESS}/v1", api_key="none", max_retries=0, timeout=300)
TIMES = r"\d\d:\d\d:\d\d"


def transcribe(**options):
    with open(PATH, "rb") as file:
        return client.audio.transcriptions.create(model="demo", file=file, **options)


def json_format():
    answer = transcribe()
    same(answer.text, TEXT)
    holds(answer.usage is not None, "usage is missing")


def text_format():
    same(transcribe(response_format="text").strip(), TEXT)


def srt_format():
    cue = rf"1\n{TIMES},\d\d\d --> {TIMES},\d\d\d\n{TEXT}\n"
    holds(re.match(cue, transcribe(response_format="srt")), "no cue of SRT")


def vtt_format():
    answer = transcribe(response_format="vtt")
    holds(re.match(rf"WEBVTT\n\n[^\n]*\n?.*--> .*\n{TEXT}\n", answer), f"no cue of WebVTT: {answer!r}")


def verbose_json_with_words_and_segments():
    answer = transcribe(response_format="verbose_json", timestamp_granularities=["word", "segment"])
    same(answer.text, TEXT)
    same(" ".join(word.word.strip() for word in answer.words), TEXT)
    same([segment.text.strip() for segment in answer.segments], [TEXT])
    holds(isinstance(answer.duration, float) and 2 < answer.duration < 3, f"duration {answer.duration!r}")
    starts = [word.start for word in answer.words]
    holds(starts == sorted(starts) and answer.words[-1].end <= answer.duration, "times of words")


def verbose_json_without_granularities():
    answer = transcribe(response_format="verbose_json")
    same([answer.words, len(answer.segments)], [None, 1])


def log_probabilities():
    answer = transcribe(include=["logprobs"])
    holds(len(answer.logprobs) > 0 and all(entry.logprob <= 0 for entry in answer.logprobs), "no logprobs")


def keywords_prompt_language_and_temperature():
    extra = {"keywords": ["oven"], "languages": ["en"]}
    answer = transcribe(prompt="A kitchen.", language="en", temperature=0, extra_body=extra)
    holds(answer.text != "", "no text")


def chunking_by_the_server():
    vad = {"type": "server_vad", "silence_duration_ms": 500, "threshold": 0.5, "prefix_padding_ms": 300}
    for strategy in ("auto", vad):
        holds(transcribe(chunking_strategy=strategy).text != "", f"no text with {strategy}")


def events(stream):
    deltas, done = [], []
    for event in stream:
        (done if event.type == "transcript.text.done" else deltas).append(event)
    return deltas, done


def streaming():
    deltas, done = events(transcribe(stream=True))
    same([event.text for event in done], [TEXT])
    same("".join(event.delta for event in deltas), TEXT)
    return f"{len(deltas)} deltas"


def streaming_without_blocking():
    async def talk():
        remote = openai.AsyncOpenAI(base_url=f"{ADDRESS}/v1", api_key="none", max_retries=0, timeout=300)
        with open(PATH, "rb") as file:
            stream = await remote.audio.transcriptions.create(model="demo", file=file, stream=True)
            return [event.text async for event in stream if event.type == "transcript.text.done"]

    same(asyncio.run(talk()), [TEXT])


def translation():
    with open(PATH, "rb") as file:
        answer = client.audio.translations.create(model="demo", file=file)
    holds(isinstance(answer.text, str), "no text")


def models():
    same([model.id for model in client.models.list()], ["demo"])
    same(client.models.retrieve("demo").id, "demo")


def refused(kind, param, call):
    try:
        call()
    except kind as error:
        same(error.param, param)
        return
    raise AssertionError(f"expected {kind.__name__}, got an answer")


def refusals():
    refused(openai.BadRequestError, "response_format", lambda: transcribe(response_format="docx"))
    refused(openai.BadRequestError, "language", lambda: transcribe(language="xx"))
    refused(openai.NotFoundError, "model", lambda: client.models.retrieve("other"))
    garbage = ("a.wav", b"no audio" * 100)
    create = client.audio.transcriptions.create
    refused(openai.APIStatusError, "file", lambda: create(model="demo", file=garbage))


def realtime():
    """A clip at 24 kHz over a WebSocket: its one item has its text."""
    with wave.open(PATH) as file:
        rate, samples = file.getframerate(), file.readframes(file.getnframes())
    from array import array

    heard = array("h", samples)
    count = len(heard) * 24_000 // rate
    at_24 = array("h", (heard[i * rate // 24_000] for i in range(count)))
    at_24.extend([0] * 24_000)

    def listen(connection):
        for event in connection:
            if event.type == "conversation.item.input_audio_transcription.completed":
                return event.transcript
            if event.type == "error":
                raise AssertionError(event.error.message)

    with client.realtime.connect(extra_query={"intent": "transcription"}) as connection:
        transcription = {"model": "demo", "language": "en"}
        pcm = {"type": "audio/pcm", "rate": 24_000}
        sound = {"input": {"format": pcm, "transcription": transcription, "turn_detection": None}}
        connection.session.update(session={"type": "transcription", "audio": sound})
        data = at_24.tobytes()
        for at in range(0, len(data), 9600):
            connection.input_audio_buffer.append(audio=base64.b64encode(data[at : at + 9600]).decode())
        connection.input_audio_buffer.commit()
        text = listen(connection)
    holds(text is not None and text != "", f"no text: {text!r}")
    return text


run(
    f"openai {openai.__version__}",
    [
        json_format,
        text_format,
        srt_format,
        vtt_format,
        verbose_json_with_words_and_segments,
        verbose_json_without_granularities,
        log_probabilities,
        keywords_prompt_language_and_temperature,
        chunking_by_the_server,
        streaming,
        streaming_without_blocking,
        translation,
        models,
        refusals,
        realtime,
    ],
)
