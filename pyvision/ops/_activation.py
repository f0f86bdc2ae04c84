# SPDX-License-Identifier: Apache-2.0
"""The activation argument that many ops share."""

from __future__ import annotations

import math
import sys

ActivationSpec = str | tuple[str, float] | None
"""None, a name (relu, relu6, leaky_relu, silu, hardswish, sigmoid, tanh, gelu, hardsigmoid),
or ("leaky_relu", negative_slope); the slope is 0.01 when not given."""

_DEFAULT_SLOPE = 0.01


def activation_pair(activation: ActivationSpec, op: str) -> tuple[str, float]:
    """``activation`` as (name, slope), the compiled ops' form. They refuse names they do not know."""
    if activation is None:
        return "none", _DEFAULT_SLOPE
    if isinstance(activation, str):
        return activation, _DEFAULT_SLOPE
    if (
        isinstance(activation, tuple)
        and len(activation) == 2
        and activation[0] == "leaky_relu"
        and isinstance(activation[1], int | float)
        and not isinstance(activation[1], bool)
    ):
        slope = float(activation[1]) if abs(activation[1]) <= sys.float_info.max else math.nan
        if not math.isfinite(slope):
            raise ValueError(f"[{op}] expected a finite negative_slope, got {activation[1]!r}")
        return "leaky_relu", slope
    raise TypeError(
        f"[{op}] expected activation to be None, a name or ('leaky_relu', negative_slope), got {activation!r}"
    )
