"""Texts of clips by FunASR's own loader and class, one JSON object a line on stdout.

python experiments/round-trip/texts.py DIR WEIGHTS DATA.jsonl [OPTIONS.json]

DIR is a checkpoint in FunASR's layout, WEIGHTS the file of its state dict, OPTIONS more arguments of AutoModel. The first line tells
what the loader said of missing tensors, and which tensors the file and the class do not share.
"""

import contextlib
import io
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "golden"))

# ruff: noqa: E402
import pure_torchaudio  # noqa: F401  before anything imports torchaudio
import torch
from funasr import AutoModel

directory, weights, data = sys.argv[1:4]
options = json.loads(sys.argv[4]) if len(sys.argv) > 4 else {}
said = io.StringIO()
with contextlib.redirect_stdout(said):
    model = AutoModel(model=directory, init_param=weights, device="cpu", disable_update=True, disable_pbar=True, **options)
state = torch.load(weights, map_location="cpu", weights_only=not weights.endswith("best"))
state = state.get("state_dict", state)
names = set(model.model.state_dict())
missing = [line for line in said.getvalue().splitlines() if "miss key" in line]
print(json.dumps({"warnings": missing, "unshared": sorted(names ^ set(state)), "tensors": len(state)}))
for line in open(data, encoding="utf-8"):
    messages = json.loads(line)["messages"]
    with contextlib.redirect_stdout(io.StringIO()):
        prompt, audio = messages[1]["content"].split("<|startofspeech|>!")
        model.model.get_prompt = lambda *_, prompt=prompt: prompt
        found = model.generate(input=[audio.removesuffix("<|endofspeech|>")], cache={}, batch_size=1)
    print(json.dumps({"text": found[0]["text"]}, ensure_ascii=False))
