"""`make install` as C users have it: from an empty folder, with the installed files only, by pkg-config, by CMake and by plain cc."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SIZES = {"MRP_IMAGES": "64", "MRP_LABELS": "20", "MRP_TEST": "20", "MRP_EPOCHS": "1", "MRP_FINETUNE_EPOCHS": "1"}


def run(*command, env=None, **options):
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env={**os.environ, **SIZES, **(env or {})},
        **options,
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout


def tool(name):
    """The program beside this Python or on PATH; the test is skipped, saying so, without it."""
    found = shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if not found:
        pytest.skip(f"{name} is not on this machine")
    return found


def make(target, *variables):
    run("make", "-s", "-C", ROOT, target, *variables, env={"MAKEFLAGS": "", "MAKELEVEL": ""})


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    """An installed tree that was moved after the installation: nothing in it may name where it was."""
    stage = tmp_path_factory.mktemp("stage")
    make("install", "PREFIX=/opt/mrp", f"DESTDIR={stage}")
    moved = tmp_path_factory.mktemp("moved") / "any where"
    shutil.move(stage / "opt" / "mrp", moved)
    return moved


@pytest.fixture
def project(tmp_path):
    """The C example alone in a folder."""
    shutil.copytree(ROOT / "examples/c", tmp_path / "project")
    return tmp_path / "project"


def trained(program, prefix, folder):
    text = run(program, cwd=folder, env={"LD_LIBRARY_PATH": str(prefix / "lib")})
    return len(re.findall(r"\d+\.\d % correct", text)) == 3 and (folder / "classifier.safetensors").exists()


def test_what_is_installed(prefix):
    version = re.search(r'MRP_VERSION "(.*)"', (prefix / "include/mrp.h").read_text())[1]
    found = sorted(str(path.relative_to(prefix)) for path in prefix.rglob("*") if not path.is_dir())
    assert found == sorted(
        [
            "include/mrp.h",
            "lib/cmake/mrp/mrp-config-version.cmake",
            "lib/cmake/mrp/mrp-config.cmake",
            "lib/libmrp.so",
            "lib/libmrp.so.0",
            f"lib/libmrp.so.{version}",
            "lib/pkgconfig/mrp.pc",
            "share/doc/libmrp/LICENSE",
            "share/doc/libmrp/STABILITY.md",
        ]
    )
    assert os.readlink(prefix / "lib/libmrp.so") == "libmrp.so.0"
    assert (prefix / "lib/libmrp.so").resolve().name == f"libmrp.so.{version}"
    for path in ("lib/pkgconfig/mrp.pc", "lib/cmake/mrp/mrp-config-version.cmake"):
        assert version in (prefix / path).read_text()
        assert "@" not in (prefix / path).read_text()


def test_uninstall_leaves_what_was_there(tmp_path):
    theirs = tmp_path / "usr/lib/theirs.so"
    theirs.parent.mkdir(parents=True)
    theirs.touch()
    make("install", "PREFIX=/usr", f"DESTDIR={tmp_path}")
    assert (tmp_path / "usr/include/mrp.h").exists()
    make("install", "PREFIX=/usr", f"DESTDIR={tmp_path}")  # over itself
    make("uninstall", "PREFIX=/usr", f"DESTDIR={tmp_path}")
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == [theirs]


def test_plain_cc(prefix, project):
    include, lib = f"-I{prefix / 'include'}", f"-L{prefix / 'lib'}"
    run("cc", "-std=c99", "-Wall", "-Wextra", "-Werror", include, "pretrain_finetune.c", "-o", "program", lib, "-lmrp", cwd=project)
    assert trained(project / "program", prefix, project)


def test_pkg_config(prefix, project):
    paths = {"PKG_CONFIG_PATH": str(prefix / "lib/pkgconfig")}
    run(tool("pkg-config"), "--exists", "--print-errors", "mrp >= 0.1", env=paths)
    flags = run("pkg-config", "--cflags", "--libs", "mrp", env=paths).strip()
    run("sh", "-c", f"cc pretrain_finetune.c -o program {flags}", cwd=project)
    assert trained(project / "program", prefix, project)


def test_cmake(prefix, project):
    cmake = tool("cmake")
    run(cmake, "-S", project, "-B", project / "out", f"-DCMAKE_PREFIX_PATH={prefix}", "-DCMAKE_BUILD_TYPE=Release")
    run(cmake, "--build", project / "out")
    assert trained(project / "out/pretrain_finetune", prefix, project)
    text = (project / "CMakeLists.txt").read_text()
    for wanted in ("0.2", "1.0", "0.1.99"):
        (project / "CMakeLists.txt").write_text(text.replace("mrp 0.1 REQUIRED", f"mrp {wanted} REQUIRED"))
        done = subprocess.run(
            [cmake, "-S", project, "-B", project / "refused", f"-DCMAKE_PREFIX_PATH={prefix}"], capture_output=True, check=False
        )
        assert done.returncode != 0, wanted
        shutil.rmtree(project / "refused", ignore_errors=True)


# ---- Other languages


@pytest.fixture
def short():
    return {"MRP_EPOCHS": "1", "LD_LIBRARY_PATH": str(ROOT / "build/lib")}


def test_cpp(prefix, tmp_path, short):
    shutil.copytree(ROOT / "examples/cpp", tmp_path / "cpp")
    warnings = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    for standard in ("c++11", "c++20"):
        source, output = tmp_path / "cpp/pretrain_finetune.cpp", tmp_path / standard
        run(tool("c++"), f"-std={standard}", *warnings, f"-I{prefix / 'include'}", source, "-o", output, f"-L{prefix / 'lib'}", "-lmrp")
        text = run(output, cwd=tmp_path, env=short)
        assert "as expected: cannot open 'no such file.safetensors'" in text
        assert "top-1" in text


def test_rust(prefix, tmp_path, short):
    rustc = tool("rustc")
    run(rustc, "--edition", "2021", "-D", "warnings", ROOT / "examples/rust/pretrain.rs", "-L", prefix / "lib", "-o", tmp_path / "program")
    text = run(tmp_path / "program", cwd=tmp_path, env=short)
    assert "after the last" in text
    assert "as expected: unknown option 'mask_rato': the nearest is 'mask_ratio'" in text
    assert (tmp_path / "encoder.safetensors").exists()


def test_swift(tmp_path, short):
    """The example on the modules that the library was made of. As a package of its own it would compile them all again, for minutes; that
    package's own part is that its graph is whole.
    """
    swift = tool("swift")
    run(swift, "package", "--package-path", ROOT / "examples/swift", "--scratch-path", tmp_path / "graph", "show-dependencies")
    release = ROOT / os.environ.get("SCRATCH", ".build") / "release"
    headers = [f"-I{ROOT / 'Sources' / name / 'include'}" for name in ("CMRPKernels", "CMRPImage", "CMRPPoints", "CMRPDevice", "CMRPTypes")]
    objects = f"@{release / 'mrp.product/Objects.LinkFileList'}"
    source, program = ROOT / "examples/swift/Sources/pretrain/main.swift", tmp_path / "pretrain"
    run(
        tool("swiftc"),
        "-O",
        "-swift-version",
        "5",
        f"-I{release / 'Modules'}",
        *headers,
        source,
        objects,
        "-ljpeg",
        "-lpng16",
        "-o",
        program,
    )
    assert "loss" in run(program, cwd=tmp_path, env=short)
    assert (tmp_path / "encoder.safetensors").exists()
