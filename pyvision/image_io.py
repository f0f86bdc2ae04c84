# SPDX-License-Identifier: Apache-2.0
"""Images in and out of files through Pillow: whatever a file holds becomes 8-bit RGB, upright.

How each kind becomes RGB:

* 16-bit grey is scaled by 255/65535, so that white stays white (8 of 16 bits are kept of 16-bit colour);
* transparency (alpha channel, palette entry or colour key) is composited over white, as a page shows it;
* palette, 1-bit, grey and CMYK images are converted; an EXIF orientation is applied; of an animation the
  first frame is taken.
"""

from __future__ import annotations

import glob
import io
import os
import secrets
import stat
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

StrPath: TypeAlias = str | os.PathLike[str]

#: What a directory is searched for.
IMAGE_SUFFIXES = frozenset(
    [
        ".bmp",
        ".dib",
        ".gif",
        ".j2k",
        ".jp2",
        ".jpeg",
        ".jpg",
        ".pgm",
        ".png",
        ".ppm",
        ".tif",
        ".tiff",
        ".webp",
    ]
)

# Chosen by content, not by suffix. Listed, because Pillow also knows formats that start other programs.
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM", "WEBP", "TIFF", "DIB", "JPEG2000")

# Full chroma resolution: thin coloured lines smear at JPEG's usual half.
_JPEG = ("JPEG", {"quality": 92, "subsampling": 0})
_TIFF = ("TIFF", {"compression": "tiff_deflate"})
_WRITERS: dict[str, tuple[str, dict[str, Any]]] = {
    ".bmp": ("BMP", {}),
    ".jpeg": _JPEG,
    ".jpg": _JPEG,
    ".png": ("PNG", {}),
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".webp": ("WEBP", {"quality": 90}),
}

#: The suffixes save_image can write.
WRITABLE_SUFFIXES = frozenset(_WRITERS)


class ImageError(ValueError):
    """What cannot be read as an image; the message is one line, for a file `path: reason`."""


def read_image(path: StrPath) -> npt.NDArray[np.uint8]:
    """The image in a file as (H, W, 3) uint8 RGB, upright.

    Raises ImageError when the file is missing, empty, truncated, too large to be honest, or no image.
    """
    path = os.fspath(path)
    try:
        with open(path, "rb") as file:
            info = os.fstat(file.fileno())
            if stat.S_ISREG(info.st_mode) and info.st_size == 0:
                raise ImageError("the file is empty")
            with Image.open(file, formats=_FORMATS) as image:
                return to_rgb(image)
    except MemoryError:
        raise
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from None
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise ImageError(f"{path}: is a directory, not an image") from None
    except UnidentifiedImageError:
        known = "JPEG, PNG, WebP, BMP, TIFF, GIF, PPM or JPEG 2000"
        raise ImageError(f"{path}: not an image, or of no known format ({known})") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{path}: too large: {_one_line(error)}") from error
    except OSError as error:
        reason = error.strerror.lower() if error.strerror else f"damaged image: {_one_line(error)}"
        raise ImageError(f"{path}: {reason}") from error
    except Exception as error:  # decoders answer malformed files with any exception there is
        raise ImageError(f"{path}: damaged image: {_one_line(error)}") from error


def to_rgb(image: Image.Image) -> npt.NDArray[np.uint8]:
    """A Pillow image as (H, W, 3) uint8 RGB, upright. Raises ImageError for modes without a defined range."""
    image.load()
    image = _upright(image)
    if image.mode.startswith("I") and image.mode != "I":  # I;16, I;16L, I;16B, I;16N
        return _grey16_to_rgb(np.asarray(image))
    if image.mode == "I":  # 32 bits, but also how some versions and formats hold 16
        low, high = image.getextrema()
        if low < 0 or high > 65535:  # type: ignore[operator]  # one band: two numbers, not pairs
            raise ImageError("32-bit integer grey has no defined range: convert it to 8 or 16 bits")
        return _grey16_to_rgb(np.asarray(image))
    if image.mode == "F":
        raise ImageError("floating-point pixels have no defined range: convert them to 8 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.array(image.convert("RGB"))


def save_image(path: StrPath, image: npt.NDArray[np.uint8]) -> None:
    """Write (H, W, 3) RGB or (H, W) grey uint8 in the format of the suffix.

    The file appears whole or not at all. Raises ValueError for a suffix not in WRITABLE_SUFFIXES.
    """
    path = Path(path)
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        known = ", ".join(sorted(WRITABLE_SUFFIXES))
        raise ValueError(f"[save_image] expected a suffix of {known}, got {path.suffix!r} ({path})")
    encoded = io.BytesIO()
    name, options = writer
    Image.fromarray(image).save(encoded, name, **options)
    write_file(path, encoded.getvalue())


def write_file(path: StrPath, data: bytes) -> None:
    """Write a file whole or not at all: into a neighbour first, which then takes the name."""
    path = Path(path)
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def expand(source: StrPath) -> list[str] | None:
    """The image files a directory or a glob pattern stands for, sorted; None where `source` names one file.

    A directory is not searched recursively; `**` in a pattern is. Raises ImageError where there is nothing.
    """
    path = os.fspath(source)
    if os.path.isdir(path):
        files = [entry.path for entry in os.scandir(path) if _is_image_name(entry.name) and entry.is_file()]
        if not files:
            raise ImageError(f"{path}: no images in this directory")
        return sorted(files)
    if os.path.lexists(path) or not glob.has_magic(path):
        return None
    # Patterns such as photos/* also match what is no image: that is left out, as in a directory.
    files = [
        name for name in glob.glob(path, recursive=True) if _is_image_name(name) and os.path.isfile(name)
    ]
    if not files:
        raise ImageError(f"{path}: no images match this pattern")
    return sorted(files)


def _is_image_name(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # unreadable metadata must not cost us a readable picture
        return image


def _grey16_to_rgb(grey: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    grey8 = ((grey.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    return np.repeat(grey8[:, :, None], 3, axis=2)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
