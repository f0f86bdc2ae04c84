# SPDX-License-Identifier: Apache-2.0
"""conv2d on a network's layers: time, rate, and error against float64, beside other libraries.

pyvision and torch take and give channels-last images. OpenVINO, ONNX Runtime, ncnn and OpenCV are given a
model of one layer, channels first, as their interfaces have it: any reordering they do inside is part of
their time. Weights are packed before the clock starts, on every side.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from pyvision import _core
from pyvision.profile.machine import DEFAULT_BUDGET, Budget, Machine, compare_with_peak
from pyvision.profile.networks import Layer, Network
from pyvision.profile.peers import ConvCase, CpuPrecision, Floats, Peer, candidates, drop_wrong, prepare_all
from pyvision.profile.report import OURS, Case, all_peers, ratio_text

SCHEMA = 1
DIRECT = f"{OURS} direct"
_SAMPLED_PIXELS = 256

# Outputs are of order 1. Of f32 Winograd's rounding, at either side, is the widest; bf16 has 8 bits.
_TOLERANCES: dict[CpuPrecision, float] = {"f32": 1e-3, "bf16": 0.1}

RateUnit = Literal["GFLOP/s", "TFLOP/s"]
Pixels = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
"""Batch index, row and column of output pixels."""


@dataclass(frozen=True)
class ConvTime:
    """One layer, timed. Errors are the largest over sampled output pixels whose values are of order 1."""

    problem: ConvCase
    algorithm: str
    case: Case
    max_error: dict[str, float]  # of pyvision, of its direct method where it chose Winograd, and of the peers

    def to_dict(self) -> dict[str, Any]:
        problem = asdict(self.problem) | {"out_size": self.problem.out_size}
        return self.case.to_dict() | {
            "problem": problem,
            "algorithm": self.algorithm,
            "max_error": self.max_error,
        }


def time_conv2d(
    problem: ConvCase,
    peers: Iterable[Peer] = (),
    *,
    algorithm: str = "auto",
    budget: Budget = DEFAULT_BUDGET,
    precision: CpuPrecision = "f32",
) -> ConvTime:
    """Time one convolution on random data, ours and `peers` in turns, all with our number of threads.

    With ``precision="bf16"`` maps are float32 and products bf16, as :func:`pyvision.ops.conv2d` has it.
    A peer that is not there, or whose result differs, is among `case.absent` with the reason.

    Raises:
        ValueError: `algorithm` ("auto", "direct", "winograd_4x4" …) cannot compute this convolution.
    """
    rng = np.random.default_rng(0)
    weight, bias, x = random_problem(problem, rng)
    layer = _pack(problem, weight, bias, algorithm, precision)
    y = layer.run(x)

    nchw = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    threads = _core.num_threads()
    ready, absent = prepare_all(peers, lambda peer: peer.conv2d(problem, weight, bias, nchw, threads))
    drop_wrong([y.transpose(0, 3, 1, 2)], ready, absent, _TOLERANCES[precision])

    pixels = sample_pixels(problem, rng)
    exact = float64_at(problem, x, weight, bias, pixels)
    outputs = {OURS: y}
    if layer.algorithm.startswith("winograd"):
        outputs[DIRECT] = _pack(problem, weight, bias, "direct").run(x)
    for name, peer in ready.items():
        outputs[name] = peer.outputs()[0].reshape(y.transpose(0, 3, 1, 2).shape).transpose(0, 2, 3, 1)
    max_error = {name: float(np.abs(out[pixels] - exact).max()) for name, out in outputs.items()}

    times, peak = compare_with_peak(candidates(lambda: layer.run(x, out=y), ready), budget)
    case = Case(problem.name, times, peak, problem.gflop, problem.gbyte, layer.algorithm, absent)
    return ConvTime(problem, layer.algorithm, case, max_error)


def random_problem(problem: ConvCase, rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """Weight, bias and input (N, H, W, C), such that outputs are of order 1."""
    weight = _normal(rng, problem.weight_shape) / np.float32(math.sqrt(math.prod(problem.weight_shape[1:])))
    bias = _normal(rng, (problem.out_channels,))
    return weight, bias, _normal(rng, (problem.batch, problem.height, problem.width, problem.in_channels))


def float64_at(
    problem: ConvCase, x: Floats, weight: Floats, bias: Floats, pixels: Pixels
) -> NDArray[np.float64]:
    """The convolution of `x` (N, H, W, C) at some output pixels: (pixels, out_channels)."""
    image, row, column = pixels
    top, left, _, _ = problem.padding
    taps = problem.dilation * np.arange(problem.kernel)
    ih = (row * problem.stride - top)[:, None] + taps  # (pixels, kernel)
    iw = (column * problem.stride - left)[:, None] + taps
    inside = ((ih >= 0) & (ih < problem.height))[:, :, None] & ((iw >= 0) & (iw < problem.width))[:, None, :]
    ih, iw = ih.clip(0, problem.height - 1), iw.clip(0, problem.width - 1)
    seen = x[image[:, None, None], ih[:, :, None], iw[:, None, :]].astype(np.float64) * inside[..., None]

    groups = problem.groups
    group_in, group_out = problem.in_channels // groups, problem.out_channels // groups
    a = seen.reshape(len(image), -1, groups, group_in).transpose(2, 0, 1, 3).reshape(groups, len(image), -1)
    b = weight.astype(np.float64).reshape(groups, group_out, group_in, -1).transpose(0, 3, 2, 1)
    y = a @ b.reshape(groups, -1, group_out)  # (groups, pixels, group_out)
    exact: NDArray[np.float64] = y.transpose(1, 0, 2).reshape(len(image), -1) + bias
    return exact


def sample_pixels(problem: ConvCase, rng: np.random.Generator) -> Pixels:
    """Random ones, and the corners, which see the most padding."""
    height, width = problem.out_size
    image = rng.integers(0, problem.batch, _SAMPLED_PIXELS)
    row, column = rng.integers(0, height, _SAMPLED_PIXELS), rng.integers(0, width, _SAMPLED_PIXELS)
    row[:4], column[:4] = (0, 0, height - 1, height - 1), (0, width - 1, 0, width - 1)
    return image, row, column


def _pack(
    problem: ConvCase, weight: Floats, bias: Floats, algorithm: str, precision: CpuPrecision = "f32"
) -> _core.Conv2d:
    return _core.Conv2d(
        weight,
        bias,
        stride=(problem.stride,) * 2,
        padding=problem.padding,
        dilation=(problem.dilation,) * 2,
        groups=problem.groups,
        algorithm=algorithm,
        input_size=(problem.height, problem.width),
        precision=precision,
    )


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    return rng.standard_normal(shape, dtype=np.float32)


def choose_layers(network: Network, *, containing: str = "", batch: int = 1) -> Network:
    """The network with only the layers whose name contains a text, for `batch` images at once.

    Raises:
        ValueError: no layer's name contains it.
    """
    layers = tuple(
        Layer(replace(layer.problem, batch=batch), layer.count)
        for layer in network.layers
        if containing in layer.problem.name
    )
    if not layers:
        names = "; ".join(layer.problem.name for layer in network.layers)
        raise ValueError(f"[choose_layers] expected a part of {names}, got {containing!r}")
    return replace(network, layers=layers)


@dataclass(frozen=True)
class ConvReport:
    """The timed layers of a network, in its order."""

    network: Network
    machine: Machine
    times: list[ConvTime]
    precision: str = "f32"
    ceiling: str = "FMA"  # what the peak is of
    unit: RateUnit = "GFLOP/s"

    @property
    def cases(self) -> list[Case]:
        return [time.case for time in self.times]

    def geomean(self, peer: str | None = None) -> float | None:
        """Of the paired ratios ours / `peer`, by default the best peer of each layer; a layer counts once."""
        ratios = [
            case.times.ratio(OURS, name).median
            for case in self.cases
            if (name := peer or case.best_peer) in case.peers
        ]
        return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else None

    def total_ms(self, name: str) -> float | None:
        """All layers as often as the network has them; None where `name` has no time for one of them."""
        if any(name not in case.times.seconds for case in self.cases):
            return None
        counts = [layer.count for layer in self.network.layers]
        return sum(count * case.times.median_ms(name) for count, case in zip(counts, self.cases, strict=True))

    def to_dict(self) -> dict[str, Any]:
        names = [OURS, *all_peers(self.cases)]
        layers = zip(self.network.layers, self.times, strict=True)
        return {
            "schema": SCHEMA,
            "op": "conv2d",
            "precision": self.precision,
            "network": {
                "name": self.network.name,
                "title": self.network.title,
                "source": self.network.source,
            },
            "machine": self.machine.to_dict(),
            "summary": {
                "geomean_to_best_peer": self.geomean(),
                "geomean": {name: self.geomean(name) for name in names[1:]},
                "total_ms": {name: self.total_ms(name) for name in names},
            },
            "layers": [time.to_dict() | {"count": layer.count} for layer, time in layers],
        }

    def table(self) -> Table:
        peers = all_peers(self.cases)
        title = (
            f"conv2d, {self.precision}, channels last, layers of {self.network.title} "
            f"({self.network.source}): {self.machine.cpu}, {self.machine.run_name}\n"
            f"{OURS} / best peer: median of paired ratios (p10–p90), below 1 where {OURS} is faster"
        )
        table = Table(title=title)
        table.add_column("layer")
        table.add_column("count", justify="right")
        table.add_column("algorithm")
        for name in (OURS, *peers):
            table.add_column(f"{name}\nms", justify="right")
        rates = self.unit, f"% of {self.ceiling}\npeak", "GB/s", "% of copy\nspeed"
        for heading in (f"{OURS} /\nbest peer", *rates, "max error\n(direct) / best peer"):
            table.add_column(heading, justify="right")
        per_unit = 1e3 if self.unit == "TFLOP/s" else 1.0
        for layer, time in zip(self.network.layers, self.times, strict=True):
            case = time.case
            table.add_row(
                case.name,
                str(layer.count),
                time.algorithm,
                *(_time_cell(case, name) for name in (OURS, *peers)),
                "" if case.best_peer is None else ratio_text(case.times.ratio(OURS, case.best_peer)),
                f"{(case.rate or 0.0) / per_unit:.1f}",
                f"{case.percent_of_peak:.1f}",
                f"{case.bandwidth:.1f}",
                f"{case.percent_of_copy:.1f}",
                _error_cell(time),
            )
        table.add_section()
        totals = [self.total_ms(name) for name in (OURS, *peers)]
        table.add_row("sum of count x ms", "", "", *("" if t is None else f"{t:.3f}" for t in totals))
        means = [self.geomean(peer) for peer in (*peers, None)]
        table.add_row(
            f"geometric mean of {OURS} / peer", "", "", "", *("" if m is None else f"{m:.3f}" for m in means)
        )
        return table


def _time_cell(case: Case, name: str) -> str:
    if name not in case.times.seconds:
        return "absent"
    text = f"{case.times.median_ms(name):.3f}"
    return f"[bold]{text}[/]" if name == case.best_peer else text


def _error_cell(time: ConvTime) -> str:
    errors = time.max_error
    direct = f" ({errors[DIRECT]:.0e})" if DIRECT in errors else ""
    peer = f" / {errors[time.case.best_peer]:.0e}" if time.case.best_peer in errors else ""
    return f"{errors[OURS]:.0e}{direct}{peer}"
