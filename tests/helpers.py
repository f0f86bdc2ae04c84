# SPDX-License-Identifier: Apache-2.0
"""What several test files need."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pyvision import _core

EPS = float(np.finfo(np.float32).eps)


def random(shape: tuple[int, ...], scale: float = 1.0, seed: int = 0) -> np.ndarray:
    """Normally distributed float32."""
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)


def check_threads_agree(call: Callable[[], np.ndarray]) -> None:
    """Fail unless the result of ``call`` is bitwise the same with 1, 2 and 5 threads."""
    before = _core.num_threads()
    try:
        results = []
        for count in (1, 2, 5):
            _core.set_num_threads(count)
            results.append(call().tobytes())
        assert results[0] == results[1] == results[2]
    finally:
        _core.set_num_threads(before)
