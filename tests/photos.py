# SPDX-License-Identifier: Apache-2.0
"""Photographs and known changes of view, for tests of features."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from tests.images import EXAMPLE

Grey = npt.NDArray[np.uint8]
# Photographs that come with libraries: folder and names.
_SAMPLES = {
    "skimage": ("data", ("coffee.png", "chelsea.png", "rocket.jpg")),
    "sklearn": ("datasets/images", ("china.jpg", "flower.jpg")),
}


def photo() -> Grey:
    """The example picture in grey."""
    with Image.open(EXAMPLE) as image:
        return np.asarray(image.convert("L"))


@cache
def photographs() -> tuple[Grey, ...]:
    """The example picture and samples of scikit-image and scikit-learn; skips the test without either."""
    found = [photo()]
    for package, (folder, names) in _SAMPLES.items():
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            pytest.skip(f"could not import {package!r}, whose photographs {', '.join(names)} are needed")
        for name in names:
            with Image.open(Path(spec.origin).parent / folder / name) as image:
                found.append(np.asarray(image.convert("L")))
    return tuple(found)


def noise(height: int, width: int, seed: int = 0) -> Grey:
    """Smoothed noise: corners of every kind and strength."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 256, (height + 2, width + 2)).astype(np.float64)
    smooth = sum(x[i : i + height, j : j + width] for i in range(3) for j in range(3)) / 9
    return np.clip((smooth - 128) * 2.5 + 128, 0, 255).astype(np.uint8)


def rotation(degrees: float, scale: float, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """The homography that turns a picture about its centre, clockwise on screen, and enlarges it."""
    cosine, sine = scale * np.cos(np.deg2rad(degrees)), scale * np.sin(np.deg2rad(degrees))
    cx, cy = (shape[1] - 1) / 2, (shape[0] - 1) / 2
    return np.array(
        [
            [cosine, -sine, cx - cosine * cx + sine * cy],
            [sine, cosine, cy - sine * cx - cosine * cy],
            [0, 0, 1],
        ]
    )


def warp(image: Grey, homography: npt.NDArray[np.float64]) -> Grey:
    """The picture seen through the homography, bicubic, black outside."""
    inverse = np.linalg.inv(homography)
    inverse /= inverse[2, 2]
    shifted = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])
    back = np.linalg.inv(shifted) @ inverse @ shifted  # Pillow's pixel centres lie at halves
    back /= back[2, 2]
    size = (image.shape[1], image.shape[0])
    return np.asarray(
        Image.fromarray(image).transform(
            size, Image.Transform.PERSPECTIVE, back.ravel()[:8].tolist(), Image.Resampling.BICUBIC
        )
    )


def project(homography: npt.NDArray[np.float64], xy: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Points (N, 2) through the homography."""
    points = np.column_stack([xy, np.ones(len(xy))]) @ homography.T
    return points[:, :2] / points[:, 2:]
