# SPDX-License-Identifier: Apache-2.0
"""CLAHE, local means and whitening against float64 and OpenCV."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pyvision import _core, ops
from tests.helpers import check_threads_agree, random
from tests.photos import noise, photo


def _clahe(x: np.ndarray, clip: float, tiles: tuple[int, int]) -> np.ndarray:
    """One pixel at a time, in float64."""
    down, across = tiles[1], tiles[0]
    pads = (0, 0) if x.shape[0] % down == 0 and x.shape[1] % across == 0 else (
        down - x.shape[0] % down,
        across - x.shape[1] % across,
    )  # fmt: skip
    wide = np.pad(x, ((0, pads[0]), (0, pads[1])), mode="reflect")
    th, tw = wide.shape[0] // down, wide.shape[1] // across
    tables = np.zeros((down, across, 256))
    for i in range(down):
        for j in range(across):
            counts = np.bincount(wide[i * th : (i + 1) * th, j * tw : (j + 1) * tw].ravel(), minlength=256)
            if clip > 0:
                limit = max(int(np.float32(clip) * np.float32(th * tw) / 256), 1)
                excess = np.maximum(counts - limit, 0).sum()
                counts = np.minimum(counts, limit) + excess // 256
                rest = excess % 256
                if rest:
                    counts[:: max(256 // rest, 1)][:rest] += 1
            tables[i, j] = np.rint(np.cumsum(counts) * 255 / (th * tw)).clip(0, 255)
    y = np.zeros(x.shape)
    for r in range(x.shape[0]):
        for c in range(x.shape[1]):
            fy, fx = r / th - 0.5, c / tw - 0.5
            for i, wy in ((np.floor(fy), 1 - fy % 1), (np.floor(fy) + 1, fy % 1)):
                for j, wx in ((np.floor(fx), 1 - fx % 1), (np.floor(fx) + 1, fx % 1)):
                    tile = tables[int(np.clip(i, 0, down - 1)), int(np.clip(j, 0, across - 1))]
                    y[r, c] += wy * wx * tile[x[r, c]]
    return y


@pytest.mark.parametrize("clip", [0, 1, 2.5, 40])
@pytest.mark.parametrize("tiles", [(1, 1), (3, 5), (8, 8)])
def test_clahe_against_float64(isa: str, clip: float, tiles: tuple[int, int]) -> None:
    for shape in ((1, 1), (7, 5), (24, 40), (37, 45)):
        x = noise(*shape)
        y = ops.clahe(x, clip, tiles)
        assert y.dtype == np.uint8
        assert np.abs(y - _clahe(x, clip, tiles)).max() <= 0.5 + 1e-3


def test_clahe_is_opencvs(isa: str) -> None:
    cv2 = pytest.importorskip("cv2")
    picture = photo()
    for shape in ((1, 1), (2, 300), (64, 80), (201, 303), picture.shape):
        x = np.ascontiguousarray(picture[: shape[0], : shape[1]])
        for clip in (0.0, 0.5, 2.0, 40.0):
            for tiles in ((8, 8), (4, 16), (1, 1), (7, 3)):
                np.testing.assert_array_equal(
                    ops.clahe(x, clip, tiles), cv2.createCLAHE(clip, tiles).apply(x)
                )
    np.testing.assert_array_equal(ops.clahe(picture), cv2.createCLAHE().apply(picture))
    np.testing.assert_array_equal(
        ops.clahe(picture[::-2, ::3]), cv2.createCLAHE().apply(picture[::-2, ::3].copy())
    )


def test_clahe_of_colour_floats_and_many() -> None:
    grey = [noise(40, 50), noise(40, 50, seed=1)]
    expected = [ops.clahe(x, 2) for x in grey]
    for many in (grey, np.stack(grey), np.repeat(np.stack(grey)[..., None], 3, axis=3)):
        for y, of_one in zip(ops.clahe(many, 2), expected, strict=True):
            np.testing.assert_array_equal(y, of_one)
    np.testing.assert_array_equal(ops.clahe(grey[0].astype(np.float32) + 0.3, 2), expected[0])
    colour = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    np.testing.assert_array_equal(ops.clahe(colour), ops.clahe(_core.to_grey(colour)))


def test_clahe_threads_agree() -> None:
    check_threads_agree(lambda: ops.clahe(photo()))


@pytest.mark.parametrize("size", [1, 3, (1, 5), (9, 3), (41, 41)], ids=str)
def test_local_mean(size: Any) -> None:
    window = size if isinstance(size, tuple) else (size, size)
    for x in (noise(30, 40), random((21, 33, 3), 100)):
        around = [(n // 2, n // 2) for n in window] + [(0, 0)] * (x.ndim - 2)
        wide = np.pad(x.astype(np.float64), around, mode="reflect")
        mean = np.mean(
            [
                wide[i : i + x.shape[0], j : j + x.shape[1]]
                for i in range(window[0])
                for j in range(window[1])
            ],
            axis=0,
        )
        y = ops.subtract_local_mean(x, size)
        assert y.dtype == np.float32
        np.testing.assert_allclose(y, x - mean, atol=1e-4)
    cv2 = pytest.importorskip("cv2")
    blurred = cv2.blur(x.astype(np.float64), window[::-1], borderType=cv2.BORDER_REFLECT_101)
    np.testing.assert_allclose(y, x - blurred, atol=1e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_whitened_data_are_white(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((500, 12)) @ rng.standard_normal((12, 12)) + 3).astype(dtype).reshape(500, 3, 4)
    whitening = ops.ZCAWhitening(0).fit(x)
    y = whitening.apply(x)
    assert y.shape == x.shape
    assert y.dtype == dtype
    np.testing.assert_allclose(np.cov(y.reshape(500, 12).T), np.eye(12), atol=1e-3)
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(whitening.matrix, whitening.matrix.T, atol=1e-12)
    inverse = np.linalg.inv(np.cov(x.reshape(500, 12).astype(np.float64).T))
    np.testing.assert_allclose(whitening.matrix @ whitening.matrix, inverse, rtol=1e-3, atol=1e-4)


def test_whitening_without_variance_stays_finite() -> None:
    x = np.repeat(random((1, 5)), 7, axis=0)
    for epsilon in (0, 1e-3):
        assert np.abs(ops.ZCAWhitening(epsilon).fit(x).apply(x)).max() < 1e-3
    few = random((3, 50))
    y = ops.ZCAWhitening(0).fit(few).apply(few)
    np.testing.assert_allclose(y @ y.T, 2 * (np.eye(3) - 1 / 3), atol=1e-4)  # as many directions as there are


BAD: list[tuple[Any, str]] = [
    *[(lambda v=v: ops.ZCAWhitening(v), "epsilon") for v in (-1, float("nan"), "1", float("inf"))],
    *[
        (lambda v=v: ops.ZCAWhitening().fit(v), "x")
        for v in (
            None,
            random((5,)),
            random((1, 5)),
            random((5, 0)),
            random((5, 2)) * np.inf,
            np.zeros((3, 3), int),
            random((9, 4)).astype(np.float64) * 1e300,  # whose squares are infinite
        )
    ],
    (lambda: ops.ZCAWhitening().apply(random((5, 2))), "fit"),
    (lambda: ops.ZCAWhitening().fit(random((5, 2))).apply(random((5, 3))), "x"),
]


@pytest.mark.parametrize(("call", "argument"), BAD)
def test_whitening_refuses_bad_inputs(call: Any, argument: str) -> None:
    with pytest.raises((ValueError, TypeError), match=rf"^\[ZCAWhitening\] expected .*\b{argument}\b"):
        call()
