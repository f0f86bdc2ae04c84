# SPDX-License-Identifier: Apache-2.0
"""Alternating timing: A B C, B C A, C A B, … in one process, compared round by round.

A machine's speed drifts (clock, neighbours, temperature). Two things timed in the same round see the same
drift, so their ratio per round is steady where the times themselves are not; the spread of that ratio says
how far to trust it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Other libraries' worker threads spin for a while after a call (up to 20 ms in OpenMP runtimes) and would
# take the next candidate's cores.
SETTLE_SECONDS = 0.025


@dataclass(frozen=True)
class Ratio:
    """A paired ratio over the rounds: its median, and the 10th and 90th percentile as its spread."""

    median: float
    p10: float
    p90: float


@dataclass(frozen=True)
class Comparison:
    """Seconds per call: one array per name, with one entry per round."""

    seconds: Mapping[str, NDArray[np.float64]]  # name -> (rounds,)

    def median_ms(self, name: str) -> float:
        return float(np.median(self.seconds[name])) * 1e3

    def ratio(self, name: str, to: str) -> Ratio:
        """Time of `name` over time of `to`, round by round: below 1, `name` is the faster one."""
        p10, median, p90 = np.percentile(self.seconds[name] / self.seconds[to], (10, 50, 90))
        return Ratio(float(median), float(p10), float(p90))

    def to_dict(self) -> dict[str, object]:
        return {
            name: {
                "median_ms": self.median_ms(name),
                "min_ms": float(values.min()) * 1e3,
                "p10_ms": float(np.percentile(values, 10)) * 1e3,
                "p90_ms": float(np.percentile(values, 90)) * 1e3,
                "rounds": len(values),
            }
            for name, values in self.seconds.items()
        }


Elapsed = Callable[[Callable[[], object], int], float]
"""Seconds that so many calls take, one behind the other."""


def _elapsed(run: Callable[[], object], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    return time.perf_counter() - start


def compare(
    candidates: Mapping[str, Callable[[], object]],
    *,
    rounds: int = 15,
    min_time: float = 0.02,
    elapsed: Elapsed = _elapsed,
    settle: float = SETTLE_SECONDS,
) -> Comparison:
    """Time every candidate in every round, each round starting with the next one.

    A sample repeats its candidate until about `min_time` seconds have passed and counts the mean of those
    calls; it starts with one call that is not counted, which brings the candidate's data back into the
    caches. `elapsed` is the clock, by default the CPU's; `settle` what it waits before each sample.
    """
    if not candidates:
        raise ValueError("[compare] expected at least one candidate, got none")
    if rounds < 1 or min_time <= 0:
        raise ValueError(f"[compare] expected rounds >= 1 and min_time > 0, got {rounds} and {min_time}")
    names = list(candidates)
    repeats = {name: _repeats(candidates[name], min_time, elapsed) for name in names}
    seconds = {name: np.empty(rounds) for name in names}
    for round_index in range(rounds):
        for position in range(len(names)):
            name = names[(round_index + position) % len(names)]
            if len(names) > 1:
                time.sleep(settle)
            run = candidates[name]
            run()
            seconds[name][round_index] = elapsed(run, repeats[name]) / repeats[name]
    return Comparison(seconds)


def _repeats(run: Callable[[], object], min_time: float, elapsed: Elapsed) -> int:
    """Warm up for at least `min_time`, and return how many calls fill it."""
    calls, passed = 0, 0.0
    while passed < min_time or calls < 2:
        passed += elapsed(run, 1)
        calls += 1
    once = elapsed(run, 1) if calls == 2 else passed / calls
    return max(1, round(min_time / once))
