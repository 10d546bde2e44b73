"""What the estimators take for images beside arrays, what notebooks show, probes and neighbours, attention, class names in files."""

import io
import pickle
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import mrp
import numpy as np
import pytest
from conftest import RUN, TINY


@pytest.fixture
def features(mae, images):
    return mae.transform(images)


# ---- Kinds of images


def test_flat_images(mae, images, features):
    flat = images.reshape(40, -1)
    for shape in ((3, 8, 8), [3, 8, 8]):
        np.testing.assert_array_equal(mrp.MaskedAutoencoder(**TINY, image_shape=shape).fit(flat).transform(flat), features)
    last = np.ascontiguousarray(images.transpose(0, 2, 3, 1)).reshape(40, -1)
    np.testing.assert_array_equal(mrp.MaskedAutoencoder(**TINY, image_shape=(8, 8, 3)).fit(last).transform(last), features)
    gray = mrp.Dataset(images[:, :1].reshape(40, 64), image_shape=(8, 8))
    np.testing.assert_array_equal(gray.images(), mrp.Dataset(np.ascontiguousarray(images[:, :1])).images())
    for shape in ((3, 8, 9), (192,), (3, 8, 8, 1), (-1, 8, 8)):
        with pytest.raises(mrp.ArgumentError, match="image_shape"):
            mrp.Dataset(flat, image_shape=shape)
    with pytest.raises(mrp.ArgumentError, match="shape"):
        mrp.MaskedAutoencoder(**TINY).fit(flat)
    np.testing.assert_array_equal(mrp.Dataset(images, image_shape=(3, 8, 8)).images(), mrp.Dataset(images).images())  # not flat: not read


def test_paths(folder):
    options = TINY | {"image_size": 8}
    by_path = mrp.MaskedAutoencoder(**options).fit(str(folder))
    np.testing.assert_array_equal(
        by_path.transform(folder), mrp.MaskedAutoencoder(**options).fit(mrp.ImageFolder(folder)).transform(folder)
    )
    assert mrp.Classifier(**options).fit(folder).score(folder) >= 0
    gray = mrp.MaskedAutoencoder(**options, channels=1).fit(folder)
    assert gray.model_.image_shape == (1, 8, 8)
    assert gray.transform(folder).shape == (10, 16)
    with pytest.raises(mrp.MrpIOError, match="nowhere"):
        mrp.MaskedAutoencoder(**options).fit("nowhere")


def test_pillow_images(images):
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    pictures = [image.fromarray(picture.transpose(1, 2, 0)) for picture in images]
    np.testing.assert_array_equal(mrp.Dataset(pictures).images(), mrp.Dataset(images).images())
    gray = [image.fromarray(picture[0]) for picture in images]
    np.testing.assert_array_equal(mrp.Dataset(gray).images(), mrp.Dataset(np.ascontiguousarray(images[:, :1])).images())
    assert mrp.Dataset([*gray[:2], *pictures[:2]]).shape == (4, 3, 8, 8)
    assert mrp.Dataset([picture.convert("RGBA") for picture in pictures]).shape == (40, 3, 8, 8)
    deep = [image.fromarray(np.full((8, 8), 65535, np.uint16))] * 3
    np.testing.assert_array_equal(mrp.Dataset(deep).images(), 1)
    with pytest.raises(mrp.ArgumentError, match="2 sizes"):
        mrp.Dataset([pictures[0], pictures[1].resize((9, 8))])


class Tensor:
    """A tensor on the CPU as DLPack shows it; `detach` as torch has it."""

    def __init__(self, array, attached=False):
        self.array, self.attached = array, attached

    def detach(self):
        return Tensor(self.array)

    def __dlpack__(self, **options):
        if self.attached:
            raise BufferError("needs detach")
        return self.array.__dlpack__()

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def test_tensors_by_dlpack(images, labels, features):
    np.testing.assert_array_equal(mrp.MaskedAutoencoder(**TINY).fit(Tensor(images, attached=True)).transform(Tensor(images)), features)
    dataset = mrp.Dataset(Tensor(images), Tensor(labels))
    np.testing.assert_array_equal(dataset.labels, labels)


def test_torch_tensors(images, labels):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    floats = torch.tensor(images / np.float32(255), requires_grad=True)
    np.testing.assert_array_equal(mrp.Dataset(floats).images(), images / np.float32(255))
    assert mrp.Classifier(**TINY).fit(torch.tensor(images), torch.tensor(labels)).score(images, labels) >= 0


def test_buffers(images):
    np.testing.assert_array_equal(mrp.Dataset(memoryview(images)).images(), mrp.Dataset(images).images())
    np.testing.assert_array_equal(mrp.Dataset(list(images)).images(), mrp.Dataset(images).images())


# ---- Names of classes


@pytest.mark.parametrize("names", [["ant", "bee"], [False, True], [10, 20, 30], [0, 1, 2, 3], [-1, 1], ["01", "2"]])
def test_class_names_travel_with_the_file(images, names, tmp_path):
    y = np.array([names[index % len(names)] for index in range(40)])
    classifier = mrp.Classifier(**TINY).fit(images, y)
    classifier.save(tmp_path / "classifier.safetensors")
    loaded = mrp.load(tmp_path / "classifier.safetensors")
    np.testing.assert_array_equal(loaded.classes_, classifier.classes_)
    assert loaded.classes_.dtype.kind == y.dtype.kind
    np.testing.assert_array_equal(loaded.predict(images), classifier.predict(images))


def test_class_names_of_datasets(images, labels):
    named = mrp.Dataset(images, labels).with_class_names(["a", "b", "c", "d e"])
    assert named.class_names == ["a", "b", "c", "d e"]
    assert named.subset(8).class_names == named.class_names
    for names in (["a", "b"], ["a", "", "c", "d"], ["a\nb", "c", "d", "e"]):
        with pytest.raises(mrp.ArgumentError):
            mrp.Dataset(images, labels).with_class_names(names)
    with pytest.raises(mrp.StateError):
        mrp.Dataset(images).with_class_names(["a"])


def test_image_names(images, folder):
    assert mrp.Dataset(images).image_name(7) == "image 7"
    assert mrp.ImageFolder(folder).image_name(-1) == str(folder / "dog" / "4.jpg")
    with pytest.raises(IndexError):
        mrp.Dataset(images).image_name(40)


# ---- Measures of an encoder


def weights_of(model):
    return {weight["name"]: model.parameter(weight["name"]) for weight in model.info["weights"]}


def test_linear_probe_leaves_the_encoder_alone(mae, images, labels):
    before = weights_of(mae.model_)
    probe = mrp.LinearProbe(mae, **RUN).fit(images, labels)
    after = weights_of(probe.model_)
    for name, values in after.items():
        if name.startswith(("head.", "fc_norm.")):
            assert name == "fc_norm.bias" or not np.array_equal(values, 0) or name == "head.bias"
        else:
            np.testing.assert_array_equal(values, before[name], err_msg=name)
    assert not np.array_equal(
        after["head.weight"], mrp.LinearProbe(mae, **RUN | {"epochs": 0}).fit(images, labels).model_.parameter("head.weight")
    )
    assert probe.predict(images).shape == (40,)
    full = weights_of(mrp.Classifier(mae, **RUN).fit(images, labels).model_)
    assert not np.array_equal(full["blocks.0.attn.qkv.weight"], before["blocks.0.attn.qkv.weight"])
    assert isinstance(pickle.loads(pickle.dumps(probe)), mrp.LinearProbe)


def test_linear_probe_learns():
    labels = np.arange(64) % 2
    images = np.full((64, 1, 8, 8), 0.5, np.float32) + np.float32(0.3) * (labels[:, None, None, None] - 0.5)
    mae = mrp.MaskedAutoencoder(**TINY | {"mean": 0.5, "std": 0.5}).fit(images)
    probe = mrp.LinearProbe(mae, **RUN | {"epochs": 30, "augmentation": "none"}).fit(images, labels)
    assert probe.score(images, labels) == 1
    assert mrp.knn_score(mae, images[::2], labels[::2], images, labels, k=5) in (0.5, 1)  # every second one has one class
    assert mrp.knn_score(mae, images[:10], labels[:10], images, labels, k=5) == 1


@pytest.mark.parametrize("encoder", [None, "vit_mini"])
def test_linear_probe_needs_an_encoder(images, labels, encoder):
    with pytest.raises(mrp.ArgumentError, match="no pretrained encoder"):
        mrp.LinearProbe(encoder, **RUN).fit(images, labels)


def test_nearest_neighbours(mae, images, labels):
    assert mrp.knn_score(mae, images, labels, images, labels, k=1) == 1  # each image is its own nearest neighbour
    dataset = mrp.Dataset(images, labels)
    names = np.array(["a", "b", "c", "d"])[labels]
    value = mrp.knn_score(mae.model_, dataset, None, dataset, None, k=7, features="cls")
    assert value == mrp.knn_score(mae, images, names, images, names, k=7, features="cls")
    features = mae.encode(images, features="cls").astype(float)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    similar = features @ features.T
    right = 0
    for row, label in zip(similar, labels):
        nearest = np.argsort(-row)[:7]
        right += np.argmax(np.bincount(labels[nearest], np.exp(row[nearest] / 0.07), 4)) == label
    assert value == pytest.approx(right / 40, abs=0.026)  # one image may be a tie of float32
    for k in (0, 41):
        with pytest.raises(mrp.ArgumentError, match=f"k {k}"):
            mrp.knn_score(mae, images, labels, images, labels, k=k)
    with pytest.raises(mrp.ArgumentError, match="labels"):
        mrp.knn_score(mae, images, None, images, None)


def test_attention_is_the_networks(images):
    model = mrp.Model(image_size=8, **{**{key: TINY[key] for key in ("width", "heads", "mlp_ratio", "patch_size")}, "depth": 2})
    model.pretrain(images, epochs=1, batch_size=8, decoder_width=16, decoder_depth=1, decoder_heads=2)
    for layer in (1, 2):
        weights = model.attention(images, layer=layer)
        assert weights.shape == (40, 2, 5, 5)
        np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
        tokens = embedded(model, images) if layer == 1 else model.encode(images, features="tokens", layer=1)
        # The block, written out with the attention that was returned.
        expected = model.encode(images, features="tokens", layer=layer)
        np.testing.assert_allclose(block(model, layer - 1, tokens, weights), expected, atol=2e-5)
        np.testing.assert_allclose(weights, attention(model, layer - 1, tokens), atol=1e-6)
    np.testing.assert_array_equal(model.attention(images), model.attention(images, layer=2))
    np.testing.assert_array_equal(model.attention(images[5:6]), model.attention(images)[5:6])
    with pytest.raises(mrp.ArgumentError, match="layer 3"):
        model.attention(images, layer=3)


def embedded(model, images):
    """What the first block reads: class token and patches with their positions."""
    (channels, height, width), (rows, columns), info = model.image_shape, model.grid, model.info["libmrp"]
    mean, std = (np.reshape(info[key], (-1, 1, 1)) for key in ("mean", "std"))
    standard = (mrp.Dataset(images).images() - mean) / std
    shape = (len(images), channels, rows, height // rows, columns, width // columns)
    patches = standard.reshape(shape).transpose(0, 2, 4, 1, 3, 5).reshape(len(images), rows * columns, -1)
    weight = model.parameter("patch_embed.proj.weight").reshape(-1, patches.shape[2])
    tokens = patches @ weight.T + model.parameter("patch_embed.proj.bias")
    start = np.broadcast_to(model.parameter("cls_token"), (len(images), 1, len(weight)))
    return np.concatenate([start, tokens], axis=1) + model.parameter("pos_embed")


def linear(model, name, values):
    return values @ model.parameter(f"{name}.weight").astype(float).T + model.parameter(f"{name}.bias")


def norm(model, name, values):
    centred = values - values.mean(-1, keepdims=True)
    scaled = centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + model.info["layer_norm_eps"])
    return scaled * model.parameter(f"{name}.weight") + model.parameter(f"{name}.bias")


def heads_of(model, index, tokens):
    """Query, key and value of a block, (count, heads, tokens, width of a head) each."""
    count, length, _ = tokens.shape
    product = linear(model, f"blocks.{index}.attn.qkv", norm(model, f"blocks.{index}.norm1", tokens))
    return product.reshape(count, length, 3, model.info["num_attention_heads"], -1).transpose(2, 0, 3, 1, 4)


def attention(model, index, tokens):
    query, key, _ = heads_of(model, index, tokens)
    powers = np.exp(query @ key.transpose(0, 1, 3, 2) / np.sqrt(query.shape[-1]))
    return powers / powers.sum(-1, keepdims=True)


def block(model, index, tokens, weights):
    """A transformer block (pre-norm) with the given attention weights."""
    erf = pytest.importorskip("scipy.special", reason="scipy is not installed").erf
    name = f"blocks.{index}"
    mixed = weights @ heads_of(model, index, tokens)[2]
    tokens = tokens + linear(model, f"{name}.attn.proj", mixed.transpose(0, 2, 1, 3).reshape(tokens.shape))
    hidden = linear(model, f"{name}.mlp.fc1", norm(model, f"{name}.norm2", tokens))
    return tokens + linear(model, f"{name}.mlp.fc2", hidden * 0.5 * (1 + erf(hidden / np.sqrt(2))))


# ---- Notebooks and figures


def test_html_of_models_and_estimators(mae, classifier, images, labels):
    for item in (mae, classifier, mae.model_, mrp.MaskedAutoencoder(epochs=3), mrp.LinearProbe(mae, **RUN).fit(images, labels)):
        text = item._repr_html_()
        ElementTree.fromstring(text if text.startswith("<div>") else f"<div>{text}</div>")  # well-formed
        assert len(text) < 10_000
        assert "script" not in text
    fitted = mae._repr_html_()
    assert "<svg" in fitted
    assert "polyline" in fitted
    assert f"{mae.model_.info['parameters']:,}" in fitted
    assert "MiB" in fitted
    assert "<svg" not in mrp.MaskedAutoencoder(epochs=3)._repr_html_()
    strange = mrp.MaskedAutoencoder(progress=lambda progress: None)
    ElementTree.fromstring(strange._repr_html_())  # a repr with angle brackets is escaped


def test_equal_blocks_are_one_line():
    text = mrp.Model(encoder="vit_mini", image_size=16)._repr_html_()
    assert "blocks (6 alike)" in text
    assert text.count("<tr>") < 10


def test_history_is_a_table(mae):
    assert all(list(row) == list(mae.history_[0]) for row in mae.history_)
    assert all(isinstance(value, (int, float, str)) for row in mae.history_ for value in row.values())


def test_plots(mae, images):
    assert [axis.get_title() for axis in mae.plot_history().axes] == ["loss", "learning rate"]
    figure = mae.plot_attention(images[:3])
    assert len(figure.axes) == 3 * 3
    file = io.BytesIO()
    figure.savefig(file)
    assert file.getvalue().startswith(b"\x89PNG")


# ---- The weight of the import


def test_import_adds_little_to_numpy():
    """Times are compared within one process, so that a busy machine slows both; the best of several runs counts."""
    script = "import numpy, time; start = time.perf_counter(); import mrp; print(1000 * (time.perf_counter() - start))"
    times = []
    for _ in range(3):
        times.append(float(subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout))
        if times[-1] < 60:
            break
    print(f"import mrp adds {min(times):.0f} ms to import numpy")
    modules = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import numpy, mrp"], capture_output=True, text=True, check=True
    ).stderr
    after = modules.split("| numpy\n")[-1]
    assert not re.search(r"\| (argparse|tempfile|typing_extensions|email|http|asyncio|torch|sklearn|matplotlib)\b", after)


def test_joblib(mae, images):
    joblib = pytest.importorskip("joblib", reason="joblib is not installed")
    results = joblib.Parallel(n_jobs=2)(joblib.delayed(mae.transform)(images) for _ in range(2))
    for result in results:
        np.testing.assert_array_equal(result, mae.transform(images))
