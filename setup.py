"""Builds the distribution libmrp: the library by `swift build` (unless it is already in build/lib), the extension beside it.

Everything declarative is in pyproject.toml. The wheel holds mrp/_mrp.abi3.so and mrp/libmrp.so.0, which find each other by
RUNPATH $ORIGIN. MRP_LIBRARY names a library that is to be used as it is.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent


def find_library() -> Path:
    """libmrp.so.0: the one that was asked for, the one of `make build`, or one that is built now."""
    given = os.environ.get("MRP_LIBRARY")
    if given:
        return Path(given).resolve()
    built = ROOT / "build" / "lib" / "libmrp.so.0"
    if built.exists():
        return built.resolve()
    swift = os.environ.get("SWIFT") or shutil.which("swift")
    if not swift:
        sys.exit("libmrp is not built and there is no `swift` to build it with: install Swift 6.3, or a wheel of libmrp")
    scratch = ROOT / ".build"
    command = [swift, "build", "-c", "release", "--product", "mrp", "--scratch-path", str(scratch)]
    subprocess.check_call(command, cwd=ROOT)
    return (scratch / "release" / "libmrp.so").resolve()


class BuildExtension(build_ext):
    def run(self) -> None:
        self.library = find_library()
        super().run()

    def build_extension(self, ext: Extension) -> None:
        package = Path(self.get_ext_fullpath(ext.name)).parent
        package.mkdir(parents=True, exist_ok=True)
        target = package / "libmrp.so.0"
        if not (target.exists() and target.samefile(self.library)):
            target.unlink(missing_ok=True)
            shutil.copyfile(self.library, target)
        if not self.inplace and shutil.which("strip"):
            subprocess.check_call(["strip", "--strip-unneeded", str(target)])
        ext.extra_objects = [str(target)]
        super().build_extension(ext)
        # Some Pythons link with their own library folder in front: the extension must look beside itself only.
        if shutil.which("patchelf"):
            subprocess.check_call(["patchelf", "--set-rpath", "$ORIGIN", self.get_ext_fullpath(ext.name)])


setup(
    ext_modules=[
        Extension(
            "mrp._mrp",
            ["bindings/python/_mrp.c"],
            include_dirs=["include"],
            depends=["include/mrp.h", "bindings/python/_fields.h"],
            define_macros=[("Py_LIMITED_API", "0x030B0000")],
            py_limited_api=True,
            extra_compile_args=["-std=gnu11", "-O2", "-Wall", "-Wextra", "-fvisibility=hidden"],
            extra_link_args=[
                "-Wl,--allow-shlib-undefined",
                "-Wl,--enable-new-dtags",
                "-Wl,-rpath,$ORIGIN",
                "-Wl,--no-as-needed",
                "-lc",
            ],
        )
    ],
    package_data={"mrp": ["py.typed", "*.pyi"]},
    cmdclass={"build_ext": BuildExtension},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
