# SPDX-License-Identifier: Apache-2.0
"""Rewrite the measured figures in README.md, between their two markers, from bench/results.

python bench/readme_table.py           rewrite
python bench/readme_table.py --check   exit 1 if README.md is not what the results say
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyvision.profile.report import OURS, ratio_text
from pyvision.profile.timing import Ratio

ROOT = Path(__file__).resolve().parents[1]
README, RESULTS = ROOT / "README.md", ROOT / "bench" / "results"
BEGIN, END = "<!-- bench/readme_table.py: begin -->", "<!-- bench/readme_table.py: end -->"

# bench -> (heading, which cases, which runs); everything measured is in the JSON files.
SECTIONS = {
    "models": ("Networks, end to end", r"", r""),
    "conv2d": ("conv2d, layers of ResNet-50", r"^ResNet-50", r", 1 thread$"),
    "nms": ("Suppression and overlap", r"", r""),
    "roi": ("Regions", r"", r", 2 threads$"),
    "features": (
        "Features of a photograph of 1920 x 1080 pixels, matching",
        r"^(?!.*megapixels)",
        r", 2 threads$",
    ),
    "flow": ("Optical flow and CLAHE, 1920 x 1080 pixels", r"", r", 2 threads$"),
    "warp": ("Warps of 1920 x 1080 pixels, sampling", r"", r", 2 threads$"),
}


def lines() -> Iterator[str]:
    for machine in sorted(path for path in RESULTS.glob("*") if path.is_dir()):
        for bench, (heading, cases, runs) in SECTIONS.items():
            path = machine / f"{bench}.json"
            if not path.is_file():
                continue
            for name, run in json.loads(path.read_text())["runs"].items():
                chosen = [case for case in run["cases"] if re.search(cases, case["name"])]
                if chosen and re.search(runs, name):
                    yield f"\n**{heading}** · {run['machine']['cpu']}, {name}\n"
                    yield from table(chosen)


def table(cases: list[dict[str, Any]]) -> Iterator[str]:
    peers = list(dict.fromkeys(peer for case in cases for peer in case["ratios"]))
    with_peak = any(case["percent_of_peak"] is not None for case in cases)
    head = ["case", f"{OURS} ms", *(f"{peer} ms" for peer in peers), f"{OURS} / best peer"]
    yield row([*head, "GFLOP/s (% of FMA peak)"] if with_peak else head)
    yield row(["---", *["---:"] * (len(head) - 1 + with_peak)])
    for case in cases:
        times = [f"{case['times'][OURS]['median_ms']:.3f}"]
        times += [f"{case['times'][p]['median_ms']:.3f}" if p in case["times"] else "–" for p in peers]
        best = case["best_peer"]
        ratio = "–" if best is None else ratio_text(Ratio(**case["ratios"][best]))
        cells = [case["name"], *times, ratio]
        if with_peak:
            percent = case["percent_of_peak"]
            cells.append("" if percent is None else f"{case['rate']:.0f} ({percent:.0f} %)")
        yield row(cells)


def row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    text = README.read_text()
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    updated = f"{before}{BEGIN}\n{chr(10).join(lines())}\n\n{END}{after}"
    if check and updated != text:
        sys.exit("README.md is out of date: run python bench/readme_table.py")
    if not check:
        README.write_text(updated)


if __name__ == "__main__":
    main()
