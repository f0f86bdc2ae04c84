# SPDX-License-Identifier: Apache-2.0
"""The table that Module.summary prints."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from pyvision import _core


def print_summary(title: str, executable: _core.Executable) -> None:
    """Print one line per step of ``executable`` and the totals."""
    table = Table(title=f"{title} ({executable.isa})")
    for heading in ("layer", "op", "output (h, w, c)", "algorithm"):
        table.add_column(heading)
    for heading in ("GFLOP", "parameters"):
        table.add_column(heading, justify="right")
    rows = executable.summary_rows()
    for row in rows:
        shape = " x ".join(map(str, row["shape"]))
        gflop = f"{row['gflop']:.4f}" if row["gflop"] else ""
        parameters = f"{row['parameters']:,}" if row["parameters"] else ""
        table.add_row(row["name"], row["op"], shape, row["algorithm"], gflop, parameters)
    total_gflop = sum(row["gflop"] for row in rows)
    total_parameters = sum(row["parameters"] for row in rows)
    table.add_section()
    table.add_row("total", f"{len(rows)} steps", "", "", f"{total_gflop:.4f}", f"{total_parameters:,}")
    console = Console()
    console.print(table)
    packed = sum(row["packed_bytes"] for row in rows)
    console.print(f"arena {executable.arena_bytes():,} bytes per image, packed weights {packed:,} bytes")
