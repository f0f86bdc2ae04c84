# SPDX-License-Identifier: Apache-2.0
"""Convolutions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from pyvision import _core
from pyvision._array import (
    Array,
    as_numpy,
    bf16_bits,
    bf16_like,
    from_nhwc,
    is_bf16,
    is_channels_last,
    is_planes,
    result_like,
    to_nhwc,
    widened,
)
from pyvision._device import Device, Operand, device_of, view_of
from pyvision.ops._activation import ActivationSpec, activation_pair
from pyvision.ops._args import IntPair, flag, integer, pair
from pyvision.ops._boxes import check_shape
from pyvision.ops._halves import takes_halves

Layout = Literal["NCHW", "NHWC"]
FLOATS = ("float32", "float64")
CUDA_FLOATS = ("float32", "float16", "bfloat16")
Precision = Literal["f32", "tf32", "bf16"]

# Transforming a weight for Winograd takes as long as this many pixels' saving, and is done at every call.
_WINOGRAD_PIXELS = 48 * 48


@takes_halves
def conv2d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: IntPair = 1,
    padding: IntPair | Literal["valid", "same"] = 0,
    dilation: IntPair = 1,
    groups: int = 1,
    *,
    activation: ActivationSpec = None,
    residual: Array | None = None,
    layout: Layout = "NCHW",
    precision: Precision = "f32",
    allow_winograd: bool = True,
) -> Array:
    """2-d cross-correlation, ``activation(conv(input, weight) + bias + residual)`` stored in one pass.

    Semantics: :func:`torch.nn.functional.conv2d`. The weights are packed at every call; a model, or
    ``pyvision.nn.Conv2d``, packs them once.

    Args:
        input: float32, (N, C_in, H, W), or (N, H, W, C_in) with ``layout="NHWC"``. Or all arrays float64, for
            gradient checks: plain loops, without activation.
        weight: float32, (C_out, C_in / groups, kernel_h, kernel_w) in either layout.
        bias: float32, (C_out,).
        stride, dilation: an integer or (vertical, horizontal), at least 1.
        padding: zeros on each side: an integer, (vertical, horizontal), "valid" (none), or "same" (stride 1:
            the output is as large as the input; the odd pixel goes to the bottom and right).
        groups: blocks of channels that see only each other.
        activation: see ``ActivationSpec``.
        residual: float32, of the output's shape and layout; added before the activation.
        layout: of ``input``, ``residual`` and the result.
        precision: "f32", or "bf16": ``input`` and ``weight`` are rounded to bfloat16 (to nearest even), their
            products summed in f32. Twice as fast where the CPU has AVX512_BF16, and the same elsewhere, up to
            the rounding of the sums. Depthwise convolutions, which wait for memory, and grouped ones of few
            channels a group are f32 all the same.
            With "bf16" arrays may be bfloat16 (of ml_dtypes or torch) instead of float32: ``weight`` and
            ``bias`` each, and ``input`` and ``residual`` both; the result is of the dtype of ``input``.
            "tf32", on CUDA alone: float32 operands lose all but 10 bits of their fraction, for tensor cores.
        allow_winograd: 3x3 and 2x2 kernels with stride 1 may use Winograd's algorithm on large maps: two to
            three times as fast, and about ten times the rounding error of the direct sum.

    On CUDA all arrays are float32, float16 or bfloat16, and of one of them; sums are float32. Weights are
    best held in channels_last order: others are transposed at every call.

    Returns:
        (N, C_out, H_out, W_out) in ``layout``, of the same kind as ``input``; rounded down,
        H_out = (H + 2 padding - dilation (kernel - 1) - 1) / stride + 1.

    Raises:
        TypeError: an argument is not an array, of a dtype not named above, or of another than ``input``.
        ValueError: shapes or parameters contradict each other.
    """
    return convolve(
        "conv2d", input, weight, bias, stride, padding, dilation, integer(groups, "conv2d", "groups"),
        activation, residual, layout, precision, allow_winograd,
    )  # fmt: skip


def convolve(
    op: str,
    input: Array,
    weight: Array,
    bias: Array | None,
    stride: IntPair,
    padding: IntPair | str,
    dilation: IntPair,
    groups: int,
    activation: ActivationSpec,
    residual: Array | None,
    layout: Layout,
    precision: Precision = "f32",
    allow_winograd: bool = True,
) -> Array:
    """:func:`conv2d` in the name of ``op``."""
    if device := device_of(op, input=input, weight=weight, bias=bias, residual=residual):
        return _convolve_on_device(
            device, op, input, weight, bias, stride, padding, dilation, groups, activation, residual, layout,
            precision,
        )  # fmt: skip
    if not isinstance(precision, str):
        raise TypeError(f"[{op}] expected precision to be a string, got {precision!r}")
    winograd = flag(allow_winograd, op, "allow_winograd")
    if precision not in ("f32", "bf16"):
        raise ValueError(f"[{op}] expected precision to be 'f32' or 'bf16', got {precision!r}")
    narrow = precision == "bf16" and is_bf16(input)
    dtypes = FLOATS if precision == "f32" else ("float32", "bfloat16")
    given = bf16_bits(input, op, "input") if narrow else as_numpy(input, op, "input", dtypes)

    def constant(array: Array, name: str) -> np.ndarray:
        if precision == "bf16":
            return np.ascontiguousarray(widened(array, op, name, dtypes)[0])
        return np.ascontiguousarray(as_numpy(array, op, name, (given.dtype.name,)))

    r = residual
    if r is not None:
        r = bf16_bits(r, op, "residual") if narrow else as_numpy(r, op, "residual", (given.dtype.name,))
    planar = is_planes(given, layout) and (r is None or is_planes(r, layout))
    x = given if planar else to_nhwc(given, layout, op, "input")
    size = x.shape[2:] if planar else x.shape[1:3]
    w = constant(weight, "weight")
    b = None if bias is None else constant(bias, "bias")
    strides, dilations = pair(stride, op, "stride"), pair(dilation, op, "dilation")
    geometry = strides, padding_sides(op, padding, w.shape, strides, dilations), dilations, groups
    if r is not None and not planar:
        r = to_nhwc(r, layout, op, "residual")
    if x.dtype == np.float64:
        _refuse_activation(op, activation)
        y = _core.conv2d_f64(x, channels_last(w, op), b, *geometry, op)
        return _result(_with_residual(op, y, r), input, layout, op)
    conv = _core.Conv2d(
        w, b, *geometry, *activation_pair(activation, op), input_size=size,
        allow_winograd=winograd and size[0] * size[1] >= _WINOGRAD_PIXELS, precision=precision, op=op,
    )  # fmt: skip
    if planar:
        return result_like(conv.run_nchw(given, r), input)
    y = from_nhwc(conv.run(x, r), layout, is_channels_last(given, layout))
    return bf16_like(y, input) if narrow else result_like(y, input)


def _convolve_on_device(
    device: Device,
    op: str,
    input: Array,
    weight: Array,
    bias: Array | None,
    stride: IntPair,
    padding: IntPair | str,
    dilation: IntPair,
    groups: int,
    activation: ActivationSpec,
    residual: Array | None,
    layout: Layout,
    precision: Precision,
) -> Array:
    x, channels_last_input = device.nhwc(input, layout, op, "input", CUDA_FLOATS)
    if precision not in ("f32", "tf32") or (precision == "tf32" and x.dtype != "float32"):
        raise ValueError(
            f"[{op}] expected precision 'f32' on CUDA, or 'tf32' with float32 arrays, got {precision!r}"
        )
    dtypes = (x.dtype,)
    w, _ = device.nhwc(weight, "NCHW", op, "weight", dtypes)
    b = device.take_optional(bias, op, "bias", dtypes)
    r = None if residual is None else device.nhwc(residual, layout, op, "residual", dtypes)[0]
    strides, dilations = pair(stride, op, "stride"), pair(dilation, op, "dilation")
    sides = padding_sides(op, padding, tuple(weight.shape), strides, dilations)
    y = conv_on_device(
        device, op, x, w, b, r, strides, sides, dilations, groups, activation, precision == "tf32"
    )
    return device.from_nhwc(y, layout, channels_last_input)


def conv_on_device(
    device: Device,
    op: str,
    x: Operand,
    weight: Operand,
    bias: Operand | None,
    residual: Operand | None,
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    dilation: tuple[int, int],
    groups: int,
    activation: ActivationSpec = None,
    tf32: bool = False,
) -> Operand:
    """:func:`conv2d` of NHWC arrays."""
    depthwise = groups == x.shape[3] and groups > 1 and weight.shape[3] == 1 and residual is None
    if depthwise:
        weight = taps_first(device, weight)
    conv = device.kernels.Conv2d(
        device.stream, op, x.view, weight.view, view_of(bias), view_of(residual), stride, padding, dilation,
        groups, *activation_pair(activation, op), tf32, depthwise,
    )  # fmt: skip
    return device.run(conv, x.dtype)


def taps_first(device: Device, weight: Operand) -> Operand:
    """A depthwise weight (C_out, kernel_h, kernel_w, 1) as (kernel_h, kernel_w, C_out)."""
    channels, *taps, _ = weight.shape
    return device.transposed(weight, (1, channels, taps[0] * taps[1]), (*taps, channels))


@takes_halves
def depthwise_conv2d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: IntPair = 1,
    padding: IntPair | Literal["valid", "same"] = 0,
    dilation: IntPair = 1,
    *,
    activation: ActivationSpec = None,
    layout: Layout = "NCHW",
    precision: Precision = "f32",
) -> Array:
    """:func:`conv2d` where every input channel has filters of its own: ``groups`` is the number of channels.

    Args:
        weight: float32, (C_in * multiplier, 1, kernel_h, kernel_w).

    The other arguments, the result and the errors are those of :func:`conv2d`.
    """
    op = "depthwise_conv2d"
    channels = channel_count(op, input, layout, precision)
    return convolve(
        op, input, weight, bias, stride, padding, dilation, channels, activation, None, layout, precision
    )


@takes_halves
def separable_conv2d(
    input: Array,
    depthwise_weight: Array,
    pointwise_weight: Array,
    depthwise_bias: Array | None = None,
    pointwise_bias: Array | None = None,
    stride: IntPair = 1,
    padding: IntPair | Literal["valid", "same"] = 0,
    dilation: IntPair = 1,
    *,
    depthwise_activation: ActivationSpec = None,
    activation: ActivationSpec = None,
    layout: Layout = "NCHW",
) -> Array:
    """:func:`depthwise_conv2d`, then a 1x1 :func:`conv2d`, with the map between them never stored.

    Source: A. Howard et al., MobileNets, 2017.

    Args:
        input: float32, (N, C_in, H, W), or (N, H, W, C_in) with ``layout="NHWC"``. Or all arrays float64, for
            gradient checks: plain loops, without activations.
        depthwise_weight: float32, (C_in * multiplier, 1, kernel_h, kernel_w).
        pointwise_weight: float32, (C_out, C_in * multiplier, 1, 1).
        depthwise_bias: float32, (C_in * multiplier,).
        pointwise_bias: float32, (C_out,).
        stride, padding, dilation: of the depthwise convolution, as in :func:`conv2d`.
        depthwise_activation: between the two; see ``ActivationSpec``.
        activation: of the result.
        layout: of ``input`` and the result.

    On CUDA arrays are float32, float16 or bfloat16, and of one of them; sums are float32, values between the
    two of that type.

    Returns:
        (N, C_out, H_out, W_out) in ``layout``, of the same kind as ``input``; sizes as in :func:`conv2d`.

    Raises:
        TypeError: an argument is not an array, of another dtype, or of another than ``input``.
        ValueError: shapes or parameters contradict each other.
    """
    op = "separable_conv2d"
    arrays = {
        "input": input, "depthwise_weight": depthwise_weight, "pointwise_weight": pointwise_weight,
        "depthwise_bias": depthwise_bias, "pointwise_bias": pointwise_bias,
    }  # fmt: skip
    if device := device_of(op, **arrays):
        x_on, channels_last_input = device.nhwc(input, layout, op, "input", CUDA_FLOATS)
        y_on = _separable_on_device(
            device, op, x_on, arrays, stride, padding, dilation, depthwise_activation, activation
        )
        return device.from_nhwc(y_on, layout, channels_last_input)
    given = as_numpy(input, op, "input", FLOATS)
    planar = is_planes(given, layout)
    x = given if planar else to_nhwc(given, layout, op, "input")
    channels = x.shape[1 if planar else 3]
    d, w = separable_weights(op, x.dtype, channels, depthwise_weight, pointwise_weight)
    d_bias, w_bias = (
        None if bias is None else np.ascontiguousarray(as_numpy(bias, op, name, (x.dtype.name,)))
        for bias, name in ((depthwise_bias, "depthwise_bias"), (pointwise_bias, "pointwise_bias"))
    )
    strides, dilations = pair(stride, op, "stride"), pair(dilation, op, "dilation")
    geometry = strides, padding_sides(op, padding, d.shape, strides, dilations), dilations, channels
    if x.dtype == np.float64:
        _refuse_activation(op, depthwise_activation)
        _refuse_activation(op, activation)
        between = _core.conv2d_f64(x, channels_last(d, op), d_bias, *geometry, op)
        y = _core.conv2d_f64(between, channels_last(w, op), w_bias, (1, 1), (0,) * 4, (1, 1), 1, op)
        return _result(y, input, layout, op)
    conv = _core.SeparableConv2d(
        d, w, d_bias, w_bias, *geometry, *activation_pair(depthwise_activation, op),
        *activation_pair(activation, op),
    )  # fmt: skip
    if planar:
        return result_like(conv.run_nchw(x), input)
    return _result(conv.run(x), input, layout, op)


def _separable_on_device(
    device: Device,
    op: str,
    x: Operand,
    arrays: dict[str, Array | None],
    stride: IntPair,
    padding: IntPair | str,
    dilation: IntPair,
    depthwise_activation: ActivationSpec,
    activation: ActivationSpec,
    residual: Operand | None = None,
    pointwise: str = "pointwise",
    fill: Callable[[], object] | None = None,
) -> Operand:
    """:func:`separable_conv2d` of NHWC arrays, weights and biases by their names, that of the 1x1 convolution
    being ``pointwise``. ``fill`` puts values into ``x``, once the arguments are checked."""
    names = f"{pointwise}_weight", f"{pointwise}_bias"
    d, w = (
        device.nhwc(arrays[name], "NCHW", op, name, (x.dtype,))[0] for name in ("depthwise_weight", names[0])
    )
    d_shape, w_shape = ((k.shape[0], k.shape[3], *k.shape[1:3]) for k in (d, w))
    check_separable(op, x.shape[3], d_shape, w_shape, names[0])
    d_bias, w_bias = (
        device.take_optional(arrays[name], op, name, (x.dtype,)) for name in ("depthwise_bias", names[1])
    )
    for name, bias, shape in (("depthwise_bias", d_bias, d_shape), (names[1], w_bias, w_shape)):
        if bias is not None:
            check_shape(bias, shape[:1], op, name)
    strides, dilations = pair(stride, op, "stride"), pair(dilation, op, "dilation")
    taps = taps_first(device, d)  # as long as the kernel may read it
    conv = device.kernels.SeparableConv2d(
        device.stream, op, x.view, taps.view, w.view, view_of(d_bias), view_of(w_bias), view_of(residual),
        strides, padding_sides(op, padding, d_shape, strides, dilations), dilations,
        *activation_pair(depthwise_activation, op), *activation_pair(activation, op),
    )  # fmt: skip
    if fill is not None:
        fill()
    return device.run(conv, x.dtype)


@takes_halves
def inverted_residual(
    input: Array,
    expand_weight: Array,
    depthwise_weight: Array,
    project_weight: Array,
    expand_bias: Array | None = None,
    depthwise_bias: Array | None = None,
    project_bias: Array | None = None,
    stride: IntPair = 1,
    padding: IntPair | Literal["valid", "same"] = 0,
    dilation: IntPair = 1,
    *,
    expand_activation: ActivationSpec = None,
    depthwise_activation: ActivationSpec = None,
    activation: ActivationSpec = None,
    residual: Array | None = None,
    layout: Layout = "NCHW",
) -> Array:
    """A 1x1 :func:`conv2d` to many channels, then :func:`separable_conv2d`, with neither map between stored.

    Source: M. Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, 2018. The block works
    in strips of rows, whose expanded values stay in cache: at most 4 MB for each thread.

    Args:
        input: float32, (N, C_in, H, W), or (N, H, W, C_in) with ``layout="NHWC"``. Or all arrays float64, for
            gradient checks: plain loops, without activations.
        expand_weight: float32, (C_mid, C_in, 1, 1).
        depthwise_weight: float32, (C_mid * multiplier, 1, kernel_h, kernel_w).
        project_weight: float32, (C_out, C_mid * multiplier, 1, 1).
        expand_bias, depthwise_bias, project_bias: float32, one value for each output channel.
        stride, padding, dilation: of the depthwise convolution, as in :func:`conv2d`.
        expand_activation, depthwise_activation: behind the first two convolutions; see ``ActivationSpec``.
        activation: of the result.
        residual: float32, of the output's shape and layout (``input``, mostly); added before ``activation``.
        layout: of ``input``, ``residual`` and the result.

    On CUDA arrays are float32, float16 or bfloat16, and of one of them; sums are float32. The expanded map is
    stored there, of that type; the depthwise results are not.

    Returns:
        (N, C_out, H_out, W_out) in ``layout``, of the same kind as ``input``; sizes as in :func:`conv2d`.

    Raises:
        TypeError: an argument is not an array, of another dtype, or of another than ``input``.
        ValueError: shapes or parameters contradict each other.
    """
    op = "inverted_residual"
    arrays = {
        "input": input, "expand_weight": expand_weight, "depthwise_weight": depthwise_weight,
        "project_weight": project_weight, "expand_bias": expand_bias, "depthwise_bias": depthwise_bias,
        "project_bias": project_bias, "residual": residual,
    }  # fmt: skip
    if device := device_of(op, **arrays):
        return _inverted_on_device(
            device, op, arrays, stride, padding, dilation, expand_activation, depthwise_activation,
            activation, layout,
        )  # fmt: skip
    x = as_numpy(input, op, "input", FLOATS)
    dtype = (x.dtype.name,)
    r = None if residual is None else as_numpy(residual, op, "residual", dtype)
    planar = is_planes(x, layout) and (r is None or is_planes(r, layout))
    if not planar:
        x = to_nhwc(x, layout, op, "input")
        r = None if r is None else to_nhwc(r, layout, op, "residual")
    channels = x.shape[1 if planar else 3]
    e, d, w = inverted_weights(op, x.dtype, channels, expand_weight, depthwise_weight, project_weight)
    e_bias, d_bias, w_bias = (
        None if bias is None else np.ascontiguousarray(as_numpy(bias, op, name, dtype))
        for bias, name in (
            (expand_bias, "expand_bias"),
            (depthwise_bias, "depthwise_bias"),
            (project_bias, "project_bias"),
        )
    )
    strides, dilations = pair(stride, op, "stride"), pair(dilation, op, "dilation")
    geometry = strides, padding_sides(op, padding, d.shape, strides, dilations), dilations
    if x.dtype == np.float64:
        for spec in (expand_activation, depthwise_activation, activation):
            _refuse_activation(op, spec)
        point: tuple[Any, ...] = (1, 1), (0,) * 4, (1, 1), 1, op
        y = _core.conv2d_f64(x, channels_last(e, op), e_bias, *point)
        y = _core.conv2d_f64(y, channels_last(d, op), d_bias, *geometry, e.shape[0], op)
        y = _core.conv2d_f64(y, channels_last(w, op), w_bias, *point)
        return _result(_with_residual(op, y, r), input, layout, op)
    block = _core.InvertedResidual(
        e, d, w, e_bias, d_bias, w_bias, *geometry,
        *activation_pair(expand_activation, op), *activation_pair(depthwise_activation, op),
        *activation_pair(activation, op),
    )  # fmt: skip
    if planar:
        return result_like(block.run_nchw(x, r), input)
    return _result(block.run(x, r), input, layout, op)


def _inverted_on_device(
    device: Device,
    op: str,
    arrays: dict[str, Array | None],
    stride: IntPair,
    padding: IntPair | str,
    dilation: IntPair,
    expand_activation: ActivationSpec,
    depthwise_activation: ActivationSpec,
    activation: ActivationSpec,
    layout: Layout,
) -> Array:
    x, channels_last_input = device.nhwc(arrays["input"], layout, op, "input", CUDA_FLOATS)
    dtypes = (x.dtype,)
    e, _ = device.nhwc(arrays["expand_weight"], "NCHW", op, "expand_weight", dtypes)
    check_expansion(op, x.shape[3], (e.shape[0], e.shape[3], *e.shape[1:3]))
    bias = device.take_optional(arrays["expand_bias"], op, "expand_bias", dtypes)
    if bias is not None:
        check_shape(bias, e.shape[:1], op, "expand_bias")
    residual = arrays["residual"]
    r = None if residual is None else device.nhwc(residual, layout, op, "residual", dtypes)[0]
    expand = device.kernels.Conv2d(
        device.stream, op, x.view, e.view, view_of(bias), None, (1, 1), (0, 0, 0, 0), (1, 1), 1,
        *activation_pair(expand_activation, op), False, False,
    )  # fmt: skip
    expanded = device.empty(tuple(expand.output_shape), x.dtype)
    workspace = device.workspace(expand.workspace_bytes)
    y = _separable_on_device(
        device, op, expanded, arrays, stride, padding, dilation, depthwise_activation, activation, r,
        "project", lambda: expand.run(workspace.view, expanded.view),
    )  # fmt: skip
    return device.from_nhwc(y, layout, channels_last_input)


@takes_halves
def conv_transpose2d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: IntPair = 1,
    padding: IntPair = 0,
    output_padding: IntPair = 0,
    groups: int = 1,
    dilation: IntPair = 1,
    *,
    activation: ActivationSpec = None,
    layout: Layout = "NCHW",
    allow_winograd: bool = True,
) -> Array:
    """Transposed convolution: the adjoint of :func:`conv2d`, which enlarges a map by learned interpolation.

    Semantics: :func:`torch.nn.functional.conv_transpose2d`.

    Args:
        input: float32, (N, C_in, H, W), or (N, H, W, C_in) with ``layout="NHWC"``. Or all arrays float64, for
            gradient checks: plain loops, without activation.
        weight: float32, (C_in, C_out / groups, kernel_h, kernel_w).
        bias: float32, (C_out,).
        stride, padding, output_padding, dilation: an integer or (vertical, horizontal).
        allow_winograd: as in :func:`conv2d`, for the outputs that see 2x2 or 3x3 inputs: all of 4x4 / 2, a
            quarter of 3x3 / 2. With few output channels it allows one convolution for all sub-pixel phases,
            by which NaN and infinity reach a pixel further.

    On CUDA arrays are float32, float16 or bfloat16, and of one of them; sums are float32.

    Returns:
        (N, C_out, H_out, W_out) in ``layout``,
        H_out = (H - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1.

    Raises:
        TypeError: an argument is not an array, of another dtype, or of another than ``input``.
        ValueError: shapes or parameters contradict each other.
    """
    op = "conv_transpose2d"
    geometry = (
        pair(stride, op, "stride"), pair(padding, op, "padding"),
        pair(output_padding, op, "output_padding"), integer(groups, op, "groups"),
        pair(dilation, op, "dilation"),
    )  # fmt: skip
    if device := device_of(op, input=input, weight=weight, bias=bias):
        x_on, channels_last_input = device.nhwc(input, layout, op, "input", CUDA_FLOATS)
        w_on, _ = device.nhwc(weight, "NCHW", op, "weight", (x_on.dtype,))
        b_on = device.take_optional(bias, op, "bias", (x_on.dtype,))
        y_on = transpose_on_device(device, op, x_on, w_on, b_on, *geometry, activation)
        return device.from_nhwc(y_on, layout, channels_last_input)
    x = as_numpy(input, op, "input", FLOATS)
    planar = is_planes(x, layout)
    if not planar:
        x = to_nhwc(x, layout, op, "input")
    dtype = (x.dtype.name,)
    w = np.ascontiguousarray(as_numpy(weight, op, "weight", dtype))
    b = None if bias is None else np.ascontiguousarray(as_numpy(bias, op, "bias", dtype))
    if x.dtype == np.float64:
        _refuse_activation(op, activation)
        y = _core.conv_transpose2d_f64(x, channels_last(w, op), b, *geometry)
        return _result(y, input, layout, op)
    size = x.shape[2:] if planar else x.shape[1:3]
    conv = _core.ConvTranspose2d(
        w, b, *geometry, *activation_pair(activation, op), input_size=size,
        allow_winograd=flag(allow_winograd, op, "allow_winograd") and size[0] * size[1] >= _WINOGRAD_PIXELS,
    )  # fmt: skip
    if planar:
        return result_like(conv.run_nchw(x), input)
    return _result(conv.run(x), input, layout, op)


def transpose_on_device(
    device: Device,
    op: str,
    x: Operand,
    weight: Operand,
    bias: Operand | None,
    stride: tuple[int, int],
    padding: tuple[int, int],
    output_padding: tuple[int, int],
    groups: int,
    dilation: tuple[int, int],
    activation: ActivationSpec = None,
    output_size: tuple[int, int] | None = None,
) -> Operand:
    """:func:`conv_transpose2d` of NHWC arrays; with ``output_size`` a gradient, of that height and width."""
    depthwise = groups > 1 and weight.shape[3] == 1 and groups <= x.shape[3] and x.shape[3] % groups == 0
    if depthwise:
        weight = taps_first(device, weight)
    conv = device.kernels.ConvTranspose2d(
        device.stream, op, x.view, weight.view, view_of(bias), stride, padding, output_padding, dilation,
        groups, *activation_pair(activation, op), output_size, depthwise,
    )  # fmt: skip
    return device.run(conv, x.dtype)


def linear(
    input: Array, weight: Array, bias: Array | None = None, *, activation: ActivationSpec = None
) -> Array:
    """``activation(input @ weight.T + bias)``: a 1x1 convolution over rows.

    Args:
        input: float32, (..., in_features).
        weight: float32, (out_features, in_features).
        bias: float32, (out_features,).

    Returns:
        (..., out_features), of the same kind as ``input``.

    Raises:
        TypeError: an argument is not an array, or not of dtype float32.
        ValueError: shapes contradict each other.
    """
    op = "linear"
    x, w = as_numpy(input, op, "input"), as_numpy(weight, op, "weight")
    b = None if bias is None else as_numpy(bias, op, "bias")
    if w.ndim != 2 or 0 in w.shape:
        raise ValueError(f"[{op}] expected weight of shape (out_features, in_features), got {w.shape}")
    if x.ndim == 0 or x.shape[-1] != w.shape[1]:
        raise ValueError(f"[{op}] expected input of shape (..., {w.shape[1]}), got {x.shape}")
    if b is not None and b.shape != w.shape[:1]:
        raise ValueError(f"[{op}] expected bias of shape ({w.shape[0]},), got {b.shape}")
    kind, slope = activation_pair(activation, op)
    conv = _core.Conv2d(
        np.ascontiguousarray(w)[:, :, None, None],
        None if b is None else np.ascontiguousarray(b),
        activation=kind,
        slope=slope,
        op=op,
    )
    rows = np.ascontiguousarray(x).reshape(1, 1, -1, w.shape[1])
    y = conv.run(rows) if rows.size else np.empty((0, w.shape[0]), np.float32)
    return result_like(y.reshape(*x.shape[:-1], w.shape[0]), input)


def separable_weights(
    op: str,
    dtype: np.dtype,
    channels: int,
    depthwise_weight: Array,
    pointwise_weight: Array,
    pointwise_name: str = "pointwise_weight",
) -> tuple[np.ndarray, np.ndarray]:
    """The weights of a separable convolution of a map of so many channels: of its dtype, and of shapes that
    fit."""
    d, w = (
        np.ascontiguousarray(as_numpy(weight, op, name, (dtype.name,)))
        for weight, name in ((depthwise_weight, "depthwise_weight"), (pointwise_weight, pointwise_name))
    )
    check_separable(op, channels, d.shape, w.shape, pointwise_name)
    return d, w


def check_separable(
    op: str,
    channels: int,
    d: tuple[int, ...],
    w: tuple[int, ...],
    pointwise_name: str = "pointwise_weight",
) -> None:
    """Raise ValueError unless the weights' shapes, in torch's order, fit an input of so many channels."""
    if channels == 0 or len(d) != 4 or d[1] != 1 or d[0] == 0 or d[0] % channels:
        raise ValueError(
            f"[{op}] expected depthwise_weight of shape (multiple of input's {channels} channels, 1, "
            f"kernel_h, kernel_w), got {d}"
        )
    if len(w) != 4 or w[0] == 0 or w[1:] != (d[0], 1, 1):
        raise ValueError(f"[{op}] expected {pointwise_name} of shape (out_channels, {d[0]}, 1, 1), got {w}")


def inverted_weights(
    op: str,
    dtype: np.dtype,
    channels: int,
    expand_weight: Array,
    depthwise_weight: Array,
    project_weight: Array,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same of an inverted residual block."""
    e = np.ascontiguousarray(as_numpy(expand_weight, op, "expand_weight", (dtype.name,)))
    check_expansion(op, channels, e.shape)
    return e, *separable_weights(op, dtype, e.shape[0], depthwise_weight, project_weight, "project_weight")


def check_expansion(op: str, channels: int, e: tuple[int, ...]) -> None:
    """Raise ValueError unless the first weight's shape, in torch's order, fits so many input channels."""
    if len(e) != 4 or 0 in e or e[2:] != (1, 1):
        raise ValueError(f"[{op}] expected expand_weight of shape (channels, in_channels, 1, 1), got {e}")
    if e[1] != channels:
        raise ValueError(f"[{op}] expected input with {e[1]} channels, got {channels}")


def channels_last(weight: np.ndarray, op: str) -> np.ndarray:
    """A weight as (C_out, kernel_h, kernel_w, C_in / groups): a view if its memory is in that order."""
    return to_nhwc(weight, "NCHW", op, "weight")


def channel_count(op: str, input: Array, layout: str, precision: Precision = "f32") -> int:
    """Input channels of a depthwise convolution, which are its groups."""
    known = device_of(op, input=input) or (precision == "bf16" and is_bf16(input))
    shape = tuple((input if known else as_numpy(input, op, "input", FLOATS)).shape)
    if len(shape) != 4:
        raise ValueError(f"[{op}] expected input with 4 dimensions, got shape {shape}")
    return int(shape[1 if layout == "NCHW" else 3])


def _with_residual(op: str, y: np.ndarray, residual: np.ndarray | None) -> np.ndarray:
    if residual is None:
        return y
    if residual.shape != y.shape:
        raise ValueError(f"[{op}] expected residual of shape (N, H, W, C) = {y.shape}, got {residual.shape}")
    total: np.ndarray = y + residual
    return total


def _refuse_activation(op: str, activation: ActivationSpec) -> None:
    if activation is not None:
        raise ValueError(f"[{op}] expected activation None with float64 arrays, got {activation!r}")


def padding_sides(
    op: str,
    padding: IntPair | str,
    weight_shape: tuple[int, ...],
    stride: tuple[int, int],
    dilation: tuple[int, int],
) -> tuple[int, int, int, int]:
    """Padding as (top, left, bottom, right)."""
    if isinstance(padding, str):
        if padding not in ("valid", "same"):
            raise ValueError(
                f"[{op}] expected padding to be an integer, two, 'valid' or 'same', got {padding!r}"
            )
        if padding == "valid" or len(weight_shape) != 4:
            return 0, 0, 0, 0
        if stride != (1, 1):
            raise ValueError(f"[{op}] expected stride 1 with padding='same', got {stride}")
        total_h, total_w = (d * (k - 1) for d, k in zip(dilation, weight_shape[2:], strict=True))
        return total_h // 2, total_w // 2, total_h - total_h // 2, total_w - total_w // 2
    vertical, horizontal = pair(padding, op, "padding")
    return vertical, horizontal, vertical, horizontal


def _result(y: np.ndarray, input: Array, layout: str, op: str) -> Array:
    like_input = is_channels_last(as_numpy(input, op, "input", FLOATS), layout)
    return result_like(from_nhwc(y, layout, like_input), input)
