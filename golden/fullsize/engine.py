"""Running the engine's `verify` on a full-size bundle, measured from outside, and summing up what
it printed.
"""

import json
import os
import platform
import shlex
import statistics
import subprocess
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
STEPS = 8  # greedy tokens
NOTHING_TO_LOSE = 0.0  # PyTorch's error where a stage is copied, not computed


def run_command(arguments: list[str], shown: dict[Path, str]) -> dict:
    """One run of the command line: command with paths as `shown`, exit code, seconds, peak resident
    bytes, lines of stdout and stderr.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        start = time.monotonic()
        process = subprocess.Popen(["node", "bin/funasr-webgpu.js", *arguments], cwd=REPOSITORY, stdout=out, stderr=err)
        peak, usage = wait(process)
        seconds = time.monotonic() - start
        for file in (out, err):
            file.seek(0)
        lines, notes = out.read().splitlines(), [line for line in err.read().splitlines() if line.strip()]
    names = {str(path): name for path, name in shown.items()}
    return {
        "command": shlex.join(["node", "bin/funasr-webgpu.js", *(names.get(a, a) for a in arguments)]),
        "exit_code": process.returncode,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_resident_bytes": peak,
        "lines": [json.loads(line) for line in lines if line.startswith("{")],
        "notes": notes,
    }


def verify(model: Path, bundle: Path, weights: str | None) -> dict:
    """`verify` of a bundle: the run, its lines being the stages."""
    arguments = ["verify", "--model", str(model), str(bundle), "--json"] + (["--weights", weights] if weights else [])
    run = run_command(arguments, {model: f"DIR/{model.name}", bundle: f"DIR/{bundle.name}"})
    return run | {"stages": run.pop("lines")}


def noted(notes: list[str], label: str) -> str:
    """The text after this label on the engine's stderr."""
    return next(line.removeprefix(label) for line in notes if line.startswith(label))


def wait(process: subprocess.Popen) -> tuple[int, object]:
    """Peak resident bytes of the process and what it used, once it has ended.

    The kernel's high-water mark, read until the end: the `ru_maxrss` of a child counts the parent's
    memory at the fork.
    """
    peak, status_file = 0, Path(f"/proc/{process.pid}/status")
    while True:
        found = [line for line in status_file.read_text().splitlines() if line.startswith("VmHWM:")]
        if found:  # none once it has ended; Popen returned after the exec, so this is its own memory
            peak = max(peak, int(found[0].split()[1]) * 1024)
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return peak, usage
        time.sleep(0.05)


def significant(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def summarise(stages: list[dict]) -> dict:
    """Medians, the worst stage and the whole table of a run's stages. The engine prints null for
    NaN and infinity.
    """
    floats = [s for s in stages if s["stage"] != "generated_ids"]
    computed = [s["ratio"] for s in floats if s["torchError"] != NOTHING_TO_LOSE and s["ratio"] is not None]
    worst = max(floats, key=lambda s: float("inf") if s["ratio"] is None else s["ratio"])
    greedy = [s for s in stages if s["stage"] == "generated_ids"]
    return {
        "stages": len(stages),
        "failed": sum(not s["ok"] for s in stages),
        "median_ratio": significant(statistics.median(computed)) if computed else None,
        "worst_ratio": significant(worst["ratio"]),
        "worst_stage": worst["stage"],
        "worst_error": significant(worst["error"]),
        "greedy_ids_equal": len(greedy) == 1 and greedy[0]["error"] == 0,
        "greedy_ids_differing": greedy[0]["maxAbs"] if greedy else None,
        "table": [
            {"stage": s["stage"], "shape": s["shape"], "error": significant(s["error"]), "pytorch_error": significant(s["torchError"]),
             "ratio": significant(s["ratio"]), "ok": s["ok"]} | ({"problem": s["problem"]} if s.get("problem") else {})
            for s in stages
        ],
    }  # fmt: skip


def versions() -> dict[str, str]:
    """What computed the figures."""
    run = lambda *command: subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True).stdout.strip()  # noqa: E731
    return {
        "funasr-webgpu": json.loads((REPOSITORY / "package.json").read_text())["version"],
        "commit": run("git", "rev-parse", "--short=12", "HEAD"),
        "node": run("node", "--version"),
        "python": platform.python_version(),
    } | {package: version(package) for package in ("torch", "transformers", "numpy", "safetensors")}


def quantised(result: dict) -> bool:
    return any(part.startswith("q") for part in result["format"].split("-"))


def markdown_table(results: list[dict]) -> str:
    """The tables of docs/parity.md: results under the rule of the small goldens, then those of
    weights that were rounded.
    """
    exact = [row(r) for r in results if not quantised(r)]
    rounded = [quantised_row(r) for r in results if quantised(r)]
    return "\n\n".join(_markdown(rows) for rows in (exact, rounded) if rows)


def row(r: dict) -> dict[str, str]:
    """A result whose weights are those of the reference."""
    v = r["verify"]
    return memory(r) | {
        "stages that hold": f"{v['stages'] - v['failed']} of {v['stages']}",
        "median ratio": f"{v['median_ratio']:.2f}",
        "worst ratio": f"{v['worst_ratio']:.2f} `{v['worst_stage']}`",
        "PyTorch's own error": f"to {r['reference']['torch_f32_error_worst']:.1e}",
        "8 tokens": "equal" if v["greedy_ids_equal"] else "differ",
    }


def quantised_row(r: dict) -> dict[str, str]:
    """A result whose weights were rounded: how far each part moves from the reference in double
    precision.
    """
    v, error = r["verify"], {stage["stage"]: stage["error"] for stage in r["verify"]["table"]}
    adaptor = [stage for stage in error if stage.startswith("adaptor.blocks.")][-1]
    shown = {stage: f"{error[stage]:.1e}" for stage in ("encoder.output", adaptor, "llm.norm", "logits")}
    return memory(r) | shown | {"equal tokens": f"{STEPS - v['greedy_ids_differing']} of {STEPS}"}


def memory(r: dict) -> dict[str, str]:
    return {
        "size": r["size"],
        "form": r["format"],
        "weights on the GPU": f"{r['weights_on_gpu_bytes'] / 1e9:.2f} GB",
        "peak memory": f"{r['peak_resident_bytes']['engine'] / 1e9:.2f} GB",
        "seconds": f"{r['seconds']['engine']:.0f}",
    }


def _markdown(rows: list[dict[str, str]]) -> str:
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(r.values()) for r in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
