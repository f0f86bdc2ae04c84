# SPDX-License-Identifier: Apache-2.0
"""What every bench shares: its arguments, the settings they force, and how a report is finished."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from rich.console import Console

from pyvision import _core
from pyvision.profile import Budget, Case, Report, describe_machine
from pyvision.profile.peers import PEERS
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


def make_torchvision_importable() -> None:
    """torchvision's wheel may not import beside a CPU-only torch; a helper beside the repository does it."""
    tools = ROOT.parent / "shared" / "tools"
    if (tools / "torchvision_cpu.py").is_file():
        sys.path.insert(0, str(tools))
        importlib.import_module("torchvision_cpu")
