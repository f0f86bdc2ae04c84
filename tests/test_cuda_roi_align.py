# SPDX-License-Identifier: Apache-2.0
"""roi_align on CUDA against loops in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pyvision import ops
from tests.cuda_device import Cuda
from tests.helpers import EPS, assert_within, random
from tests.reference import roi as reference
from tests.test_cuda_conv2d import DTYPES, STORED
from tests.test_roi import case

POSITION = 2.0**-17  # float32's rounding of a position below 64, times a slope of 1 an axis


def check(cuda: Cuda, dtype: str, arguments: dict[str, Any], layout: str = "NHWC") -> None:
    x_on = cuda.array(arguments["input"], dtype)
    x = cuda.numpy(x_on).astype(np.float32)
    boxes, size = arguments["boxes"], arguments["output_size"]
    scale, ratio, aligned = (arguments[name] for name in ("spatial_scale", "sampling_ratio", "aligned"))
    y, bound = reference.roi_align(x, boxes, size, scale, ratio, aligned)
    if layout == "NCHW":
        x_on = cuda.array(np.ascontiguousarray(x.transpose(0, 3, 1, 2)), dtype)
    result = ops.roi_align(x_on, cuda.array(boxes), size, scale, ratio, aligned, layout=layout)
    assert cuda.dtype(result) == dtype
    actual = cuda.numpy(result).astype(np.float32)
    actual = actual.transpose(0, 2, 3, 1) if layout == "NCHW" else actual
    error = 100 * EPS * bound + POSITION * np.abs(x).max(initial=0)
    assert_within(actual, y, error + STORED[dtype] * (np.abs(y) + error) + 2.0**-25)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(8))
def test_sampling(cuda: Cuda, dtype: str, seed: int) -> None:
    """Boxes of all sizes, some beyond the map, one without area and one the wrong way round."""
    arguments = case("roi_align", seed)
    for ratio, aligned in ((-1, True), (2, False), (3, True), (0, False)):
        options = {"sampling_ratio": ratio, "aligned": aligned, "spatial_scale": 0.5 if seed % 2 else 1.0}
        check(cuda, dtype, arguments | options)


@pytest.mark.parametrize("channels", [1, 7, 8, 24])
def test_layouts(cuda: Cuda, channels: int) -> None:
    arguments = case("roi_align", 1) | {"spatial_scale": 1.0, "sampling_ratio": -1, "aligned": False}
    arguments["input"] = random((*arguments["input"].shape[:3], channels))
    for layout in ("NHWC", "NCHW"):
        check(cuda, "float16", arguments, layout)


def test_no_boxes(cuda: Cuda) -> None:
    y = ops.roi_align(
        cuda.array(random((1, 4, 5, 8))), cuda.array(np.zeros((0, 5), np.float32)), 2, layout="NHWC"
    )
    assert tuple(y.shape) == (0, 2, 2, 8)


@pytest.mark.parametrize("ratio", [-1, 2])
def test_boxes_of_any_value_index_no_memory(cuda: Cuda, ratio: int) -> None:
    """Images that do not exist give NaN, coordinates that are not finite or huge a finite value."""
    x = cuda.array(random((2, 4, 5, 8)))
    wild = [np.nan, np.inf, -np.inf, 3e38, -3e38, 1e9, -1e9]
    for column in range(1, 5):
        boxes = np.tile(np.array([1, 0.5, 1, 3, 4], np.float32), (len(wild), 1))
        boxes[:, column] = wild
        pooled = cuda.numpy(ops.roi_align(x, cuda.array(boxes), 2, 1.0, ratio, True, layout="NHWC"))
        assert np.isfinite(pooled).all()
    images = np.array([-1, 2, 0.5, np.nan, np.inf, 1, -0.0], np.float32)
    boxes = np.tile(np.array([0, 0, 0, 3, 3], np.float32), (len(images), 1))
    boxes[:, 0] = images
    pooled = cuda.numpy(ops.roi_align(x, cuda.array(boxes), 2, 1.0, ratio, True, layout="NHWC"))
    assert np.isnan(pooled).all(axis=(1, 2, 3)).tolist() == [True] * 5 + [False] * 2
    assert np.isfinite(pooled[5:]).all()


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"input": random((4, 5, 8))}, ValueError, "expected input with 4 dimensions"),
        ({"input": np.zeros((1, 8, 4, 5))}, TypeError, "expected input of dtype"),
        ({"input": np.zeros((1, 8, 0, 5), np.float32)}, ValueError, "expected maps of at least one pixel"),
        ({"boxes": np.zeros((3, 4), np.float32)}, ValueError, "expected boxes of shape"),
        ({"boxes": np.zeros((3, 5))}, TypeError, "expected boxes of dtype"),
        ({"output_size": 0}, ValueError, "expected output_size to be positive"),
        ({"output_size": (-1, 2)}, ValueError, "expected output_size to be positive"),
        ({"spatial_scale": float("nan")}, ValueError, "expected spatial_scale"),
        ({"spatial_scale": 0}, ValueError, "expected spatial_scale"),
        ({"sampling_ratio": 1025}, ValueError, "expected sampling_ratio"),
        ({"aligned": 1}, TypeError, "expected aligned"),
        ({"mode": "max"}, ValueError, "expected mode 'average' on CUDA"),
    ],
)
def test_bad_arguments(cuda: Cuda, changed: dict[str, Any], error: type, message: str) -> None:
    good = {"input": random((1, 8, 4, 5)), "boxes": np.zeros((3, 5), np.float32), "output_size": 2}
    arguments = good | changed
    held = {k: cuda.array(v) if isinstance(v, np.ndarray) else v for k, v in arguments.items()}
    with pytest.raises(error, match=rf"^\[roi_align\] {message}"):
        ops.roi_align(**held)
