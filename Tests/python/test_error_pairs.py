"""Every (function, status) pair that the header documents is given by a C test, and none is given that the header does not name."""

import os
import subprocess
from pathlib import Path

import pytest
from error_pairs import ROOT, documented


@pytest.fixture(scope="module")
def produced(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    flags = ["-std=c99", "-D_XOPEN_SOURCE=700", "-Ibuild/include", "-ITests/c", "-Lbuild/lib", f"-Wl,-rpath,{ROOT / 'build/lib'}"]
    for name in (
        "test_errors",
        "test_lab",
        "test_lab_failures",
        "test_pairs",
        "test_pairs_running",
        "test_trainers",
        "test_classes",
        "test_masks",
        "test_points",
        "test_trees",
        "test_run_folders",
    ):
        source, program = f"Tests/c/abi/{name}.c", folder / name
        subprocess.run(["cc", source, "-o", program, *flags, "-lmrp", "-lm", "-lpthread"], cwd=ROOT, check=True)
        done = subprocess.run(
            [program], cwd=ROOT, env={**os.environ, "MRP_PAIRS": str(folder / "pairs")}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return {tuple(line.split()) for line in Path(folder / "pairs").read_text().splitlines()}


def test_the_header_is_read():
    pairs = documented()
    assert ("mrp_trainer_step", "MRP_ERR_FORKED") in pairs
    assert ("mrp_pretrain", "MRP_CANCELLED") in pairs
    assert len(pairs) > 150


def test_every_documented_pair_is_given(produced):
    assert sorted(documented() - produced) == []


def test_every_given_pair_is_documented(produced):
    assert sorted(produced - documented()) == []
