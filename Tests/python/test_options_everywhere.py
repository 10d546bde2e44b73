"""One table: the header, docs/options.md, help() and --help say what mrp_config_describe says, and what a changed table would say."""

import copy
import re
import subprocess
import sys

import mrp
import pytest
from error_pairs import ROOT

sys.path.insert(0, str(ROOT / "tools"))
import option_table

LIBRARY = ROOT / "build/lib/libmrp.so.0"


@pytest.fixture(scope="module")
def table():
    return option_table.read(LIBRARY)


def of_runs(table):
    """The options that runs take; those of section "files" belong to reading and writing models."""
    return [option for option in table["options"] if option["section"] != "files"]


def squeeze(text):
    return " ".join(text.split())


def test_python_has_the_table(table):
    assert [option._asdict() for option in mrp.options().values()] == table["options"]
    assert [preset._asdict() for preset in mrp.presets().values()] == table["presets"]


def test_help_of_the_estimators(table):
    text = squeeze(mrp.Classifier.__doc__)
    for option in of_runs(table):
        assert f"{option['key']} : " in text
        assert squeeze(f"default {option['default']} {option['summary']}") in text, option["key"]


@pytest.mark.parametrize("command", ["pretrain", "finetune"])
def test_help_of_the_command_line(table, command):
    done = subprocess.run(
        [sys.executable, "-m", "mrp", command, "--help"], capture_output=True, text=True, check=True, env={"COLUMNS": "200"}
    )
    text = squeeze(done.stdout)
    for option in of_runs(table):
        if option["key"] == "continue_run":  # by --resume
            continue
        words = f"--{option['key'].replace('_', '-')} {option['type'].upper()}"
        assert words in text, words
        assert squeeze(f"{option['summary']} [{option['limits']}; default {option['default']}]") in text, option["key"]


def test_listing_of_the_command_line(table):
    done = subprocess.run([sys.executable, "-m", "mrp", "options"], capture_output=True, text=True, check=True)
    for option in table["options"]:
        assert f"{option['type']}, {option['limits']}; default {option['default']}\n      {option['summary']}\n" in done.stdout


def test_manual_and_header_are_made_of_the_table(table):
    assert (ROOT / "docs/options.md").read_text() == option_table.markdown(table)
    header = (ROOT / "include/mrp.h").read_text()
    for line in option_table.header_lines(table, 97):
        assert f" * {line}".rstrip() in header.splitlines()


def test_a_changed_default_is_seen_everywhere(table, monkeypatch):
    changed = copy.deepcopy(table)
    option = next(option for option in changed["options"] if option["key"] == "warmup_epochs")
    option["default"], option["summary"] = "1234.5", "Something else altogether."
    assert "| 1234.5 |" in option_table.markdown(changed)
    assert any("warmup_epochs*" in line and "1234.5" in line for line in option_table.header_lines(changed, 97))

    import json

    from mrp import _command, _config, _mrp

    monkeypatch.setattr(_mrp, "config_describe", lambda: json.dumps(changed))
    _config._table.cache_clear()
    try:
        assert "warmup_epochs : number, >= 0.0; default 1234.5\n        Something else altogether." in _config.documented("training")
        command = _command._subparser(_command.build_parser(), "pretrain")
        assert re.search(r"Something else altogether\.\s*\[>=\s*0\.0;\s*default\s*1234\.5\]", command.format_help())
    finally:
        _config._table.cache_clear()
