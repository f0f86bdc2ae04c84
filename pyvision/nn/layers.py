# SPDX-License-Identifier: Apache-2.0
"""Layers with torch's arguments and parameter names. Each records one node of the graph."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyvision.nn import init
from pyvision.nn._value import Attributes, Value
from pyvision.nn.functional import interpolate
from pyvision.nn.module import Module
from pyvision.ops._args import IntPair, integer, pair


class Conv2d(Module):
    """torch.nn.Conv2d. weight: (out_channels, in_channels / groups, kH, kW), bias: (out_channels,)."""

    weight: np.ndarray
    bias: np.ndarray | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntPair,
        stride: IntPair = 1,
        padding: IntPair | str = 0,
        dilation: IntPair = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        op = "Conv2d"
        self.in_channels, self.out_channels = _channels(in_channels, out_channels, groups, op)
        self.kernel_size = _positive_pair(kernel_size, op, "kernel_size")
        self.stride = _positive_pair(stride, op, "stride")
        self.dilation = _positive_pair(dilation, op, "dilation")
        self.groups = groups
        self.padding = self._sides(padding)
        kh, kw = self.kernel_size
        fan_in = in_channels // groups * kh * kw
        self.weight = init.uniform((out_channels, in_channels // groups, kh, kw), fan_in)
        self.bias = init.uniform((out_channels,), fan_in) if bias else None

    def _sides(self, padding: IntPair | str) -> tuple[int, int, int, int]:
        """(top, left, bottom, right)"""
        if padding == "valid":
            return 0, 0, 0, 0
        if padding == "same":
            if self.stride != (1, 1):
                raise ValueError(f"[Conv2d] expected stride 1 with padding='same', got {self.stride}")
            v, h = (d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True))
            return v // 2, h // 2, v - v // 2, h - h // 2
        if isinstance(padding, str):
            raise ValueError(f"[Conv2d] expected padding to be numbers, 'same' or 'valid', got {padding!r}")
        v, h = _non_negative_pair(padding, "Conv2d", "padding")
        return v, h, v, h

    def forward(self, x: Value) -> Value:
        attributes: Attributes = {
            "stride": [*self.stride],
            "padding": [*self.padding],
            "dilation": [*self.dilation],
            "groups": self.groups,
        }
        return _map_node("conv2d", x, attributes, _weights(self.weight, self.bias))

    def extra_repr(self) -> str:
        text = (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        )
        if any(self.padding):
            text += f", padding={self.padding}"
        if self.dilation != (1, 1):
            text += f", dilation={self.dilation}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        return text if self.bias is not None else text + ", bias=False"


class ConvTranspose2d(Module):
    """torch.nn.ConvTranspose2d. weight: (in_channels, out_channels / groups, kH, kW), bias: (out,)."""

    weight: np.ndarray
    bias: np.ndarray | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntPair,
        stride: IntPair = 1,
        padding: IntPair = 0,
        output_padding: IntPair = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: IntPair = 1,
    ) -> None:
        op = "ConvTranspose2d"
        self.in_channels, self.out_channels = _channels(in_channels, out_channels, groups, op)
        self.kernel_size = _positive_pair(kernel_size, op, "kernel_size")
        self.stride = _positive_pair(stride, op, "stride")
        self.padding = _non_negative_pair(padding, op, "padding")
        self.output_padding = _non_negative_pair(output_padding, op, "output_padding")
        self.dilation = _positive_pair(dilation, op, "dilation")
        self.groups = groups
        kh, kw = self.kernel_size
        fan_in = out_channels // groups * kh * kw  # torch counts the second axis of the weight
        self.weight = init.uniform((in_channels, out_channels // groups, kh, kw), fan_in)
        self.bias = init.uniform((out_channels,), fan_in) if bias else None

    def forward(self, x: Value) -> Value:
        attributes: Attributes = {
            "stride": [*self.stride],
            "padding": [*self.padding],
            "output_padding": [*self.output_padding],
            "dilation": [*self.dilation],
            "groups": self.groups,
        }
        return _map_node("conv_transpose2d", x, attributes, _weights(self.weight, self.bias))

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        )


class Linear(Module):
    """torch.nn.Linear on features (N, in_features). weight: (out_features, in_features), bias: (out,)."""

    weight: np.ndarray
    bias: np.ndarray | None

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        self.in_features, self.out_features = _channels(in_features, out_features, 1, "Linear")
        self.weight = init.uniform((out_features, in_features), in_features)
        self.bias = init.uniform((out_features,), in_features) if bias else None

    def forward(self, x: Value) -> Value:
        if x.rank != 2:
            raise ValueError(f"[Linear] expected features (N, C), got shape {x.shape}: flatten it first")
        attributes: Attributes = {"stride": [1, 1], "padding": [0, 0, 0, 0], "dilation": [1, 1], "groups": 1}
        weight = self.weight[:, :, None, None]  # a 1 x 1 convolution of 1 x 1 maps
        return x.tracer.node("conv2d", [x], attributes, _weights(weight, self.bias))[0]

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
        )


class BatchNorm2d(Module):
    """torch.nn.BatchNorm2d at inference: weight * (x - running_mean) / sqrt(running_var + eps) + bias."""

    buffer_names = ("running_mean", "running_var")
    ignored_state = ("num_batches_tracked",)
    weight: np.ndarray
    bias: np.ndarray
    running_mean: np.ndarray
    running_var: np.ndarray

    def __init__(self, num_features: int, eps: float = 1e-5) -> None:
        self.num_features = num_features
        self.eps = eps
        self.weight = np.ones(num_features, np.float32)
        self.bias = np.zeros(num_features, np.float32)
        self.running_mean = np.zeros(num_features, np.float32)
        self.running_var = np.ones(num_features, np.float32)

    def forward(self, x: Value) -> Value:
        scale = self.weight / np.sqrt(self.running_var.astype(np.float64) + self.eps)
        shift = self.bias - self.running_mean * scale
        return x.affine(scale.astype(np.float32), shift.astype(np.float32))

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}"


class _Activation(Module):
    """An element-wise function; ``function`` is its name in torch.nn.functional."""

    function = ""

    def forward(self, x: Value) -> Value:
        return x.tracer.node("activation", [x], {"activation": self.function, **self.attributes()})[0]

    def attributes(self) -> Attributes:
        """Parameters of the function."""
        return {}


class ReLU(_Activation):
    """max(x, 0)"""

    function = "relu"

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace  # the engine decides


class ReLU6(ReLU):
    """min(max(x, 0), 6)"""

    function = "relu6"


class LeakyReLU(_Activation):
    """x where x >= 0, negative_slope * x elsewhere."""

    function = "leaky_relu"

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        self.negative_slope = negative_slope
        self.inplace = inplace

    def attributes(self) -> Attributes:
        return {"slope": float(self.negative_slope)}

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}"


class SiLU(ReLU):
    """x * sigmoid(x)"""

    function = "silu"


class Hardsigmoid(_Activation):
    """min(max(x + 3, 0), 6) * sixth: networks published in half precision rounded the factor 1 / 6."""

    function = "hardsigmoid"

    def __init__(self, inplace: bool = False, *, sixth: float = 1 / 6) -> None:
        self.inplace = inplace
        self.sixth = sixth

    def attributes(self) -> Attributes:
        return {"sixth": float(self.sixth)}


class Hardswish(Hardsigmoid):
    """x * min(max(x + 3, 0), 6) * sixth"""

    function = "hardswish"


class Sigmoid(_Activation):
    """1 / (1 + exp(-x))"""

    function = "sigmoid"


class Tanh(_Activation):
    """tanh(x)"""

    function = "tanh"


class GELU(_Activation):
    """x * (1 + erf(x / sqrt 2)) / 2"""

    function = "gelu"


class Softmax(Module):
    """Softmax over channels: dim=1 of (N, C, H, W) or (N, C)."""

    def __init__(self, dim: int = 1) -> None:
        self.dim = dim

    def forward(self, x: Value) -> Value:
        if self.dim not in (1, 1 - x.rank):
            raise ValueError(f"[Softmax] expected dim 1, the channels, got {self.dim}")
        return x.tracer.node("softmax", [x])[0]


class _Pool2d(Module):
    """What poolings over windows have in common."""

    def __init__(
        self, kernel_size: IntPair, stride: IntPair | None, padding: IntPair, ceil_mode: bool
    ) -> None:
        op = type(self).__name__
        self.kernel_size = _positive_pair(kernel_size, op, "kernel_size")
        self.stride = self.kernel_size if stride is None else _positive_pair(stride, op, "stride")
        self.padding = _non_negative_pair(padding, op, "padding")
        self.ceil_mode = ceil_mode

    def _window(self) -> Attributes:
        return {
            "kernel": [*self.kernel_size],
            "stride": [*self.stride],
            "padding": [*self.padding],
            "ceil_mode": int(self.ceil_mode),
        }

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxPool2d(_Pool2d):
    """torch.nn.MaxPool2d"""

    def __init__(
        self,
        kernel_size: IntPair,
        stride: IntPair | None = None,
        padding: IntPair = 0,
        dilation: IntPair = 1,
        *,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode)
        self.dilation = _positive_pair(dilation, "MaxPool2d", "dilation")

    def forward(self, x: Value) -> Value:
        return _map_node("max_pool2d", x, {**self._window(), "dilation": [*self.dilation]})


class AvgPool2d(_Pool2d):
    """torch.nn.AvgPool2d"""

    def __init__(
        self,
        kernel_size: IntPair,
        stride: IntPair | None = None,
        padding: IntPair = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode)
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, x: Value) -> Value:
        attributes: Attributes = {
            **self._window(),
            "count_include_pad": int(self.count_include_pad),
            "divisor_override": self.divisor_override or 0,
        }
        return _map_node("avg_pool2d", x, attributes)


class AdaptiveAvgPool2d(Module):
    """torch.nn.AdaptiveAvgPool2d"""

    def __init__(self, output_size: IntPair) -> None:
        self.output_size = _positive_pair(output_size, "AdaptiveAvgPool2d", "output_size")

    def forward(self, x: Value) -> Value:
        return _map_node("adaptive_avg_pool2d", x, {"output_size": [*self.output_size]})

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class Upsample(Module):
    """torch.nn.Upsample: :func:`pyvision.nn.interpolate` as a module."""

    def __init__(
        self,
        size: IntPair | None = None,
        scale_factor: float | tuple[float, float] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
    ) -> None:
        self.size = size
        self.scale_factor = scale_factor
        self.mode = mode
        self.align_corners = align_corners

    def forward(self, x: Value) -> Value:
        return interpolate(
            x, self.size, self.scale_factor, mode=self.mode, align_corners=bool(self.align_corners)
        )

    def extra_repr(self) -> str:
        target = f"size={self.size}" if self.size is not None else f"scale_factor={self.scale_factor}"
        return f"{target}, mode={self.mode!r}"


class ZeroPad2d(Module):
    """torch.nn.ZeroPad2d: padding is one number or (left, right, top, bottom)."""

    def __init__(self, padding: int | tuple[int, int, int, int]) -> None:
        sides = (padding,) * 4 if isinstance(padding, int) else tuple(padding)
        if len(sides) != 4:
            raise ValueError(f"[ZeroPad2d] expected padding to be an integer or four, got {padding!r}")
        self.padding = tuple(integer(side, "ZeroPad2d", "padding") for side in sides)

    def forward(self, x: Value) -> Value:
        left, right, top, bottom = self.padding
        return _map_node("pad", x, {"padding": [top, left, bottom, right]})

    def extra_repr(self) -> str:
        return f"{self.padding}"


class Identity(Module):
    """Returns its input. Takes any arguments, as torch.nn.Identity does."""

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def forward(self, x: Value) -> Value:
        return x.tracer.node("identity", [x])[0]


class Dropout(Identity):
    """Does nothing at inference."""

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        self.p = p
        self.inplace = inplace

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Flatten(Module):
    """(N, C, H, W) -> (N, C * H * W), in that order."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        if (start_dim, end_dim) not in ((1, -1), (1, 3)):
            raise ValueError(f"[Flatten] expected start_dim=1 and end_dim=-1, got {start_dim} and {end_dim}")

    def forward(self, x: Value) -> Value:
        return x.tracer.node("flatten", [x], rank=2)[0]


def _map_node(
    op: str, x: Value, attributes: Attributes, constants: dict[str, np.ndarray] | None = None
) -> Value:
    if x.rank != 4:
        raise ValueError(f"[{op}] expected a map (N, C, H, W), got shape {x.shape}")
    return x.tracer.node(op, [x], attributes, constants)[0]


def _weights(weight: np.ndarray, bias: np.ndarray | None) -> dict[str, np.ndarray]:
    return {"weight": weight} if bias is None else {"weight": weight, "bias": bias}


def _channels(in_channels: int, out_channels: int, groups: int, op: str) -> tuple[int, int]:
    for name, count in (("input", in_channels), ("output", out_channels), ("groups", groups)):
        if integer(count, op, name) < 1:
            raise ValueError(f"[{op}] expected a positive number of {name}, got {count}")
    if in_channels % groups or out_channels % groups:
        raise ValueError(
            f"[{op}] expected channels divisible by groups={groups}, got {in_channels} and {out_channels}"
        )
    return in_channels, out_channels


def _positive_pair(value: IntPair, op: str, name: str) -> tuple[int, int]:
    return _pair_from(1, value, op, name)


def _non_negative_pair(value: IntPair, op: str, name: str) -> tuple[int, int]:
    return _pair_from(0, value, op, name)


def _pair_from(minimum: int, value: IntPair, op: str, name: str) -> tuple[int, int]:
    result = pair(value, op, name)
    if min(result) < minimum:
        raise ValueError(f"[{op}] expected {name} of at least {minimum}, got {value!r}")
    return result
