# SPDX-License-Identifier: Apache-2.0
"""prepare_image on CUDA against float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pyvision import ops
from tests.cuda_device import Cuda
from tests.helpers import EPS
from tests.reference import prepare_image as reference
from tests.test_cuda_conv2d import DTYPES, STORED
from tests.test_prepare_image import ABSOLUTE, MEAN, STD, picture


def check(actual: np.ndarray, expected: np.ndarray, dtype: str) -> None:
    bound = (4 * EPS + STORED[dtype]) * np.abs(expected) + ABSOLUTE / min(STD)
    assert (np.abs(actual - expected) <= bound).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ["RGB", "BGR"])
@pytest.mark.parametrize("channels", [(), (3,), (4,)])
def test_against_float64(cuda: Cuda, channels: tuple[int, ...], order: Any, dtype: Any) -> None:
    for shape, size in (((9, 11), (5, 7)), ((5, 6), (13, 150)), ((1, 1), (3, 2)), ((20, 7), (20, 7))):
        image = picture(*shape, *channels)
        rgb = image[..., :3] if channels else np.repeat(image[..., None], 3, axis=2)
        tensor, transform = ops.prepare_image(
            cuda.array(image), size, mean=MEAN, std=STD, channel_order=order, dtype=dtype
        )
        assert cuda.dtype(tensor) == dtype
        assert tensor.shape == (1, *size, 3)
        expected = reference.resize(rgb if order == "RGB" else rgb[..., ::-1], *size)
        check(cuda.numpy(tensor)[0], (expected - MEAN) / STD, dtype)
        assert transform == ops.prepare_image(image, size)[1]


@pytest.mark.parametrize("size", [(32, 32), (32, 140), (3, 200)])
def test_letterbox(cuda: Cuda, size: tuple[int, int]) -> None:
    image = picture(20, 40, 3)
    options: Any = {"mode": "letterbox", "mean": MEAN, "std": STD, "pad_value": 114}
    tensor, transform = ops.prepare_image(cuda.array(image), size, **options)
    expected, same = ops.prepare_image(image, size, **options)
    np.testing.assert_allclose(cuda.numpy(tensor), expected, rtol=4 * EPS, atol=ABSOLUTE / min(STD))
    assert transform == same


def test_same_size_is_exactly_the_formula(cuda: Cuda) -> None:
    image = picture(9, 53, 3)
    tensor, _ = ops.prepare_image(cuda.array(image), (9, 53), mean=MEAN, std=STD)
    expected = (image.astype(np.float32) - np.float32(MEAN)) / np.float32(STD)
    np.testing.assert_array_equal(cuda.numpy(tensor)[0], expected)


def test_any_strides(cuda: Cuda) -> None:
    """Read as they lie, with no copy before."""
    image = picture(11, 13, 3)
    expected = cuda.numpy(ops.prepare_image(cuda.array(image), (7, 9))[0])
    planar = cuda.array(np.ascontiguousarray(image.transpose(2, 0, 1)))
    transposed = cuda.array(np.ascontiguousarray(image.transpose(1, 0, 2)))
    wide = cuda.array(np.pad(image, ((0, 0), (2, 1), (0, 0)), constant_values=255))
    for view in (axes(planar, (1, 2, 0)), axes(transposed, (1, 0, 2)), wide[:, 2:-1]):
        np.testing.assert_array_equal(cuda.numpy(ops.prepare_image(view, (7, 9))[0]), expected)


def axes(array: Any, order: tuple[int, ...]) -> Any:
    return array.permute(order) if hasattr(array, "permute") else array.transpose(order)


@pytest.mark.parametrize(
    ("shape", "options", "error", "message"),
    [
        ((6, 5, 2), {}, ValueError, "image of shape"),
        ((6, 0, 3), {}, ValueError, "image of shape"),
        ((6, 5, 3), {"size": (0, 4)}, ValueError, "size to be positive"),
        ((6, 5, 3), {"std": (1, 0, 1)}, ValueError, "finite mean and finite std"),
        ((6, 5, 3), {"pad_value": 1e300}, ValueError, "a finite pad_value"),
        ((6, 5, 3), {"dtype": "float64"}, ValueError, "dtype to be"),
        ((6, 5, 3), {"out": np.zeros((1, 4, 4, 3), np.float32)}, TypeError, "no out"),
    ],
)
def test_bad_arguments(
    cuda: Cuda, shape: tuple[int, ...], options: dict[str, Any], error: type, message: str
) -> None:
    with pytest.raises(error, match=rf"^\[prepare_image\] expected {message}"):
        ops.prepare_image(cuda.array(np.zeros(shape, np.uint8)), **{"size": (4, 4), **options})
    with pytest.raises(TypeError, match=r"^\[prepare_image\] expected image of dtype uint8"):
        ops.prepare_image(cuda.array(np.zeros((4, 4, 3), np.float32)), (4, 4))
