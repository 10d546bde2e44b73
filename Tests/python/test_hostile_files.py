"""Files that ask for more than they are worth: sizes beyond all limits, names that take for ever, small images that become gigabytes."""

import contextlib
import json
import struct
import zlib

import mrp
import numpy as np
import pytest
from conftest import NETWORK
from mrp import _mrp


def read(path):
    content = path.read_bytes()
    end = 8 + struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8:end]), content[end:]


def write(path, header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


# ---- Sizes in configurations

VIT = {"image_size": 2**62, "patch_size": 1}, {"image_size": [2**61, 2**61], "patch_size": [2**60, 2**60]}, {"num_channels": 2**62}
VIT += {"image_size": 2**40, "patch_size": 2**40}, {"hidden_size": 2**61}, {"num_hidden_layers": 2**62}, {"intermediate_size": 2**62}
VIT += {"num_attention_heads": -2}, {"decoder_intermediate_size": 2**62}, {"decoder_hidden_size": 2**62}, {"mask_ratio": 1e300}
VIT += {"image_size": 65_537 * 4}, {"num_channels": 4_097}, {"image_size": -8}, {"patch_size": 0}
NET = {"image_size": [2**62, 32]}, {"image_size": [2**40, 2**40]}, {"image_size": [2**32, 2**32]}, {"num_channels": 2**62}
NET += {"cell_size": -(2**63)}, {"cell_size": 2**63 - 1}, {"base_width": 2**62}, {"image_size": [65_537, 8]}


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A vision transformer, a residual network and a ConvNeXt, as files."""
    folder = tmp_path_factory.mktemp("sound")
    images = np.random.default_rng(0).integers(0, 256, (16, 3, 16, 16), dtype=np.uint8)
    made = {"vit": mrp.Model(image_size=16, **NETWORK)}
    made["resnet"] = mrp.Model(image_size=16, encoder="resnet18", width=4, stem="cifar")
    made["convnext"] = mrp.Model(image_size=16, encoder="convnextv2_atto", width=8, stem="cifar")
    for name in ("vit", "resnet"):
        made[name].pretrain(images, epochs=1, batch_size=16, decoder_width=16, decoder_depth=1, decoder_heads=2, threads=1)
    for name, model in made.items():
        model.save(folder / f"{name}.safetensors")
    return folder


@pytest.mark.parametrize(("name", "changes"), [("vit", VIT), ("resnet", NET), ("convnext", NET)])
def test_sizes_have_the_limits_of_options(name, changes, sound, tmp_path):
    header, data = read(sound / f"{name}.safetensors")
    for change in changes:
        configuration = json.loads(header["__metadata__"]["libmrp.config"]) | change
        metadata = header["__metadata__"] | {"libmrp.config": json.dumps(configuration)}
        path = write(tmp_path / "hostile.safetensors", header | {"__metadata__": metadata}, data)
        with contextlib.suppress(mrp.FormatError):  # or it is harmless, and then it works
            assert json.loads(_mrp.model_describe(mrp.Model.load(path)._handle)), change


@pytest.mark.parametrize("width", [2**36, 2**61 // 8])
def test_a_table_without_numbers_is_not_made(width, sound, tmp_path):
    header, _ = read(sound / "vit.safetensors")
    configuration = json.loads(header["__metadata__"]["libmrp.config"])
    del configuration["libmrp"]
    hostile = {"__metadata__": {"libmrp.config": json.dumps(configuration)}}
    hostile["vit.embeddings.cls_token"] = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    hostile["vit.embeddings.position_embeddings"] = {"dtype": "F32", "shape": [0, 17, width], "data_offsets": [4, 4]}
    with pytest.raises(mrp.FormatError):
        mrp.Model.load(write(tmp_path / "hostile.safetensors", hostile, bytes(4)))


def test_a_writer_refuses_what_its_reader_would(images, labels, tmp_path):
    model, plain = mrp.Model(image_size=8, **NETWORK), mrp.Dataset(images, labels)
    named = mrp.Dataset._adopt(_mrp.dataset_name_classes(plain._handle, "\n".join(["a" + "\u0301" * 40, *"bcd"]), "str"), named=True)
    model.finetune(named, epochs=1, batch_size=8, threads=1)
    with pytest.raises(mrp.ArgumentError, match=r"could not be read again: .* combining marks"):
        model.save(tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


# ---- Names


def test_combining_marks_are_refused_at_once(tmp_path):
    marks = "\u0301\u0323" * 50_000
    for text in (f'{{"{marks}":1}}', f'{{"__metadata__":{{"x":"{marks}"}}}}', json.dumps({"__metadata__": {"libmrp.config": marks}})):
        with pytest.raises(mrp.FormatError, match="combining marks"):
            mrp.Model.load(write(tmp_path / "marks.safetensors", text.encode()))
    (tmp_path / "config.json").write_text(f'{{"{marks}":1}}')
    with pytest.raises(mrp.FormatError):
        mrp.Model.load(write(tmp_path / "model.safetensors", {"x": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}))


def test_names_are_bytes(tmp_path):
    one = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    path = write(tmp_path / "names.safetensors", {"caf\u00e9": one, "cafe\u0301": one})
    assert [tensor["name"] for tensor in json.loads(_mrp.file_describe(path))["tensors"]] == ["cafe\u0301", "caf\u00e9"]


# ---- Images


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(path, side, extra=b""):
    """A black gray image of side x side pixels in few bytes."""
    row, packer, packed = bytes(side + 1), zlib.compressobj(1), b""
    for _ in range(side):
        packed += packer.compress(row)
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    content = chunk(b"IHDR", header) + extra + chunk(b"IDAT", packed + packer.flush()) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)


def jpeg(path, side, scans):
    """A valid progressive JPEG of side x side gray pixels with so many scans."""
    blocks = ((side + 7) // 8) ** 2
    content = (
        b"\xff\xd8" + b"\xff\xdb\0\x43\0" + b"\1" * 64 + b"\xff\xc2" + struct.pack(">HBHHB", 11, 8, side, side, 1) + bytes([1, 0x11, 0])
    )
    content += b"\xff\xc4" + struct.pack(">HB", 20, 0) + bytes([1] + [0] * 15) + b"\0"  # DC: '0' is no difference
    content += b"\xff\xc4" + struct.pack(">HB", 20, 0x10) + bytes([1] + [0] * 15) + b"\xe0"  # AC: '0' is the end of many bands

    def scan(first, last):
        return b"\xff\xda" + struct.pack(">HB", 8, 1) + bytes([1, 0, first, last, 0])

    bits = ("0" + "1" * 14) * -(-blocks // 32767)
    bits += "1" * (-len(bits) % 8)
    coefficients = bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)).replace(b"\xff", b"\xff\0")
    content += scan(0, 0) + bytes((blocks + 7) // 8)
    path.write_bytes(content + b"".join(scan(1 + k % 63, 1 + k % 63) + coefficients for k in range(scans - 1)) + b"\xff\xd9")


def first_image(folder, **options):
    return mrp.ImageFolder(folder, **options).images(0, 1, size=8)


def test_a_large_image_is_refused_before_it_is_decoded(tmp_path):
    png(tmp_path / "bomb.png", 4096)
    for channels, limit in ((1, 2 * 4096**2 - 1), (3, 6 * 4096**2 - 1)):
        with pytest.raises(mrp.UnsupportedError, match=f"takes {limit + 1} bytes of memory, decode_bytes allows {limit}"):
            first_image(tmp_path, channels=channels, decode_bytes=limit)
        assert first_image(tmp_path, channels=channels, decode_bytes=limit + 1).max() == 0


def test_threads_share_the_memory(tmp_path):
    for number in range(6):
        png(tmp_path / f"{number}.png", 700)
    images = mrp.ImageFolder(tmp_path, channels=1, decode_bytes=1 << 20)  # room for one of them
    features = mrp.Model(image_size=8, channels=1, **NETWORK).encode(images, loader_threads=4)
    assert (features == features[0]).all()


def test_a_slow_image_is_refused(tmp_path):
    jpeg(tmp_path / "bomb.jpg", 2048, 100)
    with pytest.raises(mrp.UnsupportedError, match=r"more than 0[.]02 s of processor time, which is what decode_seconds allows"):
        first_image(tmp_path, decode_seconds=0.02)


def test_texts_of_an_image_cost_nothing(tmp_path):
    before = _peak()
    text = zlib.compress(b"a" * (15 << 20), 9)
    png(tmp_path / "texts.png", 8, b"".join(chunk(b"zTXt", b"k%d\0\0" % i + text) for i in range(40)))
    assert first_image(tmp_path).shape[0] == 1
    assert _peak() - before < 200 << 10, "KiB"


def _peak():
    with open("/proc/self/status") as file:
        return int(next(line for line in file if line.startswith("VmHWM")).split()[1])
