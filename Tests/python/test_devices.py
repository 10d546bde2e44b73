"""Training and inference through PJRT plug-ins that compute on the CPU; tools/setup_devices.sh installs them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import mrp
import numpy as np
import pytest
from conftest import NETWORK
from mrp import _command

FOLDER = Path(__file__).resolve().parents[2] / "build/devices"
NEWEST = FOLDER / "lammps_jax_pjrt_cpu/pjrt_c_api_cpu_plugin.so"
OLD = FOLDER / "xla_plugins/xla_cpu_pjrt/xla_cpu_pjrt.so"
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")  # compiles faster
DEVICE = f"pjrt:{NEWEST}"
OPTIONS = NETWORK | {"image_size": 8, "batch_size": 8, "epochs": 100, "threads": 1, "seed": 3}

with_plugin = pytest.mark.skipif(not NEWEST.exists() or not OLD.exists(), reason=f"no plug-ins in {FOLDER}: run tools/setup_devices.sh")


@pytest.fixture
def labelled(images, labels):
    return mrp.Dataset(images, labels)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Options of the device; what one test compiles serves the others."""
    return {"device": DEVICE, "device_cache": str(tmp_path_factory.mktemp("cache"))}


def cached(cache):
    return set(Path(cache["device_cache"]).iterdir())


def trained(dataset, steps, phase="pretrain", **options):
    """A trainer after some steps, and their losses."""
    model = mrp.Model(**OPTIONS | options)
    trainer, losses = mrp.Trainer(model, dataset, **OPTIONS | options, phase=phase), []
    for _ in range(steps):
        trainer.step()
        losses.append(trainer.progress.loss)
    return trainer, losses


def run(*words, status=0):
    assert _command.main([str(word) for word in words]) == status


# ---- Everywhere


def test_names_of_devices(labelled, tmp_path):
    with pytest.raises(mrp.ArgumentError, match="gpu"):
        mrp.Trainer(mrp.Model(**OPTIONS), labelled, **OPTIONS, device="gpu")
    for device in (f"pjrt:{tmp_path}/none.so", f"pjrt:{__file__}"):
        with pytest.raises(mrp.UnsupportedError, match=r"\.so|plug-in"):
            mrp.devices(device)


def test_the_reason_where_there_is_no_plugin(monkeypatch, capsys):
    monkeypatch.setenv("MRP_PLUGIN_FOLDERS", "/nowhere")
    run("info", "--devices", "--json")
    seen = json.loads(capsys.readouterr().out)["devices"]
    assert "pip install jax-cuda13-pjrt" in seen["cuda"]["error"]
    assert set(seen) == {"cuda", "rocm"}
    run("info", "--devices", "cuda", status=1)
    run("info", status=1)


def test_export_of_a_step_and_of_a_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = "--image-size 16 --patch-size 4 --width 16 --depth 1 --heads 2 --decoder-width 16 --decoder-depth 1 --decoder-heads 2".split()
    run("export", "generated:16", "--step", "pretrain", *small, "--batch-size", 4, "-o", "step.mlir")
    text, about = (tmp_path / "step.mlir").read_text(), json.loads((tmp_path / "step.mlir.json").read_text())
    assert "func.func public @main" in text
    state = [argument["name"] for argument in about["arguments"] if argument["kind"] == "state"]
    assert "decoder_pred.weight" in state
    assert text.count("tf.aliasing_output") == sum("updates" in result for result in about["results"]) > len(state) // 2
    mrp.Model(**OPTIONS).save("m.safetensors")
    run("export", "--model", "m.safetensors", "-o", "m.mlir")
    assert "func.func public @main" in (tmp_path / "m.mlir").read_text()
    run("export", "--model", "m.safetensors", "--format", "onnx", "-o", "m.onnx")
    assert (tmp_path / "m.onnx").stat().st_size > 1000
    for wrong in (["export"], ["export", "--step", "pretrain"], ["export", "generated:16", "--step", "pretrain", "--format", "onnx"]):
        run(*wrong, status=1)


# ---- With a plug-in


@with_plugin
def test_description(capsys):
    seen = mrp.devices(DEVICE)
    assert (seen["platform"], seen["plugin"], len(seen["devices"])) == ("cpu", str(NEWEST), 8)
    run("info", "--devices", DEVICE)
    assert capsys.readouterr().out.startswith(f"{DEVICE}: 8 cpu")


@with_plugin
def test_a_run_moves_between_device_and_processor(labelled, cache, tmp_path):
    """Same losses; a checkpoint of either goes on on the other; the second run finds its program in the cache."""
    processor, expected = trained(labelled, 6)
    device, losses = trained(labelled, 3, **cache)
    np.testing.assert_allclose(losses, expected[:3], rtol=1e-5)
    known = cached(cache)
    assert known
    device.save(tmp_path / "device.ckpt")
    goes_on = mrp.Trainer(mrp.Model(**OPTIONS), labelled, **OPTIONS)
    goes_on.resume(tmp_path / "device.ckpt")
    for _ in range(3):
        goes_on.step()
    assert goes_on.progress.loss == pytest.approx(expected[-1], rel=1e-5)
    goes_on.save(tmp_path / "processor.ckpt")
    processor.step()
    again = mrp.Trainer(mrp.Model(**OPTIONS), labelled, **OPTIONS | cache)
    again.resume(tmp_path / "processor.ckpt")
    again.step()
    assert again.progress.loss == pytest.approx(processor.progress.loss, rel=1e-5)
    assert cached(cache) == known
    weight = "blocks.0.attn.qkv.weight"
    np.testing.assert_allclose(again.model.parameter(weight), processor.model.parameter(weight), atol=1e-5)


@with_plugin
def test_a_damaged_cache_is_compiled_again(labelled, cache):
    _, first = trained(labelled, 1, **cache)
    for file in cached(cache):
        file.write_bytes(file.read_bytes()[:100])
    _, second = trained(labelled, 1, **cache)
    assert first == second
    assert max(file.stat().st_size for file in cached(cache)) > 1000


@with_plugin
def test_what_a_model_gives_is_the_same(labelled, cache):
    trainer, _ = trained(labelled, 2, phase="finetune")
    model = trainer.model
    np.testing.assert_allclose(model.predict_proba(labelled, **cache), model.predict_proba(labelled), atol=1e-5)
    np.testing.assert_allclose(model.encode(labelled, **cache), model.encode(labelled), atol=1e-5)
    assert model.evaluate(labelled, "loss", **cache) == pytest.approx(model.evaluate(labelled, "loss"), rel=1e-5)


@with_plugin
def test_bfloat16_products(labelled, cache):
    _, expected = trained(labelled, 3)
    _, losses = trained(labelled, 3, **cache, matmul_precision="medium")
    assert losses != expected
    np.testing.assert_allclose(losses, expected, rtol=2e-2)


@with_plugin
def test_an_old_plugin(tmp_path):
    """In a process of its own, without a cache."""
    program = f"""
import sys
sys.path.insert(0, {str(Path(mrp.__file__).parents[1])!r})
import mrp
import numpy as np
images = np.random.default_rng(7).integers(0, 256, (40, 3, 8, 8), dtype=np.uint8)
losses = []
for more in ({{}}, {{"device": "pjrt:{OLD}", "device_cache": ""}}):
    trainer = mrp.Trainer(mrp.Model(**{OPTIONS!r}), images, **{OPTIONS!r} | more)
    for _ in range(2):
        trainer.step()
    losses.append(trainer.progress.loss)
assert abs(losses[1] / losses[0] - 1) < 1e-5, losses
"""
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2", "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []
