"""The same weights in the other published forms: FunASR's model.pt by `torch.save`, GGUF by the
`gguf` package, the MLX port's names.
"""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import gguf
import torch
import yaml
from safetensors.torch import load_file
from transformers import FunAsrNanoConfig, Qwen3ForCausalLM

from fixtures import gguf_files, layouts
from fullsize.streaming import EMBEDDING
from models import LLM_PREFIX, make_funasr_adaptor, make_funasr_encoder

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


def load(directory: Path) -> dict[str, torch.Tensor]:
    """Every tensor of the transformers form, under its -hf name."""
    return {name: value for path in sorted(directory.glob("*.safetensors")) for name, value in load_file(path).items()}


def funasr_state(config: FunAsrNanoConfig, seed: int, stored: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """State of FunASR's own encoder and adaptor classes in f32 and of upstream's Qwen3 in bfloat16,
    as FunASR trains and saves them.
    """
    with torch.device("meta"):
        llm = Qwen3ForCausalLM(config.text_config)
    state = {"model." + name.removeprefix(LLM_PREFIX): value for name, value in stored.items() if name.startswith(LLM_PREFIX)}
    state["lm_head.weight"] = stored.get("lm_head.weight", stored[EMBEDDING])
    llm.load_state_dict(state, assign=True)
    parts = {"audio_encoder": make_funasr_encoder(config, seed), "audio_adaptor": make_funasr_adaptor(config, seed), "llm": llm}
    return {f"{part}.{name}": value for part, module in parts.items() for name, value in module.state_dict().items()}


def config_yaml(config: FunAsrNanoConfig) -> str:
    """The fixture's config.yaml with this model's sizes."""
    audio, adaptor = config.audio_config, config.adaptor_config
    sections = yaml.safe_load(layouts.config_yaml())
    sections["audio_encoder_conf"] |= {
        "output_size": audio.hidden_size, "attention_heads": audio.num_attention_heads, "linear_units": audio.intermediate_size,
        "num_blocks": audio.num_hidden_layers - audio.num_timestamp_prediction_layers, "tp_blocks": audio.num_timestamp_prediction_layers,
    }  # fmt: skip
    sections["audio_adaptor_conf"] |= {
        "ffn_dim": adaptor.projector_hidden_size, "llm_dim": adaptor.hidden_size, "encoder_dim": audio.hidden_size,
        "n_layer": adaptor.num_hidden_layers, "attention_heads": adaptor.num_attention_heads,
    }  # fmt: skip
    sections["frontend_conf"] |= {"n_mels": audio.num_mel_bins, "lfr_m": audio.num_stacked_frames}
    return yaml.safe_dump(sections, sort_keys=False)


def write_funasr(config: FunAsrNanoConfig, seed: int, source: Path, out: Path) -> None:
    """model.pt, config.yaml and the directory of the LLM's configuration and tokenizer."""
    llm = out / "Qwen3-0.6B"
    llm.mkdir(parents=True)
    torch.save(funasr_state(config, seed, load(source)), out / "model.pt")
    (out / "config.yaml").write_text(config_yaml(config))
    config.text_config.architectures = ["Qwen3ForCausalLM"]
    config.text_config.save_pretrained(llm)
    for file in (*TOKENIZER_FILES, "generation_config.json"):
        shutil.copy(source / file, llm)


def write_mlx(config: FunAsrNanoConfig, seed: int, source: Path, out: Path) -> None:
    """model.safetensors in f16 under the port's names, with the files that lie beside it."""
    out.mkdir(parents=True)
    layouts.write_mlx(funasr_state(config, seed, load(source)), out)
    audio = config.audio_config
    sizes = {"sample_rate": 16000, "n_mels": audio.num_mel_bins, "lfr_m": audio.num_stacked_frames, "lfr_n": 6}
    (out / "config.json").write_text(json.dumps(sizes) + "\n")
    for file in TOKENIZER_FILES:
        shutil.copy(source / file, out)


def gguf_keys(config: FunAsrNanoConfig) -> dict[str, int]:
    """The metadata of FunASR's export_encoder_gguf.py."""
    audio, adaptor = config.audio_config, config.adaptor_config
    tp = audio.num_timestamp_prediction_layers
    return {
        "enc.input_size": audio.input_size, "enc.output_size": audio.hidden_size, "enc.attention_heads": audio.num_attention_heads,
        "enc.linear_units": audio.intermediate_size, "enc.num_blocks": audio.num_hidden_layers - tp, "enc.tp_blocks": tp,
        "enc.kernel_size": audio.fsmn_kernel_size, "enc.sanm_shfit": 0, "adp.llm_dim": adaptor.hidden_size,
        "adp.encoder_dim": audio.hidden_size, "adp.ffn_dim": adaptor.projector_hidden_size, "adp.n_layer": adaptor.num_hidden_layers,
        "adp.attention_heads": adaptor.num_attention_heads, "adp.downsample_rate": 1, "frontend.n_mels": audio.num_mel_bins,
        "frontend.lfr_m": audio.num_stacked_frames, "frontend.lfr_n": 6,
    }  # fmt: skip


def write_gguf(kind: gguf.GGMLQuantizationType) -> Callable[[FunAsrNanoConfig, int, Path, Path], None]:
    """The pair of GGUF files: encoder and adaptor in f16, the LLM's matrices in `kind`; the tied
    head is stored once.
    """

    def write(config: FunAsrNanoConfig, seed: int, source: Path, out: Path) -> None:
        out.mkdir(parents=True)
        stored, audio = load(source), config.audio_config
        main = audio.num_hidden_layers - audio.num_timestamp_prediction_layers
        sound = gguf_files.to_model_pt(stored, main, audio.num_hidden_layers)
        gguf_files.encoder(out / "funasr-encoder-f16.gguf", sound, gguf_keys(config), "f16")
        w = gguf_files.llm_writer(out / f"qwen3-{kind.name.lower()}.gguf", config.text_config.to_dict())
        gguf_files.add_vocabulary(w, json.loads((source / "tokenizer.json").read_text()), config.text_config.vocab_size)
        for name, value in stored.items():
            if not name.startswith((LLM_PREFIX, "lm_head.")):
                continue
            if value.ndim == 1:
                w.add_tensor(gguf_files.llm_name(name), value.float().numpy())
            else:
                w.add_tensor(gguf_files.llm_name(name), gguf.quants.quantize(value.float().numpy(), kind), raw_dtype=kind)
        gguf_files.finish(w)

    return write


WRITERS = {
    "funasr": write_funasr,
    "mlx": write_mlx,
    "gguf-bf16": write_gguf(gguf.GGMLQuantizationType.BF16),
    "gguf-f16": write_gguf(gguf.GGMLQuantizationType.F16),
    "gguf-q8_0": write_gguf(gguf.GGMLQuantizationType.Q8_0),
}


def write_container(form: str, config: FunAsrNanoConfig, seed: int, source: Path, out: Path) -> None:
    """One form in `out`, from the transformers form in `source` and the seed that made it."""
    logging.getLogger("gguf").setLevel(logging.WARNING)
    shutil.rmtree(out, ignore_errors=True)
    WRITERS[form](config, seed, source, out)
