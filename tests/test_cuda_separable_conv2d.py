# SPDX-License-Identifier: Apache-2.0
"""separable_conv2d on CUDA against float64: tiles and their edges, multipliers, split K, layouts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pyvision import ops
from tests.cuda_device import Cuda
from tests.helpers import EPS, assert_within, random
from tests.reference import conv as reference
from tests.test_cuda_conv2d import DTYPES, STORED, map_of_large_tiles


def check(
    cuda: Cuda,
    dtype: str,
    size: tuple[int, int, int],
    channels: tuple[int, int, int],
    kernel: tuple[int, int] = (3, 3),
    *,
    layout: str = "NHWC",
    stride: int = 1,
    padding: int = 1,
    dilation: int = 1,
    biased: bool = True,
) -> None:
    """Channels: in, between, out. The operands are what the dtype holds."""

    def held(shape: tuple[int, ...], seed: int) -> tuple[Any, np.ndarray]:
        array = cuda.array(random(shape, seed=seed), dtype)
        return array, cuda.numpy(array).astype(np.float32)

    x_on, x = held((*size, channels[0]), 0)
    d_on, d = held((channels[1], 1, *kernel), 1)
    w_on, w = held((channels[2], channels[1], 1, 1), 2)
    (d_bias_on, d_bias), (w_bias_on, w_bias) = (held((c,), 3 + i) for i, c in enumerate(channels[1:]))
    between, bound = reference.conv2d(
        x, d, d_bias if biased else None, stride=(stride,) * 2, padding=(padding,) * 4,
        dilation=(dilation,) * 2, groups=channels[0],
    )  # fmt: skip
    between, error = reference.activate(between, EPS * (d[0].size + 2) * bound, "relu")
    error = error + STORED[dtype] * (np.abs(between) + error)
    y, bound = reference.conv2d(between, w, w_bias if biased else None)
    passed_on, _ = reference.conv2d(error, np.abs(w), None)
    y, error = reference.activate(y, passed_on + EPS * (channels[1] + 2) * bound, "relu")
    if layout == "NCHW":
        x_on = cuda.array(np.ascontiguousarray(x.transpose(0, 3, 1, 2)), dtype)
    result = ops.separable_conv2d(
        x_on, d_on, w_on, d_bias_on if biased else None, w_bias_on if biased else None, stride, padding,
        dilation, depthwise_activation="relu", activation="relu", layout=layout,
    )  # fmt: skip
    assert cuda.dtype(result) == dtype
    actual = cuda.numpy(result).astype(np.float32)
    actual = actual.transpose(0, 2, 3, 1) if layout == "NCHW" else actual
    assert_within(actual, y, error + STORED[dtype] * (np.abs(y) + error) + 2.0**-25)


# (size, channels): one pixel; less than a tile; its edges; several; channels that fill no pack; two a channel
SHAPES = [
    ((1, 1, 1), (8, 8, 8)),
    ((2, 6, 7), (16, 16, 12)),
    ((1, 5, 13), (24, 24, 65)),
    ((1, 12, 12), (40, 40, 8)),
    ((1, 6, 5), (3, 3, 10)),
    ((1, 4, 7), (8, 16, 6)),
]


@pytest.mark.parametrize(("size", "channels"), SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_shapes(cuda: Cuda, dtype: str, size: Any, channels: Any) -> None:
    check(cuda, dtype, size, channels)


@pytest.mark.parametrize(("stride", "padding", "dilation"), [(2, 0, 1), (1, 2, 2), (3, 4, 1)])
def test_geometry(cuda: Cuda, stride: int, padding: int, dilation: int) -> None:
    for kernel in ((3, 3), (1, 2)):
        check(
            cuda, "float32", (1, 8, 9), (8, 8, 8), kernel, stride=stride, padding=padding, dilation=dilation
        )


@pytest.mark.parametrize("dtype", DTYPES)
def test_layouts_and_no_bias(cuda: Cuda, dtype: str) -> None:
    check(cuda, dtype, (2, 6, 7), (16, 16, 12), layout="NCHW", biased=False)


@pytest.mark.parametrize("dtype", DTYPES)
def test_large_and_split(cuda: Cuda, dtype: str) -> None:
    for channels in (8, 6):
        check(cuda, dtype, map_of_large_tiles(cuda), (channels, channels, 8))
    check(cuda, dtype, (1, 3, 3), (1024, 1024, 10), (1, 1), padding=0)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"depthwise_weight": random((12, 1, 3, 3))}, ValueError, "expected depthwise_weight of shape"),
        ({"depthwise_weight": random((8, 2, 3, 3))}, ValueError, "expected depthwise_weight of shape"),
        ({"depthwise_weight": random((8, 3, 3))}, ValueError, "expected depthwise_weight"),
        ({"pointwise_weight": random((6, 9, 1, 1))}, ValueError, "expected pointwise_weight of shape"),
        ({"pointwise_weight": random((6, 8, 3, 3))}, ValueError, "expected pointwise_weight of shape"),
        ({"pointwise_bias": random((5,))}, ValueError, "expected pointwise_bias of shape"),
        (
            {"pointwise_weight": random((6, 8, 1, 1)).astype(np.float16)},
            TypeError,
            "expected pointwise_weight",
        ),
        ({"input": random((8, 5, 5))}, ValueError, "expected input with 4 dimensions"),
        ({"stride": 0}, ValueError, "expected stride > 0"),
    ],
)
def test_bad_arguments(cuda: Cuda, changed: dict[str, Any], error: type, message: str) -> None:
    good = {
        "input": random((1, 8, 5, 5)), "depthwise_weight": random((8, 1, 3, 3)),
        "pointwise_weight": random((6, 8, 1, 1)), "padding": 1,
    }  # fmt: skip
    held = {k: cuda.array(v) if isinstance(v, np.ndarray) else v for k, v in (good | changed).items()}
    with pytest.raises(error, match=rf"^\[separable_conv2d\] {message}"):
        ops.separable_conv2d(**held)
