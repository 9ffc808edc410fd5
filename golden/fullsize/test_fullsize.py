"""The parts of the proof at full size, at a size that needs no memory: `golden/.venv/bin/python -m unittest
discover -s golden`.
"""

import json
import re
import tempfile
import unittest
from pathlib import Path

import numpy as np
import torch

import pure_torchaudio  # noqa: F401  before anything imports torchaudio
from transformers import FunAsrNanoForConditionalGeneration, Qwen3ForCausalLM

from bundle import relative_rms
from fullsize import checkpoint, prove_migrated, reference
from fullsize.engine import markdown_table, summarise
from fullsize.sizes import AUDIO_TOKEN, SIZES, make_config
from fullsize.streaming import Weights, streamed_model
from generator import parameter
from models import LLM_PREFIX, canonical

PARITY = Path(__file__).resolve().parents[2] / "docs" / "parity.md"
SHARED = "model.language_model.embed_tokens.weight"


def row(stage: str, ratio: float | None, ok: bool = True, torch_error: float = 2e-7) -> dict:
    error = None if ratio is None else ratio * torch_error
    return {"bundle": "x", "stage": stage, "shape": [2, 3], "error": error, "torchError": torch_error, "ratio": ratio, "ok": ok, "maxAbs": 0}


class Sizes(unittest.TestCase):
    def test_parameters(self):
        """Qwen3's own published counts, and the encoder and adaptor beside them."""
        alone = {"0.6B": 596_049_920, "1.7B": 1_720_574_976, "4B": 4_022_468_096, "8B": 8_190_735_360}
        for size in SIZES:
            with self.subTest(size):
                model = checkpoint.skeleton(make_config(size), torch.bfloat16)
                parts = [*model.model.language_model.parameters(), *(() if size != "8B" else model.lm_head.parameters())]
                self.assertEqual(sum(value.numel() for value in parts), alone[size])
                self.assertEqual(sum(value.numel() for value in model.model.audio_tower.parameters()), 221_136_992)


class Checkpoint(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.config, cls.folder = make_config("tiny"), tempfile.TemporaryDirectory()
        cls.directory = Path(cls.folder.name) / "tiny"
        checkpoint.write_checkpoint(cls.config, 1, cls.directory)
        cls.clip = reference.make_clip(0.5, 1)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def resident(self):
        return FunAsrNanoForConditionalGeneration.from_pretrained(self.directory, dtype=torch.float32).eval()

    def test_values_are_the_generators(self):
        """Upstream reads back what the generator says, matrices, norms and biases."""
        for name, value in self.resident().named_parameters():
            if name != SHARED:
                np.testing.assert_array_equal(value.detach().numpy(), parameter(name, tuple(value.shape), 1), name)

    def test_bits_across_chunks(self):
        out = np.empty(checkpoint.CHUNK + 7, dtype=np.uint16)
        checkpoint.bfloat16_bits(SHARED, (len(out), 1), 1, out)
        want = torch.from_numpy(parameter(SHARED, (len(out), 1), 1)).bfloat16().view(torch.int16).numpy().view(np.uint16)
        np.testing.assert_array_equal(out, want[:, 0])

    def test_a_mapped_file_and_shards_hold_the_same(self):
        kept = checkpoint.RESIDENT_BYTES, checkpoint.SHARD
        checkpoint.RESIDENT_BYTES, checkpoint.SHARD = 0, "1MB"
        try:
            other = self.directory.with_name("mapped")
            checkpoint.write_checkpoint(self.config, 1, other)
        finally:
            checkpoint.RESIDENT_BYTES, checkpoint.SHARD = kept
        self.assertGreater(len(list(other.glob("*.safetensors"))), 1)
        self.assertEqual([path.name for path in other.parent.glob("*.parameters")], [])
        ours, theirs = Weights(self.directory), Weights(other)
        self.assertEqual(set(ours), set(theirs))
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name], name)

    def test_llm_alone(self):
        """Qwen3ForCausalLM reads back the weights that the same Qwen3 has behind the encoder."""
        path = self.directory.with_name("llm")
        checkpoint.write_llm(self.config, 1, path)
        alone = Qwen3ForCausalLM.from_pretrained(path, dtype=torch.float32)
        whole = dict(self.resident().named_parameters())
        for name, value in alone.named_parameters():
            self.assertTrue(torch.equal(value, whole[canonical(LLM_PREFIX, name)]), name)
        self.assertTrue((path / "tokenizer.json").exists())

    def test_streamed_is_resident(self):
        """The same bits of every stage and step, whether the parameters are in memory or read at
        each call.
        """
        weights = Weights(self.directory)
        streamed = streamed_model(self.config, weights)
        (a, ids, logits), (b, other, steps) = (reference.run_f32(model, self.clip) for model in (self.resident(), streamed))
        self.assertEqual(ids, other)
        self.assertTrue(torch.equal(logits, steps))
        self.assertEqual(set(a), set(b))
        for stage, value in a.items():
            self.assertTrue(torch.equal(value, b[stage]), stage)
        self.assertTrue(all(value.is_meta for value in streamed.parameters()))

    def test_later_tokens_change_nothing_before(self):
        """`split`: the formulas on prompt and answer, cut at the prompt, are the formulas on the
        prompt.
        """
        weights, ids = Weights(self.directory), [5, 6, 7]
        whole, steps = reference.run_plain(self.config, weights, self.clip, ids)
        alone, _ = reference.run_plain(self.config, weights, self.clip, ids[:1])
        self.assertEqual(len(steps), len(ids))
        for stage, value in alone.items():
            self.assertEqual(value.shape, whole[stage].shape, stage)
            self.assertLess(relative_rms(whole[stage], value), 1e-13, stage)

    def test_tokens_that_double_would_not_choose(self):
        close, clear = torch.tensor([[1.0, 1.0001]]), torch.tensor([[0.0, 1.0]])
        self.assertEqual(reference.check_tokens([1], clear, clear.double()), 1.0)
        for ids, f32, f64 in (([0], clear, clear), ([1], close + torch.tensor([0.0, 1e-5]), close)):
            with self.assertRaises(SystemExit):
                reference.check_tokens(ids, f32, f64.double())

    def test_prompt(self):
        self.assertEqual(int((self.clip.ids == AUDIO_TOKEN).sum()), len(self.clip.features))


class Summary(unittest.TestCase):
    STAGES = [row("encoder.stem", 0.5), row("encoder.norm", 0.9), row("llm.inputs_embeds", 0.0, torch_error=0.0), row("logits", 0.7)]

    def test_all_hold(self):
        s = summarise([*self.STAGES, row("generated_ids", 0, torch_error=0)])
        self.assertEqual((s["stages"], s["failed"], s["median_ratio"], s["worst_ratio"]), (5, 0, 0.7, 0.9))
        self.assertEqual((s["worst_stage"], s["greedy_ids_equal"]), ("encoder.norm", True))
        self.assertEqual(json.loads(json.dumps(s)), s)

    def test_nan_is_the_worst(self):
        s = summarise([*self.STAGES, row("llm.norm", None, ok=False), row("generated_ids", None, ok=False)])
        self.assertEqual((s["failed"], s["worst_stage"], s["greedy_ids_equal"]), (2, "llm.norm", False))

    def test_no_tokens_are_not_equal_tokens(self):
        self.assertFalse(summarise(self.STAGES)["greedy_ids_equal"])

    def test_committed_results(self):
        """Each file holds its row of docs/parity.md, and every stage in it has a verdict."""
        for path in (Path(__file__).resolve().parent / "results").glob("*.json"):
            with self.subTest(path.name):
                result = json.loads(path.read_text())
                self.assertEqual(path.stem, f"{result['size']}-{result['format']}")
                self.assertEqual(len(result["verify"]["table"]), result["verify"]["stages"])
                self.assertEqual(sum(not stage["ok"] for stage in result["verify"]["table"]), result["verify"]["failed"])
                page = PARITY.read_text()
                self.assertIn(markdown_table([result]).splitlines()[-1], re.sub(" +", " ", page))

    def test_committed_migrations(self):
        """A file's name is its size and format, and its row stands in docs/parity.md."""
        results = Path(__file__).resolve().parent / "results" / "migrated"
        page = re.sub(" +", " ", PARITY.read_text())
        for path in results.glob("*.json"):
            with self.subTest(path.name):
                result = json.loads(path.read_text())
                self.assertEqual(path.stem, f"{result['size']}-{result['format']}")
                self.assertIn(prove_migrated.row(result), page)


if __name__ == "__main__":
    unittest.main()
