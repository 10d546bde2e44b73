"""The wheel as it is published: built by make, installed into an empty environment of the oldest and the newest Python here (from 3.11 on),
and used there.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from error_pairs import ROOT

pytestmark = pytest.mark.slow

USE = """
import pathlib, sys
import numpy as np
import mrp
assert "site-packages" in mrp.__file__, mrp.__file__
images = mrp.Dataset.generate(32, image_size=16)
options = dict(width=16, depth=1, heads=2, decoder_width=16, decoder_depth=1, decoder_heads=2, epochs=1, progress=False)
mae = mrp.MaskedAutoencoder(**options, random_state=1).fit(images)
mae.save("encoder.safetensors")
folder = pathlib.Path("images")
folder.mkdir()
for name in ("rgb.png", "colour.jpg"):  # the bundled libraries decode
    (folder / name).write_bytes((pathlib.Path(sys.argv[1]) / name).read_bytes())
assert np.isfinite(mae.transform(mrp.ImageFolder(folder))).all()
loaded = [line.split()[-1] for line in open("/proc/self/maps") if "libjpeg" in line or "libpng" in line]
assert loaded and not any(path.startswith(("/usr/lib", "/lib")) for path in loaded), loaded
print(mae.transform(images).tobytes().hex())
"""


def pythons():
    """The oldest and the newest Python of this machine, from 3.11 on."""
    places = [Path(sys.executable), *Path.home().glob(".pyenv/versions/*/bin/python3"), *Path("/usr/bin").glob("python3.[0-9]*")]
    found = {}
    for place in places:
        ask = "import sys, venv, ensurepip; print(*sys.version_info[:2]) if sys.version_info >= (3, 11) else sys.exit(1)"
        done = subprocess.run([place, "-c", ask], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            found.setdefault(tuple(map(int, done.stdout.split())), place.resolve() if place != Path(sys.executable) else place)
    return {version: found[version] for version in (min(found), max(found))}


@pytest.fixture(scope="module")
def wheel():
    subprocess.run([ROOT / "tools/make_wheel.sh"], check=True, capture_output=True, text=True)
    (wheel,) = (ROOT / "dist").glob("libmrp-*.whl")
    return wheel


def test_the_wheels_name_and_size(wheel):
    assert "-cp311-abi3-manylinux_2_" in wheel.name
    assert wheel.stat().st_size <= 8_000_000


@pytest.mark.parametrize("version", sorted(pythons()), ids=lambda version: f"{version[0]}.{version[1]}")
def test_in_an_empty_environment(wheel, version, tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}

    def run(*words):
        done = subprocess.run([str(word) for word in words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    run(pythons()[version], "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv/bin/python"
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--prefer-binary", wheel)
    assert len(run(python, "-c", USE, ROOT / "Tests/fixtures/images")) == 32 * 16 * 8
    assert "encoder: width 16" in run(tmp_path / "venv/bin/mrp", "info", "encoder.safetensors")
    assert "mask-ratio" in run(python, "-m", "mrp", "pretrain", "--help")
    shutil.rmtree(tmp_path / "venv")
