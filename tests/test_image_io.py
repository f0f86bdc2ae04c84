# SPDX-License-Identifier: Apache-2.0
"""Every kind of image file becomes upright 8-bit RGB, or one clear ImageError; writing is all or nothing."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from pyvision.image_io import IMAGE_SUFFIXES, ImageError, expand, read_image, save_image, to_rgb, write_file
from tests.images import gradient, png_bytes, write_every_kind

PICTURE = gradient()
RGB = Image.fromarray(PICTURE)
GREY16 = (np.arange(40 * 64).reshape(40, 64) * 25).astype(np.uint16)


@pytest.mark.parametrize(
    ("name", "options", "tolerance"),
    [
        ("a.png", {}, 0),
        ("a.bmp", {}, 0),
        ("a.ppm", {}, 0),
        ("a.webp", {"lossless": True}, 0),
        ("a.webp", {"quality": 95}, 16),
        ("a.tif", {}, 0),
        ("a.tif", {"compression": "tiff_lzw"}, 0),
        ("a.jpg", {"quality": 95, "subsampling": 0}, 6),
        ("a.jpg", {"quality": 95, "progressive": True, "subsampling": 0}, 6),
        ("a.jp2", {"irreversible": False}, 0),
    ],
)
def test_reads_colour(tmp_path: Path, name: str, options: dict[str, object], tolerance: int) -> None:
    RGB.save(tmp_path / name, **options)
    image = read_image(tmp_path / name)
    assert image.dtype == np.uint8
    assert image.shape == PICTURE.shape
    assert np.abs(image.astype(int) - PICTURE).max() <= tolerance


def test_reads_every_kind_as_the_same_picture(tmp_path: Path) -> None:
    files = write_every_kind(PICTURE, tmp_path)
    grey = np.asarray(RGB.convert("L"))[:, :, None]
    for file in files:
        expected = grey if "grey" in file.name or "one_bit" in file.name else PICTURE
        image = read_image(file)
        assert image.shape == PICTURE.shape, file.name
        assert image.dtype == np.uint8
        # Dithering, quantisation and chroma subsampling move single pixels, not the picture.
        error = image.reshape(5, 8, 8, 8, 3).astype(float).mean(axis=(1, 3)) - (
            np.broadcast_to(expected, PICTURE.shape).reshape(5, 8, 8, 8, 3).mean(axis=(1, 3))
        )
        assert np.abs(error).max() < 12, file.name


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jp2"])
def test_16_bit_grey_keeps_its_range(tmp_path: Path, name: str) -> None:
    Image.fromarray(GREY16).save(tmp_path / name)
    expected = np.round(GREY16 / 257)
    np.testing.assert_array_equal(read_image(tmp_path / name), np.repeat(expected[:, :, None], 3, axis=2))


def test_16_bit_grey_big_endian_tiff_and_pgm(tmp_path: Path) -> None:
    Image.frombytes("I;16B", (64, 40), GREY16.astype(">u2").tobytes()).save(tmp_path / "a.tif")
    (tmp_path / "a.pgm").write_bytes(b"P5 64 40 65535\n" + GREY16.astype(">u2").tobytes())
    for name in ("a.tif", "a.pgm"):
        np.testing.assert_array_equal(read_image(tmp_path / name)[:, :, 0], np.round(GREY16 / 257))


def test_16_bit_colour_png(tmp_path: Path) -> None:
    deep = np.stack([GREY16, GREY16[::-1], GREY16[:, ::-1]], axis=2)
    (tmp_path / "a.png").write_bytes(png_bytes(64, 40, 16, 2, [row.astype(">u2").tobytes() for row in deep]))
    assert np.abs(read_image(tmp_path / "a.png") - deep / 257).max() <= 1


def test_transparency_shows_white(tmp_path: Path) -> None:
    rgba = RGB.convert("RGBA")
    alpha = np.full((40, 64), 255, np.uint8)
    alpha[:, :32] = 0
    alpha[0] = 128
    rgba.putalpha(Image.fromarray(alpha))
    rgba.save(tmp_path / "rgba.png")
    image = read_image(tmp_path / "rgba.png")
    assert (image[1:, :32] == 255).all()
    np.testing.assert_array_equal(image[1:, 32:], PICTURE[1:, 32:])
    assert np.abs(image[0] - (PICTURE[0] * (128 / 255) + 255 * (127 / 255))).max() <= 1

    palette = RGB.quantize(16)
    first = palette.getpixel((0, 0))
    palette.save(tmp_path / "palette.png", transparency=first)
    image = read_image(tmp_path / "palette.png")
    hidden = np.asarray(palette) == first
    assert (image[hidden] == 255).all()
    np.testing.assert_array_equal(image[~hidden], np.asarray(palette.convert("RGB"))[~hidden])

    RGB.save(tmp_path / "key.png", transparency=tuple(PICTURE[3, 5].tolist()))
    image = read_image(tmp_path / "key.png")
    assert (image[3, 5] == 255).all()
    np.testing.assert_array_equal(image[4, 6], PICTURE[4, 6])

    Image.merge("LA", (RGB.convert("L"), Image.fromarray(alpha))).save(tmp_path / "la.png")
    image = read_image(tmp_path / "la.png")
    assert (image[1:, :32] == 255).all()
    np.testing.assert_array_equal(image[1:, 32:, 0], np.asarray(RGB.convert("L"))[1:, 32:])


def test_one_bit_and_cmyk(tmp_path: Path) -> None:
    bits = np.indices((9, 13)).sum(axis=0) % 2 == 0
    Image.fromarray(bits).save(tmp_path / "bits.png")
    np.testing.assert_array_equal(read_image(tmp_path / "bits.png")[:, :, 1], bits * 255)
    RGB.convert("CMYK").save(tmp_path / "cmyk.tif")
    assert np.abs(read_image(tmp_path / "cmyk.tif").astype(int) - PICTURE).max() <= 1


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    # How each value is stored, by the EXIF standard: the transposition that the reader must undo.
    stored = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
        8: lambda a: np.rot90(a, -1),
    }[orientation](PICTURE)
    options = {"lossless": True} if suffix == "webp" else {"quality": 95, "subsampling": 0}
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / f"a.{suffix}", exif=exif, **options)
    image = read_image(tmp_path / f"a.{suffix}")
    assert image.shape == PICTURE.shape
    assert np.abs(image.astype(int) - PICTURE).max() <= 6


def test_broken_exif_costs_no_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    RGB.save(tmp_path / "a.png")

    def broken(image: Image.Image) -> Image.Image:
        raise SyntaxError("not a TIFF file")

    monkeypatch.setattr(ImageOps, "exif_transpose", broken)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), PICTURE)


def test_animation_gives_its_first_frame(tmp_path: Path) -> None:
    red, blue = Image.new("RGB", (8, 6), (255, 0, 0)), Image.new("RGB", (8, 6), (0, 0, 255))
    for name in ("a.gif", "a.webp", "a.tif", "a.png"):
        red.save(
            tmp_path / name,
            save_all=True,
            append_images=[blue],
            **({"lossless": True} if "web" in name else {}),
        )
        assert (read_image(tmp_path / name) == (255, 0, 0)).all(), name


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda p: None, "no such file"),
        (lambda p: p.mkdir(), "is a directory"),
        (lambda p: p.write_bytes(b""), "empty"),
        (lambda p: p.write_bytes(b"a letter, not a picture\n" * 9), "not an image"),
        (lambda p: p.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"), "not an image"),
        (lambda p: p.write_bytes(png_bytes(60_000, 60_000, 8, 2, [b""])), "too large"),
        (lambda p: p.write_bytes(png_bytes(64, 40, 8, 2, [b""])), "damaged"),
        (lambda p: Image.fromarray(np.ones((4, 4), np.float32)).save(p, "TIFF"), "floating-point"),
        (lambda p: Image.fromarray(np.full((4, 4), 1 << 20, np.int32)).save(p, "TIFF"), "32-bit"),
    ],
)
def test_what_cannot_be_read_says_why_in_one_line(tmp_path: Path, make: object, reason: str) -> None:
    path = tmp_path / "a.png"
    make(path)  # type: ignore[operator]
    with pytest.raises(ImageError, match=reason) as caught:
        read_image(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_name_no_file_can_have() -> None:
    with pytest.raises(ImageError):
        read_image("a\0b.png")


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "tif", "gif", "jp2", "ppm"])
def test_truncated_files_are_errors(tmp_path: Path, suffix: str) -> None:
    whole = io.BytesIO()
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8))
    noise.save(whole, {"jpg": "JPEG", "tif": "TIFF", "jp2": "JPEG2000"}.get(suffix, suffix))
    path = tmp_path / f"a.{suffix}"
    for share in (0.02, 0.3, 0.7):
        path.write_bytes(whole.getvalue()[: int(len(whole.getvalue()) * share)])
        with pytest.raises(ImageError) as caught:
            read_image(path)
        assert "\n" not in str(caught.value)


def test_damaged_bytes_give_an_image_or_an_image_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    files = write_every_kind(PICTURE, tmp_path)
    refused = 0
    for file in files:
        whole = np.frombuffer(file.read_bytes(), np.uint8)
        for _ in range(12):
            damaged = whole.copy()
            at = rng.integers(0, min(len(whole), 600), 6)
            damaged[at] = rng.integers(0, 256, 6)
            file.write_bytes(damaged.tobytes())
            try:
                image = read_image(file)
            except ImageError:
                refused += 1
            else:
                assert image.dtype == np.uint8
                assert image.ndim == 3
    assert refused


def test_to_rgb_takes_pillow_images_of_every_mode() -> None:
    for mode in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "HSV"):
        assert to_rgb(Image.new(mode, (5, 3))).shape == (3, 5, 3), mode
    with pytest.raises(ImageError, match="floating-point"):
        to_rgb(Image.new("F", (5, 3)))


def test_save_image_writes_what_it_can_read_back(tmp_path: Path) -> None:
    for suffix, tolerance in {".png": 0, ".bmp": 0, ".tif": 0, ".jpg": 8, ".JPEG": 8, ".webp": 24}.items():
        save_image(tmp_path / f"a{suffix}", PICTURE)
        assert np.abs(read_image(tmp_path / f"a{suffix}").astype(int) - PICTURE).max() <= tolerance, suffix
    assert len(list(tmp_path.iterdir())) == 6
    with pytest.raises(ValueError, match=r"\[save_image\] expected a suffix of .*'\.xyz'"):
        save_image(tmp_path / "a.xyz", PICTURE)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    write_file(path, b"old")

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.json"]


def test_expand(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    names = ["b.PNG", "a.jpg", "c[1].webp", "notes.txt", "sub/d.tif"]
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()

    def inside(*names: str) -> list[str]:
        return [str(tmp_path / name) for name in names]

    assert expand(tmp_path) == inside("a.jpg", "b.PNG", "c[1].webp")
    assert expand(f"{tmp_path}/*") == inside("a.jpg", "b.PNG", "c[1].webp")
    assert expand(f"{tmp_path}/[ab].*") == inside("a.jpg", "b.PNG")
    assert expand(f"{tmp_path}/**/*.tif") == inside("sub/d.tif")
    assert expand(tmp_path / "c[1].webp") is None
    assert expand(tmp_path / "missing.png") is None
    with pytest.raises(ImageError, match="no images match"):
        expand(f"{tmp_path}/*.bmp")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="no images in this directory"):
        expand(tmp_path / "empty")
    assert ".jpeg" in IMAGE_SUFFIXES
