# SPDX-License-Identifier: Apache-2.0
"""pixel_shuffle, its inverse and max_unpool2d on CUDA: values that move."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pyvision import ops
from tests.cuda_device import Cuda
from tests.helpers import random
from tests.reference.pixel_shuffle import pixel_shuffle as shuffled
from tests.reference.pooling import max_unpool2d as unpooled
from tests.test_cuda_conv2d import DTYPES

LAST = (0, 2, 3, 1)


def nhwc(x: np.ndarray) -> np.ndarray:
    """The same map in the other layout."""
    return np.ascontiguousarray(x.transpose(LAST))


@pytest.mark.parametrize("dtype", [*DTYPES, "float64", "uint8", "int64", "bool"])
def test_pixels_and_channels(cuda: Cuda, dtype: str) -> None:
    for r, shape in ((1, (1, 3, 4, 5)), (2, (2, 3, 5, 7)), (3, (1, 5, 4, 3)), (4, (1, 2, 3, 300))):
        n, channels, h, w = shape
        host = np.random.default_rng(0).integers(0, 120, (n, channels * r * r, h, w))
        x = cuda.array(host, dtype)
        expected = shuffled(cuda.numpy(x), r)
        y = ops.pixel_shuffle(x, r)
        assert cuda.dtype(y) == dtype
        np.testing.assert_array_equal(cuda.numpy(y), expected)
        np.testing.assert_array_equal(cuda.numpy(ops.pixel_unshuffle(y, r)), cuda.numpy(x))
        last = ops.pixel_shuffle(cuda.array(nhwc(host), dtype), r, layout="NHWC")
        np.testing.assert_array_equal(cuda.numpy(last), nhwc(expected))
        back = ops.pixel_unshuffle(last, r, layout="NHWC")
        np.testing.assert_array_equal(cuda.numpy(back), nhwc(cuda.numpy(x)))


def test_channels_last_and_empty_batches(cuda: Cuda) -> None:
    x = random((2, 5, 7, 12))
    y = ops.pixel_shuffle(cuda.strided(x.transpose(0, 3, 1, 2)), 2)
    assert cuda.is_channels_last(y)
    np.testing.assert_array_equal(cuda.numpy(y), shuffled(x.transpose(0, 3, 1, 2), 2))
    empty = cuda.array(np.zeros((0, 8, 3, 4), np.float32))
    assert ops.pixel_shuffle(empty, 2).shape == (0, 2, 6, 8)
    assert ops.pixel_unshuffle(cuda.array(np.zeros((1, 3, 0, 4), np.float32)), 2).shape == (1, 12, 0, 2)


def test_refused_shuffles(cuda: Cuda) -> None:
    x = cuda.array(random((1, 8, 6, 6)))
    for op in (ops.pixel_shuffle, ops.pixel_unshuffle):
        for factor, error in ((0, ValueError), (2**15, ValueError), (2.0, TypeError)):
            with pytest.raises(error, match="scale_factor"):
                op(x, factor)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="4 dimensions"):
            op(cuda.array(random((8, 6, 6))), 2)
        with pytest.raises(TypeError, match="expected input of dtype"):
            op(cuda.array(np.zeros((1, 8, 6, 6), np.int16)), 2)
        with pytest.raises(ValueError, match="layout"):
            op(x, 2, layout="HWC")  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match=r"^\[pixel_shuffle\] expected input with a multiple of .* 9 channels"
    ):
        ops.pixel_shuffle(x, 3)
    with pytest.raises(
        ValueError, match=r"^\[pixel_unshuffle\] expected input of extents that are multiples"
    ):
        ops.pixel_unshuffle(x, 4)
    with pytest.raises(ValueError, match="expected an output whose extents fit"):
        ops.pixel_shuffle(cuda.array(np.zeros((1, 0, 2**62, 1), np.uint8)), 8)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("falling", [False, True])
def test_unpooled_of_several_the_last_remains(cuda: Cuda, dtype: str, falling: bool) -> None:
    cuda.falling_order(falling)
    for channels in (1, 8, 40):
        x = cuda.array(random((2, channels, 4, 5)), dtype)
        indices = np.random.default_rng(1).integers(0, 80, (2, channels, 4, 5))  # some twice
        places = cuda.array(indices)
        expected = unpooled(cuda.numpy(x), indices, (8, 10))
        y = ops.max_unpool2d(x, places, 2)
        assert cuda.dtype(y) == dtype
        np.testing.assert_array_equal(cuda.numpy(y), expected)
        last = [cuda.array(nhwc(cuda.numpy(x)), dtype), cuda.array(nhwc(indices))]
        found = ops.max_unpool2d(*last, 2, layout="NHWC")
        np.testing.assert_array_equal(cuda.numpy(found), nhwc(expected))

        grad = cuda.array(random(expected.shape, seed=2), dtype)
        flat = cuda.numpy(grad).reshape(2, channels, 80)
        gathered = np.take_along_axis(flat, indices.reshape(2, channels, 20), 2).reshape(indices.shape)
        dx = ops.max_unpool2d_backward(grad, places)
        assert cuda.dtype(dx) == dtype
        np.testing.assert_array_equal(cuda.numpy(dx), gathered)


def test_indices_outside_move_nothing(cuda: Cuda) -> None:
    x, indices = random((1, 2, 2, 2)), np.arange(8).reshape(1, 2, 2, 2)
    indices[0, 0] = [[-1, 16], [2**62, -(2**63)]]
    y = cuda.numpy(ops.max_unpool2d(cuda.array(x), cuda.array(indices), 2))
    assert not y[0, 0].any()
    np.testing.assert_array_equal(y[0, 1].ravel()[4:8], x[0, 1].ravel())
    dx = cuda.numpy(ops.max_unpool2d_backward(cuda.array(random((1, 2, 4, 4))), cuda.array(indices)))
    assert not dx[0, 0].any()
    assert dx[0, 1].all()


@pytest.mark.parametrize(
    ("places", "options", "error", "message"),
    [
        ((1, 2, 3, 3), {}, ValueError, "expected indices of shape"),
        ((1, 3, 3, 4), {}, ValueError, "expected indices of shape"),
        ((1, 2, 12), {}, ValueError, "expected indices with 4 dimensions"),
        ((1, 2, 3, 4), {"kernel_size": 0}, ValueError, "expected kernel_size"),
        ((1, 2, 3, 4), {"output_size": (6, 11)}, ValueError, "expected output_size less than a stride"),
        ((1, 2, 3, 4), {"padding": 9}, ValueError, "expected an output of at least 1 x 1"),
    ],
)
def test_refused_unpoolings(
    cuda: Cuda, places: Any, options: dict[str, Any], error: type, message: str
) -> None:
    x, indices = cuda.array(random((1, 2, 3, 4))), cuda.array(np.zeros(places, np.int64))
    with pytest.raises(error, match=rf"^\[max_unpool2d\] {message}"):
        ops.max_unpool2d(x, indices, **{"kernel_size": 2, **options})


def test_refused_sizes(cuda: Cuda) -> None:
    x, indices = cuda.array(random((1, 1, 1, 1))), cuda.array(np.zeros((1, 1, 1, 1), np.int64))
    for size in ((-1, -1), (0, 1)):  # near enough to one pixel by a stride of 3
        with pytest.raises(ValueError, match=r"^\[max_unpool2d\] expected an output of at least 1 x 1"):
            ops.max_unpool2d(x, indices, 1, 3, output_size=size)


def test_refused_kinds(cuda: Cuda) -> None:
    x = cuda.array(random((1, 2, 3, 4)))
    with pytest.raises(TypeError, match=r"^\[max_unpool2d\] expected indices of dtype"):
        ops.max_unpool2d(x, cuda.array(np.zeros((1, 2, 3, 4), np.int32)), 2)
    with pytest.raises(ValueError, match=r"^\[max_unpool2d\] expected all arrays on one device"):
        ops.max_unpool2d(x, np.zeros((1, 2, 3, 4), np.int64), 2)
    with pytest.raises(ValueError, match=r"^\[max_unpool2d_backward\] expected indices of shape"):
        ops.max_unpool2d_backward(x, cuda.array(np.zeros((1, 3, 3, 4), np.int64)))
    for shape in ((1, 0, 3, 4), (1, 2, 0, 4)):
        with pytest.raises(ValueError, match=r"^\[max_unpool2d\] expected input with no empty axis"):
            ops.max_unpool2d(
                cuda.array(np.zeros(shape, np.float32)), cuda.array(np.zeros(shape, np.int64)), 2
            )
