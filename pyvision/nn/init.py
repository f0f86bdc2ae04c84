# SPDX-License-Identifier: Apache-2.0
"""Initial parameters: torch's defaults, from a seeded NumPy generator."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

_generator: ContextVar[np.random.Generator | None] = ContextVar("pyvision.nn.init")


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Layers made inside draw their parameters from a fresh generator: the same seed gives the same numbers.

    Outside of any such block, layers draw from one generator that starts at seed 0.
    """
    with _using(np.random.default_rng(seed)):
        yield


@contextmanager
def placeholders() -> Iterator[None]:
    """Layers made inside have zeros for parameters, at no cost: for models whose weights are loaded next."""
    with _using(None):
        yield


@contextmanager
def _using(generator: np.random.Generator | None) -> Iterator[None]:
    token = _generator.set(generator)
    try:
        yield
    finally:
        _generator.reset(token)


def uniform(shape: tuple[int, ...], fan_in: int) -> np.ndarray:
    """U(-b, b) with b = 1 / sqrt(fan_in): torch's default (kaiming uniform with a = sqrt 5)."""
    try:
        generator = _generator.get()
    except LookupError:
        generator = np.random.default_rng(0)
        _generator.set(generator)
    if generator is None:
        return np.zeros(shape, np.float32)
    bound = 1 / math.sqrt(max(fan_in, 1))
    return (generator.random(shape, np.float32) * 2 - 1) * np.float32(bound)
