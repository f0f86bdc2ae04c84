# SPDX-License-Identifier: Apache-2.0
"""Softmax."""

from __future__ import annotations

import numpy as np

from pyvision import _core
from pyvision._array import Array, as_numpy, result_like
from pyvision.ops._args import axis


def softmax(input: Array, dim: int = -1) -> Array:
    """Exponentials of ``input``, scaled to sum to one along ``dim``.

    Args:
        input: float32, any shape of 1 to 6 dimensions.
        dim: the axis the sum runs over.

    Returns:
        An array of the same shape and kind.

    Raises:
        TypeError: ``input`` is not a float32 array, or ``dim`` not an integer.
        ValueError: ``dim`` is out of range.
    """
    x = as_numpy(input, "softmax", "input")
    y = _core.softmax(np.ascontiguousarray(x), axis(dim, x.ndim, "softmax"))
    return result_like(y, input)
