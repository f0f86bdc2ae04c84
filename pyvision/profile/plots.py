# SPDX-License-Identifier: Apache-2.0
"""A conv2d report as pictures. Needs matplotlib: pip install 'pyvision-kernels[plot]'."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pyvision.profile.conv2d import ConvReport
from pyvision.profile.peers import require
from pyvision.profile.report import OURS, Case, all_peers

_FASTER, _SLOWER = "#27ae60", "#c0392b"


def save_plots(report: ConvReport, folder: Path) -> list[Path]:
    """Write <network>_roofline.png and, where a peer was timed, <network>_ratios.png into `folder`.

    Raises:
        Unavailable: matplotlib is not installed.
        OSError: a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {"roofline": _roofline(report)}
    if any(case.peers for case in report.cases):
        pictures["ratios"] = _ratios(report)
    paths = []
    for name, figure in pictures.items():
        paths.append(folder / f"{report.network.name}_{name}.png")
        figure.savefig(paths[-1], dpi=120)
    return paths


def _figure(report: ConvReport, size: tuple[float, float]) -> tuple[Any, Any]:
    """A figure of its own, which needs no display and leaves matplotlib's global state alone."""
    figure = require("matplotlib.figure").Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    machine = report.machine
    title = f"conv2d {report.precision}, {report.network.title}\n{machine.cpu}, {machine.run_name}"
    axes.set_title(title, fontsize=10)
    return figure, axes


def _roofline(report: ConvReport) -> Any:
    """Rate over arithmetic intensity. Winograd's points count the direct method's work and may lie above."""
    figure, axes = _figure(report, (8, 6))
    intensity = np.array([_intensity(case) for case in report.cases])
    peak = float(np.median([case.peak.gflops for case in report.cases]))
    copy = float(np.median([case.peak.copy_gbs for case in report.cases]))
    x = np.geomspace(min(intensity.min(), peak / copy) / 2, max(intensity.max(), peak / copy) * 2, 200)
    axes.plot(x, np.minimum(peak, copy * x), color="dimgray", linewidth=1.5)
    axes.annotate(
        f"{report.ceiling} peak {peak:.0f} GFLOP/s",
        (x[-1], peak),
        (0, 4),
        textcoords="offset points",
        ha="right",
    )
    axes.annotate(f"copy {copy:.1f} GB/s", (x[0], copy * x[0]), (6, -4), textcoords="offset points", va="top")

    for peer in all_peers(report.cases):
        timed = [(_intensity(case), _rate(case, peer)) for case in report.cases if peer in case.peers]
        if timed:
            axes.scatter(*zip(*timed, strict=True), s=16, alpha=0.6, label=peer)
    for marker, chosen in (("o", False), ("^", True)):
        ours = [
            (_intensity(time.case), _rate(time.case, OURS))
            for time in report.times
            if time.algorithm.startswith("winograd") == chosen
        ]
        if ours:
            label = f"{OURS}, Winograd" if chosen else OURS
            axes.scatter(*zip(*ours, strict=True), s=40, marker=marker, color="black", label=label)
    axes.set(xscale="log", yscale="log")
    axes.set(xlabel="FLOP per byte of input, weights and output", ylabel="GFLOP/s")
    axes.grid(which="both", alpha=0.2)
    axes.legend(fontsize=8, loc="lower right")
    return figure


def _ratios(report: ConvReport) -> Any:
    """A bar per layer: ours / best peer, the spread of the paired ratio, and the name of that peer."""
    cases = [case for case in report.cases if case.peers]
    figure, axes = _figure(report, (9, 1.5 + 0.28 * len(cases)))
    best = [str(case.best_peer) for case in cases]
    ratios = [case.times.ratio(OURS, peer) for case, peer in zip(cases, best, strict=True)]
    medians = np.array([ratio.median for ratio in ratios])
    spread = np.abs(np.array([(ratio.p10, ratio.p90) for ratio in ratios]).T - medians)
    rows = np.arange(len(cases))
    colours = [_SLOWER if median > 1 else _FASTER for median in medians]
    axes.barh(rows, medians, xerr=spread, color=colours, ecolor="black", capsize=2)
    for row, peer, ratio in zip(rows, best, ratios, strict=True):
        axes.annotate(peer, (ratio.p90, row), (5, 0), textcoords="offset points", va="center", fontsize=7)
    axes.set_yticks(rows, [case.name for case in cases], fontsize=8)
    axes.invert_yaxis()
    axes.axvline(1, color="black", linewidth=1)
    axes.axvline(report.geomean(), color="black", linewidth=1, linestyle="--")
    axes.set_xlabel(f"time of {OURS} / time of the best peer (dashed: geometric mean {report.geomean():.2f})")
    axes.margins(x=0.15)
    return figure


def _intensity(case: Case) -> float:
    """FLOP per byte; a conv2d case states both."""
    assert case.gflop is not None and case.gbyte is not None
    return case.gflop / case.gbyte


def _rate(case: Case, name: str) -> float:
    assert case.gflop is not None
    return case.gflop / (case.times.median_ms(name) * 1e-3)
