# SPDX-License-Identifier: Apache-2.0
"""A bench's outcome as a table on screen and as JSON in bench/results. Losses read like wins."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pyvision.profile.machine import Machine, Peak
from pyvision.profile.timing import Comparison, Ratio

SCHEMA = 1
OURS = "pyvision"


@dataclass(frozen=True)
class Case:
    """One row: what was timed (ours under the name OURS), how much work it is, and the ceilings beside it."""

    name: str
    times: Comparison
    peak: Peak
    gflop: float | None = None  # of arithmetic that the definition asks for, whatever the algorithm saves
    gbyte: float | None = None  # read plus written; the rate of cases that state no gflop
    note: str = ""
    absent: dict[str, str] = field(default_factory=dict)  # peer -> why it has no time here

    @property
    def peers(self) -> list[str]:
        return [name for name in self.times.seconds if name != OURS]

    @property
    def best_peer(self) -> str | None:
        return min(self.peers, key=self.times.median_ms, default=None)

    @property
    def rate(self) -> float | None:
        """GFLOP/s, or GB/s for a case that has no FLOPs."""
        work = self.gflop if self.gflop is not None else self.gbyte
        return None if work is None else work / (self.times.median_ms(OURS) * 1e-3)

    @property
    def percent_of_peak(self) -> float | None:
        ceiling = self.peak.gflops if self.gflop is not None else self.peak.copy_gbs
        return None if self.rate is None else 100.0 * self.rate / ceiling

    @property
    def bandwidth(self) -> float | None:
        """GB/s."""
        return None if self.gbyte is None else self.gbyte / (self.times.median_ms(OURS) * 1e-3)

    @property
    def percent_of_copy(self) -> float | None:
        """What the data alone would need at the bandwidth of a copy, in percent of our time."""
        return None if self.bandwidth is None else 100.0 * self.bandwidth / self.peak.copy_gbs

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "note": self.note,
            "gflop": self.gflop,
            "gbyte": self.gbyte,
            "rate": self.rate,
            "percent_of_peak": self.percent_of_peak,
            "percent_of_copy": self.percent_of_copy,
            "peak": self.peak.to_dict(),
            "times": self.times.to_dict(),
            "ratios": {peer: asdict(self.times.ratio(OURS, peer)) for peer in self.peers},
            "best_peer": self.best_peer,
            "absent": self.absent,
        }


@dataclass
class Report:
    bench: str
    machine: Machine
    cases: list[Case] = field(default_factory=list)

    def print(self, console: Console) -> None:
        peers = all_peers(self.cases)
        setting = f"{self.machine.cpu}, {self.machine.run_name}"
        table = Table(title=f"{self.bench}: {setting}\nours/peer: median of paired ratios (p10–p90)")
        table.add_column("case")
        table.add_column(f"{OURS}\nms", justify="right")
        for peer in peers:
            table.add_column(f"{peer}\nms\nours/peer", justify="right")
        table.add_column("rate\n% of peak", justify="right")
        for case in self.cases:
            label = f"{case.name} ({case.note})" if case.note else case.name
            cells = [_peer_cell(case, peer) for peer in peers]
            table.add_row(label, f"{case.times.median_ms(OURS):.3f}", *cells, _rate_cell(case))
        console.print(table)
        for line in absent_lines(self.cases):
            console.print(line, markup=False)

    def save(self, folder: Path) -> Path:
        """Write folder/<machine kind>/<bench>.json. Runs of another ISA or thread count in that file stay."""
        path = folder / self.machine.kind / f"{self.bench}.json"
        runs: dict[str, Any] = {}
        if path.is_file():
            before = json.loads(path.read_text())
            if before["schema"] == SCHEMA:
                runs = before["runs"]
        runs[self.machine.run_name] = {
            "machine": self.machine.to_dict(),
            "cases": [case.to_dict() for case in self.cases],
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"schema": SCHEMA, "bench": self.bench, "runs": dict(sorted(runs.items()))}
        path.write_text(json.dumps(content, indent=1) + "\n")
        return path


def all_peers(cases: Iterable[Case]) -> list[str]:
    """Those timed in any case and those absent, in the order of the first case that names them."""
    return list(dict.fromkeys(peer for case in cases for peer in (*case.peers, *case.absent)))


def absent_lines(cases: Iterable[Case]) -> list[str]:
    """Who has no time somewhere, and why: each reason once."""
    reasons = {(peer, why) for case in cases for peer, why in case.absent.items()}
    return [f"absent: {peer}: {why}" for peer, why in sorted(reasons)]


def _peer_cell(case: Case, peer: str) -> str:
    if peer not in case.times.seconds:
        return "absent"
    return f"{case.times.median_ms(peer):.3f}\n{ratio_text(case.times.ratio(OURS, peer))}"


def ratio_text(ratio: Ratio) -> str:
    """Median (p10–p90), in as many digits as the median needs."""
    digits = 2 if ratio.median >= 0.1 else 4
    return f"{ratio.median:.{digits}f} ({ratio.p10:.{digits}f}–{ratio.p90:.{digits}f})"


def _rate_cell(case: Case) -> str:
    if case.rate is None:
        return ""
    unit = "GFLOP/s" if case.gflop is not None else "GB/s"
    return f"{case.rate:.1f} {unit}\n{case.percent_of_peak:.1f} %"
