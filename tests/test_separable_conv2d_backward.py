# SPDX-License-Identifier: Apache-2.0
"""separable_conv2d_backward against torch's autograd, finite differences and the two ops it consists of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pyvision import ops
from tests.helpers import EPS, assert_within, check_threads_agree
from tests.reference import conv as reference

GEOMETRIES: list[dict[str, Any]] = [
    {"stride": 1, "padding": 1, "dilation": 1},
    {"stride": 2, "padding": (0, 1), "dilation": 1},
    {"stride": (1, 2), "padding": 2, "dilation": 2},
]


def draw(
    channels: int, multiplier: int, outputs: int, geometry: dict[str, Any], dtype: str
) -> list[np.ndarray]:
    """The output's gradient, input, weights and the depthwise bias; maps are NHWC."""
    rng = np.random.default_rng(channels)
    between = channels * multiplier
    shapes = [
        (2, 9, 8, channels), (between, 1, 3, 3), (outputs, between, 1, 1), (between,),
    ]  # fmt: skip
    x, depthwise, pointwise, bias = (rng.standard_normal(shape).astype(dtype) for shape in shapes)
    y = ops.depthwise_conv2d(x, depthwise, **geometry, layout="NHWC")
    g = rng.standard_normal((*y.shape[:3], outputs)).astype(dtype)
    return [g, x, depthwise, pointwise, bias]


def exact(data: list[np.ndarray], geometry: dict[str, Any]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The gradients in float64, and the tolerance of each in float32."""
    g, x, depthwise, pointwise, bias = data
    pairs = {name: (v, v) if isinstance(v, int) else v for name, v in geometry.items()}
    pairs["padding"] = (*pairs["padding"], *pairs["padding"])
    groups = x.shape[3]
    between, between_bound = reference.conv2d(x, depthwise, bias, **pairs, groups=groups)
    (g_between, g_bound), (g_p, _), (g_pb, g_pb_bound) = reference.conv2d_backward(g, between, pointwise)
    (g_x, _), (g_d, _), (g_db, _) = reference.conv2d_backward(g_between, x, depthwise, **pairs, groups=groups)
    # The bounds of the two stages chained: |a| stands for what a's own terms add up to.
    _, (_, p_bound), _ = reference.conv2d_backward(np.abs(g), between_bound, np.abs(pointwise))
    (_, x_bound), (_, d_bound), (_, db_bound) = reference.conv2d_backward(
        g_bound, np.abs(x), np.abs(depthwise), **pairs, groups=groups
    )
    depth = g[..., 0].size + pointwise.shape[0] + 9 * len(depthwise) // groups + 3
    bounds = [x_bound, d_bound, p_bound, db_bound, g_pb_bound]
    return [g_x, g_d, g_p, g_db, g_pb], [EPS * depth * bound for bound in bounds]


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize("multiplier", [1, 2])
@pytest.mark.parametrize("channels", [1, 3, 16, 17])
def test_gradients(isa: str, channels: int, multiplier: int, geometry: dict[str, Any]) -> None:
    data = draw(channels, multiplier, 7, geometry, "float32")
    got = ops.separable_conv2d_backward(*data, **geometry, layout="NHWC")
    for gradient, value, tolerance in zip(got, *exact(data, geometry), strict=True):
        assert_within(gradient, value, tolerance)


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_finite_differences(geometry: dict[str, Any]) -> None:
    """The loss sum(g * y) is linear in each argument: a central difference has no error of its own."""
    g, *arguments = draw(3, 2, 4, geometry, "float64")
    rng = np.random.default_rng(1)
    arguments.append(rng.standard_normal(4))

    def loss(x: np.ndarray, d: np.ndarray, p: np.ndarray, db: np.ndarray, pb: np.ndarray) -> float:
        return float((g * ops.separable_conv2d(x, d, p, db, pb, **geometry, layout="NHWC")).sum())

    gradients = ops.separable_conv2d_backward(g, *arguments[:4], **geometry, layout="NHWC")
    for i, gradient in enumerate(gradients):
        step = rng.standard_normal(arguments[i].shape)
        up, down = (
            loss(*(a + sign * step if j == i else a for j, a in enumerate(arguments))) for sign in (1, -1)
        )
        np.testing.assert_allclose((up - down) / 2, (gradient * step).sum(), rtol=1e-9, atol=1e-9)


def test_against_torch() -> None:
    torch = pytest.importorskip("torch")
    data = draw(5, 2, 7, GEOMETRIES[1], "float64")
    g, x, *parameters = (torch.from_numpy(a) for a in data)
    g, x = g.permute(0, 3, 1, 2), x.permute(0, 3, 1, 2)
    got = ops.separable_conv2d_backward(g, x, *parameters, **GEOMETRIES[1])
    leaves = [a.clone().requires_grad_() for a in (x, *parameters, torch.zeros(7, dtype=torch.float64))]
    between = torch.nn.functional.conv2d(leaves[0], leaves[1], leaves[3], **GEOMETRIES[1], groups=5)
    y = torch.nn.functional.conv2d(between, leaves[2], leaves[4])
    for gradient, expected in zip(got, torch.autograd.grad(y, leaves, g), strict=True):
        assert isinstance(gradient, torch.Tensor)
        torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("which", range(5))
def test_output_mask(which: int) -> None:
    data = draw(3, 2, 4, GEOMETRIES[0], "float32")
    everything = ops.separable_conv2d_backward(*data, padding=1, layout="NHWC")
    mask = [i == which for i in range(5)]
    some = ops.separable_conv2d_backward(*data, padding=1, layout="NHWC", output_mask=mask)
    for i, (one, all_of_them) in enumerate(zip(some, everything, strict=True)):
        if i == which:
            np.testing.assert_array_equal(one, all_of_them)
        else:
            assert one is None


def test_nchw() -> None:
    data = draw(5, 1, 7, GEOMETRIES[1], "float32")
    expected = ops.separable_conv2d_backward(*data, **GEOMETRIES[1], layout="NHWC")
    maps = [np.ascontiguousarray(a.transpose(0, 3, 1, 2)) for a in data[:2]]
    got = ops.separable_conv2d_backward(*maps, *data[2:], **GEOMETRIES[1])
    assert got[0].flags.c_contiguous
    np.testing.assert_array_equal(got[0].transpose(0, 2, 3, 1), expected[0])
    for one, other in zip(got[1:], expected[1:], strict=True):
        np.testing.assert_array_equal(one, other)


def test_bitwise_equal_for_any_thread_count(isa: str) -> None:
    data = draw(40, 1, 33, GEOMETRIES[0], "float32")
    check_threads_agree(
        lambda: np.concatenate(
            [a.ravel() for a in ops.separable_conv2d_backward(*data, padding=1, layout="NHWC")]
        )
    )
