"""The table of cases: name, what it proves, builder, options. Order is the manifest's order."""

from collections.abc import Callable
from dataclasses import dataclass, field

from cases import adaptor, encoder, frontend, llm, model


@dataclass
class Case:
    name: str
    description: str
    build: Callable
    options: dict = field(default_factory=dict)
    verbose: bool = False


CASES = [
    Case("frontend-1s", "1 s at 16 kHz, waveform scale 1", frontend.build, dict(seed=1, seconds=1.0, scale=1)),
    Case("encoder-prime", "31 rows, 6 layers of which 2 tp", encoder.build, dict(seed=11, lengths=[31], audio={})),
    Case("adaptor-128", "head_dim 128: width 1024", adaptor.build, dict(seed=21, lengths=[7], width=1024, adaptor={})),
    Case("llm-gqa2-tied", "GQA 2, tied head, prefill then 16 cached steps", llm.build, dict(seed=31, lengths=[29], text={}, cached_steps=16)),
    Case(
        "model-all-chinese",
        "every adaptor row spliced, Chinese prompt, 32 greedy tokens",
        model.build,
        dict(seed=41, frames=[19], prompts=["chinese"], rule="all"),
    ),
]
