"""Arrays in and out: every layout, type, stride and byte order gives the same images."""

import array
import gc
import weakref

import mrp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mrp import _mrp

SCALES = {"uint8": 255, "uint16": 65535, "float32": 1, "float64": 1}
SIDES = st.integers(1, 6)


def pixels(kind, shape, seed):
    random = np.random.default_rng(seed)
    if kind.startswith("float"):
        return random.random(shape).astype(kind)
    return random.integers(0, SCALES[kind] + 1, shape, dtype=kind)


def pixel_arrays(kinds=tuple(SCALES)):
    return st.builds(pixels, st.sampled_from(kinds), st.tuples(SIDES, SIDES, SIDES, SIDES), st.integers(0, 99))


def expected(images, layout):
    scale = np.float32(SCALES[images.dtype.name])
    return (images if layout == "NCHW" else images.transpose(0, 3, 1, 2)).astype(np.float32) / scale


@settings(deadline=None, max_examples=150)
@given(pixel_arrays(), st.sampled_from(["NCHW", "NHWC"]))
def test_images_come_back(images, layout):
    dataset = mrp.Dataset(images, layout=layout)
    np.testing.assert_allclose(dataset.images(), expected(images, layout), rtol=0, atol=1e-7)
    assert dataset.shape == expected(images, layout).shape


@settings(deadline=None, max_examples=100)
@given(pixel_arrays(), st.permutations(range(4)), st.lists(st.booleans(), min_size=4, max_size=4), st.sampled_from("=<>"))
def test_strides_and_byte_order_do_not_matter(images, axes, flips, order):
    strange = images.astype(images.dtype.newbyteorder(order)).transpose(axes)[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]
    np.testing.assert_array_equal(
        mrp.Dataset(strange, layout="NCHW").images(),
        mrp.Dataset(np.ascontiguousarray(strange.astype(images.dtype)), layout="NCHW").images(),
    )


@settings(deadline=None, max_examples=60)
@given(pixel_arrays(("uint8", "float32")), st.integers(-8, 8), st.integers(-8, 8), st.integers(1, 3))
def test_slices_are_numpys(images, start, stop, step):
    dataset = mrp.Dataset(images, layout="NCHW")
    everything = dataset.images()
    for index in (slice(start, stop, step), slice(start, stop, -step), slice(start, None), slice(None, stop)):
        np.testing.assert_array_equal(dataset[index], everything[index])


def test_single_images_and_iteration(images):
    dataset = mrp.Dataset(images)
    assert len(dataset) == 40
    np.testing.assert_array_equal(dataset[-1], dataset.images()[39])
    np.testing.assert_array_equal(np.stack(list(dataset)), dataset.images())
    with pytest.raises(IndexError):
        dataset[40]


def test_unaligned_pixels_are_copied():
    memory = np.zeros(4 * 3 * 8 * 8 * 4 + 1, np.uint8)
    images = memory[1:].view(np.float32).reshape(4, 3, 8, 8)
    images[:] = np.random.default_rng(0).random(images.shape)
    np.testing.assert_array_equal(mrp.Dataset(images).images(), images)


@pytest.mark.parametrize(
    ("shape", "channels"),
    [
        ((2, 3, 8, 8), 3),
        ((2, 8, 8, 3), 3),
        ((2, 1, 5, 7), 1),
        ((2, 5, 7, 4), 4),
        ((2, 13, 8, 8), 13),
        ((2, 8, 8, 13), 13),
        ((6, 8, 8), 1),
    ],
)
def test_layout_is_found_where_it_is_clear(shape, channels):
    assert mrp.Dataset(np.zeros(shape, np.uint8)).shape[1] == channels


@pytest.mark.parametrize("shape", [(2, 3, 8, 3), (2, 4, 4, 1), (2, 7, 8, 9), (2, 8, 8, 8), (2, 5, 5, 5)])
def test_layout_must_be_given_where_it_is_not(shape):
    with pytest.raises(mrp.ArgumentError, match="layout"):
        mrp.Dataset(np.zeros(shape, np.uint8))
    assert mrp.Dataset(np.zeros(shape, np.uint8), layout="NHWC").shape[1] == shape[3]


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 3, 8, 8), np.int64),
        np.zeros((2, 3, 8, 8), bool),
        np.zeros((2, 3, 8, 8), complex),
        np.zeros((2, 3, 8), np.uint8).tolist(),
        np.zeros((8, 8, 3), np.uint8),
        np.zeros((5,), np.uint8),
        "cat.jpg",
        None,
    ],
)
def test_what_is_no_image_is_refused(images):
    with pytest.raises(mrp.ArgumentError):
        mrp.Dataset(images)


def test_pixels_are_not_copied_and_stay_alive():
    class Owner(np.ndarray):
        pass

    images = np.zeros((4, 3, 8, 8), np.uint8).view(Owner)
    before = mrp.memory_in_use()
    dataset = _mrp.dataset_wrap_array(images, _mrp.NCHW, None)
    assert mrp.memory_in_use() - before < images.nbytes
    alive = weakref.ref(images)
    subset = _mrp.dataset_subset(dataset, 2, 0)
    del images, dataset
    gc.collect()
    assert alive() is not None
    del subset
    gc.collect()
    assert alive() is None


def test_a_cycle_through_the_array_is_collected():
    class Owner(np.ndarray):
        pass

    images = np.zeros((4, 3, 8, 8), np.uint8).view(Owner)
    images.dataset = _mrp.dataset_wrap_array(images, _mrp.NCHW, None)
    alive = weakref.ref(images)
    del images
    gc.collect()
    assert alive() is None


def test_the_extension_takes_any_buffer():
    pixels = memoryview(array.array("f", [0.5] * (2 * 3 * 4 * 4))).cast("B").cast("f", (2, 3, 4, 4))
    dataset = _mrp.dataset_wrap_array(pixels, _mrp.NCHW, None)
    assert _mrp.dataset_shape(dataset) == (2, 3, 4, 4, 0)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((2, 3, 8, 8), ">u2"), "byte order"),
        (np.zeros((2, 3, 8, 8), np.float64), "element format"),
        (np.zeros((2, 3, 8, 16), np.uint8)[..., ::2], "contiguous"),
        (np.zeros((2, 3, 8), np.uint8), "3 dimensions"),
        (np.zeros(2 * 3 * 64 * 4 + 1, np.uint8)[1:].view(np.float32).reshape(2, 3, 8, 8), "aligned"),
    ],
)
def test_the_extension_never_copies(pixels, message):
    with pytest.raises(mrp.ArgumentError, match=message):
        _mrp.dataset_wrap_array(pixels, _mrp.NCHW, None)


def test_the_extension_checks_what_it_writes_into(images):
    dataset = mrp.Dataset(images)
    readonly = np.zeros((1, 3, 8, 8), np.float32)
    readonly.flags.writeable = False
    with pytest.raises((ValueError, BufferError)):
        _mrp.dataset_images(dataset._handle, 0, 1, 8, 8, readonly)
    with pytest.raises(mrp.ArgumentError, match="capacity"):
        _mrp.dataset_images(dataset._handle, 0, 2, 8, 8, np.zeros((1, 3, 8, 8), np.float32))
    with pytest.raises(TypeError):
        _mrp.dataset_shape("a dataset")
    with pytest.raises(TypeError):
        _mrp.dataset_shape(_mrp.config_create(None))


def test_labels(images, labels):
    dataset = mrp.Dataset(images, labels)
    assert dataset.classes == 4
    assert dataset.class_names is None
    np.testing.assert_array_equal(dataset.labels, labels)
    for kind in (np.int64, np.uint8, ">i4"):
        np.testing.assert_array_equal(mrp.Dataset(images, labels.astype(kind)).labels, labels)
    np.testing.assert_array_equal(mrp.Dataset(images, labels.tolist()).labels, labels)
    np.testing.assert_array_equal(mrp.Dataset(images, np.repeat(labels, 2)[::2]).labels, labels)
    assert mrp.Dataset(images).labels is None


@pytest.mark.parametrize(
    "labels", [[0] * 39, [0] * 41, [-1] * 40, [2**40] * 40, [0.5] * 40, ["a"] * 40, [[0]] * 40, [2**31 - 1] * 40], ids=repr
)
def test_labels_that_do_not_fit(images, labels):
    with pytest.raises(mrp.ArgumentError):
        mrp.Dataset(images, labels)


def test_subsets_are_stratified_and_repeat(images, labels):
    dataset = mrp.Dataset(images, labels)
    subset = dataset.subset(20, random_state=1)
    np.testing.assert_array_equal(np.bincount(subset.labels), [5, 5, 5, 5])
    np.testing.assert_array_equal(subset.images(), dataset.subset(20, random_state=1).images())
    assert not np.array_equal(subset.images(), dataset.subset(20, random_state=2).images())
    known = {image.tobytes(): label for image, label in zip(dataset.images(), dataset.labels)}
    assert [known[image.tobytes()] for image in subset.images()] == subset.labels.tolist()
    assert len(subset.subset(3)) == 3


def test_generated_images():
    first = mrp.Dataset.generate(30, random_state=4, image_size=16, synthetic_classes=3)
    assert first.shape == (30, 3, 16, 16)
    assert first.classes == 3
    images = first.images()
    assert images.min() >= 0
    assert images.max() <= 1
    np.testing.assert_array_equal(images, mrp.Dataset.generate(30, random_state=4, image_size=16, synthetic_classes=3).images())
    later = mrp.Dataset.generate(10, random_state=4, image_size=16, synthetic_classes=3, synthetic_first_image=20)
    np.testing.assert_array_equal(later.images(), images[20:])


def test_resizing(images):
    dataset = mrp.Dataset(images)
    assert dataset.images(size=4).shape == (40, 3, 4, 4)
    assert dataset.images(2, 5, size=(4, 12)).shape == (3, 3, 4, 12)
    gray = mrp.Dataset(np.full((1, 1, 8, 8), 0.25, np.float32)).images(size=16)
    np.testing.assert_allclose(gray, 0.25, atol=1e-6)
    with pytest.raises(mrp.ArgumentError):
        dataset.images(size=0)


def test_folder(folder):
    dataset = mrp.ImageFolder(folder)
    assert dataset.shape == (10, 3, 10, 12)
    assert dataset.class_names == ["cat", "dog"]
    np.testing.assert_array_equal(dataset.labels, [0] * 5 + [1] * 5)
    assert "cat" not in repr(dataset)
    assert "10 images" in repr(dataset)
    assert dataset.subset(4).class_names == ["cat", "dog"]

    from PIL import Image

    for index, path in enumerate(sorted(folder.glob("*/*"))):
        truth = np.asarray(Image.open(path)).transpose(2, 0, 1) / np.float32(255)
        np.testing.assert_allclose(dataset[index], truth, atol=(1.01 / 255) if path.suffix == ".jpg" else 1e-6)
