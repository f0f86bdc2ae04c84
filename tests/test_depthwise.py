# SPDX-License-Identifier: Apache-2.0
"""depthwise_conv2d in both layouts: the shapes of its kernels' blocks, multipliers, borders, threads."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pyvision import _core, ops
from tests._guard import guarded
from tests.helpers import EPS, assert_within, check_threads_agree, random
from tests.reference import conv as reference

# Around the blocks of 7 pixels and the vectors of 8 and 16 lanes.
WIDTHS = [1, 2, 6, 7, 8, 13, 14, 15, 21]
PAIRS = [(1, 1), (2, 2), (2, 1), (1, 3)]


def check(
    layout: str,
    size: tuple[int, int],
    channels: int,
    kernel: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    dilation: tuple[int, int] = (1, 1),
    multiplier: int = 1,
    batch: int = 1,
    activation: str | None = None,
) -> None:
    """Run with every operand beside unmapped memory, and compare with float64."""
    x = random((batch, *size, channels))
    weight, bias = (
        random((channels * multiplier, 1, *kernel), seed=1),
        random((channels * multiplier,), seed=2),
    )
    y, bound = reference.conv2d(
        x, weight, bias, stride=stride, padding=(*padding, *padding), dilation=dilation, groups=channels
    )
    error = EPS * (kernel[0] * kernel[1] + 1) * bound
    expected = reference.activate(y, error, activation or "none")
    held = np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if layout == "NCHW" else x
    for before in (False, True):
        result = ops.depthwise_conv2d(
            *(guarded(a, before=before) for a in (held, weight, bias)), stride, padding, dilation,
            activation=activation, layout=layout,
        )  # fmt: skip
        assert_within(result.transpose(0, 2, 3, 1) if layout == "NCHW" else result, *expected)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kernel", [1, 2, 3, 5, 7, 9])
def test_blocks_and_borders(isa: str, width: int, kernel: int) -> None:
    """Odd and even numbers of rows, padding that reaches past the map, strides with and without a kernel of
    their own."""
    for stride, padding, height in itertools.product((1, 2, 3), (0, kernel // 2, kernel), (1, 4, 5)):
        if min(height, width) + 2 * padding >= kernel:
            check("NHWC", (height, width), 19, (kernel, kernel), (stride,) * 2, (padding,) * 2)


@pytest.mark.parametrize("stride", PAIRS)
@pytest.mark.parametrize("dilation", [(2, 2), (3, 2), (4, 4), (1, 6)])
def test_dilation_and_stride_share_lattices(
    isa: str, stride: tuple[int, int], dilation: tuple[int, int]
) -> None:
    for width in (5, 16, 23):
        check("NHWC", (11, width), 17, (3, 3), stride, dilation, dilation)
        check("NHWC", (13, width), 3, (2, 5), stride, (4, 12), dilation, multiplier=2)


@pytest.mark.parametrize("multiplier", [2, 3, 5, 16, 17, 40])
@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_channel_multiplier(isa: str, multiplier: int, layout: str) -> None:
    for channels, kernel, stride in ((2, 3, 1), (7, 3, 2), (17, 5, 1), (3, 4, 1)):
        check(layout, (6, 9), channels, (kernel,) * 2, (stride,) * 2, (1, 1), multiplier=multiplier, batch=2)


@pytest.mark.parametrize("kernel", [(3, 3), (1, 1), (2, 3), (3, 1)])
@pytest.mark.parametrize("stride", PAIRS)
def test_planes(isa: str, kernel: tuple[int, int], stride: tuple[int, int]) -> None:
    """Rows long enough for the NCHW kernel, around its vectors, in one strip of rows and in several."""
    for width in (48, 63, 64, 65, 79, 130):
        for padding, dilation in ((0, 1), (1, 1), (2, 2), (7, 3)):
            pads = (padding, padding)
            check("NCHW", (7, width * stride[1] + 4), 3, kernel, stride, pads, (dilation, dilation))
    check("NCHW", (90, 130 * stride[1]), 2, kernel, stride, (1, 1), activation="silu", batch=2)


def test_planes_of_far_apart_taps(isa: str) -> None:
    """A window far larger than the map: more scratch memory than the NCHW kernel may take."""
    reach = 1 << 12
    check("NCHW", (3, 50), 2, (3, 3), (1, 1), (reach, reach), (reach, reach))


@pytest.mark.parametrize("channels", [95, 96, 97, 112, 400])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_inputs_at_any_address(isa: str, channels: int, stride: int) -> None:
    """Kernels with a stride begin at the first channels that are aligned: the same sums, to the bit."""
    x, weight = random((2, 7, 9, channels)), random((channels, 1, 3, 3), seed=1)
    memory = np.zeros(x.size + 32, np.float32)
    aligned = -(memory.ctypes.data // 4) % 16
    results = []
    for offset in (0, 1, 4, 15):
        start = aligned + offset
        memory[:start] = memory[start + x.size :] = np.nan
        moved = memory[start : start + x.size].reshape(x.shape)
        moved[...] = x
        results.append(ops.depthwise_conv2d(moved, weight, None, stride, 1, layout="NHWC"))
    y, bound = reference.conv2d(x, weight, None, stride=(stride,) * 2, padding=(1,) * 4, groups=channels)
    assert_within(results[0], y, EPS * 10 * bound)
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_maps_beyond_l2_are_prefetched(isa: str) -> None:
    """Nothing is read past the end: prefetches are not accesses."""
    check("NHWC", (90, 64), 48, (3, 3), (1, 1), (1, 1))


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("channels", [3, 70, 130])
def test_threads_agree(isa: str, layout: str, channels: int) -> None:
    for size, kernel in (((40, 50), 3), ((1, 300), 1), ((17, 9), 5)):
        shape = (2, *size, channels) if layout == "NHWC" else (2, channels, *size)
        x, weight = random(shape), random((2 * channels, 1, kernel, kernel), seed=1)
        check_threads_agree(
            lambda: ops.depthwise_conv2d(x, weight, None, 1, kernel // 2, layout=layout)  # noqa: B023
        )


@pytest.mark.parametrize("channels", [16, 21])
def test_residual_is_added_before_the_activation(isa: str, channels: int) -> None:
    x, weight = random((1, 9, 15, channels)), random((channels, 1, 3, 3), seed=1)
    residual = random(x.shape, seed=2)
    plain = ops.depthwise_conv2d(x, weight, padding=1, layout="NHWC")
    result = ops.conv2d(
        x, weight, None, 1, 1, 1, channels, residual=residual, activation="relu", layout="NHWC"
    )
    np.testing.assert_allclose(result, np.maximum(plain + residual, 0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("seed", range(30))
def test_torch(seed: int) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    channels, multiplier = int(rng.integers(2, 40)), int(rng.integers(1, 4))
    kernel, stride, dilation = (int(rng.integers(1, 6)), int(rng.integers(1, 4)), int(rng.integers(1, 4)))
    height, width = dilation * (kernel - 1) + 1 + rng.integers(0, 70, 2)
    x = torch.from_numpy(random((2, channels, int(height), int(width)), seed=seed))
    weight = torch.from_numpy(random((channels * multiplier, 1, kernel, kernel), seed=seed + 1))
    expected = torch.nn.functional.conv2d(x, weight, None, stride, 1, dilation, channels)
    for memory in (torch.contiguous_format, torch.channels_last):
        y = ops.depthwise_conv2d(x.contiguous(memory_format=memory), weight, None, stride, 1, dilation)
        assert y.is_contiguous(memory_format=memory)
        torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-4)


def test_run_nchw_takes_any_convolution(isa: str) -> None:
    """What has no kernel for planes goes between two transposes."""
    x, weight, bias = random((2, 5, 8, 9)), random((6, 5, 3, 3), seed=1), random((6,), seed=2)
    expected = ops.conv2d(x, weight, bias, padding=1)
    result = _core.Conv2d(weight, bias, padding=(1, 1, 1, 1), algorithm="direct").run_nchw(x)
    np.testing.assert_array_equal(result, expected)


def test_empty_batch_of_planes() -> None:
    y = ops.depthwise_conv2d(np.zeros((0, 4, 9, 60), np.float32), random((8, 1, 3, 3)))
    assert y.shape == (0, 8, 7, 58)
