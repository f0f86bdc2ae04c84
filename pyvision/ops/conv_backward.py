# SPDX-License-Identifier: Apache-2.0
"""Gradients of the convolutions, for training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from pyvision import _core
from pyvision._array import Array, as_numpy, from_nhwc, is_channels_last, result_like, to_nhwc
from pyvision.ops._args import IntPair, flag, integer, pair
from pyvision.ops.conv import FLOATS, Layout, channel_count, channels_last, sides

Gradients = tuple[Array | None, Array | None, Array | None]
"""Of the input, the weight and the bias; None where ``output_mask`` asks for none."""


def conv2d_backward(
    grad_output: Array,
    input: Array,
    weight: Array,
    stride: IntPair = 1,
    padding: IntPair | Literal["valid", "same"] = 0,
    dilation: IntPair = 1,
    groups: int = 1,
    *,
    layout: Layout = "NCHW",
    output_mask: Sequence[bool] = (True, True, True),
    allow_winograd: bool = True,
) -> Gradients:
    """Gradients of :func:`conv2d` without activation and residual.

    Sums run in an order that the shapes alone fix: results are the same for any number of threads.

    Args:
        grad_output: float32, the gradient with respect to the output: of its shape and layout. Or all arrays
            float64, for gradient checks: plain loops.
        input, weight, stride, padding, dilation, groups, layout: as :func:`conv2d` was given them.
        output_mask: which gradients to compute: of the input, the weight, the bias.
        allow_winograd: as in :func:`conv2d`, for the input's gradient.

    Returns:
        (grad_input, grad_weight, grad_bias), of the shapes of input and weight, and (C_out,); where an array
        of theirs is stored channels last, so is its gradient. None where ``output_mask`` is False.

    Raises:
        TypeError: an argument is not an array, of another dtype, or of another than ``grad_output``.
        ValueError: shapes or parameters contradict each other.
    """
    op = "conv2d_backward"
    return _conv2d_gradients(
        op, grad_output, input, weight, stride, padding, dilation, integer(groups, op, "groups"), layout,
        output_mask, flag(allow_winograd, op, "allow_winograd"),
    )  # fmt: skip


def depthwise_conv2d_backward(
    grad_output: Array,
    input: Array,
    weight: Array,
    stride: IntPair = 1,
    padding: IntPair | Literal["valid", "same"] = 0,
    dilation: IntPair = 1,
    *,
    layout: Layout = "NCHW",
    output_mask: Sequence[bool] = (True, True, True),
) -> Gradients:
    """Gradients of :func:`depthwise_conv2d`; arguments, result and errors as of :func:`conv2d_backward`."""
    op = "depthwise_conv2d_backward"
    return _conv2d_gradients(
        op, grad_output, input, weight, stride, padding, dilation, channel_count(op, input, layout), layout,
        output_mask,
    )  # fmt: skip


def conv_transpose2d_backward(
    grad_output: Array,
    input: Array,
    weight: Array,
    stride: IntPair = 1,
    padding: IntPair = 0,
    output_padding: IntPair = 0,
    groups: int = 1,
    dilation: IntPair = 1,
    *,
    layout: Layout = "NCHW",
    output_mask: Sequence[bool] = (True, True, True),
) -> Gradients:
    """Gradients of :func:`conv_transpose2d` without activation.

    Args:
        grad_output: float32, the gradient with respect to the output: of its shape and layout.
        input, weight, stride, padding, output_padding, groups, dilation, layout: as
            :func:`conv_transpose2d` was given them.
        output_mask: which gradients to compute: of the input, the weight, the bias.

    The result and the errors are those of :func:`conv2d_backward`.
    """
    op = "conv_transpose2d_backward"
    gradients = _core.conv_transpose2d_backward(
        *_maps(op, grad_output, input, weight, layout),
        pair(stride, op, "stride"), pair(padding, op, "padding"),
        pair(output_padding, op, "output_padding"), integer(groups, op, "groups"),
        pair(dilation, op, "dilation"), _mask(op, output_mask),
    )  # fmt: skip
    return _results(op, gradients, input, weight, layout)


def _conv2d_gradients(
    op: str,
    grad_output: Array,
    input: Array,
    weight: Array,
    stride: IntPair,
    padding: IntPair | str,
    dilation: IntPair,
    groups: int,
    layout: Layout,
    output_mask: Sequence[bool],
    allow_winograd: bool = True,
) -> Gradients:
    g, x, w = _maps(op, grad_output, input, weight, layout)
    strides, dilations = pair(stride, op, "stride"), pair(dilation, op, "dilation")
    four_sides = sides(op, padding, w.transpose(0, 3, 1, 2), strides, dilations)
    gradients = _core.conv2d_backward(
        g, x, w, strides, four_sides, dilations, groups, _mask(op, output_mask), allow_winograd, op
    )
    return _results(op, gradients, input, weight, layout)


def _maps(
    op: str, grad_output: Array, input: Array, weight: Array, layout: Layout
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    g = to_nhwc(as_numpy(grad_output, op, "grad_output", FLOATS), layout, op, "grad_output")
    x = to_nhwc(as_numpy(input, op, "input", FLOATS), layout, op, "input")
    return g, x, channels_last(as_numpy(weight, op, "weight", FLOATS), op)


def _mask(op: str, output_mask: Sequence[bool]) -> tuple[bool, ...]:
    if not isinstance(output_mask, tuple | list) or len(output_mask) != 3:
        raise ValueError(f"[{op}] expected output_mask to be three bools, got {output_mask!r}")
    return tuple(flag(wanted, op, "output_mask") for wanted in output_mask)


def _results(
    op: str,
    gradients: tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None],
    input: Array,
    weight: Array,
    layout: Layout,
) -> Gradients:
    """The compiled op's gradients, channels last, as the caller has input and weight."""
    grad_input, grad_weight, grad_bias = gradients
    if grad_input is not None:
        like_input = is_channels_last(as_numpy(input, op, "input", FLOATS), layout)
        grad_input = result_like(from_nhwc(grad_input, layout, like_input), input)
    if grad_weight is not None:
        like_weight = is_channels_last(as_numpy(weight, op, "weight", FLOATS), "NCHW")
        grad_weight = result_like(from_nhwc(grad_weight, "NCHW", like_weight), weight)
    return grad_input, grad_weight, None if grad_bias is None else result_like(grad_bias, weight)
