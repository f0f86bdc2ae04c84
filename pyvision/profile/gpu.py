# SPDX-License-Identifier: Apache-2.0
"""conv2d on a GPU: the same report as conv2d.py's, timed between events of the stream, beside cuDNN.

All arrays lie on the device before the clock starts, channels last on both sides. cuDNN is called through
torch, which searches all of its algorithms. The ceilings are a large matrix product of the same precision and
a large copy, measured in the same run.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from pyvision._array import Array
from pyvision._backend import cuda_kernels
from pyvision._device import Operand, device_of
from pyvision.ops.conv import conv_on_device
from pyvision.profile.conv2d import ConvTime, Pixels, float64_at, random_problem, sample_pixels
from pyvision.profile.machine import DEFAULT_BUDGET, Budget, Machine, Peak, package_versions
from pyvision.profile.peers import (
    ConvCase,
    Floats,
    Peer,
    Prepared,
    Unavailable,
    candidates,
    drop_wrong,
    prepare_all,
    require,
)
from pyvision.profile.report import OURS, Case
from pyvision.profile.timing import compare

GpuPrecision = Literal["f32", "tf32", "f16", "bf16"]
DTYPES = {"f32": "float32", "tf32": "float32", "f16": "float16", "bf16": "bfloat16"}
# By which two results may differ, of outputs of order 1: what the precision's operands and storage round.
_TOLERANCES = {"f32": 1e-3, "tf32": 2e-2, "f16": 2e-2, "bf16": 1e-1}


class Gpu(Protocol):
    """What is asked of a device, and of the framework that holds its memory."""

    precision: GpuPrecision

    def put(self, host: Floats) -> Array:
        """A dense copy on the device, of the precision's dtype."""

    def get(self, array: Array) -> Floats: ...
    def elapsed(self, run: Callable[[], object], repeats: int) -> float:
        """Seconds of the device from the first call's start to the last one's end."""

    def peak(self, budget: Budget) -> Peak: ...
    def machine(self) -> Machine: ...


@dataclass(frozen=True)
class GpuMachine(Machine):
    """A GPU in a CPU's words: `isa` is its architecture, `threads` its multiprocessors."""

    @property
    def run_name(self) -> str:
        return f"{self.isa}, {self.threads} multiprocessors"


def time_conv2d_on(
    gpu: Gpu, problem: ConvCase, peers: Iterable[Peer] = (), *, budget: Budget = DEFAULT_BUDGET
) -> ConvTime:
    """:func:`time_conv2d` on a GPU."""
    rng = np.random.default_rng(0)
    weight, bias, x = (gpu.get(gpu.put(array)) for array in random_problem(problem, rng))
    ours = _ours(gpu, problem, weight, bias, x)
    ours.run()
    y = ours.outputs()[0]

    nchw = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    ready, absent = prepare_all(peers, lambda peer: peer.conv2d(problem, weight, bias, nchw, 0))
    drop_wrong([y.transpose(0, 3, 1, 2)], ready, absent, _TOLERANCES[gpu.precision])
    outputs = {OURS: y}
    for name, peer in ready.items():
        outputs[name] = peer.outputs()[0].transpose(0, 2, 3, 1)
    pixels: Pixels = sample_pixels(problem, rng)
    exact = float64_at(problem, x, weight, bias, pixels)
    max_error = {name: float(np.abs(out[pixels] - exact).max()) for name, out in outputs.items()}

    times = compare(
        candidates(ours.run, ready),
        rounds=budget.rounds,
        min_time=budget.min_time,
        elapsed=gpu.elapsed,
        settle=0.0,
    )
    size = 2 if gpu.precision in ("f16", "bf16") else 4
    depthwise = problem.groups == problem.in_channels > 1
    algorithm = "depthwise" if depthwise else "multiply-adds" if gpu.precision == "f32" else "mma.sync"
    case = Case(
        problem.name, times, gpu.peak(budget), problem.gflop, problem.gbyte * size / 4, algorithm, absent
    )
    return ConvTime(problem, algorithm, case, max_error)


def _ours(gpu: Gpu, problem: ConvCase, weight: Floats, bias: Floats, x: Floats) -> Prepared:
    x_on, bias_on = gpu.put(x), gpu.put(bias)
    weight_on = gpu.put(np.ascontiguousarray(weight.transpose(0, 2, 3, 1)))
    device = device_of("conv2d", input=x_on, weight=weight_on, bias=bias_on)
    assert device is not None, "the device's arrays are its framework's"
    dtypes = (DTYPES[gpu.precision],)
    image, kernel, shift = (
        device.take(array, "conv2d", name, dtypes)
        for array, name in ((x_on, "input"), (weight_on, "weight"), (bias_on, "bias"))
    )
    tf32 = gpu.precision == "tf32"
    geometry = (problem.stride,) * 2, problem.padding, (problem.dilation,) * 2, problem.groups
    latest: list[Operand] = []

    def run() -> None:
        latest[:] = [conv_on_device(device, "conv2d", image, kernel, shift, None, *geometry, tf32=tf32)]

    return Prepared(run, lambda: [gpu.get(device.give(latest[0]))])


class TorchGpu:
    """The current CUDA device, through torch.

    Raises:
        Unavailable: there is none, or no kernels for it.
    """

    def __init__(self, precision: GpuPrecision) -> None:
        self.precision: GpuPrecision = precision
        self._torch = _torch_with_cuda()
        self._peak: Peak | None = None

    def put(self, host: Floats) -> Array:
        return self._torch.from_numpy(np.ascontiguousarray(host)).cuda().to(self._dtype())

    def get(self, array: Array) -> Floats:
        host: Floats = array.float().cpu().numpy()
        return host

    def elapsed(self, run: Callable[[], object], repeats: int) -> float:
        begin, end = (self._torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(repeats):
            run()
        end.record()
        end.synchronize()
        return float(begin.elapsed_time(end)) * 1e-3

    def peak(self, budget: Budget) -> Peak:
        """Measured once: the first layer's stands for all."""
        if self._peak is None:
            torch, extent = self._torch, 8192
            allow_tf32(torch, self.precision)
            a, b = (torch.randn(extent, extent, device="cuda", dtype=self._dtype()) for _ in range(2))
            source, target = (torch.empty(1 << 29, dtype=torch.uint8, device="cuda") for _ in range(2))
            runs: dict[str, Callable[[], object]] = {
                "product": lambda: a @ b,
                "copy": lambda: target.copy_(source),
            }
            times = compare(
                runs, rounds=budget.rounds, min_time=budget.min_time, elapsed=self.elapsed, settle=0.0
            )
            self._peak = Peak(
                2e-9 * extent**3 / (times.median_ms("product") * 1e-3),
                2e-9 * source.numel() / (times.median_ms("copy") * 1e-3),
            )
        return self._peak

    def machine(self) -> Machine:
        facts = self._torch.cuda.get_device_properties(self._torch.cuda.current_device())
        versions = package_versions(("torch",)) | {
            "cuda": str(self._torch.version.cuda),
            "cudnn": str(self._torch.backends.cudnn.version()),
        }
        return GpuMachine(
            cpu=facts.name,
            kind=re.sub(r"[^a-z0-9]+", "-", facts.name.lower()).strip("-"),
            isa=f"sm_{facts.major}{facts.minor}",
            isa_reason="the device's compute capability",
            threads=facts.multi_processor_count,
            threads_reason="multiprocessors of the device",
            caches={"L2": int(facts.L2_cache_size)},
            system=f"{platform.system()} {platform.machine()}",
            versions=versions,
        )

    def _dtype(self) -> Any:
        return getattr(self._torch, DTYPES[self.precision])


class CuDnn(Peer):
    """cuDNN through torch, which has tried all of its algorithms before the clock starts."""

    key, name, package = "cudnn", "cuDNN", "torch"

    def __init__(self, precision: GpuPrecision = "f32") -> None:
        self.precision: GpuPrecision = precision

    def conv2d(self, case: ConvCase, weight: Floats, bias: Floats, x: Floats, threads: int) -> Prepared:
        torch = _torch_with_cuda()
        if case.padding[:2] != case.padding[2:]:
            raise Unavailable("torch's conv2d has no padding that differs from side to side")
        allow_tf32(torch, self.precision)
        search_all_algorithms(torch)
        dtype, last = getattr(torch, DTYPES[self.precision]), torch.channels_last
        image, kernel, shift = (torch.from_numpy(array).cuda().to(dtype) for array in (x, weight, bias))
        image, kernel = (array.contiguous(memory_format=last) for array in (image, kernel))
        latest: list[Any] = []

        def run() -> None:
            with torch.no_grad():
                latest[:] = [
                    torch.nn.functional.conv2d(
                        image, kernel, shift, case.stride, case.padding[:2], case.dilation, case.groups
                    )
                ]

        return Prepared(run, lambda: [y.float().cpu().numpy() for y in latest])


def allow_tf32(torch: Any, precision: GpuPrecision) -> None:
    """Whether torch's own f32 products and convolutions may lose bits."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"


def search_all_algorithms(torch: Any) -> None:
    """Have cuDNN try every algorithm that it has for a problem, where torch would have it try ten."""
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.benchmark_limit = 0


def _torch_with_cuda() -> Any:
    if cuda_kernels() is None:
        raise Unavailable(
            "pyvision was built without its GPU kernels; install it with -C cmake.define.PYVISION_CUDA=ON"
        )
    torch = require("torch")
    if not torch.cuda.is_available():
        raise Unavailable(f"torch {torch.__version__} finds no CUDA device")
    return torch
