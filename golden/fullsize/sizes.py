"""Configurations at full size: the published Fun-ASR-Nano with the Qwen3 of each size behind it."""

from transformers import FunAsrNanoConfig

AUDIO_TOKEN = 151646  # <|object_ref_start|>
VOCABULARY = 151936
COMMON = {
    "vocab_size": VOCABULARY, "head_dim": 128, "num_key_value_heads": 8, "max_position_embeddings": 40960, "rms_norm_eps": 1e-6,
    "rope_parameters": {"rope_theta": 1e6, "rope_type": "default"},
}  # fmt: skip
SIZES = {  # hidden, FFN, layers, heads, tied head
    "0.6B": (1024, 3072, 28, 16, True),
    "1.7B": (2048, 6144, 28, 16, True),
    "4B": (2560, 9728, 36, 32, True),
    "8B": (4096, 12288, 36, 32, False),
}
ANALYSIS_BYTES = {"0.6B": 2e9, "1.7B": 4e9, "4B": 8e9, "8B": 16e9}  # inference, as the migration analysis expects
TINY_TEXT = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
             "num_key_value_heads": 2, "head_dim": 16, "tie_word_embeddings": True}  # fmt: skip
TINY_AUDIO = {"hidden_size": 48, "num_attention_heads": 4, "intermediate_size": 80, "num_hidden_layers": 4,
              "num_timestamp_prediction_layers": 1}  # fmt: skip


def make_config(size: str) -> FunAsrNanoConfig:
    """The whole configuration. What is not named here is upstream's default, which is the published
    Nano's. `tiny` tries the script.
    """
    if size == "tiny":
        text, audio, projector = COMMON | TINY_TEXT, TINY_AUDIO, 88
    else:
        hidden, inner, layers, heads, tied = SIZES[size]
        text = COMMON | {
            "hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers, "num_attention_heads": heads,
            "tie_word_embeddings": tied,
        }  # fmt: skip
        audio, projector = {}, 2048
    width = text["hidden_size"]
    adaptor = {
        "hidden_size": width, "intermediate_size": width // 4, "num_attention_heads": 8, "num_hidden_layers": 2,
        "projector_hidden_size": projector,
    }  # fmt: skip
    return FunAsrNanoConfig(
        audio_config=audio, adaptor_config=adaptor, text_config=text, audio_token_id=AUDIO_TOKEN,
        tie_word_embeddings=text["tie_word_embeddings"],
    )  # fmt: skip
