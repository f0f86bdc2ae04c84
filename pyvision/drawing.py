# SPDX-License-Identifier: Apache-2.0
"""Boxes, labels and masks drawn on 8-bit RGB images with Pillow. Nothing here changes its input."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Color: TypeAlias = tuple[int, int, int]
Rgb: TypeAlias = npt.NDArray[np.uint8]

_WHITE: Color = (255, 255, 255)
_BLACK: Color = (16, 16, 16)


@functools.cache
def class_color(class_id: int) -> Color:
    """A stable colour per class: OKLCH hues a golden angle apart, at three lightnesses."""
    hue = math.radians(262 + class_id * 137.508)
    lightness = (0.6, 0.88, 0.72)[class_id % 3]
    for chroma in np.arange(0.24, 0, -0.005):  # the most colourful that sRGB can show
        linear = _oklab_to_linear_srgb(
            lightness, float(chroma) * math.cos(hue), float(chroma) * math.sin(hue)
        )
        if all(0 <= value <= 1 for value in linear):
            break
    r, g, b = (round(255 * _encode_srgb(value)) for value in linear)
    return r, g, b


def text_color(background: Color) -> Color:
    """White on dark backgrounds, else black; dark is by WCAG relative luminance, with a leaning to white."""
    r, g, b = (_decode_srgb(value / 255) for value in background)
    luminance = 0.2126 * r + 0.7152 * g + 0.0722 * b
    return _WHITE if luminance < 0.25 else _BLACK


def draw_boxes(
    image: Rgb, boxes: npt.NDArray[np.floating[Any]], labels: Sequence[int], texts: Sequence[str]
) -> Rgb:
    """`image` with one outlined box and label per row of `boxes` (K, 4; x1, y1, x2, y2 in pixels).

    Rows come in falling importance: the first is drawn on top, and its label chooses its place first.
    """
    canvas = Image.fromarray(image)
    draw = ImageDraw.Draw(canvas)
    line = line_width(canvas.size)
    corners = [_pixel_box(box, canvas.size) for box in boxes]
    for box, label in reversed(list(zip(corners, labels, strict=True))):
        draw.rectangle(box, outline=class_color(label), width=line)

    font = ImageFont.load_default(_font_size(canvas.size))
    taken: list[tuple[int, int, int, int]] = []
    plates = []
    for box, label, text in zip(corners, labels, texts, strict=True):
        left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
        # Every plate is as high as the font, not as its text: labels with and without descenders look alike.
        line_top, line_bottom = draw.textbbox((0, 0), "Ag", font=font)[1::2]
        top, bottom = min(top, line_top), max(bottom, line_bottom)
        pad = max(1, round((bottom - top) * 0.28))
        plate = _place_label(
            math.ceil(right - left) + 2 * pad, math.ceil(bottom - top) + 2 * pad, box, canvas.size, taken
        )
        taken.append(plate)
        plates.append((plate, (plate[0] + pad - left, plate[1] + pad - top), class_color(label), text))
    for plate, origin, color, text in reversed(plates):
        draw.rectangle((plate[0], plate[1], plate[2] - 1, plate[3] - 1), fill=color)
        draw.text(origin, text, font=font, fill=text_color(color))
    return np.asarray(canvas)


def draw_mask(image: Rgb, mask: npt.NDArray[np.bool_], color: Color, *, opacity: float = 0.4) -> Rgb:
    """`image` with the masked pixels (H, W bool) tinted and their contour drawn."""
    canvas = Image.fromarray(image)
    plain = Image.new("RGB", canvas.size, color)
    contour = mask & ~_erode(mask, line_width(canvas.size))
    canvas.paste(Image.blend(canvas, plain, opacity), mask=Image.fromarray(mask))
    canvas.paste(plain, mask=Image.fromarray(contour))
    return np.asarray(canvas)


def draw_keypoints(
    image: Rgb,
    xy: npt.NDArray[np.floating[Any]],
    size: npt.NDArray[np.floating[Any]],
    angle: npt.NDArray[Any],
) -> Rgb:
    """`image` with a circle per keypoint (K, 2), and its radius at the angle unless that is negative."""
    canvas = Image.fromarray(image)
    draw = ImageDraw.Draw(canvas)
    columns = (xy, size, angle)
    for i, ((x, y), diameter, degrees) in enumerate(zip(*(c.tolist() for c in columns), strict=True)):
        radius, color = diameter / 2, class_color(i % 16)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=color)
        if degrees >= 0:
            turn = math.radians(degrees)
            draw.line((x, y, x + radius * math.cos(turn), y + radius * math.sin(turn)), fill=color)
    return np.asarray(canvas)


def draw_matches(
    a: Rgb, b: Rgb, from_xy: npt.NDArray[np.floating[Any]], to_xy: npt.NDArray[np.floating[Any]]
) -> Rgb:
    """`a` and `b` side by side, and a line from each point of the one to that of the other, (K, 2) both."""
    canvas = Image.new("RGB", (a.shape[1] + b.shape[1], max(a.shape[0], b.shape[0])), _BLACK)
    canvas.paste(Image.fromarray(a), (0, 0))
    canvas.paste(Image.fromarray(b), (a.shape[1], 0))
    draw = ImageDraw.Draw(canvas)
    for i, ((x, y), (u, v)) in enumerate(zip(from_xy.tolist(), to_xy.tolist(), strict=True)):
        color = class_color(i % 16)
        draw.line((x, y, a.shape[1] + u, v), fill=color)
        for left, top in ((x, y), (a.shape[1] + u, v)):
            draw.ellipse((left - 3, top - 3, left + 3, top + 3), outline=color)
    return np.asarray(canvas)


def line_width(size: tuple[int, int]) -> int:
    """Pixels that look equally thick on a picture of any (width, height)."""
    return max(1, round(sum(size) / 2 * 0.005))


def _font_size(size: tuple[int, int]) -> int:
    return max(10, round(sum(size) / 2 * 0.03))


def _pixel_box(box: npt.NDArray[np.floating[Any]], size: tuple[int, int]) -> tuple[int, int, int, int]:
    width, height = size
    x1, x2 = np.clip((round(float(box[0])), round(float(box[2])) - 1), 0, width - 1).tolist()
    y1, y2 = np.clip((round(float(box[1])), round(float(box[3])) - 1), 0, height - 1).tolist()
    return x1, y1, max(x1, x2), max(y1, y2)


def _place_label(
    width: int,
    height: int,
    box: tuple[int, int, int, int],
    size: tuple[int, int],
    taken: Sequence[tuple[int, int, int, int]],
) -> tuple[int, int, int, int]:
    """Where a label goes: above its box, else inside at its top, below it, or inside at its bottom.

    The first place in the image and clear of other labels wins; where there is none, inside at the top.
    """
    x1, y1, _, y2 = box
    x = max(0, min(x1, size[0] - width))
    lowest = max(0, size[1] - height)
    places = [(x, y, x + width, y + height) for y in (y1 - height, y1, y2 + 1, y2 + 1 - height)]
    for place in places:
        if 0 <= place[1] <= lowest and not any(_overlap(place, other) for other in taken):
            return place
    y = max(0, min(y1, lowest))
    return x, y, x + width, y + height


def _overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _erode(mask: npt.NDArray[np.bool_], radius: int) -> npt.NDArray[np.bool_]:
    """The pixels whose square neighbourhood is all set; beyond the image counts as set."""
    height, width = mask.shape
    padded = np.pad(mask, radius, constant_values=True)
    rows = np.logical_and.reduce([padded[i : i + height] for i in range(2 * radius + 1)])
    eroded: npt.NDArray[np.bool_] = np.logical_and.reduce(
        [rows[:, i : i + width] for i in range(2 * radius + 1)]
    )
    return eroded


def _oklab_to_linear_srgb(lightness: float, a: float, b: float) -> tuple[float, float, float]:
    """Ottosson, "A perceptual color space for image processing", 2020."""
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )


def _encode_srgb(linear: float) -> float:
    return 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055


def _decode_srgb(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
