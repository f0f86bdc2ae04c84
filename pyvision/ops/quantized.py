# SPDX-License-Identifier: Apache-2.0
"""Convolution of 8-bit maps."""

from __future__ import annotations

from typing import Literal

import numpy as np

from pyvision import _core
from pyvision._array import Array, as_numpy, from_nhwc, is_channels_last, is_planes, result_like, to_nhwc
from pyvision.ops._activation import ActivationSpec, activation_pair
from pyvision.ops._args import IntPair, integer, pair, real
from pyvision.ops.conv import Layout, padding_sides


def conv2d_int8(
    input: Array,
    weight: Array,
    weight_scale: Array | float,
    input_scale: float,
    input_zero_point: int,
    bias: Array | None = None,
    stride: IntPair = 1,
    padding: IntPair | Literal["valid", "same"] = 0,
    dilation: IntPair = 1,
    groups: int = 1,
    *,
    output_scale: float | None = None,
    output_zero_point: int | None = None,
    activation: ActivationSpec = None,
    layout: Layout = "NCHW",
) -> Array:
    """Convolution of a quantised map: the reals are ``input_scale * (input - input_zero_point)`` and
    ``weight_scale * weight``. Sums, the bias among them, are exact as long as they fit an
    int32; padding stands for the real 0.

    Semantics: ONNX's QLinearConv with symmetric int8 weights, and without ``output_scale`` its ConvInteger
    times the scales. Where the activation has no exponential the result is the same to the bit on every CPU;
    AVX512_VNNI makes it fast.

    Args:
        input: uint8, (N, C_in, H, W), or (N, H, W, C_in) with ``layout="NHWC"``.
        weight: int8, (C_out, C_in / groups, kernel_h, kernel_w) in either layout.
        weight_scale: float32, (C_out,), or a number for all channels.
        input_scale: positive.
        input_zero_point: in [0, 255].
        bias: int32, (C_out,), in units of ``input_scale * weight_scale``.
        stride, padding, dilation, groups: as in :func:`conv2d`.
        output_scale, output_zero_point: of a uint8 result, the zero point 0 when not given; a value is
            rounded to nearest, ties to even, and clipped to [0, 255]. Without a scale the result is float32.
        activation: see ``ActivationSpec``; of the real values.
        layout: of ``input`` and the result.

    Returns:
        (N, C_out, H_out, W_out) in ``layout``, uint8 or float32, of the same kind as ``input``; sizes as in
        :func:`conv2d`.

    Raises:
        TypeError: an argument is not an array, or not of the dtype named above.
        ValueError: shapes or parameters contradict each other, or a channel has more than 65536 weights.
    """
    op = "conv2d_int8"
    given = as_numpy(input, op, "input", ("uint8",))
    planar = is_planes(given, layout, "uint8")
    x = given if planar else to_nhwc(given, layout, op, "input")
    w = np.ascontiguousarray(as_numpy(weight, op, "weight", ("int8",)))
    if isinstance(weight_scale, float | int):
        scale = np.full(w.shape[:1], real(weight_scale, op, "weight_scale"), np.float32)
    else:
        scale = np.ascontiguousarray(as_numpy(weight_scale, op, "weight_scale"))
    b = None if bias is None else np.ascontiguousarray(as_numpy(bias, op, "bias", ("int32",)))
    if output_scale is None and output_zero_point is not None:
        raise ValueError(f"[{op}] expected output_zero_point with an output_scale only")
    strides, dilations = pair(stride, op, "stride"), pair(dilation, op, "dilation")
    conv = _core.Conv2dInt8(
        w, scale, real(input_scale, op, "input_scale"), integer(input_zero_point, op, "input_zero_point"), b,
        strides, padding_sides(op, padding, w.shape, strides, dilations), dilations,
        integer(groups, op, "groups"),
        None if output_scale is None else real(output_scale, op, "output_scale"),
        0 if output_zero_point is None else integer(output_zero_point, op, "output_zero_point"),
        *activation_pair(activation, op),
    )  # fmt: skip
    if planar:
        return result_like(conv.run_nchw(x), input)
    return result_like(from_nhwc(conv.run(x), layout, is_channels_last(given, layout)), input)
