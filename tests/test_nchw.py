# SPDX-License-Identifier: Apache-2.0
"""NCHW maps, which ops convert strip by strip, give the bits that NHWC maps give: on every ISA, by any number
of threads, in one strip or many."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from pyvision import _core, ops
from tests._guard import guarded
from tests.helpers import random


@dataclass(frozen=True)
class Case:
    """One call; ``maps`` and the arrays of ``options`` that ``map_options`` names are NHWC."""

    op: Callable[..., Any]
    maps: tuple[np.ndarray, ...]
    constants: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)
    map_options: tuple[str, ...] = ()

    def run(self, layout: str) -> np.ndarray:
        def laid(array: np.ndarray) -> np.ndarray:
            if layout == "NHWC":
                return array
            return guarded(np.ascontiguousarray(array.transpose(0, 3, 1, 2)))

        options = {k: laid(v) if k in self.map_options else v for k, v in self.options.items()}
        y: np.ndarray = self.op(*map(laid, self.maps), *self.constants, **options, layout=layout)
        return y if layout == "NHWC" else y.transpose(0, 2, 3, 1)


def check(case: Case) -> None:
    y = case.run("NCHW")
    np.testing.assert_array_equal(y, case.run("NHWC"))


def ids(case: tuple[Any, ...]) -> str:
    return "-".join("x".join(map(str, v)) if isinstance(v, tuple) else str(v) for v in case)


@pytest.mark.parametrize(
    "case",
    [  # input's shape, channels, kernel, stride, padding, output_padding, groups, dilation
        ((1, 61, 70, 16), 32, (4, 4), 2, 1, 0, 1, 1),  # four phases, by Winograd's algorithm
        ((1, 70, 61, 24), 24, (3, 3), 2, 1, 1, 1, 1),  # phases of 1, 2 and 4 taps
        ((1, 130, 140, 16), 16, (3, 3), 1, 0, 0, 1, 1),
        ((1, 75, 80, 20), 3, (4, 4), 2, 1, 0, 1, 1),  # all phases as one convolution
        ((1, 70, 50, 16), 16, (3, 2), (3, 2), 0, 0, 1, 1),  # taps that do not overlap
        ((1, 131, 150, 40), 2, (2, 2), 2, 0, 0, 1, 1),  # the same, of few channels
        ((1, 90, 60, 16), 32, (5, 3), (3, 1), 2, (2, 0), 4, 1),
        ((1, 70, 61, 16), 24, (3, 3), 1, 0, 2, 1, 3),  # an input's worth of output padding
        ((1, 80, 60, 24), 24, (3, 3), 2, (3, 0), (1, 0), 24, (3, 2)),
        ((2, 40, 130, 8), 20, (2, 5), (4, 2), (0, 9), (3, 1), 1, (2, 4)),
        ((1, 150, 150, 8), 8, (1, 1), 4, 0, 3, 1, 1),  # phases that see nothing
        ((40, 9, 9, 33), 31, (4, 4), 2, 1, 0, 1, 1),  # several images a strip
    ],
    ids=ids,
)
def test_conv_transpose2d(isa: str, threads: int, case: tuple[Any, ...]) -> None:
    shape, channels, kernel, stride, padding, output_padding, groups, dilation = case
    weight = random((shape[3], channels // groups, *kernel), seed=1)
    geometry = stride, padding, output_padding, groups, dilation
    for activation in (None, "silu"):
        constants = weight, random((channels,), seed=2), *geometry
        check(Case(ops.conv_transpose2d, (random(shape),), constants, {"activation": activation}))


SEPARABLE = [  # input's shape, multiplier, out_channels, kernel, stride, padding, dilation
    ((1, 131, 150, 16), 1, 33, (3, 3), 1, 1, 1),
    ((1, 131, 150, 24), 2, 24, (5, 3), 2, (0, 7), (1, 3)),
    ((1, 150, 131, 20), 1, 70, (3, 3), (3, 2), (40, 1), (9, 1)),
    ((1, 2, 70, 16), 1, 40, (1, 1), 1, (300, 0), 1),  # strips that see nothing of the image
    ((40, 9, 9, 64), 1, 65, (3, 3), 1, 1, 1),
]


@pytest.mark.parametrize("case", SEPARABLE, ids=ids)
def test_separable_conv2d(isa: str, threads: int, case: tuple[Any, ...]) -> None:
    shape, multiplier, out_channels, kernel, *geometry = case
    channels = shape[3] * multiplier
    constants = (
        random((channels, 1, *kernel), seed=1), random((out_channels, channels, 1, 1), seed=2),
        random((channels,), seed=3), random((out_channels,), seed=4), *geometry,
    )  # fmt: skip
    options = {"depthwise_activation": "silu", "activation": "relu6"}
    check(Case(ops.separable_conv2d, (random(shape),), constants, options))


@pytest.mark.parametrize("case", SEPARABLE, ids=ids)
@pytest.mark.parametrize("residual", [False, True])
def test_inverted_residual(isa: str, threads: int, case: tuple[Any, ...], residual: bool) -> None:
    (n, h, w, c), multiplier, out_channels, kernel, *geometry = case
    shape = (n, h if h < 3 else 2 * h, w, c)  # its strips are larger
    expanded = 2 * c
    constants = (
        random((expanded, c, 1, 1), seed=1), random((expanded * multiplier, 1, *kernel), seed=2),
        random((out_channels, expanded * multiplier, 1, 1), seed=3), random((expanded,), seed=4),
        random((expanded * multiplier,), seed=5), random((out_channels,), seed=6), *geometry,
    )  # fmt: skip
    options: dict[str, Any] = {"expand_activation": "relu6", "activation": "gelu"}
    plain = Case(ops.inverted_residual, (random(shape),), constants, options)
    if not residual:
        return check(plain)
    r = random(plain.run("NHWC").shape, seed=7)
    check(Case(plain.op, plain.maps, constants, {**options, "residual": r}, ("residual",)))


@pytest.mark.parametrize(
    "case",
    [  # input's shape, out_channels, kernel, stride, padding, dilation, groups, offset groups, their spread
        ((1, 190, 150, 16), 24, (3, 3), 1, 1, 1, 1, 1, 1.0),
        ((1, 190, 150, 16), 24, (3, 3), 1, 1, 1, 1, 1, 300.0),  # anywhere, in the image and out of it
        ((1, 190, 150, 24), 20, (5, 3), (2, 1), (0, 7), (1, 3), 2, 3, 2.0),
        ((2, 190, 150, 16), 16, (1, 1), 1, 0, 1, 1, 2, 0.0),
        ((40, 9, 9, 64), 65, (3, 3), 1, 1, 1, 1, 1, 3.0),
    ],
    ids=ids,
)
def test_deform_conv2d(isa: str, threads: int, case: tuple[Any, ...]) -> None:
    shape, out_channels, kernel, stride, padding, dilation, groups, offset_groups, spread = case
    x, weight = random(shape), random((out_channels, shape[3] // groups, *kernel), seed=1)
    like = ops.conv2d(x, weight, None, stride, padding, dilation, groups, layout="NHWC")
    taps = offset_groups * kernel[0] * kernel[1]
    offset = random((*like.shape[:3], 2 * taps), seed=2) * np.float32(spread)
    offset[:, ::17, ::13] = np.nan
    offset[:, ::29, ::7] = -np.inf
    mask = random((*like.shape[:3], taps), seed=3)
    bias = random((out_channels,), seed=4)

    def op(x: np.ndarray, offset: np.ndarray, **options: Any) -> np.ndarray:
        y: np.ndarray = ops.deform_conv2d(x, offset, weight, bias, stride, padding, dilation, **options)
        return y

    check(Case(op, (x, offset), ()))
    check(Case(op, (x, offset), (), {"mask": mask}, ("mask",)))


@pytest.mark.parametrize(
    "case",
    [  # input's shape, out_channels, kernel, stride, padding, dilation, groups
        ((1, 231, 250, 16), 33, (3, 3), 1, 1, 1, 1),
        ((1, 231, 250, 24), 24, (5, 3), (2, 3), (2, 0), (1, 2), 4),
        ((1, 350, 250, 19), 19, (3, 3), 1, (9, 1), (9, 1), 19),
        ((1, 350, 350, 19), 19, (3, 3), (2, 1), 1, 1, 19),
        ((1, 2, 70, 16), 40, (1, 1), 1, (600, 0), 1, 1),
        ((90, 9, 9, 64), 65, (3, 3), 1, 1, 1, 1),
    ],
    ids=ids,
)
@pytest.mark.parametrize("to_u8", [False, True])
def test_conv2d_int8(vnni_isa: str, threads: int, case: tuple[Any, ...], to_u8: bool) -> None:
    shape, out_channels, kernel, stride, padding, dilation, groups = case
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, shape, dtype=np.uint8)
    weight = rng.integers(-127, 128, (out_channels, shape[3] // groups, *kernel), dtype=np.int8)
    constants = weight, 0.01, 0.02, 128, None, stride, padding, dilation, groups
    options = {"output_scale": 2.0, "output_zero_point": 100} if to_u8 else {}
    check(Case(ops.conv2d_int8, (x,), constants, options))


@pytest.mark.parametrize(
    ("shape", "out_channels", "groups"),
    [((1, 131, 150, 16), 17, 1), ((1, 131, 150, 16), 16, 16), ((1, 131, 150, 16), 32, 4)],
)
def test_conv2d_with_a_residual(
    isa: str, threads: int, shape: tuple[int, ...], out_channels: int, groups: int
) -> None:
    weight = random((out_channels, shape[3] // groups, 3, 3), seed=1)
    residual = random((*shape[:3], out_channels), seed=2)
    options = {"padding": 1, "groups": groups, "residual": residual, "activation": "relu"}
    check(Case(ops.conv2d, (random(shape),), (weight,), options, ("residual",)))


@pytest.mark.parametrize(
    ("algorithm", "kernel"),
    [("winograd_2x2", 3), ("winograd_4x4", 3), ("winograd_6x6", 3), ("winograd_4x4", 2)],
)
@pytest.mark.parametrize(
    "case",
    # input's shape, out_channels, padding (top, left, bottom, right), groups, activation. The larger maps are
    # of more than 2^18 floats, from which on planes are read and written as they are.
    [
        ((1, 131, 131, 17), 33, (1, 1, 1, 1), 1, "relu"),  # runs that end within a vector, and a block
        ((2, 40, 200, 24), 16, (0, 37, 5, 2), 2, "silu"),  # tiles that lie left of the image
        ((60, 11, 11, 40), 7, (2, 0, 0, 40), 1, "none"),  # and right of it
        ((900, 3, 3, 40), 8, (0, 0, 0, 0), 1, "gelu"),  # one output an image
    ],
    ids=ids,
)
def test_conv2d_by_winograd(
    isa: str, threads: int, algorithm: str, kernel: int, case: tuple[Any, ...]
) -> None:
    shape, out_channels, padding, groups, activation = case
    weight = random((out_channels, shape[3] // groups, kernel, kernel), seed=1)
    bias = random((out_channels,), seed=2)
    conv = _core.Conv2d(
        weight, bias, padding=padding, groups=groups, activation=activation, algorithm=algorithm
    )
    x = random(shape)
    y = conv.run(x)
    residual = random(y.shape, seed=3)
    for before in (False, True):
        planes, added = (
            guarded(np.ascontiguousarray(a.transpose(0, 3, 1, 2)), before=before) for a in (x, residual)
        )
        np.testing.assert_array_equal(conv.run_nchw(planes).transpose(0, 2, 3, 1), y)
        np.testing.assert_array_equal(
            conv.run_nchw(planes, added).transpose(0, 2, 3, 1), conv.run(x, residual)
        )


def check_gradients(op: Callable[..., Any], maps: tuple[np.ndarray, ...], *constants: Any) -> None:
    """``maps``: the output's gradient and the input, NHWC."""
    planes = [guarded(np.ascontiguousarray(a.transpose(0, 3, 1, 2))) for a in maps]
    expected = op(*maps, *constants, layout="NHWC")
    grad_input, *others = op(*planes, *constants)
    assert grad_input.flags.c_contiguous
    np.testing.assert_array_equal(grad_input.transpose(0, 2, 3, 1), expected[0])
    for ours, same in zip(others, expected[1:], strict=True):
        np.testing.assert_array_equal(ours, same)


@pytest.mark.parametrize(
    "case",
    [  # input's shape, out_channels, kernel, stride, padding, dilation, groups
        ((1, 131, 150, 16), 17, (3, 3), 1, 1, 1, 1),
        ((3, 101, 70, 24), 24, (5, 3), (2, 3), (2, 0), (1, 2), 2),  # strips across images
        ((1, 131, 150, 3), 33, (5, 5), 2, 2, 1, 1),  # windows copied by whole vectors
        ((1, 131, 150, 19), 19, (3, 3), 1, (9, 1), (9, 1), 19),
        ((2, 150, 131, 19), 19, (3, 3), (2, 1), 1, 1, 19),
        ((1, 131, 150, 20), 40, (3, 3), 1, 1, 1, 5),  # several groups a vector
        ((1, 131, 150, 16), 32, (1, 1), 1, 0, 1, 1),
        ((1, 2, 70, 16), 20, (2, 2), 1, (150, 0), 1, 1),  # rows that see nothing
        ((40, 9, 9, 64), 65, (3, 3), 1, 1, 1, 1),
    ],
    ids=ids,
)
def test_conv2d_backward(isa: str, threads: int, case: tuple[Any, ...]) -> None:
    shape, out_channels, kernel, *geometry = case
    x, weight = random(shape), random((out_channels, shape[3] // geometry[-1], *kernel), seed=1)
    g = random(ops.conv2d(x, weight, None, *geometry, layout="NHWC").shape, seed=2)
    check_gradients(ops.conv2d_backward, (g, x), weight, *geometry)


@pytest.mark.parametrize(
    "case",
    [  # input's shape, channels, kernel, stride, padding, output_padding, groups, dilation
        ((1, 61, 70, 16), 32, (4, 4), 2, 1, 0, 1, 1),
        ((2, 70, 61, 24), 24, (3, 3), (2, 1), 1, (1, 0), 24, 1),
        ((1, 131, 150, 20), 3, (3, 2), 1, 0, 0, 1, (1, 2)),
        ((1, 70, 61, 16), 24, (3, 3), 1, 0, 2, 1, 3),  # an input's worth of output padding
        ((2, 40, 31, 24), 24, (3, 3), 1, 1, (1, 2), 24, (2, 3)),
    ],
    ids=ids,
)
def test_conv_transpose2d_backward(isa: str, threads: int, case: tuple[Any, ...]) -> None:
    shape, channels, kernel, *geometry = case
    x, weight = random(shape), random((shape[3], channels // geometry[-2], *kernel), seed=1)
    g = random(ops.conv_transpose2d(x, weight, None, *geometry, layout="NHWC").shape, seed=2)
    check_gradients(ops.conv_transpose2d_backward, (g, x), weight, *geometry)


@pytest.mark.parametrize("case", SEPARABLE, ids=ids)
def test_separable_conv2d_backward(isa: str, threads: int, case: tuple[Any, ...]) -> None:
    shape, multiplier, out_channels, kernel, *geometry = case
    x, channels = random(shape), shape[3] * multiplier
    weights = random((channels, 1, *kernel), seed=1), random((out_channels, channels, 1, 1), seed=2)
    bias = random((channels,), seed=3)
    g = random(ops.separable_conv2d(x, *weights, bias, None, *geometry, layout="NHWC").shape, seed=4)
    check_gradients(ops.separable_conv2d_backward, (g, x), *weights, bias, *geometry)
