"""A larger Qwen3 behind the Nano's encoder, by the command line alone: `python
golden/fullsize/prove_migrated.py --size 8B --work DIR`.

DIR/0.6B is the Nano that gives the encoder (`golden/fullsize/prove.py --size 0.6B`). DIR gets
Qwen3-SIZE/, the LLM alone as Qwen3ForCausalLM's `save_pretrained` writes it (seeded random, bfloat16), and
migrated-SIZE/, made by `migrate`. Then `generate` answers a prompt with the LLM and `transcribe` a
clip through the new adaptor; any text will do. golden/fullsize/results/migrated
gets SIZE-FORMAT.json. Run `npm run build` first.
"""

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

os.environ.update(HF_HUB_OFFLINE="1")

import pure_torchaudio  # noqa: F401  before anything imports torchaudio
import transformers

from fullsize.checkpoint import check_space, parameter_count, write_llm
from fullsize.engine import REPOSITORY, run_command, noted, versions
from fullsize.sizes import ANALYSIS_BYTES, SIZES, make_config

WEIGHT_SEED = 1
ENCODER = "0.6B"
PROMPT = "What is speech recognition?"
CLIP = "models/demo/clips/en-seen-1.wav"
TOKENS = 8


def run(arguments: list[str], shown: dict[Path, str]) -> dict:
    """A command that must succeed; prints what it took."""
    result = run_command(arguments, shown)
    if result["exit_code"] != 0:
        sys.exit("\n".join([f"prove_migrated: {result['command']}: exit code {result['exit_code']}", *result["notes"]]))
    print(f"{result['command']}: {result['seconds']} s, peak {result['peak_resident_bytes'] / 1e9:.2f} GB", flush=True)
    return result


def facts(result: dict) -> dict:
    return {key: result[key] for key in ("command", "seconds", "cpu_seconds", "peak_resident_bytes")}


def loading(result: dict) -> tuple[float, int]:
    """Seconds and bytes that the engine reports of its load: "loaded in 1.2 s; weights on the GPU:
    3 bytes".
    """
    seconds, weights = noted(result["notes"], "loaded in ").split(" s; weights on the GPU: ")
    return float(seconds), int(weights.removesuffix(" bytes"))


def spoken(result: dict) -> dict:
    """Seconds by stage and memory of `generate` or `transcribe`; a token is a step of decoding: the
    prefill gives the first, and one may end the answer.
    """
    [answer] = result["lines"]
    load, weights = loading(result)
    steps = len(answer["tokenIds"]) - (answer["finish"] == "length")
    if steps < 1:
        sys.exit(f"prove_migrated: {result['command']}: the answer has {len(answer['tokenIds'])} tokens, too few to time one")
    seconds = {key: round(value, 2) for key, value in ({"load": load} | answer["seconds"]).items()}
    return facts(result) | {
        "stage_seconds": seconds | {"per_token": round(answer["seconds"]["decode"] / steps, 3)},
        "weights_on_gpu_bytes": weights,
        "resident_over_weights_bytes": result["peak_resident_bytes"] - weights,
        **{key: answer[key] for key in ("promptTokens", "audioSeconds") if key in answer},
        **{"token_ids": answer["tokenIds"], "finish": answer["finish"]},
    }


def make(arguments, llm: Path, migrated: Path, shown: dict[Path, str]) -> dict:
    """Both directories, made or, with --reuse, taken as they lie there. Returns what making took.
    """
    known = migrated.with_suffix(f"{migrated.suffix}.json")
    if arguments.reuse and migrated.exists() and known.exists():
        return json.loads(known.read_text())
    for path in (llm, migrated):
        shutil.rmtree(path, ignore_errors=True)
    config = make_config(arguments.size)
    parameters = parameter_count(config)
    check_space(arguments.work, 4 * parameters)  # the LLM alone, and the whole or the LLM's mapped file
    start = time.monotonic()
    write_llm(config, WEIGHT_SEED, llm)
    made = {"save_pretrained": {"seconds": round(time.monotonic() - start, 1), "class": "Qwen3ForCausalLM", "weight_seed": WEIGHT_SEED}}
    print(f"save_pretrained: {made['save_pretrained']['seconds']} s", flush=True)
    encoder = arguments.work / ENCODER
    result = run(["migrate", "--encoder", str(encoder), "--llm", str(llm), "--out", str(migrated), "--json"], shown)
    [said] = result["lines"]
    made["migrate"] = facts(result) | {"bytes": said["bytes"], "files": len(said["files"]), "encoder_sha256": said["encoderSha256"]}
    made |= {"parameters": parameters}
    known.write_text(json.dumps(made))
    return made


def measure(arguments, weights: str, llm: Path, migrated: Path, made: dict, shown: dict[Path, str]) -> None:
    flags = ["--weights", weights, "--max-tokens", str(TOKENS), "--json"]
    generated = run(["generate", PROMPT, "--model", str(llm), *flags], shown)
    transcribed = run(["transcribe", CLIP, "--model", str(migrated), *flags], shown)
    result = {"size": arguments.size, "format": weights, "versions": versions(), "device": noted(transcribed["notes"], "device: ")}
    result |= {"made_by": f"python golden/fullsize/prove_migrated.py --size {arguments.size} --work DIR --weights {weights}"}
    result |= made | {"generate": spoken(generated), "transcribe": spoken(transcribed)}
    result["analysis_bytes"] = ANALYSIS_BYTES[arguments.size]
    out = arguments.results / f"{arguments.size}-{weights}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=2) + "\n")


HEAD = ["size", "weights", "on the GPU", "peak memory", "analysis", "load", "encoder and adaptor", "prefill", "a token", "text alone: peak memory", "prefill", "a token"]


def row(r: dict) -> str:
    """A result as a row of Markdown: bytes and seconds of `transcribe`, then those of `generate`.
    """
    heard, text = r["transcribe"], r["generate"]
    s, t = heard["stage_seconds"], text["stage_seconds"]
    gigabytes = lambda value: f"{value / 1e9:.2f} GB"  # noqa: E731
    cells = [
        r["size"], r["format"], gigabytes(heard["weights_on_gpu_bytes"]), gigabytes(heard["peak_resident_bytes"]),
        f"{r['analysis_bytes'] / 1e9:.0f} GB", f"{s['load']:.0f} s", f"{s['encoder'] + s['adaptor']:.1f} s", f"{s['prefill']:.1f} s",
        f"{s['per_token']:.2f} s", gigabytes(text["peak_resident_bytes"]), f"{t['prefill']:.1f} s", f"{t['per_token']:.2f} s",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def table(results: Path) -> str:
    """The results as Markdown."""
    found = [json.loads(path.read_text()) for path in results.glob("*.json")]
    rows = [row(r) for r in sorted(found, key=lambda r: (list(SIZES).index(r["size"]), r["format"]))]
    return "\n".join([f"| {' | '.join(HEAD)} |", "| --- " * len(HEAD) + "|", *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=list(SIZES))
    parser.add_argument("--work", type=Path, help="directory for the outputs; outside the repository")
    parser.add_argument("--weights", nargs="+", default=["q4"], help="run the engine once with each of these (default: q4)")
    parser.add_argument("--reuse", action="store_true", help="use the directories in DIR")
    parser.add_argument("--results", type=Path, default=Path(__file__).resolve().parent / "results" / "migrated", help="(default: golden/fullsize/results/migrated)")
    parser.add_argument("--table", action="store_true", help="print the table of docs/parity.md and stop")
    arguments = parser.parse_args()
    if arguments.table:
        print(table(arguments.results))
        return
    if arguments.size is None or arguments.work is None:
        parser.error("--size and --work are needed")
    arguments.work = arguments.work.resolve()
    if not (arguments.work / ENCODER / "config.json").exists():
        parser.error(f"{arguments.work / ENCODER}: expected a checkpoint; make it with golden/fullsize/prove.py --size {ENCODER} --no-engine")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    llm, migrated = arguments.work / f"Qwen3-{arguments.size}", arguments.work / f"migrated-{arguments.size}"
    shown = {path: f"DIR/{path.name}" for path in (arguments.work / ENCODER, llm, migrated)}
    made = make(arguments, llm, migrated, shown)
    for weights in arguments.weights:
        measure(arguments, weights, llm, migrated, made, shown)


if __name__ == "__main__":
    main()
