# SPDX-License-Identifier: Apache-2.0
"""warp_perspective, warp_affine and remap on CUDA against float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pyvision import ops
from tests.cuda_device import Cuda
from tests.reference.warp import positions, sample
from tests.test_warp import AFFINE, BORDERS, MODES, TILTED, TRANSFORMS, check, picture

SHAPES = [(1, 5, 3), (3, 3, 4), (20, 31, 1), (23, 17, 5)]


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_against_float64(cuda: Cuda, dtype: Any, mode: Any, border: Any) -> None:
    for shape in SHAPES:
        x = picture(shape, dtype)
        for matrix in TRANSFORMS.values():
            u, v = positions(matrix, 37, 9)
            y = ops.warp_perspective(
                cuda.array(x), matrix, (37, 9), interpolation=mode, inverse_map=True, border_mode=border,
                border_value=77,
            )  # fmt: skip
            assert cuda.dtype(y) == np.dtype(dtype).name
            assert y.shape == (9, 37, shape[2])
            check(cuda.numpy(y), sample(x, u, v, mode, border, 77), u, v, mode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("border", BORDERS)
def test_remap(cuda: Cuda, mode: Any, border: Any) -> None:
    rng = np.random.default_rng(1)
    for dtype in (np.uint8, np.float32):
        x = picture((9, 11, 3), dtype)
        u, v = (rng.uniform(-40, 60, (5, 61)).astype(np.float32) for _ in range(2))
        options: Any = {"interpolation": mode, "border_mode": border, "border_value": [9, 10, 11]}
        y = cuda.numpy(ops.remap(cuda.array(x), cuda.array(u), cuda.array(v), **options))
        for c, value in enumerate(options["border_value"]):
            expected = sample(x, u.astype(np.float64), v.astype(np.float64), mode, border, value)
            check(y[..., c : c + 1], expected[..., c : c + 1], u, v, mode)
        pairs = cuda.array(np.stack([u, v], axis=2))
        np.testing.assert_array_equal(cuda.numpy(ops.remap(cuda.array(x), pairs, **options)), y)


def test_nearest_takes_the_even_one_of_two_as_near(cuda: Cuda) -> None:
    x = picture((20, 31, 3), np.uint8)
    twice = np.diag([0.5, 0.5, 1])
    u, v = positions(twice, 60, 38)
    options: Any = {"interpolation": "nearest"}
    results = (
        ops.warp_affine(cuda.array(x), np.diag([2.0, 2, 1])[:2], (60, 38), **options),
        ops.remap(cuda.array(x), cuda.array(np.stack([u, v], axis=2).astype(np.float32)), **options),
    )
    for y in results:
        np.testing.assert_array_equal(cuda.numpy(y), sample(x, u, v, "nearest", "constant"))


def test_equals_the_cpu(cuda: Cuda) -> None:
    """Forward matrices and all ranks: within what either rounds."""
    for shape in ((20, 30), (20, 30, 3), (2, 20, 30, 4), (0, 20, 30, 4)):
        x = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        for call, matrix in ((ops.warp_perspective, TILTED), (ops.warp_affine, AFFINE[:2])):
            y = cuda.numpy(call(cuda.array(x), matrix, (41, 23)))
            expected = call(x, matrix, (41, 23))
            assert y.shape == expected.shape
            assert np.abs(y.astype(int) - expected).max(initial=0) <= 3


@pytest.mark.parametrize("mode", MODES)
def test_a_transform_on_the_device(cuda: Cuda, mode: Any) -> None:
    """Stays there: what it gives is what the same one on the host gives, but for the inverse's last bit."""
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    for dtype in (np.float32, np.float64):
        for call, matrix in ((ops.warp_perspective, TILTED), (ops.warp_affine, AFFINE[:2])):
            m = np.asarray(matrix, dtype)
            for x in (image, image.astype(np.float32)):
                for inverted in (False, True):
                    options: Any = {"interpolation": mode, "inverse_map": inverted, "border_value": 7}
                    known = cuda.numpy(call(cuda.array(x), m, (41, 23), **options))
                    y = cuda.numpy(call(cuda.array(x), cuda.array(m), (41, 23), **options))
                    differ = np.abs(y.astype(float) - known) > (1 if x.dtype == np.uint8 else 1e-2)
                    assert y.shape == known.shape and differ.mean() < (0.01 if mode == "nearest" else 1e-9)
    for singular in (np.zeros((3, 3)), np.ones((3, 3))):
        y = ops.warp_perspective(cuda.array(image), cuda.array(singular), (5, 4), border_value=9)
        assert (cuda.numpy(y) == 9).all()
    with pytest.raises(ValueError, match=r"^\[warp_affine\] expected M of shape \(2, 3\), got \(3, 3\)"):
        ops.warp_affine(cuda.array(image), cuda.array(np.eye(3)), (5, 4))
    with pytest.raises(TypeError, match=r"^\[warp_affine\] expected M of dtype"):
        ops.warp_affine(cuda.array(image), cuda.array(np.eye(2, 3, dtype=np.int64)), (5, 4))


def test_identity_returns_the_image(cuda: Cuda) -> None:
    for dtype in (np.uint8, np.float32):
        for shape in ((5, 6), (2, 9, 8, 4)):
            x = np.random.default_rng(0).integers(0, 256, shape).astype(dtype)
            height, width = shape[:2] if len(shape) < 4 else shape[1:3]
            for mode in MODES:
                y = ops.warp_affine(
                    cuda.array(x), np.eye(3)[:2], (width, height), interpolation=mode, border_mode="replicate"
                )
                np.testing.assert_array_equal(cuda.numpy(y), x)


def test_wild_positions(cuda: Cuda) -> None:
    x = cuda.array(picture((20, 30, 3), np.uint8))
    horizon = np.array([[1.0, 0, 0], [0, 1, 0], [0.02, 0, -1]])
    wild = cuda.array(np.array([[np.nan, np.inf, -np.inf, 3e38, -3e38, 2**31, 1.5, -0.5]], np.float32))
    for mode in MODES:
        for border in BORDERS:
            options: Any = {"interpolation": mode, "border_mode": border, "border_value": 3}
            seen = cuda.numpy(ops.warp_perspective(x, horizon, (99, 2), inverse_map=True, **options))
            y = cuda.numpy(ops.remap(x, wild, wild, **options))
            if border == "constant":
                assert (seen[:, 50] == 3).all()  # the horizon itself
                assert (y[0, :6] == 3).all()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"dsize": (0, 5)}, ValueError, "expected dsize of at least"),
        ({"interpolation": "cubic"}, ValueError, "expected interpolation"),
        ({"border_mode": "mirror"}, ValueError, "expected border_mode"),
        ({"border_value": (1, 2)}, ValueError, "expected border_value for 3 channels"),
        ({"border_value": float("nan")}, ValueError, "expected finite border_value"),
        ({"M": np.zeros((3, 3))}, ValueError, "expected M with an inverse"),
        ({"M": np.zeros((2, 3))}, ValueError, "expected M of shape"),
    ],
)
def test_bad_arguments(cuda: Cuda, arguments: dict[str, Any], error: type, message: str) -> None:
    with pytest.raises(error, match=rf"^\[warp_perspective\] {message}"):
        ops.warp_perspective(
            cuda.array(picture((4, 4, 3), np.uint8)), **{"M": np.eye(3), "dsize": (4, 4), **arguments}
        )


def test_bad_images_and_maps(cuda: Cuda) -> None:
    for shape in ((4,), (4, 0, 3), (1, 2, 3, 4, 5)):
        with pytest.raises(ValueError, match=r"^\[warp_affine\] expected src"):
            ops.warp_affine(cuda.array(np.zeros(shape, np.uint8)), np.eye(3)[:2], (3, 3))
    with pytest.raises(TypeError, match=r"^\[warp_affine\] expected src of dtype"):
        ops.warp_affine(cuda.array(np.zeros((4, 4), np.int64)), np.eye(3)[:2], (3, 3))
    x = cuda.array(picture((4, 4, 1), np.uint8))
    flat, other = (cuda.array(np.zeros(shape, np.float32)) for shape in ((3, 3), (3, 4)))
    with pytest.raises(ValueError, match=r"^\[remap\] expected map1 of shape"):
        ops.remap(x, flat)
    with pytest.raises(ValueError, match=r"^\[remap\] expected map1 and map2 of one shape"):
        ops.remap(x, flat, other)
    with pytest.raises(ValueError, match=r"^\[remap\] expected all arrays on one device"):
        ops.remap(x, np.zeros((3, 3), np.float32), np.zeros((3, 3), np.float32))
    many = cuda.array(np.zeros((2, 2, 33), np.uint8))
    assert ops.warp_affine(many, np.eye(3)[:2], (2, 2), border_value=5).shape == (2, 2, 33)
    with pytest.raises(ValueError, match=r"^\[warp_affine\] expected one border_value"):
        ops.warp_affine(many, np.eye(3)[:2], (2, 2), border_value=list(range(33)))
