"""The table of cases: name, what it proves, builder, options. Order is the manifest's order."""

from collections.abc import Callable
from dataclasses import dataclass, field

from cases import adaptor, ctc, encoder, frontend, llm, mlt, model, tokenizer, train, vad


@dataclass(frozen=True)
class Case:
    name: str
    description: str
    build: Callable
    options: dict = field(default_factory=dict)


def frames(count: int) -> float:
    """Seconds of the shortest 16 kHz waveform with that many 25 ms frames."""
    return (400 + 160 * (count - 1)) / 16000


SHORT = ("frontend.resampled", "input.features")  # long or resampled clips: the fbank is in the features already
AT_1024 = {"hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 1, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128}  # fmt: skip
AT_4096 = {"hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 1, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "tie_word_embeddings": False}  # fmt: skip
AT_512 = {"num_mel_bins": 80, "hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 3, "num_timestamp_prediction_layers": 1}  # fmt: skip
SMALL_LLM = {"num_hidden_layers": 2, "head_dim": 24}
YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 48, "beta_fast": 3, "beta_slow": 1}

FRONTEND = [
    Case("frontend-1s", "1 s, waveform scale 1", frontend.build, dict(seed=1, seconds=1.0, scale=1)),
    Case("frontend-2s-32768", "2 s, waveform scale 32768 (FunASR)", frontend.build, dict(seed=2, seconds=2.0, scale=32768)),
    Case("frontend-8s", "8 s, waveform scale 1, features only", frontend.build, dict(seed=3, seconds=8.0, scale=1, stages=SHORT)),
    Case("frontend-8k", "1 s at 8 kHz, resampled", frontend.build, dict(seed=4, seconds=1.0, scale=1, rate=8000, stages=SHORT)),
    Case("frontend-22k", "0.61 s at 22.05 kHz, resampled", frontend.build, dict(seed=5, seconds=0.61, scale=32768, rate=22050, stages=SHORT)),
    Case("frontend-44k-stereo", "0.53 s at 44.1 kHz, two channels, mixed and resampled", frontend.build, dict(seed=6, seconds=0.53, scale=1, rate=44100, channels=2, stages=SHORT)),
    Case("frontend-48k-24bit", "0.5 s at 48 kHz, 24-bit samples, resampled", frontend.build, dict(seed=8, seconds=0.5, scale=1, rate=48000, bits=24, stages=SHORT)),
    Case("frontend-stereo", "0.5 s at 16 kHz, two channels: mixed, not resampled", frontend.build, dict(seed=9, seconds=0.5, scale=1, rate=16000, channels=2, stages=SHORT)),
    Case("frontend-quiet", "digital zero and a few bits of noise at scale 1: the log floor bites", frontend.build, dict(seed=12, seconds=0.5, scale=1, silent=True)),
    Case("frontend-quiet-32768", "the same signal at scale 32768: the floor bites only in digital zero", frontend.build, dict(seed=12, seconds=0.5, scale=32768, silent=True)),
    Case("frontend-1-frame", "400 samples: one frame, one stacked frame", frontend.build, dict(seed=13, seconds=frames(1), scale=1)),
    Case("frontend-559-samples", "one frame and 159 samples that are dropped", frontend.build, dict(seed=14, seconds=559 / 16000, scale=32768)),
    Case("frontend-3-frames", "fewer frames than the stacking window", frontend.build, dict(seed=15, seconds=frames(3), scale=1)),
    Case("frontend-7-frames", "6k+1 frames: the last window needs three repeats more", frontend.build, dict(seed=16, seconds=frames(7), scale=1)),
    Case("frontend-9-frames", "6k+3 frames: the last window needs one repeat more", frontend.build, dict(seed=17, seconds=frames(9), scale=32768)),
    Case("frontend-12-frames", "6k frames: every window ends inside the clip", frontend.build, dict(seed=18, seconds=frames(12), scale=1)),
]  # fmt: skip

ENCODER = [
    Case("encoder-31", "31 rows, 6 layers of which 2 tp", encoder.build, dict(seed=101, lengths=[31], audio={})),
    Case("encoder-53", "53 rows, width 64, 7 layers of which 3 tp, FSMN kernel 5", encoder.build, dict(seed=102, lengths=[53], audio={"hidden_size": 64, "num_hidden_layers": 7, "num_timestamp_prediction_layers": 3, "fsmn_kernel_size": 5})),
    Case("encoder-7", "7 rows: fewer than the FSMN kernel", encoder.build, dict(seed=103, lengths=[7], audio={})),
    Case("encoder-1", "one row", encoder.build, dict(seed=104, lengths=[1], audio={})),
    Case("encoder-131", "131 rows: past one tile of any kernel", encoder.build, dict(seed=105, lengths=[131], audio={"num_hidden_layers": 3, "num_timestamp_prediction_layers": 1})),
    Case("encoder-packed", "four clips packed, one of a single row", encoder.build, dict(seed=106, lengths=[7, 1, 31, 13], audio={})),
    Case("encoder-funasr", "FunASR's SenseVoiceEncoderSmall under the same weight names", encoder.build, dict(seed=107, lengths=[29], audio={}, upstream="funasr")),
    Case("encoder-weights", "weights stored in the bundle", encoder.build, dict(seed=108, lengths=[11], audio={"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_timestamp_prediction_layers": 1}, store_weights=True)),
    Case("encoder-real-512", "real widths: 560 in, 512, FFN 2048, 4 heads, kernel 11; stem, one layer, one tp layer", encoder.build, dict(seed=109, lengths=[13], audio=AT_512)),
]  # fmt: skip

VAD = [
    Case("vad-packed", "a small net of odd widths, random weights: three clips packed, one of a single row", vad.build_packed, dict(seed=901, lengths=[17, 1, 40])),
    Case("vad-shipped", "the shipped net: 0.13 s of synthetic speech and 0.07 s of noise, from the waveform", vad.build_shipped, dict(seed=902, clip="en-seen-2.wav", begin=0.5, speech=0.13, noise=0.07)),
]  # fmt: skip

ADAPTOR = [
    Case("adaptor-128", "head_dim 128 (width 1024)", adaptor.build, dict(seed=201, lengths=[7], width=1024, adaptor={})),
    Case("adaptor-256", "head_dim 256 (width 2048)", adaptor.build, dict(seed=202, lengths=[5], width=2048, adaptor={"num_hidden_layers": 1})),
    Case("adaptor-320", "head_dim 320 (width 2560)", adaptor.build, dict(seed=203, lengths=[5], width=2560, adaptor={"num_hidden_layers": 1})),
    Case("adaptor-512", "head_dim 512 (width 4096)", adaptor.build, dict(seed=204, lengths=[5], width=4096, adaptor={"num_hidden_layers": 1})),
    Case("adaptor-packed", "three clips packed, four blocks, head_dim 8", adaptor.build, dict(seed=205, lengths=[5, 1, 11], width=64, adaptor={"num_hidden_layers": 4})),
    Case("adaptor-67", "67 rows, head_dim 24", adaptor.build, dict(seed=206, lengths=[67], width=192, adaptor={"num_hidden_layers": 1})),
    Case("adaptor-funasr", "FunASR's Transformer adaptor under the same weight names (its LayerNorm eps is 1e-12)", adaptor.build, dict(seed=207, lengths=[11], width=256, adaptor={"layer_norm_eps": 1e-12}, upstream="funasr")),
    Case("adaptor-real-1024", "real widths: 512, projector 2048, 1024, FFN 256", adaptor.build, dict(seed=208, lengths=[7], width=1024, adaptor={"projector_hidden_size": 2048, "num_hidden_layers": 1}, audio=AT_512)),
    Case("adaptor-real-4096", "real widths: 512, projector 2048, 4096, FFN 1024", adaptor.build, dict(seed=209, lengths=[5], width=4096, adaptor={"projector_hidden_size": 2048, "num_hidden_layers": 1}, audio=AT_512)),
]  # fmt: skip

CTC_REAL = {"encoderSize": 512, "projectorHiddenSize": 2048, "hiddenSize": 512}
CTC = [
    Case("ctc-small", "FunASR's CTC decoder and head: 8 heads of 8, two blocks", ctc.build, dict(seed=251, lengths=[31], sizes={})),
    Case("ctc-packed", "four clips packed, one of a single row; three blocks", ctc.build, dict(seed=252, lengths=[7, 1, 19, 5], sizes={"layers": 3, "hiddenSize": 32})),
    Case("ctc-real-512", "real widths: 512, projector 2048, 512, FFN 128, five blocks; 997 of 60,515 rows of the head", ctc.build, dict(seed=253, lengths=[7], sizes=CTC_REAL | {"layers": 5, "vocabSize": 997})),
    Case("ctc-real-vocabulary", "all 60,515 rows of the head, one frame, one block", ctc.build, dict(seed=254, lengths=[1], sizes=CTC_REAL | {"layers": 1, "vocabSize": 60515})),
]  # fmt: skip

LLM = [
    Case("llm-gqa1-tied", "GQA 1, tied head, 3 layers, prefill then 16 cached steps", llm.build, dict(seed=301, lengths=[29], text=SMALL_LLM | {"num_key_value_heads": 4, "num_hidden_layers": 3}, cached_steps=16)),
    Case("llm-gqa2-tied", "GQA 2, tied head, prefill then 16 cached steps", llm.build, dict(seed=302, lengths=[23], text=SMALL_LLM, cached_steps=16)),
    Case("llm-gqa4-untied", "GQA 4, untied head, prefill then 16 cached steps", llm.build, dict(seed=303, lengths=[21], text=SMALL_LLM | {"num_attention_heads": 8, "tie_word_embeddings": False}, cached_steps=16)),
    Case("llm-gqa2-untied", "GQA 2, untied head, head_dim 128 at width 96", llm.build, dict(seed=304, lengths=[13], text={"hidden_size": 96, "head_dim": 128, "tie_word_embeddings": False})),
    Case("llm-packed", "two sequences packed, GQA 4", llm.build, dict(seed=305, lengths=[17, 23], text=SMALL_LLM | {"num_attention_heads": 8})),
    Case("llm-151", "151 tokens in one prefill: past one tile, positions to 150", llm.build, dict(seed=306, lengths=[151], text=SMALL_LLM | {"vocab_size": 97, "num_hidden_layers": 1})),
    Case("llm-one-token", "one token, then 16 cached steps", llm.build, dict(seed=307, lengths=[17], text=SMALL_LLM | {"vocab_size": 97}, cached_steps=16)),
    Case("llm-loud", "starts at embeddings of the adaptor's real size: deviation 28, channels near 1187", llm.build, dict(seed=308, lengths=[19, 12], text=SMALL_LLM, start="embeds")),
    Case("llm-real-1024", "real widths: 1024, 16 heads, 8 KV heads of 128, FFN 3072; 9 rows prefilled, 4 cached", llm.build, dict(seed=309, lengths=[13], text=AT_1024, cached_steps=4)),
    Case("llm-real-4096", "real widths: 4096, 32 heads, 8 KV heads of 128, FFN 12288, untied head", llm.build, dict(seed=310, lengths=[5], text=AT_4096 | {"vocab_size": 160})),
    Case("llm-yarn", "YaRN by 4 over 48 original positions: 77 rows prefilled, 16 cached, positions to 92", llm.build, dict(seed=311, lengths=[93], text=SMALL_LLM | {"vocab_size": 97, "num_hidden_layers": 1, "max_position_embeddings": 192, "rope_parameters": YARN}, cached_steps=16)),
]  # fmt: skip

MLT = {"audio": {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_timestamp_prediction_layers": 1}, "adaptor": {"layer_norm_eps": 1e-12}, "text": {"hidden_size": 32, "head_dim": 8, "intermediate_size": 64, "vocab_size": 131}}
MODEL = [
    Case("model-all-chinese", "every adaptor row spliced, Chinese prompt", model.build, dict(seed=4022, frames=[19], prompts=["chinese"], rule="all")),
    Case("model-all-english-wave", "from the waveform: front-end, every row spliced, English prompt, 560 inputs", model.build, dict(seed=4037, frames=[17], prompts=["english"], rule="all", sizes={"audio": {"num_mel_bins": 80, "num_hidden_layers": 4, "num_timestamp_prediction_layers": 1}}, waveform=True)),
    Case("model-all-packed", "two clips packed, every row spliced, two prompts", model.build, dict(seed=4037, frames=[13, 23], prompts=["speech-transcription", "chinese"], rule="all")),
    Case("model-low-chinese", "the first L(T) rows spliced (53 rows, 7 reach the LLM), Chinese prompt", model.build, dict(seed=4079, frames=[53], prompts=["chinese"], rule="low_frame_rate")),
    Case("model-low-hotwords", "the first L(T) rows spliced, hotword prompt", model.build, dict(seed=4069, frames=[37], prompts=["hotwords"], rule="low_frame_rate", sizes={"text": {"vocab_size": 211}})),
    Case("model-low-packed", "two clips packed, one of a single row, the first L(T) rows spliced", model.build, dict(seed=4085, frames=[1, 29], prompts=["english", "speech-transcription"], rule="low_frame_rate")),
    Case("model-untied", "untied head, GQA 4, head_dim 32 at width 128, 3 adaptor blocks", model.build, dict(seed=4074, frames=[11], prompts=["english"], rule="all", sizes={"text": {"hidden_size": 128, "num_attention_heads": 8, "head_dim": 32, "tie_word_embeddings": False}, "adaptor": {"num_hidden_layers": 3}})),
    Case("model-weights-loud", "weights stored, not exact in bf16; two adaptor channels above 600 and 1000, the others of deviation 28", model.build, dict(seed=4110, frames=[17], prompts=["chinese"], rule="all", sizes={"audio": {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_timestamp_prediction_layers": 1}, "text": {"intermediate_size": 80}}, store_weights=True, loud=True)),
    Case("model-mlt", "Fun-ASR-MLT-Nano's config (no use_low_frame_rate, no CTC): Thai and Portuguese prompts, packed", mlt.build, dict(seed=4201, frames=[11, 6], languages=["泰语", "葡萄牙语"], sizes=MLT)),
]  # fmt: skip

TINY_AUDIO = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_timestamp_prediction_layers": 1}
LORA = {"rank": 16, "alpha": 32, "targets": ["q_proj", "v_proj"]}
TRAIN = [
    Case("train-adaptor", "adaptor alone, encoder 48, LLM 64, GQA 2; ten AdamW steps", train.build, dict(seed=501, frames=[19], prompts=["chinese"], answers=[9], tune=["adaptor"], sizes={"adaptor": {"num_hidden_layers": 1}}, steps=True)),
    Case("train-adaptor-wide", "adaptor alone, LLM four times as wide as the encoder, GQA 4, three clips packed, label smoothing", train.build, dict(seed=502, frames=[13, 1, 23], prompts=["english", "speech-transcription", "chinese"], answers=[7, 1, 12], tune=["adaptor"], rule="all", sizes={"audio": TINY_AUDIO, "text": {"hidden_size": 128, "num_attention_heads": 8, "head_dim": 32, "tie_word_embeddings": False}, "adaptor": {"num_hidden_layers": 1, "projector_hidden_size": 40}}, smoothing=0.1)),
    Case("train-adaptor-narrow", "adaptor alone, LLM narrower than the encoder, four blocks, the first L(T) rows spliced", train.build, dict(seed=503, frames=[53, 29], prompts=["hotwords", "chinese"], answers=[5, 8], tune=["adaptor"], rule="low_frame_rate", sizes={"text": {"hidden_size": 32}, "adaptor": {"num_hidden_layers": 4}})),
    Case("train-lora", "LoRA r 16 on q_proj and v_proj, GQA 2, two clips packed; ten AdamW steps", train.build, dict(seed=504, frames=[11, 17], prompts=["chinese", "english"], answers=[6, 10], tune=["lora"], lora=LORA, steps=True)),
    Case("train-encoder", "encoder alone, two clips packed", train.build, dict(seed=505, frames=[9, 21], prompts=["chinese", "english"], answers=[8, 5], tune=["encoder"], sizes={"audio": TINY_AUDIO})),
    Case("train-all", "adaptor, LoRA and encoder, two clips packed; ten AdamW steps", train.build, dict(seed=507, frames=[15, 7], prompts=["english", "chinese"], answers=[6, 9], tune=["adaptor", "lora", "encoder"], sizes={"audio": TINY_AUDIO | {"num_hidden_layers": 3}, "text": {"hidden_size": 32, "head_dim": 8}, "adaptor": {"num_hidden_layers": 1, "projector_hidden_size": 44}}, lora=LORA, steps=True)),
]  # fmt: skip

CASES = FRONTEND + ENCODER + ADAPTOR + CTC + LLM + MODEL + TRAIN + VAD + [Case("tokenizer", "ids and decoded text of 251 strings by the real Qwen3 tokenizer", tokenizer.build)]
