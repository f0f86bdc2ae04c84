# SPDX-License-Identifier: Apache-2.0
"""Functions of symbolic values that have no parameters: torch.nn.functional's names."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pyvision.nn._value import Value
from pyvision.ops._args import IntPair, integer, pair


def interpolate(
    x: Value,
    size: IntPair | None = None,
    scale_factor: float | tuple[float, float] | None = None,
    mode: str = "nearest",
    align_corners: bool = False,
    antialias: bool = False,
) -> Value:
    """Resize a map to ``size`` (H, W), or by ``scale_factor``; modes as of :func:`pyvision.ops.interpolate`.

    Source: torch.nn.functional.interpolate.

    Raises:
        ValueError: not exactly one of ``size`` and ``scale_factor`` is given, or one is not positive.
    """
    if (size is None) == (scale_factor is None):
        raise ValueError("[interpolate] expected one of size and scale_factor, got both or neither")
    if x.rank != 4:
        raise ValueError(f"[interpolate] expected a map (N, C, H, W), got shape {x.shape}")
    attributes: dict[str, int | float | str | list[int]] = {"mode": mode, "align_corners": int(align_corners)}
    if antialias:
        attributes["antialias"] = 1
    if size is not None:
        target = pair(size, "interpolate", "size")
    else:
        factors = scale_factor if isinstance(scale_factor, tuple) else (scale_factor, scale_factor)
        scale_h, scale_w = (float(factor) for factor in factors if factor is not None)
        if not (0 < scale_h < math.inf and 0 < scale_w < math.inf):
            raise ValueError(f"[interpolate] expected a positive scale_factor, got {scale_factor!r}")
        h, w, _ = x.map_shape
        target = math.floor(h * scale_h), math.floor(w * scale_w)
        attributes |= {"scale_h": scale_h, "scale_w": scale_w}
    if min(target) < 1:
        raise ValueError(f"[interpolate] expected a size of at least 1, got {target}")
    attributes["size"] = [*target]
    return x.tracer.node("interpolate", [x], attributes)[0]


def cat(values: Sequence[Value], dim: int = 1) -> Value:
    """Concatenate along channels. In a compiled model it costs nothing: producers write into their slice."""
    if not values:
        raise ValueError("[cat] expected at least one value")
    _check_channels(values[0], dim, "cat")
    return values[0].tracer.node("concat", values)[0]


def split(x: Value, sizes: int | Sequence[int], dim: int = 1) -> tuple[Value, ...]:
    """Split along channels into parts of ``sizes``; one number: equal parts, the last may be smaller."""
    _check_channels(x, dim, "split")
    channels = x.map_shape[2]
    if isinstance(sizes, int):
        step = integer(sizes, "split", "sizes")
        if step < 1:
            raise ValueError(f"[split] expected sizes of at least 1, got {step}")
        sizes = [min(step, channels - start) for start in range(0, channels, step)]
    return tuple(x.tracer.node("split", [x], {"sizes": [*sizes]}))


def _check_channels(x: Value, dim: int, op: str) -> None:
    if dim not in (1, 1 - x.rank):
        raise ValueError(f"[{op}] expected dim 1, the channels, got {dim}")
