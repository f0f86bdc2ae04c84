# SPDX-License-Identifier: Apache-2.0
"""conv2d and depthwise_conv2d on CUDA against float64: tiles and their edges, dtypes, split K, layouts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pyvision import ops
from tests.cuda_device import Cuda
from tests.helpers import EPS, assert_within, random
from tests.reference import conv as reference

DTYPES = ["float32", "float16", "bfloat16"]
STORED = {"float32": EPS / 2, "float16": 2.0**-11, "bfloat16": 2.0**-8}  # of a value rounded once
TF32 = 2.0**-10  # of an operand cut to 10 bits of fraction


def check(
    cuda: Cuda,
    dtype: str,
    size: tuple[int, int, int],
    channels: tuple[int, int],
    kernel: tuple[int, int],
    *,
    depthwise: bool = False,
    tf32: bool = False,
    residual: bool = False,
    activation: str | None = None,
    layout: str = "NHWC",
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
) -> np.ndarray:
    """Compare with the reference; the operands are what the dtype holds, so that only sums round."""
    groups = channels[0] if depthwise else groups

    def held(shape: tuple[int, ...], seed: int) -> tuple[Any, np.ndarray]:
        array = cuda.array(random(shape, seed=seed), dtype)
        return array, cuda.numpy(array).astype(np.float32)

    n, *extents = size
    x_on, x = held((n, *extents, channels[0]), 0)
    weight_on, weight = held((channels[1], channels[0] // groups, *kernel), 1)
    bias_on, bias = held((channels[1],), 2)
    geometry = {"stride": stride, "padding": (*padding, *padding), "dilation": dilation, "groups": groups}
    y, bound = reference.conv2d(x, weight, bias, **geometry)
    r_on = None
    if residual:
        r_on, r = held(y.shape, 3)
        y, bound = y + r, bound + np.abs(r)
    terms = weight[0].size + 2
    error = (EPS * terms + (2 * TF32 if tf32 else 0)) * bound
    y, error = reference.activate(y, error, activation or "none")
    if layout == "NCHW":
        x_on = cuda.array(np.ascontiguousarray(x.transpose(0, 3, 1, 2)), dtype)
        r_on = None if r_on is None else cuda.array(np.ascontiguousarray(r.transpose(0, 3, 1, 2)), dtype)
    arguments: dict[str, Any] = {
        "stride": stride, "padding": padding, "dilation": dilation, "activation": activation,
        "layout": layout,
    }  # fmt: skip
    if depthwise:
        result = ops.depthwise_conv2d(x_on, weight_on, bias_on, **arguments)
    else:
        precision = "tf32" if tf32 else "f32"
        result = ops.conv2d(
            x_on, weight_on, bias_on, **arguments, groups=groups, residual=r_on, precision=precision
        )
    assert cuda.dtype(result) == dtype
    actual = cuda.numpy(result).astype(np.float32)
    actual = actual.transpose(0, 2, 3, 1) if layout == "NCHW" else actual
    assert_within(actual, y, error + STORED[dtype] * (np.abs(y) + error) + 2.0**-25)
    return actual


# (size, channels, kernel): one pixel; less than a tile; its edges; several tiles; channels that fill no pack
SHAPES = [
    ((1, 1, 1), (8, 8), (1, 1)),
    ((1, 8, 8), (16, 64), (1, 1)),
    ((1, 5, 13), (8, 65), (3, 3)),
    ((2, 9, 8), (40, 24), (3, 2)),
    ((1, 12, 12), (24, 130), (1, 1)),
    ((1, 6, 5), (3, 10), (3, 3)),
    ((2, 4, 7), (13, 9), (2, 3)),
]


@pytest.mark.parametrize(("size", "channels", "kernel"), SHAPES)
@pytest.mark.parametrize("dtype", [*DTYPES, "tf32"])
def test_shapes(cuda: Cuda, dtype: str, size: Any, channels: Any, kernel: Any) -> None:
    name = "float32" if dtype == "tf32" else dtype
    check(cuda, name, size, channels, kernel, tf32=dtype == "tf32", padding=(kernel[0] // 2, kernel[1] // 2))


@pytest.mark.parametrize("dtype", DTYPES)
def test_bias_off_its_packs(cuda: Cuda, dtype: str) -> None:
    """Channels that fill packs of 16 bytes, and yet what is added to them begins within one."""
    bias = random((17,), seed=2)
    x, weight, longer, aligned = (
        cuda.array(a, dtype)
        for a in (random((1, 5, 6, 16)), random((16, 16, 3, 3), seed=1), bias, bias[1:].copy())
    )
    expected, got = (cuda.numpy(ops.conv2d(x, weight, b, layout="NHWC")) for b in (aligned, longer[1:]))
    np.testing.assert_array_equal(got, expected)


def map_of_large_tiles(cuda: Cuda) -> tuple[int, int, int]:
    """Its pixels fill as many tiles of 128 as the device has processors, but for the last one."""
    return 1, (128 * cuda.processors() - 75) // 19, 19


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "tf32"])
@pytest.mark.parametrize("channels", [(8, 136), (8, 40), (6, 136), (6, 40)])
def test_large_tiles(cuda: Cuda, dtype: str, channels: Any) -> None:
    """Of 128 x 128 and of 128 x 64, with channels that fill packs and that do not."""
    name = "float32" if dtype == "tf32" else dtype
    check(cuda, name, map_of_large_tiles(cuda), channels, (1, 1), tf32=dtype == "tf32")


def test_large_exact_tiles(cuda: Cuda) -> None:
    for channels in ((8, 40), (6, 40)):
        check(cuda, "float32", map_of_large_tiles(cuda), channels, (1, 1))


@pytest.mark.parametrize("dtype", [*DTYPES, "tf32"])
def test_split_k(cuda: Cuda, dtype: str) -> None:
    """A small map with many channels: the sums of the parts are added in their order."""
    name = "float32" if dtype == "tf32" else dtype
    for channels in (96, 250):
        check(
            cuda, name, (1, 3, 4), (channels, 12), (3, 3), tf32=dtype == "tf32", padding=(1, 1),
            residual=True, activation="relu",
        )  # fmt: skip


@pytest.mark.parametrize("stride", [(1, 1), (2, 1)])
@pytest.mark.parametrize("dilation", [(1, 1), (2, 3)])
@pytest.mark.parametrize("padding", [(0, 0), (1, 4)])
def test_geometry(cuda: Cuda, stride: Any, dilation: Any, padding: Any) -> None:
    for channels in (8, 6):
        check(
            cuda,
            "float16",
            (2, 9, 10),
            (channels, 16),
            (3, 3),
            stride=stride,
            dilation=dilation,
            padding=padding,
        )


@pytest.mark.parametrize(("channels", "groups"), [((16, 32), 2), ((24, 12), 3), ((6, 9), 3), ((4, 8), 4)])
def test_groups(cuda: Cuda, channels: Any, groups: int) -> None:
    for dtype in ("float16", "float32"):
        check(cuda, dtype, (1, 6, 7), channels, (3, 3), groups=groups, padding=(1, 1), residual=True)


@pytest.mark.parametrize("activation", reference.ACTIVATIONS)
def test_activations(cuda: Cuda, activation: str) -> None:
    for depthwise in (False, True):
        channels = (8, 8)
        check(cuda, "float32", (1, 5, 6), channels, (3, 3), depthwise=depthwise, activation=activation)


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_layouts(cuda: Cuda, layout: str) -> None:
    for dtype in DTYPES:
        check(cuda, dtype, (2, 5, 7), (8, 16), (3, 3), layout=layout, padding=(1, 1), residual=True)
        check(cuda, dtype, (2, 35, 3), (40, 40), (3, 3), layout=layout, depthwise=True)


def test_channels_last_comes_and_goes_without_a_copy(cuda: Cuda) -> None:
    x = random((2, 6, 7, 8)).astype(np.float16).transpose(0, 3, 1, 2)
    weight = random((16, 3, 3, 8), seed=1).astype(np.float16).transpose(0, 3, 1, 2)
    y = ops.conv2d(cuda.strided(x), cuda.strided(weight), padding=1)
    assert tuple(y.shape) == (2, 16, 6, 7) and cuda.is_channels_last(y)
    expected = ops.conv2d(cuda.array(x), cuda.array(weight), padding=1)
    assert not cuda.is_channels_last(expected)
    np.testing.assert_array_equal(cuda.numpy(y), cuda.numpy(expected))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise(cuda: Cuda, dtype: str, kernel: int, stride: int) -> None:
    """Runs of four pixels and what is left of them, borders on every side."""
    for width, padding in ((1, kernel // 2), (8, kernel // 2), (11, 0), (6, kernel)):
        if width + 2 * padding >= kernel:
            geometry = {"stride": (stride, stride), "padding": (padding, padding)}
            check(cuda, dtype, (2, 8, width), (24, 24), (kernel, kernel), depthwise=True, **geometry)


@pytest.mark.parametrize("channels", [(16, 16), (13, 13), (8, 24), (300, 300)])
@pytest.mark.parametrize("kernel", [(3, 2), (1, 4), (3, 3)])
def test_depthwise_general(cuda: Cuda, channels: Any, kernel: Any) -> None:
    for dtype in DTYPES:
        check(cuda, dtype, (1, 9, 10), channels, kernel, depthwise=True, dilation=(2, 3), stride=(1, 3))


def test_empty_batch(cuda: Cuda) -> None:
    for depthwise in (False, True):
        assert check(cuda, "float32", (0, 5, 6), (8, 8), (3, 3), depthwise=depthwise).shape == (0, 3, 4, 8)


def test_schedule_does_not_matter(cuda: Cuda) -> None:
    arguments: tuple[Any, ...] = (cuda, "float16", (1, 3, 4), (96, 12), (3, 3))
    rising = check(*arguments, padding=(1, 1))
    cuda.falling_order(True)
    np.testing.assert_array_equal(check(*arguments, padding=(1, 1)), rising)


def test_stream_is_asked_for_at_every_call(emulated_cuda: Cuda) -> None:
    cuda = emulated_cuda
    x, weight = cuda.array(random((1, 5, 5, 8))), cuda.array(random((8, 8, 3, 3)))
    cuda.streams_asked.clear()
    y = ops.conv2d(x, weight, layout="NHWC")
    assert type(y) is type(x) and cuda.streams_asked == [0]


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"input": random((2, 5, 8))}, ValueError, "expected input with 4 dimensions"),
        ({"input": np.zeros((1, 8, 5, 5))}, TypeError, "expected input of dtype"),
        ({"weight": random((6, 5, 3, 3))}, ValueError, "expected weight for 8 input channels"),
        ({"weight": random((6, 8, 3, 3)).astype(np.float16)}, TypeError, "expected weight of dtype float32"),
        ({"bias": random((5,))}, ValueError, "expected bias of shape"),
        ({"residual": random((1, 6, 5, 5))}, ValueError, "expected residual of shape"),
        ({"stride": 0}, ValueError, "expected stride > 0"),
        ({"dilation": 9}, ValueError, "expected input no smaller than the kernel"),
        ({"groups": 3}, ValueError, "expected channels divisible by groups"),
        ({"padding": 2**30}, ValueError, "expected extents"),
        ({"padding": 2**62}, ValueError, "expected kernel, stride, padding and dilation below"),
        ({"precision": "bf16"}, ValueError, "expected precision"),
        ({"activation": "no"}, ValueError, "expected activation"),
        ({"layout": "HWCN"}, ValueError, "expected layout"),
    ],
)
def test_bad_arguments(cuda: Cuda, changed: dict[str, Any], error: type, message: str) -> None:
    good = {"input": random((1, 8, 5, 5)), "weight": random((6, 8, 3, 3)), "bias": random((6,))}
    arguments = good | changed
    held = {k: cuda.array(v) if isinstance(v, np.ndarray) else v for k, v in arguments.items()}
    with pytest.raises(error, match=rf"^\[conv2d\] {message}"):
        ops.conv2d(**held)
