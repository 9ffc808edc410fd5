"""PyTorch CPU f32 as a peer: runs a Fun-ASR-Nano checkpoint once for every line on stdin, prints
one JSON object each time.

A line is {"features": file of [frames, 560] f32, "frames": n, "ids": [...], "tokens": n}; the
answer {"seconds", "decode", "ids"}: all of encoder, adaptor, prompt and `tokens` greedy tokens, and
the tokens after the first.
"""

import argparse
import json
import os
import sys
import time

os.environ.update(HF_HUB_OFFLINE="1")

import numpy as np
import torch
import transformers
from transformers import DynamicCache, FunAsrNanoForConditionalGeneration


@torch.inference_mode()
def run(model, features, ids, tokens):
    start = time.monotonic()
    cache = DynamicCache(config=model.config.text_config)
    mask = torch.ones((1, len(features)), dtype=torch.int64)
    logits = model(
        input_ids=ids[None], input_features=features[None], input_features_mask=mask,
        past_key_values=cache, use_cache=True, logits_to_keep=1,
    ).logits  # fmt: skip
    chosen = [int(logits[0, -1].argmax())]
    first = time.monotonic()
    for _ in range(tokens - 1):
        logits = model(input_ids=torch.tensor([[chosen[-1]]]), past_key_values=cache, use_cache=True).logits
        chosen.append(int(logits[0, -1].argmax()))
    end = time.monotonic()
    return {"seconds": end - start, "decode": end - first, "ids": chosen}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = FunAsrNanoForConditionalGeneration.from_pretrained(arguments.model, dtype=torch.float32).eval()
    ready = {"torch": torch.__version__, "transformers": transformers.__version__, "threads": torch.get_num_threads()}
    print(json.dumps(ready), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        data = np.fromfile(request["features"], dtype="<f4").reshape(request["frames"], -1)
        result = run(model, torch.from_numpy(data), torch.tensor(request["ids"]), request["tokens"])
        print(json.dumps(result), flush=True)


main()
