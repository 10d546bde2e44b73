"""Montage pretraining from Python and the command line, and segmentation that begins with its pyramid."""

from pathlib import Path

import mrp
import numpy as np
import pytest
from mrp._command import main

SMALL = {
    "objective": "montage", "encoder": "resnet18", "width": 4, "image_size": 32, "pyramid_width": 8, "projection_width": 8,
    "projection_hidden": 8, "montage_sides": 1, "batch_size": 8, "epochs": 1,
}  # fmt: skip


def test_segmenter_begins_with_the_pyramid(tmp_path: Path) -> None:
    scenes = mrp.Dataset.generate_scenes(16, random_state=3, image_size=32)
    mae = mrp.MaskedAutoencoder(progress=False, **SMALL).fit(scenes.images())
    assert np.isfinite(mae.history_[-1]["loss"])
    mae.save(tmp_path / "montage.safetensors")
    names = {weight["name"] for weight in mrp.Model.load(tmp_path / "montage.safetensors").info["weights"]}
    assert {"fpn.lateral.3.weight", "montage_head.fc1.weight", "montage_predictor.0.fc2.bias"} <= names
    assert not any(name.startswith("teacher.") for name in names)
    # Without a step that matters the segmenter's pyramid is the pretrained one.
    segmenter = mrp.Segmenter(encoder=mae, epochs=1, batch_size=16, learning_rate=1e-12, progress=False).fit(scenes)
    before, after = mrp.Model.load(tmp_path / "montage.safetensors"), segmenter.model_
    for name in ("fpn.lateral.3.weight", "fpn.output.2.weight", "conv1.weight"):
        np.testing.assert_allclose(after.parameter(name), before.parameter(name), atol=1e-6)
    with pytest.raises(mrp.UnsupportedError, match="a vision transformer takes ijepa"):
        mrp.MaskedAutoencoder(progress=False, **SMALL | {"encoder": "vit_micro", "width": 48}).fit(scenes.images())


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    options = [f"--{key.replace('_', '-')}={value}" for key, value in SMALL.items()]
    assert main(["pretrain", "generated:16", "--quiet", "-o", "m.safetensors", "--blur=0.5", "--solarize=0,0.2", *options]) == 0
    assert main(["finetune", "scenes:16", "--task", "segment", "--from", "m.safetensors", "--epochs", "1", "--quiet", "--batch-size", "8",
                 "-o", "s.safetensors"]) == 0  # fmt: skip
    capsys.readouterr()
    assert main(["pretrain", "generated:16", "--quiet", "-o", "n.safetensors", *options, "--batch-size=6"]) != 0
    assert "a multiple of 4^(montage_levels - 1) = 4, 6 is none" in capsys.readouterr().err
