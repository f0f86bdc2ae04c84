# SPDX-License-Identifier: Apache-2.0
"""Where a model's time goes, layer by layer, against the FMA peak of the same minute."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from pyvision.profile.machine import Machine, Peak, describe_machine, measure_peak

if TYPE_CHECKING:
    from pyvision.nn import Module


@dataclass(frozen=True)
class LayerTime:
    """The median time of one step of the compiled model, its fused parts included."""

    name: str
    op: str
    algorithm: str
    shape: tuple[int, int, int]  # of its output, (H, W, C)
    milliseconds: float
    gflop: float

    @property
    def gflops(self) -> float:
        return self.gflop / (self.milliseconds * 1e-3) if self.milliseconds > 0 else 0.0


@dataclass(frozen=True)
class LayerReport:
    model: str
    machine: Machine
    peak: Peak
    layers: list[LayerTime]
    milliseconds: float  # of a whole run that measures no layers

    def to_dict(self) -> dict[str, Any]:
        layers = [
            asdict(layer)
            | {"gflops": layer.gflops, "percent_of_peak": 100.0 * layer.gflops / self.peak.gflops}
            for layer in self.layers
        ]
        return {
            "model": self.model,
            "machine": self.machine.to_dict(),
            "peak": self.peak.to_dict(),
            "milliseconds": self.milliseconds,
            "gflop": sum(layer.gflop for layer in self.layers),
            "layers": layers,
        }

    def table(self) -> Table:
        title = (
            f"{self.model}: {self.machine.cpu}, {self.machine.run_name}; "
            f"peak {self.peak.gflops:.1f} GFLOP/s, copy {self.peak.copy_gbs:.1f} GB/s"
        )
        table = Table(title=title)
        for heading in ("layer", "op", "output (H, W, C)", "algorithm"):
            table.add_column(heading)
        for heading in ("ms", "% of time", "GFLOP/s", "% of peak"):
            table.add_column(heading, justify="right")
        total = sum(layer.milliseconds for layer in self.layers)
        for layer in self.layers:
            table.add_row(
                layer.name,
                layer.op,
                " x ".join(map(str, layer.shape)),
                layer.algorithm,
                f"{layer.milliseconds:.3f}",
                f"{100.0 * layer.milliseconds / total:.1f}",
                *self._rate_cells(layer.gflop, layer.milliseconds),
            )
        table.add_section()
        gflop = sum(layer.gflop for layer in self.layers)
        cells = self._rate_cells(gflop, self.milliseconds)
        table.add_row("whole run", "", "", "", f"{self.milliseconds:.3f}", "", *cells)
        return table

    def _rate_cells(self, gflop: float, milliseconds: float) -> tuple[str, str]:
        if gflop == 0:  # moves data; a rate of arithmetic would say nothing
            return "", ""
        rate = gflop / (milliseconds * 1e-3)
        return f"{rate:.1f}", f"{100.0 * rate / self.peak.gflops:.1f}"


def profile_layers(
    model: Module, input_shape: tuple[int, int, int] | None = None, *, runs: int = 30
) -> LayerReport:
    """Time every layer of `model` on one random image of (C, H, W), by default the model's own input shape.

    Raises:
        ValueError: the model has no input shape of its own and none is given, or `runs` is less than 1.
    """
    shape = input_shape or model.input_shape
    if shape is None:
        raise ValueError("[profile_layers] expected input_shape (C, H, W), got None")
    if runs < 1:
        raise ValueError(f"[profile_layers] expected runs of at least 1, got {runs}")
    channels, height, width = shape
    executable = model._runtime.executable(model, ((height, width, channels),))
    image = np.random.default_rng(0).standard_normal((1, height, width, channels), dtype=np.float32)

    for _ in range(3):
        executable.run([image])
    whole, steps = np.empty(runs), []
    for i in range(runs):
        start = time.perf_counter()
        executable.run([image])
        whole[i] = time.perf_counter() - start
        steps.append(executable.run_profiled([image])[1])
    medians = np.median(np.array(steps, np.float64), axis=0)
    layers = [
        LayerTime(row["name"], row["op"], row["algorithm"], row["shape"], float(ns) * 1e-6, row["gflop"])
        for row, ns in zip(executable.summary_rows(), medians, strict=True)
    ]
    name = type(model).__name__
    return LayerReport(name, describe_machine(), measure_peak(), layers, float(np.median(whole)) * 1e3)
