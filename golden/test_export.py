"""The exporter's guards, shown to fail: `golden/.venv/bin/python -m unittest discover -s golden`.
"""

import hashlib
import json
import unittest
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import torch

import pure_torchaudio  # noqa: F401  before anything imports torchaudio
import double
import plain
from bundle import check, serialise
from cases import adaptor, encoder, frontend, llm, mlt, train
from generator import parameter
from table import CASES

HERE = Path(__file__).resolve().parent
TINY = {"num_hidden_layers": 3, "num_timestamp_prediction_layers": 1}


def small_encoder(upstream="transformers"):
    return encoder.build(seed=1, lengths=[5], audio=TINY, upstream=upstream)


def small_llm():
    return llm.build(seed=1, lengths=[9], text={})


def small_frontend():
    return frontend.build(seed=1, seconds=0.1, scale=1, rate=8000)


@contextmanager
def without(owner):
    """Leave one of the double-precision replacements out."""
    kept = double.PATCHES[:]
    double.PATCHES[:] = [patch for patch in kept if patch[0] is not owner]
    try:
        yield
    finally:
        double.PATCHES[:] = kept


class DoublePrecision(unittest.TestCase):
    """Each replacement is needed: without it the bundle is refused."""

    def test_the_small_cases_pass(self):
        for build in (small_encoder, small_llm, small_frontend, lambda: small_encoder("funasr")):
            check("small", build())

    def test_every_patch_is_needed(self):
        users = [small_llm, small_llm, small_encoder, lambda: small_encoder("funasr")]
        for (owner, _), build in zip(double.PATCHES[:], users, strict=True):
            with self.subTest(owner.__name__), without(owner), self.assertRaises((SystemExit, AssertionError)):
                check("unpatched", build())

    def test_upstream_softmax_is_refused(self):
        kept, double.ATTENTION = double.ATTENTION, "eager"
        try:
            with self.assertRaises(SystemExit):
                check("eager", small_llm())
        finally:
            double.ATTENTION = kept

    def test_default_dtype_is_needed(self):
        f32, set_default = torch.float32, torch.set_default_dtype
        torch.set_default_dtype = lambda _dtype: set_default(f32)
        try:
            with self.assertRaises(SystemExit):
                check("mel filters in f32", small_frontend())
        finally:
            torch.set_default_dtype = set_default

    def test_upstream_is_restored(self):
        before = [owner.forward for owner, _ in double.PATCHES]
        small_llm()
        self.assertEqual(before, [owner.forward for owner, _ in double.PATCHES])
        self.assertEqual(torch.get_default_dtype(), torch.float32)

    def test_tables_match_the_formulas(self):
        yarn = {"rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0, "original_max_position_embeddings": 32768, "beta_fast": 32, "beta_slow": 1}
        for parameters in ({"rope_type": "default", "rope_theta": 1e6}, yarn):
            config = llm.make_config(text={"head_dim": 128, "rope_parameters": dict(parameters)}).text_config
            rotary = type("Rotary", (), {"config": config})
            for positions in (range(500), range(130_572, 131_072)):
                at = np.array(positions)
                cos, sin = double.rotary(rotary, None, torch.from_numpy(at)[None])
                for got, want in zip((cos, sin), plain.rope_table(at, 128, parameters), strict=True):
                    np.testing.assert_allclose(got[0, :, :64].numpy(), want, rtol=0, atol=1e-10 if at[0] else 1e-12)
        table = type("Table", (), {"channels": 560, "max_timescale": 10000})
        got = double.positions(table, torch.empty(1, 500, 560)).numpy()
        np.testing.assert_allclose(got, plain.position_table(500, 560), rtol=0, atol=1e-12)


class Refusals(unittest.TestCase):
    """A wrong stage does not reach a file."""

    def refused(self, change):
        bundle = small_llm()
        change(bundle)
        with self.assertRaises(SystemExit):
            check("changed", bundle)

    def test_f32_off_by_a_thousandth(self):
        self.refused(lambda bundle: bundle.f32["llm.norm"].mul_(1.001))

    def test_nan(self):
        self.refused(lambda bundle: bundle.f32["logits"][0].fill_(torch.nan))

    def test_missing_stage(self):
        self.refused(lambda bundle: bundle.f64.pop("logits"))

    def test_single_precision_twin(self):
        self.refused(lambda bundle: bundle.f64.update(logits=bundle.f64["logits"].float()))

    def test_twin_rounded_to_single(self):
        self.refused(lambda bundle: bundle.f64.update(logits=bundle.f64["logits"].float().double()))


class Gradients(unittest.TestCase):
    """A gradient that is not the slope of the formulas' loss is refused."""

    def setUp(self):
        self.p = {"a": np.array([1.0, -2.0, 0.5]), "b": np.array([3.0])}
        self.loss = lambda p: float(np.sin(p["a"]).sum() + p["b"][0] ** 2)
        self.right = {
            "loss": torch.tensor([self.loss(self.p)], dtype=torch.float64),
            "grad.a": torch.from_numpy(np.cos(self.p["a"])),
            "grad.b": torch.tensor([6.0], dtype=torch.float64),
        }

    def test_the_right_one_passes(self):
        train.prove(self.right, self.p, self.loss, seed=1)

    def test_off_by_a_hundred_thousandth(self):
        for change in (1e-5, -1e-5):
            wrong = self.right | {"grad.a": self.right["grad.a"] * (1 + change)}
            with self.assertRaises(SystemExit):
                train.prove(wrong, self.p, self.loss, seed=1)

    def test_one_value_of_the_wrong_sign(self):
        turned = self.right["grad.a"].clone()
        turned[2] *= -1
        with self.assertRaises(SystemExit):
            train.prove(self.right | {"grad.a": turned}, self.p, self.loss, seed=1)

    def test_gradients_of_a_small_case(self):
        built = train.build(seed=1, frames=[5], prompts=["chinese"], answers=[3], tune=["lora"], lora={"rank": 4, "alpha": 8, "targets": ["q_proj"]})
        check("small", built)
        self.assertEqual({name.rsplit(".", 2)[-2] for name in built.f64 if name.startswith("grad.")}, {"lora_A", "lora_B"})


class Upstreams(unittest.TestCase):
    """transformers and FunASR compute the same model."""

    def test_encoders(self):
        ours, theirs = small_encoder(), small_encoder("funasr")
        for stage, value in ours.f64.items():
            torch.testing.assert_close(value, theirs.f64[stage], rtol=1e-11, atol=1e-11)

    def test_adaptors(self):
        options = dict(seed=1, lengths=[5], width=64, adaptor={"layer_norm_eps": 1e-12})
        ours, theirs = adaptor.build(**options), adaptor.build(**options, upstream="funasr")
        for stage, value in ours.f64.items():
            torch.testing.assert_close(value, theirs.f64[stage], rtol=1e-11, atol=1e-11)

    def test_frame_stacking_of_every_length(self):
        for frames in range(1, 61):
            fbank = torch.arange(frames * 80, dtype=torch.float32).reshape(frames, 80)
            np.testing.assert_array_equal(frontend.stack(fbank).numpy(), plain.lfr(fbank.numpy()))


class Upstream(unittest.TestCase):
    """A bundle that is not what FunASR's whole class computes is refused."""

    def test_low_frame_rate(self):
        case = next(case for case in CASES if case.name == "model-mlt")
        with mock.patch.object(mlt, "ADAPTOR_CONF", mlt.ADAPTOR_CONF | {"use_low_frame_rate": True}):
            with self.assertRaisesRegex(SystemExit, "LLM inputs"):
                case.build(**case.options)


class Files(unittest.TestCase):
    def test_generator_values(self):
        name = "model.audio_tower.layers.0.self_attn.q_proj.weight"
        values = parameter(name, (48, 56), 1)
        self.assertEqual(torch.tensor(values).bfloat16().float().tolist(), values.tolist())
        self.assertEqual([int(v * 2**10) for v in values.flatten()[:8]], [-53, -71, -91, 155, -67, 63, 109, 147])

    def test_same_bytes_twice(self):
        self.assertEqual(serialise("x", small_encoder()), serialise("x", small_encoder()))

    def test_manifest_is_what_lies_there(self):
        manifest = json.loads((HERE / "manifest.json").read_text())
        rows = {row["file"]: row for row in manifest["bundles"]}
        self.assertEqual([row["name"] for row in manifest["bundles"]], [case.name for case in CASES])
        self.assertEqual(set(rows), {path.name for path in (HERE / "bundles").iterdir()})
        for file, row in rows.items():
            data = (HERE / "bundles" / file).read_bytes()
            self.assertEqual((len(data), hashlib.sha256(data).hexdigest()), (row["bytes"], row["sha256"]), file)
        self.assertLessEqual(manifest["bytes"], 25 * 10**6)

    def test_readme_lists_every_bundle(self):
        text = (HERE / "README.md").read_text()
        for case in CASES:
            self.assertRegex(text, rf"\| `{case.name}` +\|")
            self.assertIn(case.description, text)


if __name__ == "__main__":
    unittest.main()
