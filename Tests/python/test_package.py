"""The package as it is found: help, imports, stubs, progress bar, examples."""

import ast
import inspect
import io
import math
import re
import subprocess
import sys
from pathlib import Path

import mrp
import numpy as np
import pytest
from conftest import TINY
from mrp import _mrp, _progress

ROOT = Path(__file__).resolve().parents[2]


def python(*arguments, **options):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=600, **options)


def test_every_public_name_has_help():
    for name in mrp.__all__:
        item = getattr(mrp, name)
        assert inspect.getdoc(item), name
        if inspect.isclass(item) and item.__module__.startswith("mrp._") and not issubclass(item, tuple):
            for member, value in vars(item).items():
                if callable(value) and not member.startswith("_"):
                    assert inspect.getdoc(value), f"{name}.{member}"
    assert "mask_ratio" in mrp.MaskedAutoencoder.__doc__
    assert "{" not in mrp.MaskedAutoencoder.__doc__.replace("{parameters}", "{")
    assert mrp.__doc__


def test_every_option_is_documented_where_it_is_taken():
    for option in mrp.options().values():
        if option.section == "files":  # of reading and writing models
            continue
        assert f"{option.key} : " in mrp.Classifier.__doc__, option.key
        assert option.summary in mrp.MaskedAutoencoder.__doc__


def test_the_extension_reads_well():
    functions = {name: value for name, value in vars(_mrp).items() if inspect.isbuiltin(value)}
    assert len(functions) > 25
    for name, function in functions.items():
        assert function.__doc__, name
        assert inspect.signature(function) is not None, name


def test_the_stub_names_what_is_there():
    tree = ast.parse((ROOT / "bindings/python/mrp/_mrp.pyi").read_text())
    declared = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            declared[node.name] = len(node.args.posonlyargs)
    present = {name: len(inspect.signature(value).parameters) for name, value in vars(_mrp).items() if inspect.isbuiltin(value)}
    assert declared == present
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    assert set(classes) == {name for name, value in vars(_mrp).items() if inspect.isclass(value)}
    assert [node.name for node in classes["Progress"].body if isinstance(node, ast.FunctionDef)] == list(_mrp.Progress.__match_args__)
    for name, node in classes.items():
        if name.endswith("Error") and name != "MrpError":
            assert tuple(base.id for base in node.bases) == tuple(base.__name__ for base in getattr(_mrp, name).__bases__)


def test_import_is_light():
    heavy = ["matplotlib", "tqdm", "sklearn", "torch", "scipy", "PIL", "pandas"]
    script = f"import mrp, sys; print([name for name in {heavy} if name in sys.modules])"
    assert python("-c", script).stdout.strip() == "[]"
    assert (
        "numpy"
        not in python(
            "-c", "import sys; sys.path.insert(0, sys.argv[1]); import _mrp; print(*sys.modules)", Path(mrp.__file__).parent
        ).stdout.split()
    )


def test_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+", mrp.__version__)
    assert mrp.__version__ in mrp.build_info()
    assert mrp.memory_in_use() >= 0


def test_handles_cannot_be_made_by_hand():
    for kind in (_mrp.Config, _mrp.Dataset, _mrp.Model, _mrp.Trainer):
        with pytest.raises(TypeError):
            kind()


def test_two_interpreters_states():
    # The module is initialised per import: a second copy has its own exceptions and works.
    script = """
import sys, mrp
first = sys.modules.pop("mrp._mrp")
import importlib
second = importlib.import_module("mrp._mrp")
assert first is not second
second.config_set(second.config_create(None), "epochs", "3")
try:
    second.config_set(first.config_create(None), "epochs", "3")
except TypeError:
    print("own types")
"""
    assert python("-c", script).stdout.strip() == "own types"


# ---- The progress bar


def run_with(monkeypatch, images, stream, **options):
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)  # other tests run notebooks
    mrp.MaskedAutoencoder(**TINY | options).fit(images)
    return stream.getvalue()


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_shown_on_terminals_only(monkeypatch, images):
    assert run_with(monkeypatch, images, io.StringIO(), progress=None) == ""
    assert run_with(monkeypatch, images, Terminal(), progress=False) == ""
    assert "pretrain" in run_with(monkeypatch, images, Terminal(), progress=None)
    assert "pretrain" in run_with(monkeypatch, images, io.StringIO(), progress=True)


def test_one_plain_line_without_tqdm(monkeypatch, images):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    text = run_with(monkeypatch, images, io.StringIO(), progress=True)
    assert text.count("\n") == 1
    assert re.match(r"pretrain 100 %  step \d+ of \d+, loss \d", text)
    text = run_with(monkeypatch, images, Terminal(), progress=True)
    assert text.count("\n") == 1
    assert text.count("\r") >= 1


def test_a_callable_gets_the_progress(images):
    seen = []
    mrp.MaskedAutoencoder(**TINY | {"progress": seen.append}).fit(images)
    assert seen[-1].fraction == 1


def test_texts_of_progress():
    values = dict(zip(_mrp.Progress.__match_args__, ("finetune", 0.5, 5, 10, 1.5, 0.25, 0.3, 1e-3, 100.0, 60.0, 65.0)))
    stream = Terminal()
    line = _progress._Line(stream, lambda progress: progress.phase, _progress.Reporter._detail)
    rest = [math.nan] * (len(_mrp.Progress.__match_args__) - len(values))
    line.show(_mrp.Progress([*values.values(), *rest]))
    line.close()
    assert stream.getvalue().rstrip().endswith("finetune  50 %  step 5 of 10, loss 0.2500, 100 images/s  1:05 left")


# ---- The examples


def test_quickstart(tmp_path):
    arguments = ["--images", "64", "--labels", "20", "--epochs", "1", "--finetune-epochs", "1"]
    done = python(ROOT / "examples/python/quickstart.py", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"\d+\.\d % correct", done.stdout)) == 2
    assert (tmp_path / "reconstructions.png").read_bytes().startswith(b"\x89PNG")


def test_quickstart_with_a_folder(tmp_path):
    from PIL import Image

    random = np.random.default_rng(1)
    for part, count in (("train", 12), ("test", 4)):
        for name in ("ant", "bee"):
            (tmp_path / part / name).mkdir(parents=True)
            for index in range(count):
                Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(tmp_path / part / name / f"{index}.jpg")
    arguments = ["--labels", "10", "--epochs", "1", "--finetune-epochs", "1", "--output", "here.png"]
    done = python(ROOT / "examples/python/quickstart.py", tmp_path, *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "here.png").exists()
