# SPDX-License-Identifier: Apache-2.0
"""Pictures and picture files that tests share."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "astronaut.jpg"


def gradient(height: int = 40, width: int = 64) -> npt.NDArray[np.uint8]:
    """A smooth RGB picture in which no mirroring or rotation goes unnoticed."""
    y, x = np.mgrid[0:height, 0:width]
    red, green, blue = 255 * x / (width - 1), 200 * y / (height - 1), 60 + 100 * (x + y) / (width + height)
    return np.stack([red, green, blue], axis=2).round().astype(np.uint8)


def png_bytes(width: int, height: int, bit_depth: int, color_type: int, rows: list[bytes]) -> bytes:
    """A PNG put together by hand: Pillow writes no 16-bit colour, and no header that lies."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, bit_depth, color_type, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def write_every_kind(picture: npt.NDArray[np.uint8], folder: Path) -> list[Path]:
    """The picture as a file of every kind a user may bring; colours differ as far as a kind loses them."""
    rgb = Image.fromarray(picture)
    rgba = rgb.copy()
    rgba.putalpha(255)
    grey = rgb.convert("L")
    grey16 = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned a quarter left
    turned = rgb.transpose(Image.Transpose.ROTATE_90)
    rgb.save(folder / "jpeg.jpg", quality=95)
    rgb.save(folder / "png.png")
    rgb.save(folder / "webp.webp", quality=95)
    rgb.save(folder / "bmp.bmp")
    rgb.save(folder / "tiff.tiff")
    rgb.save(folder / "upper case.JPG", "JPEG")
    rgb.save(folder / "actually_png.jpg", "PNG")
    rgb.quantize(64).save(folder / "palette.png")
    rgb.quantize(64).save(folder / "gif.gif")
    rgb.convert("CMYK").save(folder / "cmyk.jpg", quality=95)
    rgba.save(folder / "alpha.png")
    rgba.quantize(256).save(folder / "palette_alpha.png")
    grey.save(folder / "grey.jpg")
    grey.convert("LA").save(folder / "grey_alpha.png")
    grey.convert("1").save(folder / "one_bit.png")
    grey16.save(folder / "grey16.png")
    grey16.save(folder / "grey16.tif")
    rows = [(row.astype(">u2") * 257).tobytes() for row in picture]
    rgb16 = png_bytes(picture.shape[1], picture.shape[0], 16, 2, rows)
    (folder / "rgb16.png").write_bytes(rgb16)
    turned.save(folder / "rotated.jpg", exif=exif, quality=95)
    return sorted(folder.iterdir())
