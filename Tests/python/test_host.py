"""The library as a guest: loaded and unloaded again and again, beside numpy and scipy in every order, in forked children."""

import itertools
import os
import subprocess
import sys

import mrp
import numpy as np
import pytest
from error_pairs import ROOT

LIBRARY = ROOT / "build/lib/libmrp.so.0"

# Trains a step through the C interface, without Python's package.
USE = f"""
import ctypes

def use(times=1):
    for _ in range(times):
        library = ctypes.CDLL({str(LIBRARY)!r})
        library.mrp_last_error.restype = ctypes.c_char_p
        options, images, model = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
        def check(status):
            assert status == 0, library.mrp_last_error()
        check(library.mrp_config_create(None, ctypes.byref(options)))
        for key, value in dict(width=16, depth=1, heads=2, decoder_width=16, decoder_depth=1, decoder_heads=2, image_size=16,
                               batch_size=8, epochs=1, threads=2).items():
            check(library.mrp_config_set(options, key.encode(), str(value).encode()))
        check(library.mrp_dataset_generate(options, ctypes.c_int64(16), ctypes.c_uint64(1), ctypes.byref(images)))
        check(library.mrp_model_create(options, ctypes.byref(model)))
        check(library.mrp_pretrain(model, images, options, None, None))
        library.mrp_model_destroy(model)
        library.mrp_dataset_destroy(images)
        library.mrp_config_destroy(options)
        unload(library)

def unload(library):
    import _ctypes
    handle, library._handle = library._handle, None
    _ctypes.dlclose(handle)
"""


def python(script, *arguments):
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def test_load_use_unload():
    script = USE + "use(50)\nimport threading\nthreads = [threading.Thread(target=use, args=(10,)) for _ in range(4)]\n"
    assert python(script + "[t.start() for t in threads]; [t.join() for t in threads]\nprint('done')") == "done"


def test_signal_handlers_and_environment_stay():
    script = f"""
import ctypes, os
def state():
    with open("/proc/self/status") as file:
        masks = [int(line.split()[1], 16) for line in file if line.startswith(("SigCgt", "SigIgn", "SigBlk"))]
    return [mask & ~(3 << 31) for mask in masks], dict(os.environ)  # 32 and 33 are glibc's, for threads
before = state()
{USE}
use()
print(state() == before)
"""
    assert python(script) == "True"


@pytest.mark.parametrize("order", list(itertools.permutations(["numpy", "scipy.linalg", "mrp"])), ids=" ".join)
def test_beside_numpy_and_scipy(order):
    pytest.importorskip("scipy", reason="scipy is not installed")
    script = f"""
import importlib
for name in {order!r}:
    importlib.import_module(name)
import mrp, numpy, scipy.linalg
images = mrp.Dataset.generate(16, image_size=16)
options = dict(width=16, depth=1, heads=2, decoder_width=16, decoder_depth=1, decoder_heads=2, epochs=1, progress=False)
features = mrp.MaskedAutoencoder(**options, random_state=1).fit_transform(images)
values = scipy.linalg.svdvals(numpy.cov(features.T))
print(features.tobytes().hex() if numpy.isfinite(values).all() else "not finite")
"""
    assert len(python(script)) > 100
    expected = mrp.MaskedAutoencoder(
        width=16, depth=1, heads=2, decoder_width=16, decoder_depth=1, decoder_heads=2, epochs=1, progress=False, random_state=1
    ).fit_transform(mrp.Dataset.generate(16, image_size=16))
    assert python(script) == expected.tobytes().hex()


def test_a_second_copy_of_the_library(tmp_path):
    import shutil

    copy = shutil.copy(LIBRARY, tmp_path / "another-libmrp.so")
    script = USE + "use()\n" + USE.replace(str(LIBRARY), str(copy)) + "use()\nimport mrp\nprint(mrp.memory_in_use())"
    assert python(script) == "0"


def test_children_train_after_the_parent_has(tmp_path):
    options = {"width": 16, "depth": 1, "heads": 2, "decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2}
    images = mrp.Dataset.generate(32, image_size=16)
    mae = mrp.MaskedAutoencoder(**options, epochs=1, threads=2, progress=False, batch_size=8)
    expected = mae.fit(images).transform(images)
    for index in range(5):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                np.save(tmp_path / f"{index}.npy", mae.fit(images).transform(images))
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        np.testing.assert_array_equal(np.load(tmp_path / f"{index}.npy"), expected)
        np.testing.assert_array_equal(mae.fit(images).transform(images), expected)
