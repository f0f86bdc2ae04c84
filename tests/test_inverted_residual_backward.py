# SPDX-License-Identifier: Apache-2.0
"""inverted_residual_backward against torch's autograd, finite differences and its three convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pyvision import ops
from tests.helpers import EPS, assert_within, check_threads_agree, random
from tests.reference import conv as reference

GEOMETRIES: list[dict[str, Any]] = [
    {"stride": 1, "padding": 1, "dilation": 1},
    {"stride": 2, "padding": (0, 1), "dilation": 1},
    {"stride": (1, 2), "padding": 2, "dilation": 2},
]


def draw(
    channels: int,
    expanded: int,
    multiplier: int,
    outputs: int,
    geometry: dict[str, Any],
    dtype: str = "float32",
    size: tuple[int, int] = (9, 8),
) -> list[np.ndarray]:
    """The output's gradient, input, weights and all biases but the last; maps are NHWC."""
    filtered = expanded * multiplier
    shapes = [
        (2, *size, channels), (expanded, channels, 1, 1), (filtered, 1, 3, 3), (outputs, filtered, 1, 1),
        (expanded,), (filtered,),
    ]  # fmt: skip
    x, *constants = (random(shape, seed=i).astype(dtype) for i, shape in enumerate(shapes))
    y = ops.inverted_residual(x, *constants, **geometry, layout="NHWC")
    return [random(y.shape, seed=9).astype(dtype), x, *constants]


def exact(data: list[np.ndarray], geometry: dict[str, Any]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The gradients in float64, and the tolerance of each in float32."""
    g, x, e, d, p, e_bias, d_bias = data
    pairs = {name: (v, v) if isinstance(v, int) else v for name, v in geometry.items()}
    pairs["padding"] = (*pairs["padding"], *pairs["padding"])
    pairs["groups"] = len(e)
    backward = reference.conv2d_backward
    expanded, e_terms = reference.conv2d(x, e, e_bias)
    between, _ = reference.conv2d(expanded, d, d_bias, **pairs)
    (g_between, between_terms), (g_p, _), (g_pb, pb_terms) = backward(g, between, p)
    (g_expanded, _), (g_d, _), (g_db, _) = backward(g_between, expanded, d, **pairs)
    (g_x, _), (g_e, _), (g_eb, _) = backward(g_expanded, x, e)
    # The bounds of the stages chained: |a| stands for what a's own terms add up to.
    d_terms, _ = reference.conv2d(e_terms, np.abs(d), np.abs(d_bias), **pairs)
    _, (_, p_bound), _ = backward(np.abs(g), d_terms, np.abs(p))
    (_, expanded_terms), (_, d_bound), (_, db_bound) = backward(between_terms, e_terms, np.abs(d), **pairs)
    (_, x_bound), (_, e_bound), (_, eb_bound) = backward(expanded_terms, np.abs(x), np.abs(e))
    depth = x[..., 0].size + len(p) + 9 * len(d) // len(e) + len(e) + x.shape[3] + 5
    bounds = [x_bound, e_bound, d_bound, p_bound, eb_bound, db_bound, pb_terms]
    return [g_x, g_e, g_d, g_p, g_eb, g_db, g_pb], [EPS * depth * bound for bound in bounds]


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize("multiplier", [1, 2])
@pytest.mark.parametrize("channels", [1, 3, 16, 17])
def test_gradients(isa: str, channels: int, multiplier: int, geometry: dict[str, Any]) -> None:
    data = draw(channels, 2 * channels + 1, multiplier, 7, geometry)
    got = ops.inverted_residual_backward(*data, **geometry, layout="NHWC")
    for gradient, value, tolerance in zip(got, *exact(data, geometry), strict=True):
        assert gradient is not None
        assert_within(gradient, value, tolerance)


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_finite_differences(geometry: dict[str, Any]) -> None:
    """The loss sum(g * y) is linear in each argument: a central difference has no error of its own."""
    g, *arguments = draw(3, 5, 2, 4, geometry, "float64")
    gradients = ops.inverted_residual_backward(g, *arguments, **geometry, layout="NHWC")
    arguments.append(random((4,), seed=20).astype(float))

    def loss(*arguments: np.ndarray) -> float:
        return float((g * ops.inverted_residual(*arguments, **geometry, layout="NHWC")).sum())

    for i, gradient in enumerate(gradients):
        assert gradient is not None
        step = random(arguments[i].shape, seed=30 + i).astype(float)
        up, down = (
            loss(*(a + sign * step if j == i else a for j, a in enumerate(arguments))) for sign in (1, -1)
        )
        np.testing.assert_allclose((up - down) / 2, (gradient * step).sum(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_against_torch(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    data = draw(5, 9, 2, 7, GEOMETRIES[1], dtype)
    g, x, *parameters = (torch.from_numpy(a) for a in data)
    g, x = g.permute(0, 3, 1, 2), x.permute(0, 3, 1, 2)
    got = ops.inverted_residual_backward(g, x, *parameters, **GEOMETRIES[1])
    leaves = [a.clone().requires_grad_() for a in (x, *parameters, torch.zeros(7, dtype=g.dtype))]
    x, e, d, p, e_bias, d_bias, p_bias = leaves
    conv = torch.nn.functional.conv2d
    y = conv(conv(conv(x, e, e_bias), d, d_bias, **GEOMETRIES[1], groups=9), p, p_bias)
    tolerance = 1e-12 if dtype == "float64" else 1e-4
    for gradient, expected in zip(got, torch.autograd.grad(y, leaves, g), strict=True):
        assert isinstance(gradient, torch.Tensor)
        torch.testing.assert_close(gradient, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("which", range(7))
def test_output_mask(which: int) -> None:
    data = draw(3, 5, 2, 4, GEOMETRIES[0])
    everything = ops.inverted_residual_backward(*data, padding=1, layout="NHWC")
    mask = [i == which for i in range(7)]
    some = ops.inverted_residual_backward(*data, padding=1, layout="NHWC", output_mask=mask)
    for i, (one, all_of_them) in enumerate(zip(some, everything, strict=True)):
        if i == which:
            np.testing.assert_array_equal(one, all_of_them)
        else:
            assert one is None


@pytest.mark.parametrize("size", [(9, 8), (80, 90)])  # converted at once, and strip by strip
def test_nchw(isa: str, threads: int, size: tuple[int, int]) -> None:
    data = draw(16, 24, 1, 17, GEOMETRIES[1], size=size)
    expected = ops.inverted_residual_backward(*data, **GEOMETRIES[1], layout="NHWC")
    maps = [np.ascontiguousarray(a.transpose(0, 3, 1, 2)) for a in data[:2]]
    got = ops.inverted_residual_backward(*maps, *data[2:], **GEOMETRIES[1])
    assert got[0] is not None and got[0].flags.c_contiguous
    np.testing.assert_array_equal(got[0].transpose(0, 2, 3, 1), expected[0])
    for one, other in zip(got[1:], expected[1:], strict=True):
        np.testing.assert_array_equal(one, other)


def test_bitwise_equal_for_any_thread_count(isa: str) -> None:
    data = draw(20, 40, 1, 33, GEOMETRIES[0])
    check_threads_agree(
        lambda: np.concatenate(
            [a.ravel() for a in ops.inverted_residual_backward(*data, padding=1, layout="NHWC")]
        )
    )
