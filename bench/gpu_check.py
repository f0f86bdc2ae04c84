# SPDX-License-Identifier: Apache-2.0
"""Everything that needs a GPU, in one go: build for the card, tests, timings, compute-sanitizer.

    python bench/gpu_check.py --out DIR [--quick]

Runs from a plain checkout with what the machine's Python has (torch, scikit-build-core, pybind11, Cython,
pytest) and without a network, under ten minutes, under three with --quick. What it builds stays in build/, so
that a second run is shorter. Writes gpu_check.json, gpu_check.md, timings.json and the logs into DIR. A step
that fails is recorded and the others go on; one that does not fit into the time that is left is cut short.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build" / "gpu_check"
TESTS = [
    f"tests/{path.name}"
    for path in sorted(ROOT.glob("tests/test_cuda_*.py"))
    if path.stem not in ("test_cuda_build", "test_cuda_emulator")
]
# Each kernel once or twice.
SANITIZED = (
    "test_nothing_waits or test_split_k or test_depthwise_general or test_groups or test_schedule "
    "or test_awkward or test_many or test_sift or test_surf or test_brisk or test_orb or test_second"
)
# Torch's kernels are its own affair, but what they write has to be seen before ours may read it.
TOOLS = {
    "memcheck": ["--kernel-name", "kns=pyvision"],
    "racecheck": ["--kernel-name", "kns=pyvision"],
    "initcheck": [],
}
SECONDS = {False: 585.0, True: 175.0}  # of all steps, by --quick
SHARE = {"build": 0.75, "tests": 0.35, "timings": 0.4, "profile": 0.05}  # of that, at most


class Steps:
    """Commands one after the other, what became of them, and the time that is left."""

    def __init__(self, out: Path, seconds: float) -> None:
        self.done: list[dict[str, Any]] = []
        self._out, self._seconds, self._end = out, seconds, time.monotonic() + seconds

    def left(self, name: str) -> float:
        """Seconds that a step may take."""
        return min(self._end - time.monotonic(), SHARE.get(name, 0.12) * self._seconds)

    def run(self, name: str, command: list[str], folder: Path, environment: dict[str, str]) -> bool:
        """Whether the command ended well; its output becomes a log."""
        started, log = time.monotonic(), self._out / f"{name}.log"
        with log.open("w") as stream:
            try:
                code = subprocess.run(
                    command, cwd=folder, env=environment, stdout=stream, stderr=subprocess.STDOUT,
                    timeout=max(self.left(name), 0), check=False,
                ).returncode  # fmt: skip
            except (OSError, subprocess.TimeoutExpired) as error:
                stream.write(f"\n{error}\n")
                code = -1
        seconds = time.monotonic() - started
        tail = "".join(log.read_text(errors="replace").strip().splitlines()[-1:])
        self.done.append({"step": name, "ok": code == 0, "seconds": round(seconds, 1), "last_line": tail})
        print(f"{name:<12} {'ok' if code == 0 else 'FAILED':<7} {seconds:6.1f} s  {tail}", flush=True)
        return code == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--quick", action="store_true", help="one sanitizer, fewer tests and timings")
    options = parser.parse_args()
    out: Path = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    quick: bool = options.quick
    steps, site = Steps(out, SECONDS[quick]), WORK / "site"
    environment = os.environ | {"PATH": with_toolkit(os.environ.get("PATH", ""))}
    results = out / "timings.json"
    results.unlink(missing_ok=True)

    if steps.run("build", build_command(site), ROOT, environment):
        # Beside no source of the package, which has no extensions in it.
        shutil.copytree(ROOT / "tests", WORK / "tests", dirs_exist_ok=True)
        paths = os.pathsep.join(map(str, (site, WORK, ROOT / "bench")))
        environment |= {"PYTHONPATH": paths, "PYVISION_TEST_DEVICE": "cuda"}
        steps.run("tests", tests_command(quick), WORK, environment)
        steps.run("timings", timings_command(results, steps.left("timings"), quick), WORK, environment)
        steps.run("profile", profile_command(), WORK, environment)
        # In torch's cache arrays are neighbours, and an access beyond one is not seen.
        alone = environment | {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
        for tool in list(TOOLS)[: 1 if quick else None]:
            steps.run(tool, sanitizer_command(tool), WORK, alone)

    timings = json.loads(results.read_text()) if results.exists() else {}
    (out / "gpu_check.json").write_text(json.dumps({"steps": steps.done, **timings}, indent=1) + "\n")
    (out / "gpu_check.md").write_text(markdown(steps.done, timings))
    return 0 if all(done["ok"] for done in steps.done) else 1


def with_toolkit(path: str) -> str:
    """``path`` with the CUDA toolkit's programs, which a shell need not know of."""
    toolkit = Path(os.environ.get("CUDA_HOME", "/usr/local/cuda"))
    return os.pathsep.join([path, str(toolkit / "bin"), str(toolkit / "compute-sanitizer")])


def build_command(site: Path) -> list[str]:
    return [
        sys.executable, "-m", "pip", "install", "--no-build-isolation", "--no-deps", "--no-index",
        "--upgrade", "--target", str(site), str(ROOT), "-Ccmake.define.PYVISION_CUDA=ON",
        "-Ccmake.define.CMAKE_CUDA_ARCHITECTURES=native",
    ]  # fmt: skip


def pytest_command() -> list[str]:
    return [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={WORK}", *TESTS]


def tests_command(quick: bool) -> list[str]:
    """References are computed on the CPU, by several processes where pytest-xdist is."""
    workers = ["-n", "6"] if find_spec("xdist") else []
    return [*pytest_command(), *workers, *(["-k", SANITIZED] if quick else [])]


def timings_command(results: Path, seconds: float, quick: bool) -> list[str]:
    rest = ["--seconds", f"{0.8 * seconds:.0f}", *(["--quick"] if quick else [])]
    return [sys.executable, "-m", "gpu_timings", str(results), *rest]


def profile_command() -> list[str]:
    """What a user is told to run, of a few layers."""
    return [
        sys.executable, "-m", "pyvision", "profile", "conv2d", "--network", "resnet50", "--layers", "3x3 14²",
        "--device", "cuda", "--precision", "f16", "--peers", "cudnn", "--rounds", "3",
    ]  # fmt: skip


def sanitizer_command(tool: str) -> list[str]:
    return [
        "compute-sanitizer", f"--tool={tool}", "--error-exitcode=9", "--target-processes=all", *TOOLS[tool],
        *pytest_command(), "-k", SANITIZED,
    ]  # fmt: skip


def markdown(steps: list[dict[str, Any]], timings: dict[str, Any]) -> str:
    """The steps, then one row a timing."""
    lines = ["| step | | seconds |", "|---|---|---|"]
    lines += [f"| {s['step']} | {'ok' if s['ok'] else 'FAILED'} | {s['seconds']} |" for s in steps]
    if timings:
        machine = timings["machine"]
        products, copy = machine["gemm_tflop_s"], machine["copy_gb_s"]
        rates = ", ".join(f"{dtype} {rate:.0f}" for dtype, rate in products.items())
        lines += [
            "",
            f"{machine['device']}, torch {machine['torch']}, cuDNN {machine['cudnn']}. Measured in the same "
            f"run: copies {copy:.0f} GB/s; products of 8192 x 8192 matrices, TFLOP/s: {rates}.",
            "",
            "Ratio: time of the peer over ours, above 1 we are faster; cold: with L2 flushed before each "
            "call. Of peaks: TFLOP/s of that product, GB/s of that copy. Workspace: what cuDNN takes beside "
            "its result.",
            "",
            "| op | problem | dtype | peer | ours ms | peer ms | ratio | p10…p90 | cold | TFLOP/s | of peak "
            "| GB/s | of peak | peer's kernel, workspace |",
            "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
        ]
        for r in timings["rows"]:
            peak = r["tflop_s"] / products[r["dtype"]] if r["dtype"] in products else 0.0
            kernel = f"{r['peer_algorithm']}, {r['peer_workspace_mb']} MB" if "peer_algorithm" in r else ""
            lines.append(
                f"| {r['op']} | {r['problem']} | {r['dtype']} | {r['peer']} "
                f"| {r['ours_ms']:.4f} | {r['peer_ms']:.4f} | {r['ratio']:.2f} "
                f"| {r['ratio_p10']:.2f}…{r['ratio_p90']:.2f} | {r['ratio_cold']:.2f} "
                f"| {r['tflop_s']:.1f} | {peak:.0%} | {r['gb_s']:.0f} | {r['gb_s'] / copy:.0%} "
                f"| {kernel.replace('|', ' ')} |"
            )
        lines += ["", f"{len(timings['failed'])} rows failed, {timings['left_out']} had no time."]
        lines += [f"* {failed['op']}: {failed['error']}" for failed in timings["failed"]]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
