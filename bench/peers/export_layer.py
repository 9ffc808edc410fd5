"""One decoder layer of a checkpoint's Qwen3 and the final norm as ONNX, by torch.onnx: `python
export_layer.py MODEL ROWS OUT.onnx`.

x [1, ROWS, D] f32, the embeddings of a whole sequence → y [1, ROWS, D]. Weights in f32, attention
causal, positions from 0.
"""

import os
import sys
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1")

import torch
from safetensors import safe_open
from transformers import AutoConfig
from transformers.models.qwen3.modeling_qwen3 import Qwen3DecoderLayer, Qwen3RMSNorm, Qwen3RotaryEmbedding

PREFIX = "model.language_model."


class Layer(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        self.layers = torch.nn.ModuleList([Qwen3DecoderLayer(config, 0)])
        self.norm = Qwen3RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.rotary = Qwen3RotaryEmbedding(config)

    def forward(self, x):
        rows = x.shape[1]
        position_ids = torch.arange(rows)[None]
        mask = torch.full((rows, rows), -torch.inf).triu(1)[None, None]
        angles = self.rotary(x, position_ids)
        return self.norm(self.layers[0](x, attention_mask=mask, position_ids=position_ids, position_embeddings=angles))


def parameters(directory):
    """The layer's and the norm's tensors by their names in Layer."""
    found = {}
    for path in sorted(Path(directory).glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in file.keys():
                if name.startswith((f"{PREFIX}layers.0.", f"{PREFIX}norm.")):
                    found[name.removeprefix(PREFIX)] = file.get_tensor(name).float()
    return found


@torch.inference_mode()
def main(directory, rows, out):
    config = AutoConfig.from_pretrained(directory).text_config
    config._attn_implementation = "eager"
    layer = Layer(config).eval()
    layer.load_state_dict(parameters(directory))
    x = torch.zeros(1, rows, config.hidden_size)
    torch.onnx.export(layer, (x,), out, input_names=["x"], output_names=["y"], dynamo=True, external_data=False, verbose=False)


main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
