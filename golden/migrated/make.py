"""Write golden/migrated: transformers' results with checkpoints that `funasr-webgpu migrate` wrote.

From the repository's root, after `npm ci` and in the environment of README.md:
golden/.venv/bin/python golden/migrated/make.py [--out DIR] [--keep DIR]

For each of the four ratios of the LLM's width to the source's: a small checkpoint and a small Qwen3
with generated weights, written by `save_pretrained`; the command line migrates them;
`FunAsrNanoForConditionalGeneration.from_pretrained` loads the result. Then: no key is missing or
left over; encoder and LLM are bit for bit those that were given, and `linear_1` too; the new
parameters lie in PyTorch's bounds; and every stage is recorded as in the other bundles, in f32 and
f64. The bundles hold no weights: the test migrates the same pair again (metadata `source_config`,
`llm_config`, `generator_seed`).
"""

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1", HF_HUB_OFFLINE="1")

import pure_torchaudio  # noqa: F401  before anything imports torchaudio
import torch
import transformers
from tokenizers import Tokenizer
from transformers import FunAsrNanoFeatureExtractor, FunAsrNanoForConditionalGeneration, Qwen3Config, Qwen3ForCausalLM

from bundle import Bundle, check, serialise, write
from cases.encoder import make_features, offsets
from cases.model import STEPS, Clip, run_both
from models import LLM_PREFIX, config_json, fill, make_config

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "models" / "demo"
VOCABULARY = 1072
ENCODER, ADAPTOR = "model.audio_tower.", "model.multi_modal_projector."
KEPT_STAGES = ("encoder.output", "adaptor.", "llm.inputs_embeds", "llm.norm", "logits")
FRAMES = [7]
PROMPT = "<|im_start|>user\n语音转写：{}<|im_end|>\n<|im_start|>assistant\n"
AUDIO_TOKEN = "<|object_ref_start|>"
SOURCE_WIDTH = 64
SHARD = "200KB"
# case: LLM width, tied head, weights in shards, blocks, seed of the weights, seed of the adaptor
CASES = {
    "migrated-1": (64, True, False, 2, 1, 0),
    "migrated-2": (128, False, True, 3, 2, 7),
    "migrated-2.5": (160, True, True, 2, 3, 1),
    "migrated-4": (256, False, False, 4, 4, 4294967295),
}


def write_source(path: Path, seed: int) -> FunAsrNanoForConditionalGeneration:
    config = make_config(text={"vocab_size": VOCABULARY, "hidden_size": SOURCE_WIDTH})
    config.audio_token_id = Tokenizer.from_file(str(DEMO / "tokenizer.json")).token_to_id(AUDIO_TOKEN)
    model = fill(FunAsrNanoForConditionalGeneration(config), "", seed).to(torch.bfloat16)
    model.save_pretrained(path)
    FunAsrNanoFeatureExtractor(feature_size=config.audio_config.num_mel_bins).save_pretrained(path)
    copy_tokenizer(path)
    shutil.copy(DEMO / "chat_template.jinja", path)
    return model


def write_llm(path: Path, seed: int, width: int, tied: bool, sharded: bool) -> Qwen3ForCausalLM:
    config = Qwen3Config(
        vocab_size=VOCABULARY, hidden_size=width, intermediate_size=3 * width // 2, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=24, max_position_embeddings=2048, tie_word_embeddings=tied,
        rope_parameters={"rope_theta": 1e6, "rope_type": "default"},
    )  # fmt: skip
    model = fill(Qwen3ForCausalLM(config), LLM_PREFIX, seed).to(torch.bfloat16)
    model.save_pretrained(path, **({"max_shard_size": SHARD} if sharded else {}))
    copy_tokenizer(path)
    return model


def copy_tokenizer(path: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(DEMO / name, path)


def migrate(source: Path, llm: Path, out: Path, blocks: int, seed: int) -> None:
    command = ["node", "bin/funasr-webgpu.js", "migrate", "--encoder", source, "--llm", llm, "--out", out, "--blocks", blocks, "--seed", seed]
    subprocess.run([str(part) for part in command], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def load(path: Path) -> FunAsrNanoForConditionalGeneration:
    """The migrated checkpoint as upstream loads it; nothing may be missing, left over or of another
    shape.
    """
    model, info = FunAsrNanoForConditionalGeneration.from_pretrained(path, dtype=torch.float32, output_loading_info=True)
    problems = {key: value for key, value in info.items() if value}
    if problems:
        sys.exit(f"{path.name}: from_pretrained: {problems}")
    return model.eval()


def check_parameters(name: str, model, source, llm, blocks: int) -> None:
    """Encoder, linear_1 and LLM are the given bits; every other parameter of the adaptor is
    PyTorch's default in range.
    """
    mine, theirs, text = model.state_dict(), source.state_dict(), llm.state_dict()
    for key, value in mine.items():
        if key.startswith(ENCODER) or key.startswith(f"{ADAPTOR}linear_1."):
            expected = theirs[key]
        elif not key.startswith(ADAPTOR):
            expected = text[key.replace("model.language_model.", "model.")]
        else:
            check_initial(name, key, value, mine)
            continue
        if not torch.equal(value, expected.float()):
            sys.exit(f"{name}: {key}: not the given bits")
    if len(model.model.multi_modal_projector.layers) != blocks:
        sys.exit(f"{name}: {len(model.model.multi_modal_projector.layers)} blocks, expected {blocks}")


def check_initial(name: str, key: str, value: torch.Tensor, state: dict) -> None:
    """A norm is 1 and 0; a linear layer is uniform in ±1/√fan_in: range, mean and deviation."""
    if "norm" in key:
        if not torch.equal(value, torch.full_like(value, float(key.endswith("weight")))):
            sys.exit(f"{name}: {key}: not {float(key.endswith('weight'))}")
        return
    bound = 1 / math.sqrt(state[key.removesuffix("bias").removesuffix("weight") + "weight"].shape[1])
    spread = bound / math.sqrt(3)
    if not (value.abs().max() <= bound * (1 + 2**-8) and value.mean().abs() < 5 * spread / math.sqrt(value.numel())):
        sys.exit(f"{name}: {key}: not uniform in ±{bound:.4f}")
    if value.numel() > 1000 and not abs(value.std() / spread - 1) < 0.05:
        sys.exit(f"{name}: {key}: deviation {value.std():.4f}, expected {spread:.4f}")


def build(name: str, model, seed: int, metadata: dict) -> Bundle:
    config = model.config
    rows = FRAMES[0]
    ids = Tokenizer.from_file(str(DEMO / "tokenizer.json")).encode(PROMPT.format(AUDIO_TOKEN * rows)).ids
    clips = [Clip(make_features(FRAMES, config.audio_config.input_size, seed)[0], torch.tensor(ids))]
    model.generation_config.eos_token_id = None
    f32, f64, proof, generated, margin = run_both(model, clips, "all")
    kept = lambda stages: {k: v for k, v in stages.items() if k.startswith(KEPT_STAGES)}  # noqa: E731
    inputs = {
        "input.features": clips[0].features, "input.segments": offsets(FRAMES), "input.token_ids": clips[0].ids,
        "input.token_segments": offsets([len(ids)]), "generated_ids": torch.tensor(generated).flatten(),
    }  # fmt: skip
    metadata |= {
        "start": "input.features", "seed": seed, "config": config_json(config), "audio_token_rule": "all", "generate": STEPS,
        "min_margin": f"{margin:.3e}", "weights": "migrated", "generator_seed": seed,
    }  # fmt: skip
    return Bundle(kind="model", inputs=inputs, f32=kept(f32), f64=kept(f64), plain=kept(proof), metadata=metadata)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "golden" / "migrated", help="directory of the bundles")
    parser.add_argument("--keep", type=Path, help="directory to keep the checkpoints in")
    arguments = parser.parse_args()
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for name, (width, tied, sharded, blocks, seed, adaptor_seed) in CASES.items():
            at = (arguments.keep or Path(scratch)) / name
            source, llm = write_source(at / "source", seed), write_llm(at / "llm", seed, width, tied, sharded)
            migrate(at / "source", at / "llm", at / "out", blocks, adaptor_seed)
            model = load(at / "out")
            check_parameters(name, model, source, llm, blocks)
            files = len(list((at / "llm").glob("*.safetensors")))
            metadata = {"source_config": config_json(source.config), "llm_config": json.loads(llm.config.to_json_string()),
                        "llm_files": files, "blocks": blocks, "adaptor_seed": adaptor_seed}  # fmt: skip
            bundle = build(name, model, seed, metadata)
            errors = check(name, bundle)
            data = serialise(name, bundle)
            write(arguments.out / f"{name}.safetensors", data)
            worst = max(errors, key=errors.get)
            print(f"{name:14} width {width:3}, {files} files, {blocks} blocks: {len(data)} bytes, {len(errors)} stages, "
                  f"f32 error up to {errors[worst]:.1e} ({worst}), margin {bundle.metadata['min_margin']}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
