# SPDX-License-Identifier: Apache-2.0
"""From an image to the tensor that a network takes, and back with its boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pyvision import _core
from pyvision._array import Array, as_numpy, result_like
from pyvision._device import device_of
from pyvision.ops._args import pair, real
from pyvision.ops.conv import CUDA_FLOATS

_OP = "prepare_image"


@dataclass(frozen=True)
class ImageTransform:
    """Where the image went: ``x_tensor = x_image * scale_x + offset_x``, likewise for y.

    Coordinates are those of box edges: 0 is the left edge of the first pixel.
    """

    scale_x: float
    scale_y: float
    offset_x: float
    offset_y: float

    def to_original(self, boxes: Array) -> Array:
        """Boxes in the tensor's pixels as boxes in the image's.

        Args:
            boxes: (..., 4) corners, float32 or float64.

        Returns:
            A new array of the same shape and type.

        Raises:
            TypeError: ``boxes`` is not an array, or of another dtype.
            ValueError: ``boxes`` has another shape.
        """
        x = as_numpy(boxes, "to_original", "boxes", ("float32", "float64"))
        if x.ndim == 0 or x.shape[-1] != 4:
            raise ValueError(f"[to_original] expected boxes of shape (..., 4), got {x.shape}")
        offset = np.array([self.offset_x, self.offset_y] * 2, dtype=x.dtype)
        scale = np.array([self.scale_x, self.scale_y] * 2, dtype=x.dtype)
        return result_like((x - offset) / scale, boxes)


def prepare_image(
    image: Array,
    size: tuple[int, int],
    *,
    mode: Literal["stretch", "letterbox"] = "stretch",
    mean: Sequence[float] = (0, 0, 0),
    std: Sequence[float] = (1, 1, 1),
    channel_order: Literal["RGB", "BGR"] = "RGB",
    pad_value: float = 0,
    out: np.ndarray | None = None,
    dtype: Literal["float32", "float16", "bfloat16"] = "float32",
) -> tuple[Array, ImageTransform]:
    """Resize, normalise and lay out an image in one pass.

    Resizing is bilinear with half-pixel centres and without antialiasing, the geometry of OpenCV's
    ``INTER_LINEAR``, computed in float32. With equal sizes the result is exactly ``(image - mean) / std``.

    Args:
        image: uint8 RGB (H, W, 3), grey (H, W), or RGB with alpha (H, W, 4), which is dropped. Any strides.
        size: (height, width) of the tensor.
        mode: ``"stretch"`` fills the tensor; ``"letterbox"`` keeps the aspect ratio, centres the image and
            puts ``pad_value`` beside it.
        mean: one per channel, in ``channel_order``, on the scale of the pixels (0 to 255).
        std: the same; none may be 0.
        channel_order: of the tensor.
        pad_value: a pixel value, normalised like the image.
        out: float32 (1, height, width, 3), C-contiguous, not the image's memory: receives the tensor. For
            images on the CPU alone.
        dtype: of the tensor: float32, and on CUDA also float16 or bfloat16.

    Returns:
        The tensor, (1, height, width, 3) holding ``(resized - mean) / std``, and the transform from image to
        tensor coordinates.

    Raises:
        TypeError: ``image`` is not a uint8 array, ``out`` not a float32 NumPy array, or an option has another
            type.
        ValueError: a shape, size or option is out of range, or ``out`` overlaps ``image``.
    """
    device = device_of(_OP, image=image)
    x = image if device else as_numpy(image, _OP, "image", ("uint8",))
    height, width = pair(size, _OP, "size")
    if mode not in ("stretch", "letterbox"):
        raise ValueError(f"[{_OP}] expected mode to be 'stretch' or 'letterbox', got {mode!r}")
    if channel_order not in ("RGB", "BGR"):
        raise ValueError(f"[{_OP}] expected channel_order to be 'RGB' or 'BGR', got {channel_order!r}")
    shape = tuple(x.shape)
    if len(shape) not in (2, 3) or 0 in shape:
        raise ValueError(f"[{_OP}] expected image of shape (H, W), (H, W, 3) or (H, W, 4), got {shape}")
    taken = CUDA_FLOATS if device else ("float32",)
    if dtype not in taken:
        raise ValueError(f"[{_OP}] expected dtype to be {' or '.join(taken)}, got {dtype!r}")
    if device and out is not None:
        raise TypeError(f"[{_OP}] expected no out with an image on a device")
    if out is not None:
        if not isinstance(out, np.ndarray):
            raise TypeError(f"[{_OP}] expected out to be a NumPy array, got {type(out).__qualname__}")
        if np.may_share_memory(out, x):
            raise ValueError(f"[{_OP}] expected out not to overlap image")
    top, left, region_height, region_width = (
        (0, 0, height, width) if mode == "stretch" else _letterbox(shape[0], shape[1], height, width)
    )
    transform = ImageTransform(region_width / shape[1], region_height / shape[0], float(left), float(top))
    region = (top, left, region_height, region_width)
    options = (
        _triple(mean, "mean"), _triple(std, "std"), channel_order == "BGR", real(pad_value, _OP, "pad_value"),
    )  # fmt: skip
    if device:
        pixels = device.take_strided(image, _OP, "image", ("uint8",))
        if height < 1 or width < 1:
            raise ValueError(f"[{_OP}] expected size to be positive, got ({height}, {width})")
        result = device.empty((1, height, width, 3), dtype)
        device.kernels.prepare_image(device.stream, pixels.view, region, *options, result.view)
        return device.give(result), transform
    tensor = _core.prepare_image(x, (height, width), region, *options, out)
    return (tensor if out is not None else result_like(tensor, image)), transform


def _letterbox(image_height: int, image_width: int, height: int, width: int) -> tuple[int, int, int, int]:
    """Top, left, height and width of the largest centred rectangle of the image's aspect ratio."""
    scale = min(height / image_height, width / image_width)
    region_height = min(max(round(image_height * scale), 1), height)
    region_width = min(max(round(image_width * scale), 1), width)
    return (height - region_height) // 2, (width - region_width) // 2, region_height, region_width


def _triple(values: Sequence[float], name: str) -> tuple[float, float, float]:
    if isinstance(values, str) or not hasattr(values, "__len__"):
        raise TypeError(f"[{_OP}] expected {name} to be three numbers, got {values!r}")
    if len(values) != 3:
        raise ValueError(f"[{_OP}] expected {name} to be three numbers, got {len(values)}")
    first, second, third = (real(value, _OP, name) for value in values)
    return first, second, third
