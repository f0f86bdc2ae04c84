# SPDX-License-Identifier: Apache-2.0
"""What every bench shares: its arguments, the settings they force, and how a report is finished."""

from __future__ import annotations

import argparse
import importlib
import sys
import timeit
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from pyvision import _core
from pyvision.profile import Budget, Case, Report, compare_with_peak, describe_machine
from pyvision.profile.peers import (
    PEERS,
    Floats,
    Prepared,
    Run,
    Unavailable,
    candidates,
    drop_wrong,
    require,
)
from pyvision.profile.report import OURS

ROOT = Path(__file__).resolve().parents[1]
MODELS = ROOT.parent / "shared" / "models"


def parse_arguments(description: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--threads", type=int, default=1, help="threads of pyvision and of every peer (1)")
    parser.add_argument("--isa", choices=_core.supported_isas(), help="force an instruction set on pyvision")
    parser.add_argument("--rounds", type=int, default=15, help="rounds of each comparison (15)")
    parser.add_argument("--quick", action="store_true", help="3 short rounds: does it run, not how fast")
    parser.add_argument("--only", default="", metavar="TEXT", help="only cases whose name contains TEXT")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results", help="folder for the JSON")
    options = parser.parse_args()
    _core.set_num_threads(options.threads)
    if options.isa:
        _core.set_isa(options.isa)
    return options


def new_report(bench: str) -> Report:
    return Report(bench, describe_machine(peer.package for peer in PEERS))


def budget(options: argparse.Namespace) -> Budget:
    return Budget(3, 0.002, 0.02) if options.quick else Budget(options.rounds)


def finish(report: Report, options: argparse.Namespace) -> None:
    console = Console(width=None if Console().is_terminal else 200)
    report.print(console)
    if report.cases and not options.only:
        console.print(f"written: {report.save(options.out)}", soft_wrap=True)


def add_case(report: Report, case: Case) -> None:
    report.cases.append(case)
    print(f"{report.bench}: {case.name}: {case.times.median_ms(OURS):.3f} ms", flush=True)


def print_curve(name: str, seconds: Mapping[str, float], sizes: Sequence[float]) -> float:
    """Time against size, and the exponent of a power law through all points, which is returned."""
    exponent = np.polyfit(np.log(sizes), np.log(list(seconds.values())), 1)[0]
    points = ", ".join(f"{label}: {1e3 * s:.3g} ms" for label, s in seconds.items())
    print(f"{name}: {points}; time grows as N^{exponent:.2f}")
    return float(exponent)


def least_seconds(call: Run, repeats: int) -> float:
    """Of so many calls after a first one."""
    call()
    return min(timeit.repeat(call, number=1, repeat=repeats))


class TorchCall:
    """A peer that calls torch; gradients by autograd over a graph recorded beforehand."""

    def __init__(self, threads: int) -> None:
        self.torch = require("torch")
        self.torch.set_num_threads(threads)

    def forward(self, call: Any, *arrays: Floats) -> Prepared:
        tensors = [self.torch.from_numpy(array) for array in arrays]
        latest: list[Any] = []

        def run() -> None:
            with self.torch.no_grad():
                latest[:] = [call(*tensors)]

        return Prepared(run, lambda: [y.numpy() for y in latest])

    def backward(self, call: Any, grad: Floats, *arrays: Floats) -> Prepared:
        tensors = [self.torch.from_numpy(array).requires_grad_() for array in arrays]
        y, g = call(*tensors), self.torch.from_numpy(grad)
        latest: list[Any] = []

        def run() -> None:
            latest[:] = self.torch.autograd.grad(y, tensors, g, retain_graph=True)

        return Prepared(run, lambda: [y.numpy() for y in latest])


def add_torch_case(
    report: Report, options: argparse.Namespace, name: str, ours: Run, outputs: list[Floats],
    gflop: float | None, others: dict[str, Run], peer: tuple[str, Any], gbyte: float | None = None,
) -> None:  # fmt: skip
    """Time `ours`, `others` that compute something else, and a peer, unless its outputs differ."""
    if options.only not in name:
        return
    ready: dict[str, Prepared] = {}
    absent: dict[str, str] = {}
    try:
        ready[peer[0]] = peer[1](TorchCall(options.threads))
    except Unavailable as reason:
        absent[peer[0]] = str(reason)
    # Gradients are sums of thousands of terms of order 1.
    drop_wrong(outputs, ready, absent, tolerance=1e-3 * max(float(np.abs(y).max()) for y in outputs))
    times, peak = compare_with_peak(candidates(ours, ready) | others, budget(options))
    add_case(report, Case(name, times, peak, gflop, gbyte, absent=absent))


def make_torchvision_importable() -> None:
    """torchvision's wheel may not import beside a CPU-only torch; a helper beside the repository does it."""
    tools = ROOT.parent / "shared" / "tools"
    if (tools / "torchvision_cpu.py").is_file():
        sys.path.insert(0, str(tools))
        importlib.import_module("torchvision_cpu")
