# SPDX-License-Identifier: Apache-2.0
"""What several test files need."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from pyvision import _core
from tests._guard import guarded

T = TypeVar("T")

EPS = float(np.finfo(np.float32).eps)


def random(shape: tuple[int, ...], scale: float = 1.0, seed: int = 0) -> np.ndarray:
    """Normally distributed float32."""
    return np.asarray(np.random.default_rng(seed).standard_normal(shape) * scale, np.float32)


def pick(rng: np.random.Generator, *choices: Any) -> Any:
    """One of ``choices``, whatever they are."""
    return choices[rng.integers(len(choices))]


def assert_within(actual: np.ndarray, expected: np.ndarray, tolerance: np.ndarray) -> None:
    """Fail unless ``actual`` is finite, of the expected shape, and each element within its own tolerance."""
    assert actual.shape == expected.shape
    excess = np.abs(actual - expected) - tolerance
    if not (excess <= 0).all():
        worst = np.unravel_index(np.argmax(np.where(np.isnan(excess), np.inf, excess)), excess.shape)
        raise AssertionError(
            f"{np.sum(~(excess <= 0))} of {excess.size} elements are off, most at {worst}: "
            f"{actual[worst]}, expected {expected[worst]} within {tolerance[worst]}"
        )


def check_gradients(case: Any) -> None:
    """Run a backward op's case with every operand beside unmapped memory, and compare."""
    data = case.data()
    expected = case.expected(*data)
    for before in (False, True):
        gradients = case.run(*(guarded(a, before=before) for a in data))
        for gradient, (value, tolerance) in zip(gradients, expected, strict=True):
            assert gradient.dtype == case.dtype
            assert_within(gradient, value, tolerance)


def by_isa(call: Callable[[], T]) -> dict[str, T]:
    """What ``call`` returns on each instruction set that this CPU has."""
    before = _core.isa()
    results = {}
    try:
        for name in _core.supported_isas():
            _core.set_isa(name)
            results[name] = call()
    finally:
        _core.set_isa(before)
    return results


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


CANARY = np.float32(-12345.678)


def canvas(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """A (N, H, W, C) view to write into, and the array of canaries around it on every side, channels too."""
    whole = np.full([extent + 4 for extent in shape], CANARY, np.float32)
    return whole, whole[tuple(slice(2, 2 + extent) for extent in shape)]


def check_canvas(whole: np.ndarray, out: np.ndarray, expected: np.ndarray, rtol: float = 0.0) -> None:
    """Fail unless ``out`` is ``expected`` and every canary of ``whole`` around it is alive."""
    np.testing.assert_allclose(out, expected, rtol=rtol, atol=rtol)
    out[...] = CANARY
    assert (whole == CANARY).all()


def releases_gil(call: Callable[[], object], attempts: int = 20) -> bool:
    """Whether another Python thread runs during ``call``, which takes some milliseconds."""
    call()  # what the first one imports and allocates is no part of it
    ticks, stop = 0, threading.Event()

    def tick() -> None:
        nonlocal ticks
        while not stop.is_set():
            ticks += 1
            time.sleep(1e-4)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(3600)  # so that this thread gives up the GIL in `call` or not at all
    thread = threading.Thread(target=tick)
    try:
        thread.start()
        for _ in range(attempts):  # a busy machine may not wake the other in time
            before = ticks
            call()
            if ticks != before:
                return True
        return False
    finally:
        stop.set()
        sys.setswitchinterval(interval)
        thread.join()
