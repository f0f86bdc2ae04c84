# SPDX-License-Identifier: Apache-2.0
"""What a measurement ran on, and the ceilings it is read against."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from pyvision import _core
from pyvision.profile.timing import Comparison, compare

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_COPY_BYTES_MIN = 256 << 20  # where the cache sizes are unknown


@dataclass(frozen=True)
class Machine:
    cpu: str
    kind: str  # a folder name: CPU, family, model, and the cores this process may use
    isa: str
    isa_reason: str
    threads: int
    threads_reason: str
    caches: dict[str, int]  # "L1d" -> bytes
    system: str
    versions: dict[str, str]

    @property
    def run_name(self) -> str:
        """What distinguishes runs on one machine: "avx512, 2 threads"."""
        return f"{self.isa}, {self.threads} thread{'s' if self.threads > 1 else ''}"

    def to_dict(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True)
class Peak:
    """Measured, not computed from a data sheet."""

    gflops: float
    copy_gbs: float  # GB/s, read plus written

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True)
class Budget:
    """How long one comparison may take: more time, steadier medians."""

    rounds: int = 15
    min_time: float = 0.02  # seconds per candidate and round
    peak_time: float = 0.1  # seconds per copy measured


DEFAULT_BUDGET = Budget()


def describe_machine(packages: Iterable[str] = ()) -> Machine:
    """The CPU, the dispatch in force, and the versions of Python, pyvision, NumPy and `packages`."""
    info = _cpu_info()
    name = info.get("model name", platform.processor() or platform.machine())
    family, model = info.get("cpu family", "?"), info.get("model", "?")
    cores = len(_affinity())
    slug = re.sub(r"[^a-z0-9]+", "-", f"{name} family {family} model {model} {cores} cores".lower()).strip(
        "-"
    )
    return Machine(
        cpu=f"{name} (family {family}, model {model})",
        kind=slug,
        isa=_core.isa(),
        isa_reason=_core.isa_reason(),
        threads=_core.num_threads(),
        threads_reason=_core.num_threads_reason(),
        caches=_caches(),
        system=f"{platform.system()} {platform.machine()}",
        versions=package_versions(packages),
    )


def measure_peak(*, threads: int | None = None, seconds: float = 0.1) -> Peak:
    """The FMA peak of the ISA in force, and the bandwidth of copies well beyond the last cache."""
    count = _core.num_threads() if threads is None else threads
    chains, gflop = _fma_chains(count)
    times = compare(
        {_CHAINS: chains}, rounds=max(1, round(seconds / _BLOCK_SECONDS)), min_time=_BLOCK_SECONDS
    )
    return Peak(gflop / float(times.seconds[_CHAINS].min()), _copy_gbs(count, seconds))


def compare_with_peak(
    candidates: Mapping[str, Callable[[], object]], budget: Budget
) -> tuple[Comparison, Peak]:
    """The comparison and its ceilings: independent multiply-adds that took their turn in every round, and so
    saw the clock that the candidates saw; the faster of two copies, before and after.
    """
    threads = _core.num_threads()
    chains, gflop = _fma_chains(threads)
    before = _copy_gbs(threads, budget.peak_time)
    times = compare({**candidates, _CHAINS: chains}, rounds=budget.rounds, min_time=budget.min_time)
    after = _copy_gbs(threads, budget.peak_time)
    peak = Peak(gflop / (times.median_ms(_CHAINS) * 1e-3), max(before, after))
    return Comparison({name: times.seconds[name] for name in candidates}), peak


_CHAINS = "FMA chains"
_BLOCK_SECONDS = 1e-3  # far above a call's overhead and the clock's resolution, far below a scheduler slice


def _fma_chains(threads: int) -> tuple[Callable[[], object], float]:
    """Independent multiply-adds that take about a block, and how many GFLOP they are."""
    repetitions, elapsed = 1 << 10, 0.0
    while elapsed < _BLOCK_SECONDS:
        repetitions *= 2
        start = time.perf_counter()
        flop = _core.run_fma_chains(repetitions, threads)
        elapsed = time.perf_counter() - start
    return lambda: _core.run_fma_chains(repetitions, threads), flop * 1e-9


def _copy_gbs(threads: int, seconds: float) -> float:
    copy_bytes = max(_COPY_BYTES_MIN, 8 * max(_caches().values(), default=0))
    return _core.measure_copy_bandwidth(copy_bytes, seconds, threads) / 1e9


def _cpu_info() -> dict[str, str]:
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return {}
    first = path.read_text().split("\n\n", maxsplit=1)[0]
    pairs = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def _affinity() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def _caches() -> dict[str, int]:
    """Bytes per cache of the first core: {"L1d": 32768, "L2": …}; empty where the system does not say."""
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    found: dict[str, int] = {}
    for folder in sorted(_CACHES.glob("index*")):
        level, kind, size = ((folder / name).read_text().strip() for name in ("level", "type", "size"))
        if kind != "Instruction":
            found[f"L{level}{'d' if kind == 'Data' else ''}"] = int(size[:-1]) * units[size[-1]]
    return found


def package_versions(packages: Iterable[str]) -> dict[str, str]:
    """Of Python, pyvision, NumPy and those of `packages` that are installed."""
    versions = {"python": platform.python_version()}
    for name in ("pyvision-kernels", "numpy", *packages):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
