"""Write the golden bundles: `python golden/export.py [--only CASE...] [--out DIR] [--stages]`."""

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1", HF_HUB_OFFLINE="1")

import argparse
import gc
import json
import sys
from pathlib import Path

import torch
import transformers

import pure_torchaudio  # noqa: F401  before anything imports torchaudio
from bundle import check, manifest_entry, serialise, write
from table import CASES

HERE = Path(__file__).resolve().parent


def export(case, out: Path, show_stages: bool) -> dict:
    """Build, check and write one case. Returns its row of the manifest."""
    built = case.build(**case.options)
    if isinstance(built, bytes):  # the tokenizer's JSON
        file, kind, data = f"{case.name}.json", "tokenizer", built
        print(f"{case.name:28} {kind:9} {len(data):>9} bytes")
    else:
        errors = check(case.name, built)
        file, kind, data = f"{case.name}.safetensors", built.kind, serialise(case.name, built)
        worst = max(errors, key=errors.get)
        print(f"{case.name:28} {kind:9} {len(data):>9} bytes  {len(errors):>2} stages  f32 error", end=" ")
        print(f"{min(errors.values()):.1e} to {errors[worst]:.1e} ({worst})", flush=True)
        if show_stages:
            for stage, error in errors.items():
                print(f"    {stage:28} {'x'.join(map(str, built.f64[stage].shape)):>12}  {error:.2e}")
    write(out / file, data)
    return manifest_entry(case.name, file, kind, case.description, data)


def save_manifest(path: Path, rows: list[dict]) -> None:
    """Replace the rows of these cases, keep the others, in the order of the table."""
    kept = {row["name"]: row for row in json.loads(path.read_text())["bundles"]} if path.exists() else {}
    kept |= {row["name"]: row for row in rows}
    ordered = [kept[case.name] for case in CASES if case.name in kept]
    total = sum(row["bytes"] for row in ordered)
    path.write_text(json.dumps({"bytes": total, "bundles": ordered}, indent=2, ensure_ascii=False) + "\n")
    print(f"{len(ordered)} bundles, {total} bytes", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="CASE", help="these cases (default: all)")
    parser.add_argument("--out", type=Path, help="directory for bundles/ and manifest.json (default: golden/)")
    parser.add_argument("--stages", action="store_true", help="print the f32 error of every stage")
    arguments = parser.parse_args()
    unknown = set(arguments.only or []) - {case.name for case in CASES}
    if unknown:
        sys.exit(f"export: no such case: {', '.join(sorted(unknown))}; known: {', '.join(case.name for case in CASES)}")
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    out = arguments.out or HERE
    (out / "bundles").mkdir(parents=True, exist_ok=True)
    rows = []
    for case in CASES:
        if not arguments.only or case.name in arguments.only:
            rows.append(export(case, out / "bundles", arguments.stages))
            gc.collect()
    save_manifest(out / "manifest.json", rows)


if __name__ == "__main__":
    main()
