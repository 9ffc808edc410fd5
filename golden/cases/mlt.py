"""Whole-model cases of Fun-ASR-MLT-Nano's config: FunASR's own class gives the same LLM inputs as
the bundle.
"""

import tempfile
from unittest import mock

import torch
from funasr.models.fun_asr_nano import model as upstream
from transformers import FunAsrNanoForConditionalGeneration

from bundle import Bundle, relative_rms
from cases import model
from cases.encoder import make_features
from models import fill, make_config, make_funasr_adaptor, make_funasr_encoder
from prompts import fold, tokenizer

ADAPTOR_CONF = {"downsample_rate": 1}  # what config.yaml says beside the sizes: use_low_frame_rate is left out
MAX_F32_DIFFERENCE = 1e-5  # of two f32 runs of the same rows


class FoldedTokenizer:
    """The real tokenizer with its ids in a small vocabulary, as FunASR calls it."""

    def __init__(self, vocabulary: int):
        self.vocabulary = vocabulary

    def encode(self, text: str) -> list[int]:
        return [fold(token, self.vocabulary) for token in tokenizer().encode(text).ids]


def make_funasr(config, seed: int) -> upstream.FunASRNano:
    """FunASR's whole class as MLT-Nano's config.yaml makes it, without a CTC decoder."""
    audio, adaptor = config.audio_config, config.adaptor_config
    with tempfile.TemporaryDirectory() as directory:
        config.text_config.architectures = ["Qwen3ForCausalLM"]
        config.text_config.save_pretrained(directory)
        nano = upstream.FunASRNano(
            audio_encoder="SenseVoiceEncoderSmall", input_size=audio.num_mel_bins * audio.num_stacked_frames,
            audio_encoder_conf={
                "output_size": audio.hidden_size, "attention_heads": audio.num_attention_heads, "linear_units": audio.intermediate_size,
                "num_blocks": audio.num_hidden_layers - audio.num_timestamp_prediction_layers,
                "tp_blocks": audio.num_timestamp_prediction_layers, "kernel_size": audio.fsmn_kernel_size, "normalize_before": True,
            },
            audio_adaptor="Transformer",
            audio_adaptor_conf=ADAPTOR_CONF | {
                "ffn_dim": adaptor.projector_hidden_size, "llm_dim": adaptor.hidden_size,
                "encoder_dim": audio.hidden_size, "n_layer": adaptor.num_hidden_layers,
            },
            llm="Qwen3-0.6b", llm_conf={"init_param_path": directory, "llm_dtype": "fp32", "freeze": True},
        )  # fmt: skip
    nano.audio_encoder.load_state_dict(make_funasr_encoder(config, seed).state_dict())
    nano.audio_adaptor.load_state_dict(make_funasr_adaptor(config, seed).state_dict())
    language = "model.language_model."
    hf = fill(FunAsrNanoForConditionalGeneration(config), "", seed).state_dict()
    state = {"model." + k.removeprefix(language): v for k, v in hf.items() if k.startswith(language)}
    nano.llm.load_state_dict(state | {"lm_head.weight": hf["lm_head.weight"]})
    return nano.eval()


@torch.no_grad()
def check_upstream(bundle: Bundle, config, seed: int, frames: list[int], languages: list[str]) -> None:
    """Refuse a bundle whose LLM inputs or greedy tokens are not those of FunASR's class, clip by
    clip.
    """
    nano = make_funasr(config, seed)
    assert nano.ctc_decoder is None
    start, ids = 0, bundle.inputs["generated_ids"].tolist()
    for clip, features in enumerate(make_features(frames, config.audio_config.input_size, seed)):
        chat = nano.generate_chatml(nano.get_prompt([], language=languages[clip]), torch.zeros(1))
        fbank = features[None], torch.tensor([len(features)])
        with mock.patch.multiple(
            upstream, load_audio_text_image_video=mock.DEFAULT, extract_fbank=mock.Mock(return_value=fbank)
        ):
            tokens = FoldedTokenizer(config.text_config.vocab_size)
            embeds = nano.inference_prepare([chat], None, None, tokens, mock.Mock(frame_shift=10, lfr_n=6), device="cpu")[0]
        rows = bundle.f32["llm.inputs_embeds"][start : start + embeds.shape[1]]
        if embeds[0].shape != rows.shape or not relative_rms(embeds[0].numpy(), rows.numpy()) <= MAX_F32_DIFFERENCE:
            raise SystemExit(f"mlt: clip {clip}: FunASR's LLM inputs {list(embeds[0].shape)} differ from {list(rows.shape)} here")
        out = nano.llm.generate(
            inputs_embeds=embeds, do_sample=False, max_new_tokens=model.STEPS, min_new_tokens=model.STEPS, eos_token_id=None
        )
        if out[0].tolist() != ids[clip * model.STEPS : (clip + 1) * model.STEPS]:
            raise SystemExit(f"mlt: clip {clip}: FunASR's greedy tokens differ")
        start += embeds.shape[1]
    assert start == len(bundle.inputs["input.token_ids"])


def build(seed: int, frames: list[int], languages: list[str], sizes: dict) -> Bundle:
    """One bundle; `languages` are Chinese names, as the prompt has them."""
    bundle = model.build(seed, frames, languages, "all", sizes)
    check_upstream(bundle, make_config(**sizes), seed, frames, languages)
    return bundle
