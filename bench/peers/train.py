"""PyTorch's side of `npm run bench:train`: one optimiser step for each line on stdin, its seconds
on stdout.

    python bench/peers/train.py CONFIG.json CLIPS FRAMES PROMPT ANSWER THREADS

The model of CONFIG.json with random weights in f32; the adaptor is trained with AdamW and clipping,
encoder and LLM are frozen. A step takes CLIPS clips of FRAMES encoder states each, all of one
length, so that nothing is padded; scores are computed for the answers alone.
"""

import importlib.util
import json
import sys
import time
from pathlib import Path

if importlib.util.find_spec("torchaudio"):  # its compiled extension may want another torch
    sys.path.insert(0, str(Path(__file__).parents[2] / "golden"))
    import pure_torchaudio  # noqa: F401

# ruff: noqa: E402
import torch
from torch.nn import functional as F
from transformers import FunAsrNanoConfig, FunAsrNanoForConditionalGeneration


def main():
    path, *numbers = sys.argv[1:]
    clips, frames, prompt, answer, threads = map(int, numbers)
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    config = FunAsrNanoConfig(**json.load(open(path, encoding="utf8")))
    model = FunAsrNanoForConditionalGeneration(config).float().train()
    parameters = list(model.model.multi_modal_projector.parameters())
    model.requires_grad_(False)
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimiser = torch.optim.AdamW(parameters, lr=1e-4)
    llm = model.model.language_model
    states = torch.randn(clips, frames, config.audio_config.hidden_size)
    ids = torch.randint(0, config.text_config.vocab_size, (clips, prompt + frames + answer - 1))
    labels = torch.randint(0, config.text_config.vocab_size, (clips * answer,))

    def step():
        embeds = llm.embed_tokens(ids).clone()
        embeds[:, prompt - 3 : prompt - 3 + frames] = model.model.multi_modal_projector(states, None)
        hidden = llm(inputs_embeds=embeds, use_cache=False).last_hidden_state[:, -answer:]
        loss = F.cross_entropy(model.lm_head(hidden).flatten(0, 1), labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        return loss.item()

    print(json.dumps({"torch": torch.__version__, "threads": torch.get_num_threads()}), flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        step()
        print(time.perf_counter() - start, flush=True)


main()
