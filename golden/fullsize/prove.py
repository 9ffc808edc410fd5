"""The proof at full size: `python golden/fullsize/prove.py --size 0.6B --work DIR` writes a
checkpoint, computes its stages, runs the engine.

DIR gets SIZE/ (the checkpoint), SIZE.safetensors (the bundle) and SIZE.json (what the reference run
measured); golden/fullsize/results gets SIZE-FORMAT.json. Run `npm run build` first.
"""

import os

os.environ.update(HF_HUB_OFFLINE="1")

import argparse
import json
import resource
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
import transformers

import pure_torchaudio  # noqa: F401  before anything imports torchaudio
from fullsize.checkpoint import check_space, parameter_count, space_to_write, write_checkpoint
from fullsize.containers import WRITERS, write_container
from fullsize.engine import REPOSITORY, markdown_table, summarise, noted, verify, versions
from fullsize.reference import Measured, make_bundle, make_clip
from fullsize.sizes import SIZES, make_config

HERE = Path(__file__).resolve().parent
WEIGHT_SEED = 1
TRANSFORMERS = "transformers"


def reference(arguments, config) -> tuple[Path, Path, dict]:
    """Checkpoint and bundle, made or, with --reuse, taken as they lie there. Returns their paths
    and what was measured.
    """
    size, work = arguments.size, arguments.work
    directory, bundle, facts = work / size, work / f"{size}.safetensors", work / f"{size}.json"
    if arguments.reuse and bundle.exists() and facts.exists():
        return directory, bundle, json.loads(facts.read_text())
    measured, parameters = Measured(), parameter_count(config)
    measured.facts |= {"audio_seconds": arguments.seconds, "input_seed": arguments.seed, "weight_seed": WEIGHT_SEED}
    print(f"{size}: {parameters} parameters, {2 * parameters / 1e9:.2f} GB in bfloat16", flush=True)
    if not (arguments.reuse and (directory / "config.json").exists()):
        check_space(work, space_to_write(parameters))
        shutil.rmtree(directory, ignore_errors=True)
        measured.time("save_pretrained", lambda: write_checkpoint(config, WEIGHT_SEED, directory))
    clip = make_clip(arguments.seconds, arguments.seed)
    bundle.write_bytes(make_bundle(size, config, directory, parameters, clip, (arguments.seed, WEIGHT_SEED), measured))
    files = sorted(path for path in directory.iterdir() if path.suffix == ".safetensors")
    result = {
        "parameters": parameters,
        "checkpoint": {"files": len(files), "bytes": sum(path.stat().st_size for path in files), "dtype": "bfloat16"},
        "reference": measured.facts,
        "seconds": measured.seconds,
        "peak_resident_bytes": {"reference": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024},
    }
    facts.write_text(json.dumps(result))
    return directory, bundle, result


def container(arguments, form: str, config, source: Path, parameters: int) -> Path:
    """The directory of a container, written where it does not lie there or must be made anew."""
    if form == TRANSFORMERS:
        return source
    out = arguments.work / f"{arguments.size}-{form}"
    if not (arguments.reuse and out.exists()):
        check_space(arguments.work, space_to_write(2 * parameters))
        write_container(form, config, WEIGHT_SEED, source, out)
    return out


def prove(arguments, directory: Path, form: str, weights: str | None, made: tuple[Path, Path, dict]) -> bool:
    """Run the engine, print and write SIZE-FORMAT.json. Returns whether every stage held."""
    _, bundle, known = made
    run = verify(directory, bundle, weights)
    for note in run["notes"][-2:]:
        print(f"  {note}")
    if not run["stages"]:
        sys.exit(f"prove: the engine compared no stage (exit code {run['exit_code']})")
    name = "-".join(part for part in (form if form != TRANSFORMERS else None, weights) if part) or "bf16"
    summary = summarise(run["stages"])
    flags = "".join([f" --container {form}" if form != TRANSFORMERS else "", f" --weights {weights}" if weights else ""])
    device = noted(run["notes"], "device: ")
    result = {"size": arguments.size, "format": name, "container": form, "versions": versions(), "device": device}
    result |= {"made_by": f"python golden/fullsize/prove.py --size {arguments.size} --work DIR{flags}"}
    result |= {"command": run["command"], "exit_code": run["exit_code"]} | known
    result["seconds"] = known["seconds"] | {"engine": run["seconds"], "engine_cpu": run["cpu_seconds"]}
    result["peak_resident_bytes"] = known["peak_resident_bytes"] | {"engine": run["peak_resident_bytes"]}
    result["weights_on_gpu_bytes"] = int(noted(run["notes"], "weights on the GPU: ").removesuffix(" bytes"))
    result["same_figures_as_bf16"] = same_as_stored(arguments.work / f"{arguments.size}-bf16.stages.json", name, run["stages"])
    result["verify"] = summary
    out = arguments.results / f"{arguments.size}-{name}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(as_text(result))
    print(
        f"{arguments.size} {name}: {summary['stages']} stages, {summary['failed']} failed, median ratio {summary['median_ratio']}, "
        f"worst {summary['worst_ratio']} at {summary['worst_stage']}, greedy ids equal: {summary['greedy_ids_equal']}, "
        f"same figures as bf16: {result['same_figures_as_bf16']}, {run['seconds']} s, peak {run['peak_resident_bytes'] / 1e9:.2f} GB",
        flush=True,
    )
    return run["exit_code"] == 0


def same_as_stored(kept: Path, name: str, stages: list[dict]) -> bool | None:
    """Whether every figure of every stage, as printed in full, is that of the transformers form's
    run; None where that was not run.
    """
    if name == "bf16":
        kept.write_text(json.dumps(stages))
        return True
    return json.loads(kept.read_text()) == stages if kept.exists() else None


def as_text(result: dict) -> str:
    """Indented JSON with one stage of the table a line."""
    table = result["verify"]["table"]
    whole = result | {"verify": result["verify"] | {"table": "TABLE"}}
    rows = ",\n".join("      " + json.dumps(row, ensure_ascii=False) for row in table)
    return json.dumps(whole, indent=2, ensure_ascii=False).replace('"TABLE"', f"[\n{rows}\n    ]") + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=["tiny", *SIZES])
    parser.add_argument("--work", type=Path, help="directory for the outputs; outside the repository")
    parser.add_argument("--seconds", type=float, default=3.0, help="of audio (default: 3)")
    parser.add_argument("--seed", type=int, default=1, help="of the audio (default: 1)")
    parser.add_argument("--weights", nargs="+", default=[None], help="run the engine once with each of these (default: as stored)")
    parser.add_argument(
        "--container", nargs="+", default=[TRANSFORMERS], choices=[TRANSFORMERS, *WRITERS], help="run it on these (default: transformers)"
    )
    parser.add_argument("--reuse", action="store_true", help="use the checkpoint and the bundle in DIR")
    parser.add_argument("--no-engine", action="store_true", help="stop before the engine")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="(default: golden/fullsize/results)")
    parser.add_argument("--table", action="store_true", help="print the tables of docs/parity.md and stop")
    arguments = parser.parse_args()
    if arguments.table:
        rows = [json.loads(path.read_text()) for path in arguments.results.glob("*.json")]
        order = list(SIZES)
        print(markdown_table(sorted(rows, key=lambda row: (order.index(row["size"]), row["format"]))))
        return
    if arguments.size is None or arguments.work is None:
        parser.error("--size and --work are needed")
    arguments.work = arguments.work.resolve()
    if arguments.work.is_relative_to(REPOSITORY):
        parser.error(f"--work: expected a directory outside {REPOSITORY}")
    arguments.work.mkdir(parents=True, exist_ok=True)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.use_deterministic_algorithms(True)
    config = make_config(arguments.size)
    made = reference(arguments, config)
    if arguments.no_engine:
        return
    held = []
    for form in arguments.container:
        directory = container(arguments, form, config, made[0], made[2]["parameters"])
        held += [prove(arguments, directory, form, weights, made) for weights in arguments.weights]
    sys.exit(0 if all(held) else 1)


if __name__ == "__main__":
    main()
