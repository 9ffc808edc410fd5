"""The demo's sizes, as upstream's own class takes them, and reading and writing its checkpoint."""

import json
import shutil
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import FunAsrNanoConfig, FunAsrNanoForConditionalGeneration, GenerationConfig

MODEL_DIR = Path(__file__).parent.parent
WIDTH, LLM_WIDTH = 144, 192
# Keys that transformers does not write: every adaptor output reaches the LLM, and segments of a
# recording are not joined, because training had single sentences.
CONFIG_KEYS = {"audio_token_rule": "all", "merge_length_s": 0}
FEATURE_EXTRACTOR = {
    "feature_extractor_type": "FunAsrNanoFeatureExtractor",
    "feature_size": 80,
    "frame_length": 25,
    "frame_shift": 10,
    "num_frames_lfr": 7,
    "padding_side": "right",
    "padding_value": 0.0,
    "return_attention_mask": True,
    "sampling_rate": 16000,
    "stride_lfr": 6,
    "window": "hamming",
    "waveform_scale": 1,
    "dither": 0,
}


def load_tokenizer(directory=MODEL_DIR):
    return Tokenizer.from_file(str(Path(directory) / "tokenizer.json"))


def make_config(tokenizer):
    """Encoder 6 + 2 layers of 144, adaptor of 2 blocks, Qwen3 of 3 layers of 192; the vocabulary
    padded to 16.
    """
    stop = tokenizer.token_to_id("<|im_end|>")
    end = tokenizer.token_to_id("<|endoftext|>")
    return FunAsrNanoConfig(
        audio_config={
            "model_type": "fun_asr_nano_encoder", "hidden_size": WIDTH, "num_attention_heads": 4,
            "intermediate_size": 4 * WIDTH, "num_hidden_layers": 8, "num_timestamp_prediction_layers": 2,
            "hidden_dropout": 0.0, "attention_dropout": 0.0,
        },
        adaptor_config={
            "hidden_size": LLM_WIDTH, "num_attention_heads": 8, "intermediate_size": LLM_WIDTH // 4,
            "num_hidden_layers": 2, "projector_hidden_size": 512,
        },
        text_config={
            "model_type": "qwen3", "vocab_size": -(-tokenizer.get_vocab_size() // 16) * 16, "hidden_size": LLM_WIDTH,
            "intermediate_size": 512, "num_hidden_layers": 3, "num_attention_heads": 6, "num_key_value_heads": 2,
            "head_dim": 32, "max_position_embeddings": 2048, "tie_word_embeddings": True,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0},
            "eos_token_id": stop, "pad_token_id": end, "bos_token_id": None,
        },
        audio_token_id=tokenizer.token_to_id("<|object_ref_start|>"),
    )


def with_adaptor_mask(model):
    """transformers 5.23 leaves the adaptor's attention implementation unset: its eager fallback
    then adds the boolean padding mask as 0 or 1 and so attends to padding. Named, it masks, and a
    clip does not depend on its batch.
    """
    model.config.adaptor_config._attn_implementation = "sdpa"
    for layer in model.model.multi_modal_projector.layers:
        layer.self_attn.config._attn_implementation = "sdpa"
    return model


def make_model(tokenizer):
    return with_adaptor_mask(FunAsrNanoForConditionalGeneration(make_config(tokenizer)))


def load_model(directory=MODEL_DIR):
    """The checkpoint's rounded weights, computed in f32."""
    return with_adaptor_mask(FunAsrNanoForConditionalGeneration.from_pretrained(directory, dtype=torch.float32)).eval()


def save_checkpoint(model, tokenizer, directory):
    """The published file layout, weights rounded to bf16; `model` keeps its own precision."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    rounded = FunAsrNanoForConditionalGeneration(model.config).to(torch.bfloat16)
    rounded.load_state_dict(model.state_dict())
    stop, end = (tokenizer.token_to_id(t) for t in ("<|im_end|>", "<|endoftext|>"))
    rounded.generation_config = GenerationConfig(do_sample=False, eos_token_id=[stop, end], pad_token_id=end, max_new_tokens=128)
    rounded.save_pretrained(directory)
    write_json(directory / "config.json", json.loads((directory / "config.json").read_text()) | CONFIG_KEYS)
    processor = {"audio_token": "<|object_ref_start|>", "feature_extractor": FEATURE_EXTRACTOR, "processor_class": "FunAsrNanoProcessor"}
    write_json(directory / "processor_config.json", processor)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        if directory.resolve() != MODEL_DIR.resolve():
            shutil.copy(MODEL_DIR / name, directory / name)


def write_json(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", "utf-8")
