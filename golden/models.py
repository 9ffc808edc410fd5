"""Instantiating the upstream classes at small sizes and giving them the seeded weights."""

import json

import numpy as np
import torch
from funasr.models.llm_asr.adaptor import Transformer as FunasrAdaptor
from funasr.models.sense_voice.model import SenseVoiceEncoderSmall
from torch import nn
from transformers import FunAsrNanoConfig
from transformers.models.fun_asr_nano.modeling_fun_asr_nano import FunAsrNanoEncoder, FunAsrNanoMultiModalProjector

from generator import parameter

AUDIO_PREFIX, ADAPTOR_PREFIX, LLM_PREFIX = "model.audio_tower.", "model.multi_modal_projector.", "model.language_model."
VOCABULARY = 320
AUDIO_TOKEN = VOCABULARY - 1


def make_config(audio: dict | None = None, adaptor: dict | None = None, text: dict | None = None) -> FunAsrNanoConfig:
    """A whole configuration; what a case does not name has the small sizes below."""
    text = {
        "hidden_size": 64, "intermediate_size": 112, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "head_dim": 16, "vocab_size": VOCABULARY, "max_position_embeddings": 40960, "tie_word_embeddings": True,
        "rope_parameters": {"rope_theta": 1e6, "rope_type": "default"},
    } | (text or {})  # fmt: skip
    audio = {
        "num_mel_bins": 8, "hidden_size": 48, "num_attention_heads": 4, "intermediate_size": 80, "num_hidden_layers": 6,
        "num_timestamp_prediction_layers": 2, "fsmn_kernel_size": 11,
    } | (audio or {})  # fmt: skip
    adaptor = {
        "hidden_size": text["hidden_size"], "intermediate_size": text["hidden_size"] // 4, "num_hidden_layers": 2,
        "num_attention_heads": 8, "projector_hidden_size": 88,
    } | (adaptor or {})  # fmt: skip
    return FunAsrNanoConfig(
        audio_config=audio,
        adaptor_config=adaptor,
        text_config=text,
        audio_token_id=text["vocab_size"] - 1,
        tie_word_embeddings=text["tie_word_embeddings"],
    )


def config_json(config: FunAsrNanoConfig) -> dict:
    """The config.json that `save_pretrained` writes."""
    return json.loads(config.to_json_string())


def fill(module: nn.Module, prefix: str, seed: int) -> nn.Module:
    """Give every parameter the generator's values under its -hf name; evaluation mode."""
    for name, value in module.named_parameters():
        value.data.copy_(torch.from_numpy(parameter(canonical(prefix, name), tuple(value.shape), seed)))
    return module.eval()


def canonical(prefix: str, name: str) -> str:
    """Name in the whole model of a part's parameter (Qwen3ForCausalLM keeps lm_head beside model).
    """
    if prefix == LLM_PREFIX and name.startswith("model."):
        return prefix + name.removeprefix("model.")
    return name if name.startswith("lm_head.") else prefix + name


def arrays(module: nn.Module, prefix: str) -> dict[str, np.ndarray]:
    """-hf name → float64 array, sharing memory with a model already in double."""
    return {canonical(prefix, name): value.detach().double().numpy() for name, value in module.named_parameters()}


def make_encoder(config: FunAsrNanoConfig, seed: int) -> FunAsrNanoEncoder:
    return fill(FunAsrNanoEncoder(config.audio_config), AUDIO_PREFIX, seed)


def make_projector(config: FunAsrNanoConfig, seed: int) -> FunAsrNanoMultiModalProjector:
    return fill(FunAsrNanoMultiModalProjector(config), ADAPTOR_PREFIX, seed)


FUNASR_LAYER = {
    "norm1": "input_layernorm",
    "norm2": "post_attention_layernorm",
    "self_attn.linear_out": "self_attn.o_proj",
    "self_attn.fsmn_block": "self_attn.fsmn.conv",
    "self_attn.linear_q": "self_attn.q_proj",
    "self_attn.linear_k": "self_attn.k_proj",
    "self_attn.linear_v": "self_attn.v_proj",
    "feed_forward.w_1": "mlp.fc1",
    "feed_forward.w_2": "mlp.fc2",
}


def _load_layer(state: dict, target: str, source: dict, prefix: str) -> None:
    """Copy one layer from -hf names under `prefix` to FunASR's under `target`, fusing q, k and v
    where FunASR does.
    """
    for theirs, ours in FUNASR_LAYER.items():
        for kind in ("weight", "bias"):
            if f"{target}.{theirs}.{kind}" in state:
                state[f"{target}.{theirs}.{kind}"] = source[f"{prefix}.{ours}.{kind}"]
    for kind in ("weight", "bias"):
        if f"{target}.self_attn.linear_q_k_v.{kind}" in state:
            parts = [source[f"{prefix}.self_attn.{part}_proj.{kind}"] for part in "qkv"]
            state[f"{target}.self_attn.linear_q_k_v.{kind}"] = torch.cat(parts)


def make_funasr_encoder(config: FunAsrNanoConfig, seed: int) -> SenseVoiceEncoderSmall:
    """FunASR's encoder with the weights that `make_encoder` gives transformers'."""
    audio = config.audio_config
    main = audio.num_hidden_layers - audio.num_timestamp_prediction_layers
    encoder = SenseVoiceEncoderSmall(
        input_size=audio.num_mel_bins * audio.num_stacked_frames, output_size=audio.hidden_size,
        attention_heads=audio.num_attention_heads, linear_units=audio.intermediate_size, num_blocks=main,
        tp_blocks=audio.num_timestamp_prediction_layers, kernel_size=audio.fsmn_kernel_size, normalize_before=True,
    )  # fmt: skip
    source, state = make_encoder(config, seed).state_dict(), encoder.state_dict()
    for i in range(audio.num_hidden_layers):
        target = "encoders0.0" if i == 0 else f"encoders.{i - 1}" if i < main else f"tp_encoders.{i - main}"
        _load_layer(state, target, source, f"layers.{i}")
    for norm, i in (("after_norm", main - 1), ("tp_norm", audio.num_hidden_layers - 1)):
        for kind in ("weight", "bias"):
            state[f"{norm}.{kind}"] = source[f"layers.{i}.final_layernorm.{kind}"]
    encoder.load_state_dict(state)
    return encoder.eval()


def make_funasr_adaptor(config: FunAsrNanoConfig, seed: int) -> FunasrAdaptor:
    """FunASR's adaptor with the weights that `make_projector` gives transformers'."""
    adaptor = FunasrAdaptor(
        downsample_rate=1, encoder_dim=config.audio_config.hidden_size, llm_dim=config.adaptor_config.hidden_size,
        ffn_dim=config.adaptor_config.projector_hidden_size, n_layer=config.adaptor_config.num_hidden_layers,
    )  # fmt: skip
    source, state = make_projector(config, seed).state_dict(), adaptor.state_dict()
    for i in range(config.adaptor_config.num_hidden_layers):
        _load_layer(state, f"blocks.{i}", source, f"layers.{i}")
    for part in ("1", "2"):
        for kind in ("weight", "bias"):
            state[f"linear{part}.{kind}"] = source[f"linear_{part}.{kind}"]
    adaptor.load_state_dict(state)
    return adaptor.eval()
