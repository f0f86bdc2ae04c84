# SPDX-License-Identifier: Apache-2.0
"""Everything that needs a GPU, in one go: build for the card, tests, compute-sanitizer, timings.

    python bench/gpu_check.py --out DIR [--quick]

Runs from a plain checkout with what the machine's Python has (torch, scikit-build-core, pybind11, Cython,
pytest) and without a network: under ten minutes, under three with --quick. Writes gpu_check.json,
gpu_check.md and the logs into DIR. A step that fails is recorded, and the others go on.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TESTS = [
    f"tests/{path.name}"
    for path in sorted(ROOT.glob("tests/test_cuda_*.py"))
    if path.stem not in ("test_cuda_build", "test_cuda_emulator")
]
# Each kernel once or twice.
SANITIZED = (
    "split or depthwise_general or groups or transposed or versions or awkward or sampling or windows "
    "or remap or letterbox or scale_factor or hang_on or orb or sift or surf or brisk"
)
TOOLS = ("memcheck", "racecheck", "initcheck")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--quick", action="store_true", help="one sanitizer, few timings")
    options = parser.parse_args()
    out: Path = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)

    site = out / "site"
    environment = os.environ | {"PYTHONPATH": f"{site}{os.pathsep}{ROOT}", "PYVISION_TEST_DEVICE": "cuda"}
    steps: list[dict[str, Any]] = []

    def step(name: str, command: list[str], limit: float) -> bool:
        started = time.monotonic()
        log = out / f"{name}.log"
        with log.open("w") as stream:
            try:
                code = subprocess.run(
                    command, cwd=out, env=environment, stdout=stream, stderr=subprocess.STDOUT, timeout=limit,
                    check=False,
                ).returncode  # fmt: skip
            except (OSError, subprocess.TimeoutExpired) as error:
                stream.write(f"\n{error}\n")
                code = -1
        seconds = time.monotonic() - started
        tail = log.read_text(errors="replace").strip().splitlines()[-1:]
        steps.append(
            {"step": name, "ok": code == 0, "seconds": round(seconds, 1), "last_line": "".join(tail)}
        )
        print(
            f"{name:<12} {'ok' if code == 0 else 'FAILED':<7} {seconds:6.1f} s  {''.join(tail)}", flush=True
        )
        return code == 0

    python = sys.executable
    built = step("build", [
        python, "-m", "pip", "install", "--no-build-isolation", "--no-deps", "--no-index", "--upgrade",
        "--target", str(site), str(ROOT), "-Ccmake.define.PYVISION_CUDA=ON",
        "-Ccmake.define.CMAKE_CUDA_ARCHITECTURES=native",
    ], 420)  # fmt: skip
    timings: dict[str, Any] = {}
    if built:
        shutil.copytree(ROOT / "tests", out / "tests", dirs_exist_ok=True)  # beside no source of the package
        environment["PYTHONPATH"] = f"{site}{os.pathsep}{out}{os.pathsep}{ROOT / 'bench'}"
        pytest = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={out}", *TESTS]
        step("tests", pytest, 180)
        for tool in TOOLS[: 1 if options.quick else None]:
            sanitizer = [
                "compute-sanitizer",
                f"--tool={tool}",
                "--error-exitcode=9",
                "--target-processes=all",
            ]
            step(tool, [*sanitizer, *pytest, "-k", SANITIZED], 120)
        results = out / "timings.json"
        step(
            "timings",
            [python, "-m", "gpu_timings", str(results), *(["--quick"] if options.quick else [])],
            240,
        )
        if results.exists():
            timings = json.loads(results.read_text())

    (out / "gpu_check.json").write_text(json.dumps({"steps": steps, **timings}, indent=1) + "\n")
    (out / "gpu_check.md").write_text(markdown(steps, timings))
    return 0 if all(done["ok"] for done in steps) else 1


def markdown(steps: list[dict[str, Any]], timings: dict[str, Any]) -> str:
    """The steps, then one row a timing."""
    lines = ["| step | | seconds |", "|---|---|---|"]
    lines += [f"| {s['step']} | {'ok' if s['ok'] else 'FAILED'} | {s['seconds']} |" for s in steps]
    if timings:
        machine = timings["machine"]
        lines += [
            "",
            f"{machine['device']}: copies {machine['copy_gb_s']:.0f} GB/s, f16 products "
            f"{machine['gemm_tflop_s']:.0f} TFLOP/s, measured in the same run. Ratio: time of the peer over "
            "ours, above 1 we are faster; cold: with L2 flushed before each call.",
            "",
            "| op | problem | dtype | peer | ours ms | peer ms | ratio | p10…p90 | cold | TFLOP/s | GB/s |",
            "|---|---|---|---|---|---|---|---|---|---|---|",
        ]
        lines += [
            f"| {r['op']} | {r['problem']} | {r['dtype']} | {r['peer']} "
            f"| {r['ours_ms']:.4f} | {r['peer_ms']:.4f} | {r['ratio']:.2f} "
            f"| {r['ratio_p10']:.2f}…{r['ratio_p90']:.2f} | {r['ratio_cold']:.2f} "
            f"| {r['tflop_s']:.1f} | {r['gb_s']:.0f} |"
            for r in timings["rows"]
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
