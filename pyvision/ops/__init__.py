# SPDX-License-Identifier: Apache-2.0
"""Operators on arrays, with torch's and torchvision's names and semantics."""

from __future__ import annotations

from pyvision.ops.conv import conv2d, conv_transpose2d, depthwise_conv2d, linear
from pyvision.ops.elementwise import (
    add,
    concat,
    gelu,
    hardsigmoid,
    hardswish,
    leaky_relu,
    mul,
    relu,
    relu6,
    sigmoid,
    silu,
    split,
    tanh,
)
from pyvision.ops.pooling import adaptive_avg_pool2d, avg_pool2d, max_pool2d
from pyvision.ops.resize import interpolate
from pyvision.ops.softmax import softmax

__all__ = [
    "adaptive_avg_pool2d",
    "add",
    "avg_pool2d",
    "concat",
    "conv2d",
    "conv_transpose2d",
    "depthwise_conv2d",
    "gelu",
    "hardsigmoid",
    "hardswish",
    "interpolate",
    "leaky_relu",
    "linear",
    "max_pool2d",
    "mul",
    "relu",
    "relu6",
    "sigmoid",
    "silu",
    "softmax",
    "split",
    "tanh",
]
