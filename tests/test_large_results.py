# SPDX-License-Identifier: Apache-2.0
"""Results of more than 32 MB lie in memory that is kept for later ones."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from pyvision import ops

SIDE = 3000  # 36 MB
KEPT = 4


def large(value: float, side: int = SIDE) -> np.ndarray:
    return ops.interpolate(np.full((1, 1, 2, 2), value, np.float32), (side, side))


def test_results_have_memory_of_their_own() -> None:
    results = [large(i) for i in range(KEPT + 2)]
    for i, y in enumerate(results):
        assert y.flags.writeable and y.ctypes.data % 64 == 0
        y[0, 0, -1, -1] += 0.5
        assert (y[0, 0, :, :-1] == i).all() and y[0, 0, -1, -1] == i + 0.5


def test_memory_is_used_again() -> None:
    others = [large(0) for _ in range(KEPT)]  # whatever earlier tests left
    y = large(1)
    at = y.ctypes.data
    del y
    y = large(2)
    assert y.ctypes.data == at and (y == 2).all()
    bigger = large(3, 2 * SIDE)  # nor for one of another size
    del y, others
    assert (bigger == 3).all()
    assert not any(np.shares_memory(large(4), bigger) for _ in range(KEPT + 1))


def test_a_view_keeps_the_memory() -> None:
    row = large(1)[0, 0, 7]
    for i in range(KEPT + 1):
        assert (large(2 + i) == 2 + i).all()
    assert (row == 1).all()


def test_many_threads_take_and_free() -> None:
    def work(value: int) -> bool:
        return all((large(value) == value).all() for _ in range(5))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(16)))
