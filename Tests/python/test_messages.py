"""Texts that help: names of others, files that are none of ours, numbers that are none."""

import pickle
import re
import zipfile

import mrp
import numpy as np
import pytest
from conftest import TINY
from mrp._command import parse
from mrp._progress import Reporter


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("lr", "unknown option 'lr': it is 'learning_rate' here"),
        ("n_jobs", "unknown option 'n_jobs': it is 'threads' here"),
        ("max_iter", "unknown option 'max_iter': it is 'epochs' here"),
        ("sample_weight", "unknown option 'sample_weight': images have no weights but those of their classes by loss=balanced"),
        ("dropout", "unknown option 'dropout': there is no dropout, drop_path leaves out whole branches"),
        ("mask_rato", "unknown option 'mask_rato': the nearest is 'mask_ratio'"),
        ("foo", "unknown option 'foo': none has a similar name"),
    ],
)
def test_names_of_others(key, text):
    for make in (mrp.Classifier, mrp.MaskedAutoencoder, mrp.Config):
        with pytest.raises(mrp.ArgumentError, match="^" + re.escape(text)):
            make(**{key: 1})


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--lr", "0.1"], "unknown option '--lr': it is '--learning-rate' here"),
        (["--max-iter=3"], "unknown option '--max-iter': it is '--epochs' here"),
        (["--foo", "1"], "unknown option '--foo': none has a similar name"),
        (["--knn", "5"], "unknown option '--knn': "),
    ],
)
def test_names_of_others_on_the_command_line(words, text, capsys):
    with pytest.raises(SystemExit):
        parse(["pretrain", "generated:8", *words])
    assert text in capsys.readouterr().err


def test_files_of_others(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pth", "w") as file:
        file.writestr("archive/data.pkl", b"")
    (tmp_path / "old.pth").write_bytes(pickle.dumps({"model": {}}, protocol=2))
    for name in ("x.pth", "old.pth"):
        with pytest.raises(mrp.FormatError, match=rf"{name}' is a pickle of PyTorch.*mrp\.from_torch"):
            mrp.load(tmp_path / name)
    np.save(tmp_path / "x.npy", np.zeros(3))
    with pytest.raises(mrp.FormatError, match="an array of numpy"):
        mrp.load(tmp_path / "x.npy")
    (tmp_path / "pytorch_model.bin").write_bytes(b"PK")
    with pytest.raises(mrp.MrpIOError, match=r"only pytorch_model\.bin, a pickle"):
        mrp.load(tmp_path)


def test_state_dicts_inside_others():
    weights = {"conv1.weight": np.zeros((4, 3, 3, 3), np.float32)}
    with pytest.raises(mrp.ArgumentError, match=r"the dict holds a state dict under 'model': pass that, source\['model'\]"):
        mrp.from_torch({"epoch": 3, "model": weights, "optimizer": {"state": {}}})
    official = {"downsample_layers.0.0.weight": np.zeros((40, 3, 4, 4), np.float32), "norm.weight": np.zeros(320, np.float32)}
    with pytest.raises(mrp.FormatError, match=r"^the dict has the names of facebookresearch/ConvNeXt-V2.*checkpoint_filter_fn"):
        mrp.from_torch(official)


def test_no_loss_before_the_first_step(images):
    trainer = mrp.Trainer(mrp.Model(image_size=8, **{k: v for k, v in TINY.items() if k not in ("random_state", "progress")}), images)
    assert Reporter._detail(trainer.progress) == "step 0 of 20"
    trainer.step()
    assert re.fullmatch(r"step 1 of 20, loss \d\.\d{4}, \d+ images/s", Reporter._detail(trainer.progress))
