# SPDX-License-Identifier: Apache-2.0
"""deform_conv2d on CUDA against float64: versions 1 and 2, groups of both kinds, positions of any value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pyvision import ops
from tests.cuda_device import Cuda
from tests.helpers import EPS, assert_within, random
from tests.reference import deform as reference
from tests.test_cuda_conv2d import DTYPES, STORED, map_of_large_tiles

POSITION = 2.0**-17  # float32's rounding of a position below 64: what a sample of a unit slope may be off by


def check(
    cuda: Cuda,
    dtype: str,
    size: tuple[int, int, int],
    channels: tuple[int, int],
    kernel: tuple[int, int] = (3, 3),
    *,
    groups: int = 1,
    offset_groups: int = 1,
    masked: bool = True,
    layout: str = "NHWC",
    offset: np.ndarray | None = None,
    **geometry: Any,
) -> None:
    """Compare with the reference, of the values that the dtype holds."""

    def held(array: np.ndarray) -> tuple[Any, np.ndarray]:
        on_device = cuda.array(array, dtype)
        return on_device, cuda.numpy(on_device).astype(np.float32)

    stride, padding, dilation = (geometry.get(name, 1) for name in ("stride", "padding", "dilation"))
    spans = (dilation * (k - 1) + 1 for k in kernel)
    out = [(e + 2 * padding - span) // stride + 1 for e, span in zip(size[1:], spans, strict=True)]
    taps = offset_groups * kernel[0] * kernel[1]
    shape = (size[0], 2 * taps, *out)
    nchw = layout == "NCHW"

    def placed(array: np.ndarray) -> np.ndarray:  # of an NCHW array
        return np.ascontiguousarray(array if nchw else array.transpose(0, 2, 3, 1))

    x_on, x = held(random((*size, channels[0])))
    weight_on, weight = held(random((channels[1], channels[0] // groups, *kernel), seed=1))
    bias_on, bias = held(random((channels[1],), seed=2))
    _, offsets = held(2 * random(shape, seed=3) if offset is None else np.broadcast_to(offset, shape))
    _, mask = held(random((size[0], taps, *out), seed=4))
    y, bound = reference.deform_conv2d(
        x, offsets, weight, bias, mask if masked else None,
        stride=(stride,) * 2, padding=(padding,) * 2, dilation=(dilation,) * 2,
    )  # fmt: skip
    if nchw:
        x_on = cuda.array(np.ascontiguousarray(x.transpose(0, 3, 1, 2)), dtype)
    result = ops.deform_conv2d(
        x_on, cuda.array(placed(offsets), dtype), weight_on, bias_on, stride, padding, dilation,
        cuda.array(placed(mask), dtype) if masked else None, layout=layout,
    )  # fmt: skip
    assert cuda.dtype(result) == dtype
    actual = cuda.numpy(result).astype(np.float32)
    actual = actual.transpose(0, 2, 3, 1) if nchw else actual
    # A sample's neighbours may cancel in it: bounded by the sum of their absolute values over all taps.
    wide, _ = reference.deform_conv2d(
        np.full_like(x, np.abs(x).max()), offsets, np.abs(weight), None, np.abs(mask) if masked else None,
        stride=(stride,) * 2, padding=(padding,) * 2, dilation=(dilation,) * 2,
    )  # fmt: skip
    terms = weight[0].size + 8
    error = (EPS * terms + STORED[dtype]) * bound + (POSITION + EPS * terms) * (wide + 1)
    assert_within(actual, y, error + STORED[dtype] * (np.abs(y) + error) + 2.0**-25)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("masked", [False, True])
def test_versions(cuda: Cuda, dtype: str, masked: bool) -> None:
    for layout in ("NHWC", "NCHW"):
        check(cuda, dtype, (2, 6, 7), (16, 12), masked=masked, layout=layout)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("channels", "groups", "offset_groups"),
    [((16, 8), 2, 1), ((16, 8), 1, 2), ((32, 8), 2, 4), ((12, 6), 3, 2), ((6, 5), 1, 3), ((3, 4), 1, 1)],
)
def test_groups(cuda: Cuda, dtype: str, channels: Any, groups: int, offset_groups: int) -> None:
    check(cuda, dtype, (1, 5, 6), channels, groups=groups, offset_groups=offset_groups)


@pytest.mark.parametrize(("stride", "padding", "dilation"), [(2, 0, 1), (1, 2, 2), (3, 4, 1)])
def test_geometry(cuda: Cuda, stride: int, padding: int, dilation: int) -> None:
    for kernel in ((3, 3), (1, 2)):
        geometry = {"stride": stride, "padding": padding, "dilation": dilation}
        check(cuda, "float32", (1, 8, 9), (8, 8), kernel, **geometry)


@pytest.mark.parametrize("dtype", DTYPES)
def test_large_and_split(cuda: Cuda, dtype: str) -> None:
    for channels in (8, 6):
        check(cuda, dtype, map_of_large_tiles(cuda), (channels, 8), (1, 1), padding=0)
    check(cuda, dtype, (1, 3, 3), (96, 10))


@pytest.mark.parametrize("value", [0.0, -1.0, 0.5, 1e9, -1e30, np.inf, -np.inf, np.nan])
def test_positions_of_any_value(cuda: Cuda, value: float) -> None:
    """On pixels, on the border, far outside, not finite: nothing outside the image is read."""
    check(cuda, "float32", (1, 4, 5), (8, 8), offset=np.array(value, np.float32))


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"offset": random((1, 17, 5, 5))}, ValueError, "expected offset with 18 channels"),
        ({"offset": random((1, 18, 4, 5))}, ValueError, "expected offset of shape"),
        ({"offset": random((1, 54, 5, 5))}, ValueError, "expected offset with 18 channels"),
        ({"offset": random((18, 5, 5))}, ValueError, "expected offset"),
        ({"offset": random((1, 18, 5, 5)).astype(np.float16)}, TypeError, "expected offset of dtype float32"),
        ({"mask": random((1, 18, 5, 5))}, ValueError, "expected mask of shape"),
        ({"weight": random((6, 5, 3, 3))}, ValueError, "expected weight for a divisor"),
        ({"input": random((8, 5, 5))}, ValueError, "expected input with 4 dimensions"),
        ({"stride": 0}, ValueError, "expected stride > 0"),
    ],
)
def test_bad_arguments(cuda: Cuda, changed: dict[str, Any], error: type, message: str) -> None:
    good = {
        "input": random((1, 8, 5, 5)), "offset": random((1, 18, 5, 5)), "weight": random((6, 8, 3, 3)),
        "mask": random((1, 9, 5, 5)), "padding": 1,
    }  # fmt: skip
    arguments = good | changed
    held = {k: cuda.array(v) if isinstance(v, np.ndarray) else v for k, v in arguments.items()}
    with pytest.raises(error, match=rf"^\[deform_conv2d\] {message}"):
        ops.deform_conv2d(**held)
