"""What very short runs of everything end with is what it was: tools/fingerprints.py, for each instruction set of this processor."""

import sys

import pytest
from error_pairs import ROOT

sys.path.insert(0, str(ROOT / "tools"))
import fingerprints

# Every fifth row: all kinds are among them, and each thread count sees others.
SHARE = 5


def compare(instructions, names, threads=1, *, complete=False):
    if instructions not in fingerprints.available():
        pytest.skip(f"this processor has no {instructions}, only {', '.join(fingerprints.available())}")
    problems = fingerprints.differences(instructions, fingerprints.compute(instructions, names, threads), complete=complete)
    assert not problems, "\n".join([f"{len(problems)} rows of {instructions}, threads={threads}:", *problems, fingerprints.ADVICE])


@pytest.mark.parametrize("instructions", fingerprints.INSTRUCTIONS)
def test_nothing_changed(instructions):
    compare(instructions, fingerprints.select(), complete=True)


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_change_nothing(threads):
    compare(fingerprints.available()[-1], fingerprints.select()[threads::SHARE], threads)


def test_a_change_is_named():
    """The net has no hole where it is easily torn: another seed, rate or network changes the hash of its row."""
    name = "pretrain/mae/vit"
    on = {"instructions": "baseline", "threads": 1}
    usual = fingerprints.digest(fingerprints.ROWS[name](on))
    for options in ({"seed": 5}, {"learning_rate": 0.00500001}, {"mask_ratio": 0.76}, {"layer_norm_eps": 1.1e-6}, {"weight_decay": 0.051}):
        assert fingerprints.digest(fingerprints.pretrain("vit", **options)(on)) != usual, options
    assert fingerprints.differences("baseline", {name: usual}) == []
    assert fingerprints.differences("baseline", {name: "0"}) == [f"{name}: changed"]
    assert fingerprints.contradictions({name: "0", f"resumed/{name}": "1"}) == [f"resumed/{name}: is not the same as {name}"]
