"""The laboratory: reports, figures, studies, samples, the command, interruption, the notebook."""

import argparse
import gc
import importlib.util
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import mrp
import numpy as np
import pytest
from conftest import check_interruption
from hypothesis import given, settings
from hypothesis import strategies as st
from mrp import _lab_command, _mrp

ROOT = Path(__file__).resolve().parents[2]

# Milliseconds a seed; nothing is captured.
TINY = {
    "k": 2,
    "d": 8,
    "P": 6,
    "s": 0,
    "m": 4,
    "N_pre": 20,
    "T": 5,
    "N": 20,
    "finetune_steps": 4,
    "supervised_steps": 4,
    "converged_steps": 2,
    "N_test": 10,
    "seeds": 2,
    "threads": 1,
    "progress": False,
}
COUNT = len(TINY) - 1
WORDS = [word for key, value in TINY.items() if key != "progress" for word in (f"--{key}", str(value))]


@pytest.fixture(scope="module")
def report():
    return mrp.lab.run(**TINY)


@pytest.fixture(scope="module")
def quick():
    """One seed of the default regime."""
    return mrp.lab.run("quick", progress=False)


# ---- Reports


def test_the_claims_hold_in_the_default_regime(quick):
    assert quick.holds
    assert repr(quick) == "Report(1 seed, every claim holds)"
    names = list(dict.fromkeys(claim.name for claim in quick.claims))
    assert names == [
        "all_semantics_captured",
        "one_semantic_per_kernel",
        "leaders_capture",
        "fine_tuning_keeps_features",
        "no_test_error",
        "supervised_captures_half",
    ]
    maps = [quick.correlations(0, moment) for moment in ("initial", "pretrained", "supervised")]
    assert {values.shape for values in maps} == {(200, 20)}
    assert (maps[0].max(axis=0) < 0.5).all()
    assert (maps[1].max(axis=0) >= 0.5).all()
    assert (maps[1].max(axis=0) == quick.data["seeds"][0]["pretraining"]["final"]["lambda"]).all()


def test_rows_agree_with_each_other(report):
    assert not report.holds
    assert len(report.claims) == 26
    for claim in report.claims:
        assert claim.statement
        assert claim.quantity
        assert claim.threshold
        assert len(claim.by_seed) == 2
        assert claim.holds_by_seed == tuple(claim.low <= value <= claim.high for value in claim.by_seed)
        mean = sum(claim.by_seed) / 2
        assert claim.measured == pytest.approx(mean, nan_ok=True)
        assert claim.name in str(report)
    assert report.holds == all(claim.holds for claim in report.claims if not claim.is_control)
    assert report.controls_hold == all(claim.holds for claim in report.claims if claim.is_control)
    assert repr(report).startswith("Report(2 seeds, fails: all_semantics_captured")
    assert report.table(1).startswith("seed 1\n")
    page = report._repr_html_()
    assert page.count("<tr") == 27
    assert "finite size" in page


def test_json(report, tmp_path):
    text = report.to_json(tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text()) == json.loads(text) == report.data
    assert report.data["claims_hold"] is False
    assert [seed["seed"] for seed in report.data["seeds"]] == [0, 1]
    assert report.data["options"]["classes"] == 2
    assert set(report.data["options"]) == set(mrp.lab.options("multiview"))


def test_same_bits(report):
    other = mrp.lab.run(**TINY | {"threads": 3})
    for seed in range(2):
        for moment in ("initial", "pretrained", "supervised"):
            assert (report.correlations(seed, moment) == other.correlations(seed, moment)).all()
    for claim, same in zip(report.claims, other.claims, strict=True):
        assert np.array_equal(claim.by_seed, same.by_seed, equal_nan=True)


def test_reports_outlive_their_laboratory_and_leak_nothing():
    def once():
        report = mrp.lab.run(**TINY | {"seeds": 1, "controls": False})
        with pytest.raises(mrp.ArgumentError):
            mrp.lab.run(**TINY | {"theta": 2})
        return report.correlations().sum()

    once()
    gc.collect()
    before = mrp.memory_in_use()
    assert len({once() for _ in range(5)}) == 1
    gc.collect()
    assert mrp.memory_in_use() == before


def test_wrong_arguments(report):
    for call, word in (
        (lambda: mrp.lab.run("monoview"), "multiview"),
        (lambda: mrp.lab.run(tua=1.0), "'tau'"),
        (lambda: mrp.lab.run(noise=-1), "sigma_p"),
        (lambda: mrp.lab.run("patch_routing", tau=1.1), "preset multiview and hierarchical, not to patch_routing"),
        (lambda: mrp.lab.generate(1, "hierarchical", kind="multi_view"), "easy"),
        (lambda: mrp.lab.run(**TINY | {"d": 3}), "d"),
        (lambda: report.plot("pie"), "pie"),
        (lambda: report.plot(seed=2), "0 ... 1"),
        (lambda: report.table(-1), "negative"),
        (lambda: report.correlations(5), "0 ..< 2"),
        (lambda: report.correlations(0, "final"), "final"),
        (lambda: mrp.lab.study({}, **TINY), "tau=1.05,1.1"),
        (lambda: mrp.lab.study({"tau": []}, **TINY), "missing"),
        (lambda: mrp.lab.study({"tau": [1], "theta": [1], "q": [4]}, **TINY), "1 or 2"),
        (lambda: mrp.lab.generate(-1), "-1"),
        (lambda: mrp.lab.generate(1, kind="any"), "any"),
        (lambda: mrp.lab.generate(1, first=-1), "-1"),
    ):
        with pytest.raises(mrp.ArgumentError, match=r".") as raised:
            call()
        assert word in str(raised.value)
    with pytest.raises(TypeError):
        mrp.lab.run(tau=object())
    with pytest.raises(TypeError):
        mrp.lab.run(callback=3, **TINY)
    with pytest.raises(mrp.StateError):
        mrp.lab.run(**TINY | {"supervised": False}).correlations(0, "supervised")


# ---- Options


def test_options_are_the_librarys():
    options = mrp.lab.options()
    assert options["noise"].symbol == "sigma_p"
    assert options["tau"].default == "1.15"
    assert len({option.section for option in options.values()}) == 8
    assert all(option.summary and option.limits and option.type for option in options.values())
    assert {"multiview", "quick"} <= set(mrp.lab.presets())
    symbols = [option.symbol for option in options.values() if option.symbol]
    assert len(symbols) == len(set(symbols))
    lab = _mrp.lab_create(None)
    assert len(mrp.lab.options("multiview")) < len(options)
    assert mrp.lab.options("hierarchical")["power"].default == "3"
    for option in mrp.lab.options("multiview").values():
        assert _mrp.lab_get(lab, option.key) == option.default == options[option.key].default
        if option.symbol:
            assert _mrp.lab_get(lab, option.symbol) == option.default


@given(st.text(max_size=20), st.text(max_size=20))
def test_any_option_is_taken_or_refused(key, value):
    lab = _mrp.lab_create(None)
    if "\0" in key + value:
        with pytest.raises(ValueError, match="null"):
            _mrp.lab_set(lab, key, value)
        return
    try:
        _mrp.lab_set(lab, key, value)
    except (mrp.ArgumentError, UnicodeEncodeError):
        return
    assert _mrp.lab_get(lab, key)


# ---- The other experiments

SMALL = {
    "hierarchical": {
        "k_s": 3, "d": 12, "P": 6, "C_p": 2, "m": 2, "N": 40, "train_batch": 20, "supervised_steps": 4, "N_pre": 20, "T": 3, "N_test": 10,
    },
    "patch_routing": {"samples": "20,40", "epochs": 2, "N_test": 40, "lemma_samples": 40, "random_routers": 1},
}  # fmt: skip


@pytest.mark.parametrize("preset", SMALL)
def test_the_other_experiments(preset, tmp_path):
    report = mrp.lab.run(preset, seeds=2, threads=1, progress=False, **SMALL[preset])
    assert report.data["experiment"] == preset
    assert {arm["id"] for arm in report.data["seeds"][1]["arms"]} >= (
        {"fine", "coarse"} if preset == "hierarchical" else {"cnn", "separate"}
    )
    assert any(claim.is_control for claim in report.claims)
    assert all(claim.statement for claim in report.claims)
    assert set(report.plot()) == set(report.figures)
    with pytest.raises(mrp.ArgumentError, match=report.figures[0]):
        report.plot("accuracy")
    text = (ROOT / "docs/laboratory.md").read_text(encoding="utf-8")
    assert all(f"`{claim.name}`" in text for claim in report.claims)
    table = mrp.lab.study({"m": [4, 8]}, preset, seeds=1, threads=1, progress=False, **SMALL[preset])
    assert len(table) == 2
    samples = mrp.lab.generate(8, preset, seed=1, **{key: value for key, value in SMALL[preset].items() if key in ("k_s", "d", "P", "C_p")})
    assert samples.patches.shape[0] == 8
    assert (samples.origins < len(samples.features)).all()
    done = command(
        "--preset", preset, "--quiet", "--seeds", "1", *[word for key, value in SMALL[preset].items() for word in (f"--{key}", str(value))]
    )
    assert "verdict" in done.stdout
    assert done.returncode == int("fails" in done.stdout), done.stderr


# ---- Progress


def test_progress_is_told(capsys):
    seen = []
    mrp.lab.run(**TINY, callback=seen.append)
    assert seen[-1].fraction == 1
    assert seen[-1].seeds == 2
    assert seen[-1].seed == 1
    assert seen[-1].phase.startswith("control ")
    assert isinstance(seen[-1].captured, int)
    assert [progress.fraction for progress in seen] == sorted(progress.fraction for progress in seen)
    mrp.lab.run(**TINY | {"progress": True})
    assert "lab" in capsys.readouterr().err
    mrp.lab.run(**TINY | {"progress": None})
    assert capsys.readouterr().err == ""


def test_one_plain_line_without_tqdm(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    mrp.lab.run(**TINY | {"progress": True})
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert text.startswith("lab 100 %  seed 2 of 2, control random_encoder_converged")


def test_a_true_answer_stops():
    with pytest.raises(mrp.Cancelled):
        mrp.lab.run(**TINY | {"T": 1_000_000}, callback=lambda progress: True)
    with pytest.raises(ZeroDivisionError):
        mrp.lab.run(**TINY | {"T": 1_000_000}, callback=lambda progress: 1 / 0)


def test_cancel_from_another_thread():
    lab = _mrp.lab_create(None)
    for key, value in (TINY | {"T": 1_000_000}).items():
        if key != "progress":
            _mrp.lab_set(lab, key, str(value))
    assert _mrp.lab_cancel(lab) is False
    started = threading.Event()

    def cancel():
        started.wait()
        while not _mrp.lab_cancel(lab):
            pass

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(mrp.Cancelled):
        _mrp.lab_run(lab, lambda progress: started.set())
    thread.join()
    with pytest.raises(mrp.BusyError):
        _mrp.lab_run(lab, lambda progress: _mrp.lab_get(lab, "tau"))


INTERRUPTED = """
    import os, signal, sys, threading, time
    import mrp

    signal.signal(signal.SIGINT, signal.default_int_handler)
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
    assert mrp.lab.generate(2).labels.shape == (2,)
"""


@pytest.mark.parametrize(
    "call",
    [
        "mrp.lab.run(threads=1, T=1000000)",
        "mrp.lab.run(threads=1, T=1000000, callback=lambda progress: None, progress=True)",
        "mrp.lab.run(threads=1, N_pre=20000, m=50, T=1000)",
        "mrp.lab.study({'tau': [1.1, 1.15]}, threads=1, T=1000000)",
    ],
)
def test_control_c(call):
    check_interruption(call, after="assert mrp.lab.generate(2).labels.shape == (2,)")


# ---- Figures


def test_figures(report, tmp_path):
    figures = report.plot(seed=1)
    assert list(figures) == ["correlations", "growth", "captured", "accuracy"]
    for path in figures.save(tmp_path / "figures"):
        assert Path(path).read_bytes().startswith(b"\x89PNG")
    assert figures._repr_html_().count("data:image/png;base64,") == 4
    assert type(report.plot("growth")).__name__ == "Figure"
    assert list(report.plot(["captured"])) == ["captured"]


def test_figures_of_parts():
    report = mrp.lab.run(**TINY | {"supervised": False, "finetune": False, "seeds": 1})
    assert len(report.plot()) == 4


# ---- Studies


def test_a_study_goes_on_where_it_was(tmp_path):
    axes = {"tau": [1.0, 1.1], "theta": [0.4, 0.5, 0.6]}
    whole = mrp.lab.study(axes, path=tmp_path / "whole.csv", **TINY)
    assert len(whole) == 12
    assert whole.axes == ["tau", "theta"]
    assert [row["seed"] for row in whole[:2]] == [0, 1]
    assert {row["outcome"] for row in whole} == {"no capture"}
    assert whole[0]["growth"] == 0
    assert whole[0]["kappa"] == 1.5
    parts = mrp.lab.study(axes, path=tmp_path / "parts.csv", **TINY, callback=lambda progress: progress.step >= 3)
    assert list(whole[: len(parts)]) == list(parts)
    assert list(mrp.lab.study(axes, path=tmp_path / "parts.csv", **TINY)) == list(whole)
    assert (tmp_path / "parts.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert list(mrp.lab.study(axes, **TINY)) == list(whole)
    with pytest.raises(mrp.FormatError, match="another study"):
        mrp.lab.study(axes, path=tmp_path / "whole.csv", **TINY | {"T": 6})
    with pytest.raises(mrp.MrpIOError, match="no/such"):
        mrp.lab.study(axes, path="/no/such/study.csv", **TINY)
    for value in ("captured", "lambda_max"):
        assert type(whole.plot(value)).__name__ == "Figure"
    with pytest.raises(mrp.ArgumentError, match="lambda_min"):
        whole.plot("lambda")


def test_a_study_of_one_option():
    table = mrp.lab.study({"mu": [0, 0.1, 0.2]}, **TINY)
    assert len(table) == 6
    assert table.axes == ["single_fraction"] or table.axes == ["mu"]
    assert type(table.plot("sl_captured")).__name__ == "Figure"
    names = mrp.lab.study({"masks": ["averaged", "sampled"]}, **TINY)
    assert [row["masks"] for row in names] == ["averaged"] * 2 + ["sampled"] * 2
    assert type(names.plot()).__name__ == "Figure"


# ---- Samples


@settings(max_examples=25, deadline=None)
@given(
    classes=st.integers(2, 6),
    extra=st.integers(0, 5),
    per_feature=st.integers(1, 3),
    more=st.integers(0, 6),
    count=st.integers(0, 20),
    mu=st.floats(0, 1),
    seed=st.integers(0, 2**40),
)
def test_samples_follow_the_definition(classes, extra, per_feature, more, count, mu, seed):
    options = {"k": classes, "d": 2 * classes + extra, "C_p": per_feature, "P": 2 * per_feature + more, "s": 0, "mu": mu, "seed": seed}
    samples = mrp.lab.generate(count, noise=0, gamma=0, **options)
    assert samples.patches.shape == (count, options["P"], options["d"])
    np.testing.assert_allclose(samples.features @ samples.features.T, np.eye(2 * classes), atol=1e-12)
    assert ((samples.labels >= 0) & (samples.labels < classes)).all()
    assert ((samples.shown_view >= 0) == samples.single_view).all()
    for patches, label, origins in zip(samples.patches, samples.labels, samples.origins):
        assert sorted(origins[origins >= 0]) == sorted([2 * label, 2 * label + 1] * per_feature)
        strengths = patches @ samples.features.T
        np.testing.assert_allclose(
            np.where(origins >= 0, strengths[np.arange(len(origins)), origins], 0), np.linalg.norm(patches, axis=1), atol=1e-5
        )
    if count > 3:
        later = mrp.lab.generate(count - 3, noise=0, gamma=0, first=3, **options)
        assert (later.patches == samples.patches[3:]).all()


def test_kinds_of_samples():
    assert mrp.lab.generate(20, kind="single_view").single_view.all()
    assert not mrp.lab.generate(20, kind="multi_view").single_view.any()
    assert (mrp.lab.generate(5, seed=3).features == mrp.lab.generate(0, seed=3).features).all()
    lab = _mrp.lab_create(None)
    numbers = [np.empty(2, np.int32) for _ in range(3)]
    for patches, origins, labels in ((1, 48, 2), (3072, 1, 2), (3072, 48, 1)):
        with pytest.raises(mrp.ArgumentError):
            _mrp.lab_samples(
                lab, 0, "mixed", 0, 2, np.empty(patches, np.float32), numbers[0][:labels], *numbers[1:], np.empty(origins, np.int32)
            )


# ---- The command


def command(*words, **options):
    return subprocess.run([sys.executable, "-m", "mrp", "lab", *words], capture_output=True, text=True, timeout=300, check=False, **options)


def test_the_command(tmp_path):
    done = command(*WORDS, "--json", "report.json", "--plot", "figures", "--each", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "seed 1" in done.stdout
    assert "fails 0/2" in done.stdout
    assert done.stderr == ""
    assert json.loads((tmp_path / "report.json").read_text())["options"]["patches"] == 6
    assert sorted(os.listdir(tmp_path / "figures")) == ["accuracy.png", "captured.png", "correlations.png", "growth.png"]
    for words, answer in (
        (["--tua", "1"], "'tau'"),
        (["--first-sed=1"], "'first_seed'"),
        (["--tau", "11"], "(0.0, 10.0]"),
        (["--tau"], "expected one argument"),
        (["more"], "'more'"),
        (["--preset", "slow"], "multiview"),
        (["--csv", "a.csv"], "--sweep"),
        (["--sweep", "tau"], "'tau'"),
        (["--sweep", "tau=1", "--json", "a.json"], "--csv"),
        (["--json", "/no/such/report.json"], "/no/such"),
    ):
        done = command(*words)
        assert done.returncode == 2, words
        assert answer in done.stderr, words
        assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_command_succeeds_when_the_claims_hold():
    done = command("--preset", "quick", "--quiet")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "supervised_captures_half" in done.stdout


def test_a_study_by_command(tmp_path):
    words = [*WORDS, "--sweep", "tau=1,1.1", "--sweep", "first-seed=1", "--csv", "study.csv", "--plot", "."]
    assert command(*words, cwd=tmp_path).returncode == 2  # seeds cannot be swept
    words[words.index("first-seed=1")] = "sigma-0=0.1,0.2"
    done = command(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 9
    assert len((tmp_path / "study.csv").read_text().splitlines()) == 9
    assert (tmp_path / "study.png").exists()


def test_the_command_knows_every_option():
    parser = argparse.ArgumentParser()
    lab = _lab_command.add_parser(parser.add_subparsers())
    text = lab.format_help()
    for option in mrp.lab.options().values():
        assert f"--{option.key}" in text
        assert not option.symbol or f"--{option.symbol} " in text + " "
    args = parser.parse_args(["lab", "--sigma_p", "0.1", "--kernels-per-class", "3"])
    assert vars(args)["option noise"] == "0.1"
    assert vars(args)["option kernels_per_class"] == "3"
    assert args.run is _lab_command.run


# ---- The notebook


@pytest.mark.slow
def test_the_notebook_runs(tmp_path):
    assert importlib.util.find_spec("nbclient"), "tools/setup.sh installs nbclient"
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(ROOT / "examples/python/why_mrp_helps.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert not any(cell.get("outputs") for cell in notebook.cells), "the notebook is stored without outputs"
    for cell in notebook.cells:  # four cells of its study in the place of 25
        cell.source = cell.source.replace("[1.0, 1.05, 1.1, 1.15, 1.2]", "[1.0, 1.15]").replace("[0.3, 0.4, 0.5, 0.6, 0.75]", "[0.4, 0.5]")
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 3


# ---- The manual


def test_the_manual_has_the_table_of_options():
    spec = importlib.util.spec_from_file_location("write_lab_options", ROOT / "tools/write_lab_options.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert tool.PAGE.read_text(encoding="utf-8") == tool.page(), "run tools/write_lab_options.py"
    text = tool.PAGE.read_text(encoding="utf-8")
    for claim in mrp.lab.run(**TINY | {"seeds": 1}).claims:
        assert f"`{claim.name}`" in text
