# SPDX-License-Identifier: Apache-2.0
"""Checks of plain arguments that many ops share. Ranges are checked by the ops themselves."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from numbers import Real
from typing import Any, SupportsIndex

import numpy as np

IntPair = int | tuple[int, int]
_INT64 = range(-(2**63), 2**63)


def integer(value: SupportsIndex, op: str, name: str) -> int:
    """``value`` as an int; refuses bools, floats, and what 64 bits cannot hold."""
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise TypeError(f"[{op}] expected {name} to be an integer, got {value!r}")
    if number not in _INT64:
        raise ValueError(f"[{op}] expected {name} to fit in 64 bits, got {number}")
    return number


def real(value: float, op: str, name: str) -> float:
    """``value`` as a float; refuses bools and what is not a number."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"[{op}] expected {name} to be a number, got {value!r}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"[{op}] expected {name} to fit a float, got {value!r}") from None


def numbers_of(values: Sequence[Any], count: int | None = None) -> list[Any] | None:
    """``values`` if they are a list, tuple or 1-d NumPy array, of ``count`` where it is given, else None."""
    if isinstance(values, np.ndarray):
        values = values.tolist() if values.ndim == 1 else None
    if not isinstance(values, list | tuple) or (count is not None and len(values) != count):
        return None
    return list(values)


def reals(values: Sequence[float], op: str, name: str, count: int) -> list[float]:
    """``count`` numbers, of a list, tuple or 1-d NumPy array, each as :func:`real` has it."""
    numbers = numbers_of(values, count)
    if numbers is None:
        raise ValueError(f"[{op}] expected {name} to be a list of {count} numbers, got {values!r}")
    return [real(number, op, name) for number in numbers]


def pair(value: IntPair, op: str, name: str) -> tuple[int, int]:
    """``value`` as (vertical, horizontal): one integer for both, or a tuple or list of two."""
    if isinstance(value, tuple | list):
        if len(value) != 2:
            raise ValueError(f"[{op}] expected {name} to be an integer or two, got {len(value)}: {value!r}")
        return integer(value[0], op, name), integer(value[1], op, name)
    number = integer(value, op, name)
    return number, number


def axis(value: int, rank: int, op: str, name: str = "dim") -> int:
    """``value`` as an axis in [0, rank); negative ones count from the end."""
    number = integer(value, op, name)
    if not -rank <= number < rank:
        raise ValueError(f"[{op}] expected {name} in [{-rank}, {rank}), got {number}")
    return number % rank


def nhwc_shape(shape: Sequence[int], layout: str, op: str, name: str) -> tuple[int, int, int, int]:
    """The four extents ``shape``, which are in ``layout``, as (N, H, W, C)."""
    extents = numbers_of(shape, 4)
    if extents is None:
        raise ValueError(f"[{op}] expected {name} of four extents, got {shape!r}")
    n, a, b, c = (integer(extent, op, name) for extent in extents)
    if min(n, a, b, c) < 0:
        raise ValueError(f"[{op}] expected {name} of extents that are not negative, got {shape!r}")
    return (n, b, c, a) if layout == "NCHW" else (n, a, b, c)


def flag(value: bool, op: str, name: str) -> bool:
    """``value`` if it is a bool; 0 and 1 are not."""
    if not isinstance(value, bool):
        raise TypeError(f"[{op}] expected {name} to be a bool, got {value!r}")
    return value


def zero_or_one(value: SupportsIndex, op: str, name: str) -> bool:
    """``value`` as a bool: one, of NumPy's too, or the integer 0 or 1."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    number = integer(value, op, name)
    if number not in (0, 1):
        raise ValueError(f"[{op}] expected {name} to be 0 or 1, got {number}")
    return number == 1
