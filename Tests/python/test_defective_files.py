"""Every defect of a file has its own message and code; nothing that is done to a header crashes the reader."""

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


@pytest.mark.slow
def test_every_flipped_bit_of_the_header_is_survived(tmp_path):
    path = tmp_path / "model.safetensors"
    whole = model()
    end = 8 + int.from_bytes(whole[:8], "little")
    path.write_bytes(whole)
    refused = 0
    with path.open("r+b", buffering=0) as file:
        for place in range(end):
            for bit in range(8):
                file.seek(place)
                file.write(bytes([whole[place] ^ (1 << bit)]))
                try:
                    mrp.Model.load(path)
                except mrp.MrpError:
                    refused += 1
            file.seek(place)
            file.write(whole[place : place + 1])
    assert refused > 7 * end  # few flips leave a model: in the configuration's numbers, in unused metadata
