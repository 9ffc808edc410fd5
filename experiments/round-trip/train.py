"""FunASR's trainer, `funasr-train-ds`, on the CPU, with its losses in a file.

python experiments/round-trip/train.py LOSSES.jsonl OPTIONS...   with the `++` options of funasr-train-ds

The trainer takes LOCAL_RANK as the number of a CUDA device; here its device stays the CPU. Nothing else of it is changed.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "golden"))

# ruff: noqa: E402
import pure_torchaudio  # noqa: F401  before anything imports torchaudio
from funasr.bin import train_ds
from funasr.train_utils.trainer_ds import Trainer

losses = open(sys.argv.pop(1), "w", encoding="utf-8")
print_log = Trainer.log


def log(self, loss_dict, tag="train", **rest):
    line = {"tag": tag, "step": loss_dict["batch_total"], "loss": loss_dict["loss"].item(), "lr": loss_dict["lr"]}
    losses.write(json.dumps(line) + "\n")
    losses.flush()
    print_log(self, loss_dict, tag=tag, **rest)


Trainer.log = log
Trainer.device = property(lambda self: "cpu", lambda self, device: None)
train_ds.main_hydra()
