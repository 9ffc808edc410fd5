"""Running the upstream classes in double precision with no single precision anywhere on the path.

`model.double()` is not enough: transformers computes the rotary table, RMSNorm, the encoder's
position table and the softmax in float32 whatever the dtype of the weights. Inside
`double_precision()` these are replaced; outside it the upstream classes are untouched. That nothing
was missed is proved by `plain.py`, which recomputes every stage in numpy.
"""

from contextlib import contextmanager

import torch
from funasr.models.sense_voice import model as sense_voice
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, modeling_rope_utils
from transformers.models.fun_asr_nano import modeling_fun_asr_nano as nano
from transformers.models.qwen3 import modeling_qwen3 as qwen3

ATTENTION = "plain_double"


def plain_attention(module, query, key, value, attention_mask, scaling, **kwargs):
    """softmax(q·kᵀ·scaling)·v; query [1, H, S, K], key and value [1, Hkv, C, K] → [1, S, H, K]. C ≥
    S: cache first.
    """
    assert attention_mask is None, "goldens run one clip at a time, without padding"
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    scores = torch.matmul(query, key.transpose(2, 3)) * scaling
    if module.is_causal:
        rows, columns = scores.shape[-2:]
        past = torch.arange(columns - rows, columns)[:, None]
        scores = scores.masked_fill(torch.arange(columns)[None, :] > past, -torch.inf)
    weights = torch.softmax(scores, dim=-1)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), weights


def no_mask(*args, **kwargs):
    """Mask builder for `plain_attention`, which needs none."""
    return None


AttentionInterface.register(ATTENTION, plain_attention)
AttentionMaskInterface.register(ATTENTION, no_mask)


def rms_norm(self, hidden_states):
    """Qwen3RMSNorm.forward without the cast to float32."""
    variance = hidden_states.pow(2).mean(-1, keepdim=True)
    return self.weight * (hidden_states * torch.rsqrt(variance + self.variance_epsilon))


class DoubleTorch:
    """torch with float32 spelled float64, for upstream code that names its dtype."""

    float = float32 = torch.float64

    def __getattr__(self, name):
        return getattr(torch, name)


def inverse_frequencies(config) -> tuple[torch.Tensor, float]:
    """Angle a position of each pair in double, [dim/2], and what cos and sin are multiplied by:
    upstream's own functions.
    """
    parameters = config.rope_parameters
    if parameters["rope_type"] == "default":
        dim = config.head_dim
        return 1.0 / parameters["rope_theta"] ** (torch.arange(0, dim, 2, dtype=torch.float64) / dim), 1.0
    saved, modeling_rope_utils.torch = modeling_rope_utils.torch, DoubleTorch()
    try:
        return modeling_rope_utils.ROPE_INIT_FUNCTIONS[parameters["rope_type"]](config)
    finally:
        modeling_rope_utils.torch = saved


def rotary(self, x, position_ids):
    """Qwen3RotaryEmbedding.forward in double: cos and sin of position · frequency, times the
    attention factor, [1, S, dim] each.
    """
    inverse, factor = inverse_frequencies(self.config)
    angles = position_ids[..., None].double() * inverse
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos() * factor, angles.sin() * factor


def positions(self, hidden_states):
    """FunAsrNanoPositionEmbedding.forward in double: rows 1..T of [sin | cos], [T, channels]."""
    half = self.channels // 2
    step = torch.log(torch.tensor(float(self.max_timescale), dtype=torch.float64)) / (half - 1)
    inverse = torch.exp(-step * torch.arange(half, dtype=torch.float64))
    time = torch.arange(1, hidden_states.shape[1] + 1, dtype=torch.float64)[:, None] * inverse
    return torch.cat([time.sin(), time.cos()], dim=1)


PATCHES = [
    (qwen3.Qwen3RMSNorm, rms_norm),
    (qwen3.Qwen3RotaryEmbedding, rotary),
    (nano.FunAsrNanoPositionEmbedding, positions),
    (sense_voice.LayerNorm, nn.LayerNorm.forward),  # FunASR's own casts its input to float32
]


def _configs(model: nn.Module) -> list:
    """Every config object that a module of the model reads its attention implementation from."""
    return list({id(m.config): m.config for m in model.modules() if hasattr(m, "config")}.values())


@contextmanager
def double_precision(model: nn.Module | None = None):
    """Convert the model to float64 in place and run the block with every float32 shortcut of
    upstream replaced.
    """
    saved = [(owner, owner.forward) for owner, _ in PATCHES]
    for owner, forward in PATCHES:
        owner.forward = forward
    torch.set_default_dtype(torch.float64)  # torchaudio builds its mel filters in the default dtype
    configs = [] if model is None else _configs(model.double())
    implementations = [config._attn_implementation for config in configs]
    for config in configs:
        config._attn_implementation = ATTENTION
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)
        for owner, forward in saved:
            owner.forward = forward
        for config, implementation in zip(configs, implementations, strict=True):
            config._attn_implementation = implementation
