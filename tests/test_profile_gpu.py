# SPDX-License-Identifier: Apache-2.0
"""`pyvision profile conv2d --device cuda` without a GPU: emulated kernels, a clock that is told the time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from pyvision import ops
from pyvision.profile import Budget, ConvReport, Layer, Machine, Network, Peak
from pyvision.profile.gpu import DTYPES, GpuMachine, GpuPrecision, time_conv2d_on
from pyvision.profile.peers import ConvCase, Floats, Peer, Prepared, Unavailable
from tests.cuda_device import Cuda

BUDGET = Budget(rounds=3, min_time=4e-3)
DENSE = ConvCase(6, 7, 16, 24, 3, 2, (1, 1, 1, 1))
UNEVEN = ConvCase(6, 7, 8, 8, 3, 1, (0, 1, 2, 1))
DEPTHWISE = ConvCase(6, 7, 16, 16, 3, 1, (1, 1, 1, 1), groups=16)


class EmulatedGpu:
    """Every call takes a millisecond, but those that say otherwise through `cost`."""

    def __init__(self, cuda: Cuda, precision: GpuPrecision) -> None:
        self.precision: GpuPrecision = precision
        self.cost = 1e-3
        self._cuda = cuda

    def put(self, host: Floats) -> Any:
        return self._cuda.array(host, DTYPES[self.precision])

    def get(self, array: Any) -> Floats:
        return self._cuda.numpy(array).astype(np.float32)

    def elapsed(self, run: Callable[[], object], repeats: int) -> float:
        self.cost = 1e-3
        run()
        return repeats * self.cost

    def peak(self, budget: Budget) -> Peak:
        return Peak(100.0, 10.0)

    def machine(self) -> Machine:
        return GpuMachine("emulator", "emulator", "sm_80", "", 4, "", {}, "Linux", {})


class Slow(Peer):
    """Computes on the CPU, and says that it took three times as long."""

    key, name, package = "slow", "Slow", "slow"

    def __init__(self, gpu: EmulatedGpu, factor: float = 1.0) -> None:
        self.gpu, self.factor = gpu, np.float32(factor)

    def conv2d(self, case: ConvCase, weight: Floats, bias: Floats, x: Floats, threads: int) -> Prepared:
        if case.padding[:2] != case.padding[2:]:
            raise Unavailable("no uneven padding")
        y = ops.conv2d(x, weight, bias, case.stride, case.padding[:2], case.dilation, case.groups)

        def run() -> None:
            self.gpu.cost = 3e-3

        return Prepared(run, lambda: [y * self.factor])


@pytest.mark.parametrize("problem", [DENSE, UNEVEN, DEPTHWISE])
@pytest.mark.parametrize(
    ("precision", "error"), [("f32", 1e-5), ("tf32", 1e-2), ("f16", 5e-3), ("bf16", 4e-2)]
)
def test_times_and_errors(
    emulated_cuda: Cuda, precision: GpuPrecision, error: float, problem: ConvCase
) -> None:
    gpu = EmulatedGpu(emulated_cuda, precision)
    time = time_conv2d_on(gpu, problem, [Slow(gpu)], budget=BUDGET)
    case = time.case
    assert case.times.median_ms("pyvision") == pytest.approx(1.0)
    assert time.max_error["pyvision"] < error
    if problem is UNEVEN:
        assert case.absent == {"Slow": "no uneven padding"}
    else:
        assert case.times.ratio("pyvision", "Slow").median == pytest.approx(1 / 3)
    assert case.rate == pytest.approx(problem.gflop / 1e-3)
    size = 4 if precision in ("f32", "tf32") else 2
    assert case.gbyte == pytest.approx(problem.gbyte * size / 4)


def test_a_peer_that_computes_something_else_is_not_timed(emulated_cuda: Cuda) -> None:
    gpu = EmulatedGpu(emulated_cuda, "f16")
    time = time_conv2d_on(gpu, DENSE, [Slow(gpu, 1.5)], budget=BUDGET)
    assert time.case.absent == {"Slow": "its outputs differ from ours"}


def test_report_names_precision_and_ceiling(emulated_cuda: Cuda) -> None:
    gpu = EmulatedGpu(emulated_cuda, "f16")
    layers = tuple(Layer(replace(DENSE, batch=n), n) for n in (1, 2))
    times = [time_conv2d_on(gpu, layer.problem, [Slow(gpu)], budget=BUDGET) for layer in layers]
    network = Network("two", "Two layers", "none", layers)
    report = ConvReport(network, gpu.machine(), times, "f16", "product", "TFLOP/s")
    assert report.to_dict()["precision"] == "f16"
    assert report.geomean() == pytest.approx(1 / 3)
    console = Console(file=StringIO(), width=200)
    console.print(report.table())
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for part in (
        "conv2d, f16, channels last, layers of Two layers",
        "TFLOP/s",
        "GB/s",
        f" / {times[0].max_error['Slow']:.0e} ",
        "sm_80, 4 multiprocessors",
        "product",
        "mma.sync",
        "Slow",
    ):
        assert part in text
