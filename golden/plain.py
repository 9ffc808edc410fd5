"""Every stage again, in numpy float64 from the formulas and nothing of upstream: the proof of the
f64 twins.

T frames · D width · H heads · K head dim · S tokens. `p` maps parameter names (-hf layout) to
float64 arrays.
"""

import math

import numpy as np


def linear(p: dict, name: str, x: np.ndarray) -> np.ndarray:
    """x [n, in] → [n, out]."""
    y = x @ p[f"{name}.weight"].T
    return y + p[f"{name}.bias"] if f"{name}.bias" in p else y


def layer_norm(p: dict, name: str, x: np.ndarray, eps: float) -> np.ndarray:
    """Rows to mean 0 and variance 1, then weight and bias. [n, D] → [n, D]."""
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps) * p[f"{name}.weight"] + p[f"{name}.bias"]


def rms_norm(weight: np.ndarray, x: np.ndarray, eps: float) -> np.ndarray:
    """[..., D] → [..., D]."""
    return weight * x / np.sqrt((x**2).mean(-1, keepdims=True) + eps)


def attention(q: np.ndarray, k: np.ndarray, v: np.ndarray, causal: bool) -> np.ndarray:
    """q [S, H, K], k and v [S, Hkv, K] → [S, H·K]."""
    groups = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, groups, axis=1), np.repeat(v, groups, axis=1)
    scores = np.einsum("shk,thk->hst", q, k) / math.sqrt(q.shape[-1])
    if causal:
        scores = np.where(np.tri(len(q), dtype=bool), scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    return np.einsum("hst,thk->shk", weights, v).reshape(len(q), -1)


def position_table(rows: int, depth: int) -> np.ndarray:
    """[rows, depth]: sin then cos of position · 10000^(−i / (depth/2 − 1)), positions from 1."""
    inverse = np.exp(-np.arange(depth // 2) * (math.log(10000.0) / (depth // 2 - 1)))
    angles = np.arange(1, rows + 1)[:, None] * inverse
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


def rope_table(positions: np.ndarray, dim: int, parameters: dict) -> tuple[np.ndarray, np.ndarray]:
    """cos and sin, [rows, dim/2] each; `parameters` is rope_parameters of the config."""
    pairs, factor = np.arange(dim // 2), 1.0
    inverse = parameters["rope_theta"] ** (-2 * pairs / dim)
    if parameters["rope_type"] == "yarn":
        turns = parameters["original_max_position_embeddings"] * inverse / (2 * math.pi)  # falls from pair to pair
        at = [np.interp(-math.log(parameters[k]), -np.log(turns), pairs) for k in ("beta_fast", "beta_slow")]  # log-linear: exact inside
        low, high = math.floor(at[0]), math.ceil(at[1])
        kept = 1 - np.clip((pairs - low) / (high - low), 0, 1)
        inverse = inverse * (kept + (1 - kept) / parameters["factor"])
        factor = 0.1 * math.log(parameters["factor"]) + 1
    angles = positions[:, None] * inverse
    return factor * np.cos(angles), factor * np.sin(angles)


def rope(x: np.ndarray, cos: np.ndarray, sin: np.ndarray) -> np.ndarray:
    """Rotate pairs (i, i + K/2). x [S, H, K], cos and sin [S, K/2]."""
    a, b = np.split(x, 2, axis=-1)
    cos, sin = cos[:, None, :], sin[:, None, :]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def fsmn(v: np.ndarray, weight: np.ndarray, left: int | None = None) -> np.ndarray:
    """v + depthwise convolution over time with zero padding, `left` rows before (default: half). v
    [T, D], weight [D, 1, kernel] → [T, D].
    """
    kernel = weight.shape[-1]
    left = (kernel - 1) // 2 if left is None else left
    padded = np.pad(v, ((left, kernel - 1 - left), (0, 0)))
    return v + sum(padded[i : i + len(v)] * weight[:, 0, i] for i in range(kernel))


def sanm_layer(p: dict, name: str, x: np.ndarray, heads: int, eps: float) -> np.ndarray:
    """Encoder layer (with FSMN memory) or adaptor block (without), before its final norm. [T, in] →
    [T, D].
    """
    n = layer_norm(p, f"{name}.input_layernorm", x, eps)
    q, k, v = (linear(p, f"{name}.self_attn.{part}_proj", n) for part in "qkv")
    split = [t.reshape(len(x), heads, -1) for t in (q, k, v)]
    mixed = linear(p, f"{name}.self_attn.o_proj", attention(*split, causal=False))
    if f"{name}.self_attn.fsmn.conv.weight" in p:
        mixed = mixed + fsmn(v, p[f"{name}.self_attn.fsmn.conv.weight"])
    x = x + mixed if x.shape == mixed.shape else mixed
    hidden = linear(p, f"{name}.mlp.fc1", layer_norm(p, f"{name}.post_attention_layernorm", x, eps))
    return x + linear(p, f"{name}.mlp.fc2", np.maximum(hidden, 0))


def encoder(p: dict, config, features: np.ndarray) -> dict[str, np.ndarray]:
    """features [T, input] → the encoder's stages. `config` is the audio_config."""
    root, eps = "model.audio_tower.layers", config.layer_norm_eps
    main = config.num_hidden_layers - config.num_timestamp_prediction_layers
    x = features * math.sqrt(config.hidden_size) + position_table(*features.shape)
    stages = {}
    for i in range(config.num_hidden_layers):
        x = sanm_layer(p, f"{root}.{i}", x, config.num_attention_heads, eps)
        stages["encoder.stem" if i == 0 else f"encoder.layers.{i - 1}" if i < main else f"encoder.tp_layers.{i - main}"] = x
        if i in (main - 1, config.num_hidden_layers - 1):
            x = layer_norm(p, f"{root}.{i}.final_layernorm", x, eps)
            stages["encoder.norm" if i < main else "encoder.output"] = x
    return stages


def adaptor(p: dict, config, x: np.ndarray) -> dict[str, np.ndarray]:
    """Encoder output [T, D] → the adaptor's stages. `config` is the adaptor_config."""
    root = "model.multi_modal_projector"
    x = linear(p, f"{root}.linear_2", np.maximum(linear(p, f"{root}.linear_1", x), 0))
    stages = {"adaptor.projector": x}
    for i in range(config.num_hidden_layers):
        x = sanm_layer(p, f"{root}.layers.{i}", x, config.num_attention_heads, config.layer_norm_eps)
        stages[f"adaptor.blocks.{i}"] = x
    return stages


def qwen3_layer(p: dict, name: str, config, x: np.ndarray, table) -> np.ndarray:
    """x [S, D] → [S, D]."""
    rows, dim, eps = len(x), config.head_dim, config.rms_norm_eps
    n = rms_norm(p[f"{name}.input_layernorm.weight"], x, eps)
    q, k, v = (linear(p, f"{name}.self_attn.{part}_proj", n).reshape(rows, -1, dim) for part in "qkv")
    q = rope(rms_norm(p[f"{name}.self_attn.q_norm.weight"], q, eps), *table)
    k = rope(rms_norm(p[f"{name}.self_attn.k_norm.weight"], k, eps), *table)
    x = x + linear(p, f"{name}.self_attn.o_proj", attention(q, k, v, causal=True))
    n = rms_norm(p[f"{name}.post_attention_layernorm.weight"], x, eps)
    gate = linear(p, f"{name}.mlp.gate_proj", n)
    return x + linear(p, f"{name}.mlp.down_proj", gate / (1 + np.exp(-gate)) * linear(p, f"{name}.mlp.up_proj", n))


def qwen3(p: dict, config, embeds: np.ndarray) -> dict[str, np.ndarray]:
    """embeds [S, D] of one sequence → the LLM's stages. `config` is the text_config."""
    root, x = "model.language_model", embeds
    table = rope_table(np.arange(len(x)), config.head_dim, config.rope_parameters)
    stages = {"llm.inputs_embeds": x}
    for i in range(config.num_hidden_layers):
        x = qwen3_layer(p, f"{root}.layers.{i}", config, x, table)
        stages[f"llm.layers.{i}"] = x
    stages["llm.norm"] = rms_norm(p[f"{root}.norm.weight"], x, config.rms_norm_eps)
    head = p["lm_head.weight" if "lm_head.weight" in p else f"{root}.embed_tokens.weight"]
    stages["logits"] = stages["llm.norm"] @ head.T
    return stages


def resample(x: np.ndarray, source: int, target: int) -> np.ndarray:
    """Windowed-sinc resampling (torchaudio's definition: width 6, roll-off 0.99, Hann). x [n] →
    [ceil(n·target/source)].

    Equal rates: unchanged, not filtered.
    """
    if source == target:
        return x
    divisor = math.gcd(source, target)
    source, target = source // divisor, target // divisor
    base = min(source, target) * 0.99
    width = math.ceil(6 * source / base)
    rows = -(-target * len(x) // source)
    padded = np.pad(x, (width, width + source))
    y = np.empty(rows)
    offsets = np.arange(-width, width + source)
    for phase in range(min(target, rows)):
        t = np.clip((offsets / source - phase / target) * base, -6, 6)
        kernel = np.sinc(t) * np.cos(t * math.pi / 12) ** 2 * base / source
        starts = np.arange(len(range(phase, rows, target))) * source
        y[phase::target] = padded[starts[:, None] + np.arange(len(kernel))] @ kernel
    return y


def mel_filters() -> np.ndarray:
    """80 triangles, linear in mel, from 20 to 8000 Hz over the first 256 bins of a 512-point FFT.
    [80, 256].
    """
    mel = lambda f: 1127.0 * np.log(1.0 + f / 700.0)  # noqa: E731
    edges = np.linspace(mel(20.0), mel(8000.0), 82)
    bins = mel(np.arange(256) * (16000 / 512))
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    return np.maximum(0, np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre)))


def fbank(x: np.ndarray) -> np.ndarray:
    """Kaldi log-mel energies. x [n] at 16 kHz → [1 + (n − 400) // 160, 80]."""
    frames = np.lib.stride_tricks.sliding_window_view(x, 400)[::160]
    frames = frames - frames.mean(-1, keepdims=True)
    frames = frames - 0.97 * np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    window = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(400) / 399)
    power = np.abs(np.fft.rfft(frames * window, 512)) ** 2
    return np.log(np.maximum(power[:, :256] @ mel_filters().T, 2.0**-23))


def lfr(frames: np.ndarray, stack: int = 7, hop: int = 6) -> np.ndarray:
    """Stack 7 frames every 6, first and last frame repeated. [n, 80] → [ceil(n/6), 560]."""
    rows = -(-len(frames) // hop)
    index = np.arange(rows)[:, None] * hop + np.arange(stack) - (stack - 1) // 2
    return frames[np.clip(index, 0, len(frames) - 1)].reshape(rows, -1)
