# SPDX-License-Identifier: Apache-2.0
"""Operators on arrays, with torch's and torchvision's names and semantics."""

from __future__ import annotations

from pyvision.ops.boxes import (
    box_area,
    box_convert,
    box_iof,
    box_iou,
    box_iou_rotated,
    clip_boxes_to_image,
    complete_box_iou,
    distance_box_iou,
    generalized_box_iou,
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
from pyvision.ops.suppression import batched_nms, batched_nms_rotated, nms, nms_rotated

__all__ = [
    "ImageTransform",
    "adaptive_avg_pool2d",
    "add",
    "avg_pool2d",
    "batched_nms",
    "batched_nms_rotated",
    "box_area",
    "box_convert",
    "box_iof",
    "box_iou",
    "box_iou_rotated",
    "clip_boxes_to_image",
    "complete_box_iou",
    "concat",
    "conv2d",
    "conv2d_int8",
    "conv_transpose2d",
    "deform_conv2d",
    "deform_conv2d_backward",
    "deform_conv3",
    "deform_conv3_backward",
    "deform_conv4",
    "deform_conv4_backward",
    "depthwise_conv2d",
    "distance_box_iou",
    "gelu",
    "generalized_box_iou",
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
    "nms_rotated",
    "prepare_image",
    "relu",
    "relu6",
    "remove_small_boxes",
    "separable_conv2d",
    "sigmoid",
    "silu",
    "softmax",
    "split",
    "tanh",
]
