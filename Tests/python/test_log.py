"""The library's log in Python: what is heard, on which level, and by whom."""

import logging
import subprocess
import sys
import threading

import mrp
import pytest
from conftest import NETWORK, RUN, TINY
from mrp import _log, _mrp


def test_levels(images, caplog, warnings_of, tmp_path):
    with caplog.at_level(logging.DEBUG, "mrp"):
        mae = mrp.MaskedAutoencoder(**TINY, early_stopping=1).fit(images)
        mae.model_.save(tmp_path / "mae.safetensors")
        with pytest.raises(mrp.ArgumentError, match="mask_rato"):
            mrp.Config(mask_rato=1)
    heard = [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "mrp"]
    assert [level for level, _ in heard] == ["INFO", "WARNING", "INFO"]
    assert heard[0][1].startswith("pretrain: 10 steps of 8 images")
    assert heard[2][1] == f"wrote a model to '{tmp_path / 'mae.safetensors'}'"
    assert warnings_of() == ["early_stopping: there are no held-out images to go by"]
    assert warnings_of() == []


@pytest.mark.usefixtures("quiet")
def test_a_clean_run_warns_of_nothing(images, labels, tmp_path):
    mae = mrp.MaskedAutoencoder(**TINY).fit(images)
    mae.save(tmp_path / "mae.safetensors")
    encoder = mrp.load(tmp_path / "mae.safetensors")
    mrp.Classifier(encoder=encoder, **RUN).fit(images, labels).score(images, labels)
    mae.transform(images)


def test_a_script_sees_warnings_and_no_more():
    program = "import mrp, numpy; mrp.MaskedAutoencoder(early_stopping=1, **%r).fit(numpy.zeros((40, 3, 8, 8), numpy.uint8))"
    done = subprocess.run([sys.executable, "-c", program % TINY], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "early_stopping: there are no held-out images to go by\n")


def test_the_command_prints_warnings(tmp_path, monkeypatch, capsys):
    from mrp._command import main

    monkeypatch.chdir(tmp_path)
    options = ["--image-size", "16", "--patch-size", "8", "--width", "16", "--depth", "1", "--heads", "2", "--decoder-width", "16"]
    options += ["--decoder-depth", "1", "--decoder-heads", "2", "--epochs", "1", "--quiet", "--early-stopping", "1"]
    assert main(["pretrain", "generated:8", *options]) == 0
    assert capsys.readouterr().err == "mrp: warning: early_stopping: there are no held-out images to go by\n"


def test_lines_wait_for_a_thread_that_may_run_python(images, warnings_of):
    """Calls of many threads, with and without the GIL: no line is lost and none comes twice."""
    dataset = mrp.Dataset(images)
    config = mrp.Config(threads=1, batch_size=8, epochs=1, early_stopping=1, **NETWORK)
    models = [mrp.Model(config, image_size=8) for _ in range(8)]
    threads = [threading.Thread(target=model.pretrain, args=(dataset, config)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(warnings_of()) == len(models)


def test_what_a_listener_raises_reaches_the_caller(images):
    def refuse(level, text):
        raise RuntimeError(text)

    _mrp.set_log(refuse)
    try:
        with pytest.raises(RuntimeError, match=r"^pretrain: "):
            mrp.MaskedAutoencoder(**TINY).fit(images)
        _mrp.set_log(None)
        mrp.MaskedAutoencoder(**TINY).fit(images)
    finally:
        _mrp.set_log(_log._hear)
