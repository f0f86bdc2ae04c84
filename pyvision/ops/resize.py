# SPDX-License-Identifier: Apache-2.0
"""Resizing of float images and feature maps."""

from __future__ import annotations

import math

from pyvision import _core
from pyvision._array import Array, as_numpy, from_nhwc, is_channels_last, result_like, to_nhwc
from pyvision.ops._args import IntPair, flag, pair

_OP = "interpolate"


def interpolate(
    input: Array,
    size: IntPair | None = None,
    scale_factor: float | tuple[float, float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    *,
    layout: str = "NCHW",
) -> Array:
    """Resize height and width, as ``torch.nn.functional.interpolate`` without antialias.

    Args:
        input: (N, C, H, W) float32, or (N, H, W, C) with ``layout="NHWC"``; only N may be 0.
        size: the output's extent, one integer or (height, width).
        scale_factor: output over input, one number or (vertical, horizontal), instead of ``size``. The
            output's extents are rounded down; positions are computed from the factor as given.
        mode: "nearest", "nearest-exact" or "bilinear".
        align_corners: for "bilinear": whether the corner pixels' centres, not the images' edges, coincide.

    Returns:
        The resized array in ``layout``.

    Raises:
        TypeError: an argument is of the wrong kind or dtype.
        ValueError: not exactly one of ``size`` and ``scale_factor`` is given, or one is out of range; an unknown
            ``mode``; ``align_corners`` with a nearest mode.
    """
    x = as_numpy(input, _OP, "input")
    nhwc = to_nhwc(x, layout, _OP, "input")
    if not isinstance(mode, str):
        raise TypeError(f"[{_OP}] expected mode to be a string, got {mode!r}")
    if align_corners is not None and mode != "bilinear":
        raise ValueError(f"[{_OP}] expected align_corners with mode 'bilinear' only, got mode {mode!r}")
    scales = (0.0, 0.0)
    if size is not None and scale_factor is None:
        extents = pair(size, _OP, "size")
    elif scale_factor is not None and size is None:
        scales = _scale_pair(scale_factor)
        extents = (_scaled(nhwc.shape[1], scales[0]), _scaled(nhwc.shape[2], scales[1]))
    else:
        got = "neither" if size is None else "both"
        raise ValueError(f"[{_OP}] expected one of size and scale_factor, got {got}")
    corners = flag(align_corners, _OP, "align_corners") if align_corners is not None else False
    y = _core.interpolate(nhwc, extents, mode, corners, scales)
    return result_like(from_nhwc(y, layout, is_channels_last(x, layout)), input)


def _scale_pair(value: float | tuple[float, float]) -> tuple[float, float]:
    parts = value if isinstance(value, tuple | list) else (value, value)
    if len(parts) != 2:
        raise ValueError(f"[{_OP}] expected scale_factor to be a number or two, got {len(parts)}: {value!r}")
    if any(isinstance(p, bool | str) or not hasattr(p, "__float__") for p in parts):
        raise TypeError(f"[{_OP}] expected scale_factor to be a number, got {value!r}")
    vertical, horizontal = (float(p) for p in parts)
    if not all(math.isfinite(p) and p > 0 for p in (vertical, horizontal)):
        raise ValueError(f"[{_OP}] expected a finite, positive scale_factor, got {value!r}")
    return vertical, horizontal


def _scaled(extent: int, scale: float) -> int:
    product = extent * scale
    if product >= 2**62:
        raise ValueError(f"[{_OP}] expected an output that fits in memory, got scale_factor {scale}")
    return math.floor(product)
