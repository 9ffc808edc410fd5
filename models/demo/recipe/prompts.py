"""Prompts as the real model's: by the chat template, with language, text normalisation switch,
context and hotwords.
"""

from pathlib import Path

import jinja2

from domain import closed_pairs, domain_words

AUDIO_TOKEN = "<|object_ref_start|>"
SPOKEN_NAME = {"en": "英文", "zh": "中文"}
ENGLISH_PROMPTS = {
    "en": ["Speech transcription:", "Speech transcription without text normalization:", "Transcribe speech into English:"],
    "zh": ["Speech transcription:", "Speech transcription without text normalization:", "Transcribe speech into Chinese:"],
}
TEMPLATE = Path(__file__).parent.parent / "chat_template.jinja"


def chat_template():
    """Compiled as transformers does: trim_blocks and lstrip_blocks on."""
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(TEMPLATE.read_text("utf-8"))


def render(template, content, itn=True):
    """The text before the answer for one user message: `content` is a string or a list of items."""
    return template.render(messages=[{"role": "user", "content": content}], add_generation_prompt=True, itn=itn)


def transcription(language=None, context=None, keywords=None):
    """The content list of a transcription request."""
    content = [{"type": "audio"}]
    content += [{"type": "text", "text": context}] if context else []
    content += [{"type": "keywords", "keywords": keywords}] if keywords else []
    return content + ([{"type": "language", "language": language}] if language else [])


def draw_content(rng, language, text, with_context):
    """A random prompt for a training utterance: (content, itn).

    Two in three name the language spoken; one in ten asks for no text normalisation; one in twelve
    is in English. With context, hotwords and a context line hold random domain words and, half of
    the time, one that was spoken.
    """
    itn = rng.random() >= 0.1
    if not with_context and rng.random() < 0.08:
        return rng.choice(ENGLISH_PROMPTS[language]) + AUDIO_TOKEN, True
    named = SPOKEN_NAME[language] if rng.random() < 0.66 else None
    if not with_context:
        return transcription(named), itn
    words = domain_words()
    keywords = rng.sample(words, rng.randint(1, 4))
    spoken = [word for word in words if word in text]
    if spoken and rng.random() < 0.5:
        keywords[rng.randrange(len(keywords))] = rng.choice(spoken)
    context = rng.choice(closed_pairs())[language == "zh"] if rng.random() < 0.4 else None
    return transcription(named, context, keywords if context is None or rng.random() < 0.5 else None), itn


def every_prompt_text():
    """All wordings a prompt can have, for the tokenizer."""
    template = chat_template()
    lists = [transcription(name, context, keywords)
             for name in (None, "中文", "英文", "日文")
             for context in (None, "turn on the lamp")
             for keywords in (None, ["lamp"], ["lamp", "厨房"])]
    texts = [render(template, content, itn) for content in lists for itn in (True, False)]
    english = {prompt for prompts in ENGLISH_PROMPTS.values() for prompt in prompts}
    return texts + [render(template, prompt + AUDIO_TOKEN) for prompt in sorted(english)]
