# SPDX-License-Identifier: Apache-2.0
"""Operators on arrays, with torch's and torchvision's names and semantics."""

from __future__ import annotations

from pyvision.ops.boxes import (
    batched_nms,
    box_area,
    box_convert,
    box_iou,
    clip_boxes_to_image,
    nms,
    remove_small_boxes,
)
from pyvision.ops.conv import (
    conv2d,
    conv_transpose2d,
    depthwise_conv2d,
    inverted_residual,
    linear,
    separable_conv2d,
)
from pyvision.ops.conv_backward import (
    conv2d_backward,
    conv_transpose2d_backward,
    depthwise_conv2d_backward,
    separable_conv2d_backward,
)
from pyvision.ops.deform import (
    deform_conv2d,
    deform_conv2d_backward,
    deform_conv3,
    deform_conv3_backward,
    deform_conv4,
    deform_conv4_backward,
    multi_scale_deformable_attention,
    multi_scale_deformable_attention_backward,
)
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
from pyvision.ops.image import ImageTransform, prepare_image
from pyvision.ops.pooling import adaptive_avg_pool2d, avg_pool2d, max_pool2d
from pyvision.ops.quantized import conv2d_int8
from pyvision.ops.resize import interpolate
from pyvision.ops.softmax import softmax

__all__ = [
    "ImageTransform",
    "adaptive_avg_pool2d",
    "add",
    "avg_pool2d",
    "batched_nms",
    "box_area",
    "box_convert",
    "box_iou",
    "clip_boxes_to_image",
    "concat",
    "conv2d",
    "conv2d_backward",
    "conv2d_int8",
    "conv_transpose2d",
    "conv_transpose2d_backward",
    "deform_conv2d",
    "deform_conv2d_backward",
    "deform_conv3",
    "deform_conv3_backward",
    "deform_conv4",
    "deform_conv4_backward",
    "depthwise_conv2d",
    "depthwise_conv2d_backward",
    "gelu",
    "hardsigmoid",
    "hardswish",
    "interpolate",
    "inverted_residual",
    "leaky_relu",
    "linear",
    "max_pool2d",
    "mul",
    "multi_scale_deformable_attention",
    "multi_scale_deformable_attention_backward",
    "nms",
    "prepare_image",
    "relu",
    "relu6",
    "remove_small_boxes",
    "separable_conv2d",
    "separable_conv2d_backward",
    "sigmoid",
    "silu",
    "softmax",
    "split",
    "tanh",
]
