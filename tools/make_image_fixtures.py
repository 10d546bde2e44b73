#!/usr/bin/env python3
"""Writes Tests/fixtures/images: tiny JPEG and PNG files of every kind that the decoder meets, what Pillow decodes them to, and what
Pillow makes of them when it resizes. Needs Pillow and numpy:  python3 tools/make_image_fixtures.py

Raw files (.raw) hold the values in C order, little-endian. `index.txt` has one line per case:
  decode FILE HEIGHT WIDTH CHANNELS TYPE RAW TOLERANCE
  resize RAW_IN HEIGHT WIDTH CHANNELS TYPE FILTER LEFT TOP RIGHT BOTTOM OUT_HEIGHT OUT_WIDTH RAW_OUT
"""

import pathlib
import struct
import zlib

import numpy as np
from PIL import Image

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "Tests" / "fixtures" / "images"
FILTERS = {"nearest": 0, "bilinear": 2, "bicubic": 3}
TYPES = {"uint8": 0, "uint16": 1, "float32": 2}


def picture(height, width, channels, seed):
    """Smooth colours, an edge and some noise, so that resizing has something to get wrong."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    planes = []
    for c in range(channels):
        wave = 128 + 90 * np.sin(x * (0.3 + 0.1 * c) + y * 0.2 * (c + 1)) + rng.normal(0, 8, (height, width))
        wave[height // 3 : height // 2, width // 4 : width // 2] = 255 * (c % 2)
        planes.append(wave)
    return np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)


def write_raw(name, array):
    (FOLDER / name).write_bytes(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes())


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def interlaced_png(pixels):
    """Adam7, which Pillow reads but does not write."""
    height, width, channels = pixels.shape
    rows = b""
    for y0, x0, dy, dx in [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]:
        part = pixels[y0::dy, x0::dx]
        if part.size:
            rows += b"".join(b"\0" + row.tobytes() for row in part)
    header = struct.pack(">IIBBBBB", width, height, 8, {1: 0, 3: 2}[channels], 0, 0, 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def deep_png(pixels):
    """16-bit RGB, which Pillow would reduce to 8 bits."""
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.iterdir():
        old.unlink()
    lines = []

    def decode_case(name, expected, tolerance=0):
        expected = expected[..., None] if expected.ndim == 2 else expected
        raw = name.rsplit(".", 1)[0] + "." + name.rsplit(".", 1)[1] + ".raw"
        write_raw(raw, expected)
        height, width, channels = expected.shape
        lines.append(f"decode {name} {height} {width} {channels} {TYPES[expected.dtype.name]} {raw} {tolerance}")

    rgb, gray = picture(15, 21, 3, 1), picture(15, 21, 1, 2)[..., 0]
    alpha = picture(15, 21, 1, 3)[..., 0]

    # JPEG. Versions of libjpeg may differ by one in a few pixels where chroma is upsampled.
    for name, options in {
        "colour.jpg": {"quality": 90},
        "colour_444.jpg": {"quality": 90, "subsampling": 0},
        "progressive.jpg": {"quality": 85, "progressive": True},
    }.items():
        Image.fromarray(rgb).save(FOLDER / name, **options)
        decode_case(name, np.asarray(Image.open(FOLDER / name).convert("RGB")), 1)
    Image.fromarray(gray).save(FOLDER / "gray.jpg", quality=90)
    decode_case("gray.jpg", np.asarray(Image.open(FOLDER / "gray.jpg")), 1)
    Image.fromarray(rgb).convert("CMYK").save(FOLDER / "cmyk.jpg", quality=90)
    decode_case("cmyk.jpg", np.asarray(Image.open(FOLDER / "cmyk.jpg").convert("RGB")), 2)

    # PNG: exact.
    Image.fromarray(rgb).save(FOLDER / "rgb.png")
    decode_case("rgb.png", rgb)
    Image.fromarray(gray).save(FOLDER / "gray.png")
    decode_case("gray.png", gray)
    Image.merge("LA", [Image.fromarray(gray), Image.fromarray(alpha)]).save(FOLDER / "gray_alpha.png")
    decode_case("gray_alpha.png", gray)
    Image.merge("RGBA", [*Image.fromarray(rgb).split(), Image.fromarray(alpha)]).save(FOLDER / "rgba.png")
    decode_case("rgba.png", rgb)
    palette = Image.fromarray(rgb).quantize(16)
    palette.save(FOLDER / "palette.png", bits=4)
    decode_case("palette.png", np.asarray(palette.convert("RGB")))
    palette.save(FOLDER / "palette_transparent.png", transparency=3)
    decode_case("palette_transparent.png", np.asarray(palette.convert("RGB")))
    bilevel = Image.fromarray(gray).convert("1")
    bilevel.save(FOLDER / "bilevel.png")
    decode_case("bilevel.png", np.asarray(bilevel.convert("L")))
    gray16 = (gray.astype(np.uint16) * 257) ^ 0x5A
    Image.fromarray(gray16).save(FOLDER / "gray16.png")
    decode_case("gray16.png", gray16)
    rgb16 = (rgb.astype(np.uint16) * 257) ^ 0x33
    (FOLDER / "rgb16.png").write_bytes(deep_png(rgb16))
    decode_case("rgb16.png", rgb16)
    for name, pixels in {"interlaced.png": rgb, "interlaced_gray.png": gray[..., None]}.items():
        (FOLDER / name).write_bytes(interlaced_png(pixels))
        assert np.array_equal(np.asarray(Image.open(FOLDER / name)).reshape(pixels.shape), pixels)
        decode_case(name, pixels)

    # What must be refused.
    whole = (FOLDER / "colour.jpg").read_bytes()
    (FOLDER / "truncated.jpg").write_bytes(whole[: len(whole) * 2 // 3])
    (FOLDER / "text.jpg").write_bytes(b"this is not an image\n")
    whole = (FOLDER / "rgb.png").read_bytes()
    (FOLDER / "truncated.png").write_bytes(whole[: len(whole) * 2 // 3])
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 0xFF
    (FOLDER / "damaged.png").write_bytes(damaged)
    huge = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    (FOLDER / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", huge) + chunk(b"IDAT", zlib.compress(b"")))

    # Resizing.
    source = picture(19, 13, 3, 4)
    write_raw("source_rgb.raw", source)
    write_raw("source_gray.raw", source[..., 0])
    deep = (source[..., 1].astype(np.uint16) * 251 + 77).astype(np.uint16)
    write_raw("source_u16.raw", deep)
    real = (source[..., 2].astype(np.float32) - 100) / 37
    write_raw("source_float.raw", real)
    inputs = {
        "rgb": (Image.fromarray(source), source),
        "gray": (Image.fromarray(source[..., 0]), source[..., 0]),
        "u16": (Image.fromarray(deep), deep),
        "float": (Image.fromarray(real), real),
    }
    sizes = [(4, 4), (5, 30), (34, 4), (27, 17), (19, 7), (8, 13), (1, 1), (19, 13)]
    boxes = [(0, 0, 13, 19), (3, 2, 12, 18), (1.25, 1.5, 11.75, 18.125), (6.5, 10.25, 8.0, 11.75)]
    number = 0
    for kind, (image, array) in inputs.items():
        for code in FILTERS.values():
            for i, (height, width) in enumerate(sizes):
                for j, box in enumerate(boxes):
                    if (kind != "rgb" and (i + j) % 5 != 0) or (kind == "rgb" and j > 0 and (i + j) % 3 != 0):
                        continue
                    if box == boxes[0] and (height, width) == (19, 13) and kind != "rgb":
                        continue
                    out = np.asarray(image.resize((width, height), code, box=box))
                    name = f"resize_{number:03d}.raw"
                    number += 1
                    write_raw(name, out.astype(array.dtype))
                    channels = 3 if array.ndim == 3 else 1
                    lines.append(
                        f"resize source_{kind}.raw 19 13 {channels} {TYPES[array.dtype.name]} {code} "
                        f"{box[0]} {box[1]} {box[2]} {box[3]} {height} {width} {name}"
                    )

    # One archive instead of a hundred small files: NAME BYTES lines, a blank line, then the bytes.
    raws = sorted(FOLDER.glob("*.raw"))
    table = "".join(f"{p.name} {p.stat().st_size}\n" for p in raws) + "\n"
    (FOLDER / "expected.bin").write_bytes(table.encode() + b"".join(p.read_bytes() for p in raws))
    for p in raws:
        p.unlink()
    (FOLDER / "index.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
