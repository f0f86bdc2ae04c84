# SPDX-License-Identifier: Apache-2.0
"""Operators on arrays, with torch's and torchvision's names and semantics."""

from __future__ import annotations

from pyvision.ops.conv import conv2d, conv_transpose2d, depthwise_conv2d, linear
from pyvision.ops.softmax import softmax

__all__ = [
    "conv2d",
    "conv_transpose2d",
    "depthwise_conv2d",
    "linear",
    "softmax",
]
