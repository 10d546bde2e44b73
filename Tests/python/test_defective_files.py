"""Every defect of a file has its own message and code. (Tests/c/abi/test_weights.c flips every bit of a header.)"""

import sys
from pathlib import Path

import mrp
import pytest
from mrp import _mrp

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools" / "fixtures"))
from make_defective_files import CASES, HEADERS, model, write


def test_there_are_enough_and_each_has_its_own_name():
    assert len(CASES) >= 60
    assert len({name for name, *_ in CASES}) == len(CASES)


def test_the_sound_model_is_sound(tmp_path):
    (tmp_path / "sound.safetensors").write_bytes(model())
    assert mrp.Model.load(tmp_path / "sound.safetensors").info["hidden_size"] == 4


@pytest.mark.parametrize("case", CASES, ids=[name for name, *_ in CASES])
def test_message_and_code(case, tmp_path):
    _, _, text, code = case
    path = write(case, tmp_path)
    with pytest.raises(mrp.MrpError) as error:
        mrp.Model.load(path)
    assert text in str(error.value)
    assert str(tmp_path) in str(error.value)
    assert error.value.code == code
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("case", HEADERS, ids=[name for name, *_ in HEADERS])
def test_description_says_the_same(case, tmp_path):
    path = write(case, tmp_path)
    with pytest.raises(mrp.FormatError) as loading:
        mrp.Model.load(path)
    with pytest.raises(mrp.FormatError) as describing:
        _mrp.file_describe(path)
    assert str(loading.value) == str(describing.value)


def test_all_defects_of_a_model_are_in_one_error(tmp_path):
    content = model({"vit.layernorm.bias": None, "vit.layernorm.weight": ("F32", [9], b""), "extra": ("F32", [1], b"")})
    (tmp_path / "many.safetensors").write_bytes(content)
    with pytest.raises(mrp.FormatError) as error:
        mrp.Model.load(tmp_path / "many.safetensors")
    for text in ("'vit.layernorm.bias' is missing", "'vit.layernorm.weight' has shape [9]", "'extra' is unexpected"):
        assert text in str(error.value)


def test_every_truncation_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    whole = model()
    end = 8 + int.from_bytes(whole[:8], "little")
    path.write_bytes(whole)
    with path.open("r+b") as file:
        for length in range(end, -1, -1):
            file.truncate(length)
            with pytest.raises(mrp.FormatError):
                mrp.Model.load(path)
