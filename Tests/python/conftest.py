"""What the tests share: a network that trains in milliseconds, images for it, a folder of images, and an interruption."""

import logging
import subprocess
import sys
import textwrap

import mrp
import numpy as np
import pytest


@pytest.fixture
def warnings_of(caplog):
    """warnings_of(): the texts that the library has warned with since the last call."""

    def texts():
        found = [record.getMessage() for record in caplog.records if record.name == "mrp" and record.levelno >= logging.WARNING]
        caplog.clear()
        return found

    return texts


@pytest.fixture
def quiet(warnings_of):
    """The test fails when the library warns of something."""
    yield
    assert warnings_of() == []


# 8 x 8 images, 2 x 2 patches, one block of width 16: a step takes about a millisecond.
NETWORK = {
    "width": 16,
    "depth": 1,
    "heads": 2,
    "mlp_ratio": 2,
    "decoder_width": 16,
    "decoder_depth": 1,
    "decoder_heads": 2,
    "patch_size": 4,
}
TINY = NETWORK | {"threads": 1, "batch_size": 8, "epochs": 2, "random_state": 3, "progress": False}
RUN = {"threads": 1, "batch_size": 8, "epochs": 2, "random_state": 3, "progress": False}


@pytest.fixture
def images():
    """40 colour images, uint8, NCHW."""
    return np.random.default_rng(7).integers(0, 256, (40, 3, 8, 8), dtype=np.uint8)


@pytest.fixture
def labels():
    return np.arange(40, dtype=np.int32) % 4


@pytest.fixture
def mae(images):
    return mrp.MaskedAutoencoder(**TINY).fit(images)


@pytest.fixture
def classifier(images, labels):
    return mrp.Classifier(**TINY).fit(images, labels)


@pytest.fixture
def model():
    """A fresh model for 3 x 8 x 8 images."""
    return mrp.Model(image_size=8, **NETWORK)


@pytest.fixture
def folder(tmp_path):
    """<class>/<image>: two classes with three PNG and two JPEG images of 10 x 12 pixels each."""
    from PIL import Image

    random = np.random.default_rng(5)
    for name in ("cat", "dog"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for index in range(5):
            picture = Image.fromarray(random.integers(0, 256, (10, 12, 3), dtype=np.uint8))
            picture.save(tmp_path / "images" / name / f"{index}.{'png' if index < 3 else 'jpg'}")
    return tmp_path / "images"


INTERRUPTED = """
import os, signal, sys, threading, time
import numpy as np
import mrp

# A test run in the background of a shell inherits an ignored SIGINT, and Python then installs no handler of its own.
signal.signal(signal.SIGINT, signal.default_int_handler)
{setup}
sent = []

def interrupt():
    time.sleep(0.5)
    sent.append(time.monotonic())
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt).start()
try:
    {call}
except KeyboardInterrupt:
    print(f"interrupted after {{1000 * (time.monotonic() - sent[0]):.1f}} ms")
else:
    sys.exit("ran to its end")
{after}
"""


def check_interruption(call, setup="", after=""):
    """Runs a call in a process of its own, interrupts it as Ctrl-C does, and then runs `after` in the same process."""
    program = INTERRUPTED.format(setup=textwrap.dedent(setup), call=call, after=textwrap.dedent(after))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("interrupted after"), done.stdout
