# SPDX-License-Identifier: Apache-2.0
"""Gradients of the convolutions, for training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pyvision import _core
from pyvision._array import Array, as_numpy, from_nhwc, is_channels_last, is_planes, result_like, to_nhwc
from pyvision._device import Device, Operand, device_of
from pyvision.ops._args import IntPair, flag, integer, pair
from pyvision.ops._boxes import check_shape
from pyvision.ops._halves import takes_halves
from pyvision.ops.conv import (
    CUDA_FLOATS,
    FLOATS,
    Layout,
    channel_count,
    channels_last,
    check_expansion,
    check_separable,
    conv_on_device,
    convolve,
    inverted_weights,
    padding_sides,
    separable_weights,
    taps_first,
    transpose_on_device,
)

# NCHW maps in cache are best converted once for all that is computed from them.
_WHOLE_BYTES = 512 << 10

Gradients = tuple[Array | None, Array | None, Array | None]
"""Of the input, the weight and the bias; None where ``output_mask`` asks for none."""


@takes_halves
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

    On CUDA arrays are float32, float16 or bfloat16, and of one of them; sums are float32.

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


@takes_halves
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


@takes_halves
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
    if device := device_of(op, grad_output=grad_output, input=input, weight=weight):
        return _transpose_gradients_on(
            device, op, _maps_on(device, op, grad_output, input, weight, layout),
            pair(stride, op, "stride"), pair(padding, op, "padding"),
            pair(output_padding, op, "output_padding"), integer(groups, op, "groups"),
            pair(dilation, op, "dilation"), layout, _mask(op, output_mask),
        )  # fmt: skip
    g, x, w, planar = _maps(op, grad_output, input, weight, layout)
    gradients = _core.conv_transpose2d_backward(
        g, x, w, pair(stride, op, "stride"), pair(padding, op, "padding"),
        pair(output_padding, op, "output_padding"), integer(groups, op, "groups"),
        pair(dilation, op, "dilation"), _mask(op, output_mask), planar,
    )  # fmt: skip
    return _results(op, gradients, input, weight, "NHWC" if planar else layout)


@takes_halves
def separable_conv2d_backward(
    grad_output: Array,
    input: Array,
    depthwise_weight: Array,
    pointwise_weight: Array,
    depthwise_bias: Array | None = None,
    stride: IntPair = 1,
    padding: IntPair | Literal["valid", "same"] = 0,
    dilation: IntPair = 1,
    *,
    layout: Layout = "NCHW",
    output_mask: Sequence[bool] = (True, True, True, True, True),
) -> tuple[Array | None, Array | None, Array | None, Array | None, Array | None]:
    """Gradients of a depthwise convolution followed by a 1x1 convolution, without activations.

    The map between the two is computed again.

    Args:
        grad_output: float32, the gradient with respect to the output: of its shape and layout. Or all arrays
            float64, for gradient checks: plain loops. On CUDA float32, float16 or bfloat16.
        input: (N, C_in, H, W), or (N, H, W, C_in) with ``layout="NHWC"``.
        depthwise_weight: (C_in * multiplier, 1, kernel_h, kernel_w).
        pointwise_weight: (C_out, C_in * multiplier, 1, 1).
        depthwise_bias: (C_in * multiplier,).
        stride, padding, dilation: of the depthwise convolution, as in :func:`conv2d`.
        output_mask: which gradients to compute, in the order of the result.

    Returns:
        The gradients of input, depthwise weight, pointwise weight, depthwise bias and pointwise bias.

    Raises:
        TypeError: an argument is not an array, of another dtype, or of another than ``grad_output``.
        ValueError: shapes or parameters contradict each other.
    """
    op = "separable_conv2d_backward"
    wanted = _mask(op, output_mask, 5)
    geometry = stride, padding, dilation
    weights = {"depthwise_weight": depthwise_weight, "pointwise_weight": pointwise_weight}
    biases: dict[str, Array | None] = {"depthwise_bias": depthwise_bias}
    if device := device_of(op, grad_output=grad_output, input=input, **weights, **biases):
        on = _ArraysOn(device, op, grad_output, input, weights, biases, layout)
        depthwise_on, pointwise_on = on.weights
        check_separable(op, on.input.shape[3], depthwise_on.shape, pointwise_on.shape)
        (bias_on,) = on.biases_of(depthwise_on)
        a, b, c, d, e = on.given(
            _separable_gradients(
                op, on.grad.array, on.input.array, depthwise_on.array, pointwise_on.array, bias_on,
                *geometry, "NHWC", wanted,
            )
        )  # fmt: skip
        return a, b, c, d, e
    g, x, planar = _grad_and_input(op, grad_output, input, layout, _WHOLE_BYTES)
    inner: Layout = "NCHW" if planar else "NHWC"
    depthwise, pointwise = separable_weights(
        op, x.dtype, x.shape[1 if planar else 3], depthwise_weight, pointwise_weight
    )
    bias = _bias_of(op, depthwise, depthwise_bias, "depthwise_bias")
    gradients = _separable_gradients(op, g, x, depthwise, pointwise, bias, *geometry, inner, wanted)
    a, b, c, d, e = _as_given(op, gradients, input, depthwise_weight, "NHWC" if planar else layout)
    return a, b, c, d, e


@takes_halves
def inverted_residual_backward(
    grad_output: Array,
    input: Array,
    expand_weight: Array,
    depthwise_weight: Array,
    project_weight: Array,
    expand_bias: Array | None = None,
    depthwise_bias: Array | None = None,
    stride: IntPair = 1,
    padding: IntPair | Literal["valid", "same"] = 0,
    dilation: IntPair = 1,
    *,
    layout: Layout = "NCHW",
    output_mask: Sequence[bool] = (True,) * 7,
) -> tuple[Array | None, ...]:
    """Gradients of :func:`inverted_residual` without activations; that of its residual is ``grad_output``.

    The maps between the convolutions are computed again.

    Args:
        grad_output: float32, the gradient with respect to the output: of its shape and layout. Or all arrays
            float64, for gradient checks: plain loops. On CUDA float32, float16 or bfloat16.
        input: (N, C_in, H, W), or (N, H, W, C_in) with ``layout="NHWC"``.
        expand_weight: (C_mid, C_in, 1, 1).
        depthwise_weight: (C_mid * multiplier, 1, kernel_h, kernel_w).
        project_weight: (C_out, C_mid * multiplier, 1, 1).
        expand_bias, depthwise_bias: one value for each output channel.
        stride, padding, dilation: of the depthwise convolution, as in :func:`conv2d`.
        output_mask: which gradients to compute, in the order of the result.

    Returns:
        The gradients of input, expand, depthwise and project weight, and expand, depthwise and project bias.

    Raises:
        TypeError: an argument is not an array, of another dtype, or of another than ``grad_output``.
        ValueError: shapes or parameters contradict each other.
    """
    op = "inverted_residual_backward"
    wanted = _mask(op, output_mask, 7)
    geometry = stride, padding, dilation
    weights = {
        "expand_weight": expand_weight, "depthwise_weight": depthwise_weight,
        "project_weight": project_weight,
    }  # fmt: skip
    biases: dict[str, Array | None] = {"expand_bias": expand_bias, "depthwise_bias": depthwise_bias}
    if device := device_of(op, grad_output=grad_output, input=input, **weights, **biases):
        on = _ArraysOn(device, op, grad_output, input, weights, biases, layout)
        e, d, p = on.weights
        check_expansion(op, on.input.shape[3], e.shape)
        check_separable(op, e.shape[0], d.shape, p.shape, "project_weight")
        e_bias_on, d_bias_on = on.biases_of(e, d)
        return on.given(
            _inverted_gradients(
                op, on.grad.array, on.input.array, e.array, d.array, p.array, e_bias_on, d_bias_on,
                *geometry, "NHWC", wanted,
            )
        )  # fmt: skip
    g, x, planar = _grad_and_input(op, grad_output, input, layout, _WHOLE_BYTES)
    inner: Layout = "NCHW" if planar else "NHWC"
    expand, depthwise, project = inverted_weights(
        op, x.dtype, x.shape[1 if planar else 3], expand_weight, depthwise_weight, project_weight
    )
    e_bias = _bias_of(op, expand, expand_bias, "expand_bias")
    d_bias = _bias_of(op, depthwise, depthwise_bias, "depthwise_bias")
    gradients = _inverted_gradients(
        op, g, x, expand, depthwise, project, e_bias, d_bias, *geometry, inner, wanted
    )
    return _as_given(op, gradients, input, expand_weight, "NHWC" if planar else layout)


def _inverted_gradients(
    op: str,
    g: Array,
    x: Array,
    expand: Array,
    depthwise: Array,
    project: Array,
    expand_bias: Array | None,
    depthwise_bias: Array | None,
    stride: IntPair,
    padding: IntPair | str,
    dilation: IntPair,
    layout: Layout,
    wanted: tuple[bool, ...],
) -> tuple[Array | None, ...]:
    """:func:`inverted_residual_backward` of arrays that fit each other."""
    expanded = convolve(op, x, expand, expand_bias, 1, 0, 1, 1, None, None, layout)
    want_expanded = wanted[0] or wanted[1] or wanted[4]
    grad_expanded, grad_depthwise, grad_project, grad_d_bias, grad_p_bias = _separable_gradients(
        op, g, expanded, depthwise, project, depthwise_bias, stride, padding, dilation, layout,
        (want_expanded, wanted[2], wanted[3], *wanted[5:]),
    )  # fmt: skip
    grad_input = grad_expand = grad_e_bias = None
    if want_expanded:
        grad_input, grad_expand, grad_e_bias = _conv2d_gradients(
            op, grad_expanded, x, expand, 1, 0, 1, 1, layout, (wanted[0], wanted[1], wanted[4])
        )
    return grad_input, grad_expand, grad_depthwise, grad_project, grad_e_bias, grad_d_bias, grad_p_bias


def _bias_of(op: str, weight: np.ndarray, bias: Array | None, name: str) -> np.ndarray | None:
    if bias is None:
        return None
    array = as_numpy(bias, op, name, (weight.dtype.name,))
    if array.shape != weight.shape[:1]:
        raise ValueError(f"[{op}] expected {name} of shape ({weight.shape[0]},), got {array.shape}")
    return array


def _separable_gradients(
    op: str,
    g: Array,
    x: Array,
    depthwise: Array,
    pointwise: Array,
    bias: Array | None,
    stride: IntPair,
    padding: IntPair | str,
    dilation: IntPair,
    layout: Layout,
    wanted: tuple[bool, ...],
) -> tuple[Array | None, ...]:
    """:func:`separable_conv2d_backward` of arrays that fit each other."""
    channels = x.shape[1 if layout == "NCHW" else 3]
    want_input, want_depthwise, want_pointwise, *want_biases = wanted
    between = convolve(op, x, depthwise, bias, stride, padding, dilation, channels, None, None, layout)
    want_between = want_input or want_depthwise or want_biases[0]
    grad_between, grad_pointwise, grad_pointwise_bias = _conv2d_gradients(
        op, g, between, pointwise, 1, 0, 1, 1, layout, (want_between, want_pointwise, want_biases[1])
    )
    grad_input = grad_depthwise = grad_depthwise_bias = None
    if want_between:
        grad_input, grad_depthwise, grad_depthwise_bias = _conv2d_gradients(
            op, grad_between, x, depthwise, stride, padding, dilation, channels, layout,
            (want_input, want_depthwise, want_biases[0]),
        )  # fmt: skip
    return grad_input, grad_depthwise, grad_pointwise, grad_depthwise_bias, grad_pointwise_bias


def _as_given(
    op: str, gradients: tuple[Array | None, ...], input: Array, weight: Array, layout: Layout
) -> tuple[Array | None, ...]:
    """The input's gradient, NHWC, in ``layout``, and those of weights and biases, of the caller's kinds."""
    grad_input, *others = gradients
    of_input = None
    if grad_input is not None:
        like_input = is_channels_last(as_numpy(input, op, "input", FLOATS), layout)
        of_input = result_like(from_nhwc(grad_input, layout, like_input), input)
    return of_input, *(None if a is None else result_like(a, weight) for a in others)


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
    strides, dilations = pair(stride, op, "stride"), pair(dilation, op, "dilation")
    if device := device_of(op, grad_output=grad_output, input=input, weight=weight):
        maps = _maps_on(device, op, grad_output, input, weight, layout)
        four_sides = padding_sides(op, padding, tuple(weight.shape), strides, dilations)
        return _conv2d_gradients_on(
            device, op, maps, strides, four_sides, dilations, groups, layout, _mask(op, output_mask)
        )
    g, x, w, planar = _maps(op, grad_output, input, weight, layout)
    four_sides = padding_sides(op, padding, w.transpose(0, 3, 1, 2).shape, strides, dilations)
    gradients = _core.conv2d_backward(
        g, x, w, strides, four_sides, dilations, groups, _mask(op, output_mask), allow_winograd, op, planar
    )
    return _results(op, gradients, input, weight, "NHWC" if planar else layout)


def _maps(
    op: str, grad_output: Array, input: Array, weight: Array, layout: Layout
) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
    """The arrays channels last; but the maps as they are where both are planes, as the last value says."""
    g, x, planar = _grad_and_input(op, grad_output, input, layout)
    return g, x, channels_last(as_numpy(weight, op, "weight", (g.dtype.name,)), op), planar


def _grad_and_input(
    op: str, grad_output: Array, input: Array, layout: Layout, whole_bytes: int = 0
) -> tuple[np.ndarray, np.ndarray, bool]:
    """NHWC, but as they are where both are planes of more than ``whole_bytes``, as the last value says."""
    g = as_numpy(grad_output, op, "grad_output", FLOATS)
    x = as_numpy(input, op, "input", (g.dtype.name,))
    if is_planes(g, layout) and is_planes(x, layout) and g.nbytes + x.nbytes > whole_bytes:
        return g, x, True
    return to_nhwc(g, layout, op, "grad_output"), to_nhwc(x, layout, op, "input"), False


class _ArraysOn:
    """What the gradients of several convolutions are made of, on the device and dense: maps as NHWC, weights
    and biases as they are given. All are of the gradient's dtype."""

    def __init__(
        self,
        device: Device,
        op: str,
        grad_output: Array,
        input: Array,
        weights: dict[str, Array],
        biases: dict[str, Array | None],
        layout: Layout,
    ) -> None:
        self._device, self._op, self._layout = device, op, layout
        self.grad, _ = device.nhwc(grad_output, layout, op, "grad_output", CUDA_FLOATS)
        self._dtypes = (self.grad.dtype,)
        self.input, self._channels_last = device.nhwc(input, layout, op, "input", self._dtypes)
        self.weights = [device.take(x, op, name, self._dtypes) for name, x in weights.items()]
        self._biases = {name: device.take_optional(x, op, name, self._dtypes) for name, x in biases.items()}

    def biases_of(self, *weights: Operand) -> list[Array | None]:
        """The biases, of as many values as the convolutions of these weights have outputs."""
        for (name, bias), weight in zip(self._biases.items(), weights, strict=True):
            if bias is not None:
                check_shape(bias, weight.shape[:1], self._op, name)
        return [None if bias is None else bias.array for bias in self._biases.values()]

    def given(self, gradients: tuple[Array | None, ...]) -> tuple[Array | None, ...]:
        """The input's gradient, NHWC, in the caller's layout, and the others; all of the caller's kind."""
        by_input, *others = (
            None if x is None else self._device.take(x, self._op, "gradient", self._dtypes) for x in gradients
        )
        return (
            None if by_input is None
            else self._device.from_nhwc(by_input, self._layout, self._channels_last),
            *(None if x is None else self._device.give(x) for x in others),
        )  # fmt: skip


@dataclass(frozen=True)
class _MapsOn:
    """A convolution's arrays on the device, as dense NHWC, and which of them were so in the caller's NCHW."""

    grad: Operand
    input: Operand
    weight: Operand
    input_channels_last: bool
    weight_channels_last: bool


def _maps_on(
    device: Device, op: str, grad_output: Array, input: Array, weight: Array, layout: Layout
) -> _MapsOn:
    g, _ = device.nhwc(grad_output, layout, op, "grad_output", CUDA_FLOATS)
    x, input_last = device.nhwc(input, layout, op, "input", (g.dtype,))
    w, weight_last = device.nhwc(weight, "NCHW", op, "weight", (g.dtype,))
    return _MapsOn(g, x, w, input_last, weight_last)


def _conv2d_gradients_on(
    device: Device,
    op: str,
    maps: _MapsOn,
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    dilation: tuple[int, int],
    groups: int,
    layout: Layout,
    wanted: tuple[bool, ...],
) -> Gradients:
    g, x, w = maps.grad, maps.input, maps.weight
    # Checks the shapes against each other, whether or not it will run.
    by_weight = _weight_gradient(device, op, g, x, w, stride, padding, dilation, groups)
    grad_input = None
    if wanted[0]:
        size = (x.shape[1], x.shape[2])
        y = transpose_on_device(
            device, op, g, w, None, stride, padding[:2], (0, 0), groups, dilation, output_size=size
        )
        grad_input = device.from_nhwc(y, layout, maps.input_channels_last)
    return grad_input, *_constant_gradients(device, op, maps, by_weight, g, wanted)


def _transpose_gradients_on(
    device: Device,
    op: str,
    maps: _MapsOn,
    stride: tuple[int, int],
    padding: tuple[int, int],
    output_padding: tuple[int, int],
    groups: int,
    dilation: tuple[int, int],
    layout: Layout,
    wanted: tuple[bool, ...],
) -> Gradients:
    """Those of the convolution that it is the adjoint of, with input and gradient in each other's place."""
    g, x, w = maps.grad, maps.input, maps.weight
    transposed = device.kernels.ConvTranspose2d(
        device.stream, op, x.view, w.view, None, stride, padding, output_padding, dilation, groups, "none",
        0.0, None, False,
    )  # fmt: skip
    check_shape(g, tuple(transposed.output_shape), op, "grad_output")
    sides = (*padding, padding[0] - output_padding[0], padding[1] - output_padding[1])
    by_weight = _weight_gradient(device, op, x, g, w, stride, sides, dilation, groups)
    grad_input = None
    if wanted[0]:
        y = conv_on_device(device, op, g, w, None, None, stride, sides, dilation, groups)
        grad_input = device.from_nhwc(y, layout, maps.input_channels_last)
    return grad_input, *_constant_gradients(device, op, maps, by_weight, g, wanted)


def _weight_gradient(
    device: Device,
    op: str,
    grad: Operand,
    x: Operand,
    weight: Operand,
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    dilation: tuple[int, int],
    groups: int,
) -> Any:
    depthwise = groups == x.shape[3] and groups > 1 and weight.shape[3] == 1
    if depthwise:
        weight = taps_first(device, weight)
    return device.kernels.Conv2dWeightGradient(
        device.stream, op, grad.view, x.view, weight.view, stride, padding, dilation, groups, depthwise
    )


def _constant_gradients(
    device: Device, op: str, maps: _MapsOn, by_weight: Any, grad: Operand, wanted: tuple[bool, ...]
) -> tuple[Array | None, Array | None]:
    """Of the weight, and of the bias: the sum of ``grad``."""
    grad_weight = grad_bias = None
    if wanted[1]:
        w = device.run(by_weight, grad.dtype)
        if len(w.shape) == 3:  # depthwise, taps first
            *taps, channels = w.shape
            w = device.transposed(w, (1, taps[0] * taps[1], channels), maps.weight.shape)
        grad_weight = device.from_nhwc(w, "NCHW", maps.weight_channels_last)
    if wanted[2]:
        grad_bias = device.give(device.run(device.kernels.RowSum(device.stream, op, grad.view), grad.dtype))
    return grad_weight, grad_bias


def _mask(op: str, output_mask: Sequence[bool], count: int = 3) -> tuple[bool, ...]:
    if not isinstance(output_mask, tuple | list) or len(output_mask) != count:
        raise ValueError(f"[{op}] expected output_mask to be {count} bools, got {output_mask!r}")
    return tuple(flag(wanted, op, "output_mask") for wanted in output_mask)


def _results(
    op: str,
    gradients: tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None],
    input: Array,
    weight: Array,
    layout: Layout,
) -> Gradients:
    """The compiled op's gradients, channels last, as the caller has input and weight; with layout "NHWC" that
    of the input is in the caller's order already."""
    grad_input, grad_weight, grad_bias = gradients
    if grad_weight is not None:
        like_weight = is_channels_last(as_numpy(weight, op, "weight", FLOATS), "NCHW")
        grad_weight = from_nhwc(grad_weight, "NCHW", like_weight)
    a, b, c = _as_given(op, (grad_input, grad_weight, grad_bias), input, weight, layout)
    return a, b, c
