# SPDX-License-Identifier: Apache-2.0
"""Everything that needs a GPU, in one go: build for the card, tests, timings, compute-sanitizer.

    python bench/gpu_check.py --out DIR [--quick]

Runs from a plain checkout with what the machine's Python has (torch, scikit-build-core, pybind11, Cython,
pytest) and without a network, under ten minutes, under three with --quick. What it builds stays in build/, so
that a second run is shorter. Writes gpu_check.json, gpu_check.md, timings.json and the logs into DIR, after
every step. A step that fails is recorded and the others go on; one that does not fit into its share of the
time that is left is cut short.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
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
# Tests that start every kernel between them, for compute-sanitizer and --quick: tests/test_gpu_check.py sees
# to it that they do.
SAMPLE = (
    "tests/test_cuda_capture.py::test_nothing_waits",
    "tests/test_cuda_conv2d.py::test_large_tiles",
    "tests/test_cuda_conv2d.py::test_split_k",
    "tests/test_cuda_conv_backward.py::test_pixels_split",
    "tests/test_cuda_conv_backward.py::test_transposed_groups[channels3-3]",
    "tests/test_cuda_deform_conv2d.py::test_large_and_split",
    "tests/test_cuda_features.py::test_many_pictures_and_any_schedule",
    "tests/test_cuda_features.py::test_second_moments_with_a_mask",
    "tests/test_cuda_features.py::test_surf[options3]",
    "tests/test_cuda_grid_sample.py::test_wild_positions[bicubic-inf]",
    "tests/test_cuda_homography.py::test_arrays_that_are_not_dense",
    "tests/test_cuda_interpolate.py::test_backward[bilinear-False-False-float16]",
    "tests/test_cuda_interpolate.py::test_backward[bicubic-False-True-float16]",
    "tests/test_cuda_match.py::test_distances_closer_than_tf32_are_told_apart",
    "tests/test_cuda_match.py::test_rows_that_are_not_finite_match_nothing",
    "tests/test_cuda_nms.py::test_batched[True-3]",
    "tests/test_cuda_nms.py::test_chunks_of_groups[float32]",
    "tests/test_cuda_pixel_shuffle.py::test_channels_last_and_empty_batches",
    "tests/test_cuda_pixel_shuffle.py::test_indices_outside_move_nothing",
    "tests/test_cuda_pooling.py::test_gradients_of_adaptive[out1-float16]",
    "tests/test_cuda_roi.py::test_a_list_of_boxes_is_one_array_of_them",
    "tests/test_cuda_roi.py::test_boxes_of_any_value_index_no_memory[roi_pool]",
    "tests/test_cuda_roi.py::test_offsets_of_any_value_index_no_memory[float32]",
    "tests/test_cuda_sampled_sums.py::test_dcn[case1-float32]",
    "tests/test_cuda_separable_conv2d.py::test_large_and_split",
    "tests/test_cuda_suppression.py::test_mask_matrix_nms[linear]",
    "tests/test_cuda_suppression.py::test_soft_nms_of_ties_and_boxes_that_take_no_part[hard]",
)
# Torch's kernels are its own affair, but what they write has to be seen before ours may read it.
TOOLS = {
    "memcheck": ["--kernel-name", "kns=pyvision"],
    "racecheck": ["--kernel-name", "kns=pyvision"],
    "initcheck": [],
}
SECONDS = {False: 585.0, True: 175.0}  # of all steps, by --quick
# By these the time that is left is shared out among the steps that are left; what one saves others have.
# A build of everything takes minutes, one of nothing seconds; sanitizers run one test after the other.
WEIGHTS = {
    "build": 33.0, "tests": 3.0, "timings": 4.0, "profile": 1.5, "memcheck": 2.0, "racecheck": 2.0,
    "initcheck": 2.0,
}  # fmt: skip
# In place of the tree's own settings, under which warnings of the machine's libraries would be errors.
SETTINGS = "[pytest]\naddopts = --strict-markers --import-mode=importlib\n"


class Steps:
    """Commands one after the other, what became of them, and the time that is left."""

    def __init__(self, out: Path, seconds: float, names: list[str]) -> None:
        self.done: list[dict[str, Any]] = []
        self.timings = out / "timings.json"
        self._out, self._end, self._ahead = out, time.monotonic() + seconds, names

    def left(self, name: str) -> float:
        """Seconds that a step may take."""
        ahead = self._ahead[self._ahead.index(name) :]
        share = WEIGHTS[name] / sum(WEIGHTS[step] for step in ahead)
        return max(self._end - time.monotonic(), 0) * share

    def run(self, name: str, command: list[str], folder: Path, environment: dict[str, str]) -> bool:
        """Whether the command ended well; its output becomes a log."""
        started, log = time.monotonic(), self._out / f"{name}.log"
        with log.open("w") as stream:
            try:
                code = run_whole(command, self.left(name), cwd=folder, env=environment, stdout=stream)
            except (OSError, subprocess.TimeoutExpired) as error:
                stream.write(f"\n{error}\n")
                code = -1
        seconds = time.monotonic() - started
        tail = "".join(log.read_text(errors="replace").strip().splitlines()[-1:])
        self.done.append({"step": name, "ok": code == 0, "seconds": round(seconds, 1), "last_line": tail})
        print(f"{name:<12} {'ok' if code == 0 else 'FAILED':<7} {seconds:6.1f} s  {tail}", flush=True)
        self._report()
        return code == 0

    def _report(self) -> None:
        timings = json.loads(self.timings.read_text()) if self.timings.exists() else {}
        content = json.dumps({"steps": self.done, **timings}, indent=1)
        (self._out / "gpu_check.json").write_text(content + "\n")
        (self._out / "gpu_check.md").write_text(markdown(self.done, timings))


def run_whole(command: list[str], seconds: float, **options: Any) -> int:
    """The exit status of a command. It and all that it started are gone when this returns or raises.

    Raises:
        OSError: it cannot be started.
        subprocess.TimeoutExpired: it took longer.
    """
    process = subprocess.Popen(command, stderr=subprocess.STDOUT, start_new_session=True, **options)
    try:
        return process.wait(seconds)
    finally:
        with suppress(ProcessLookupError):  # the last of its group has ended
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--quick", action="store_true", help="one sanitizer, fewer tests and timings")
    options = parser.parse_args()
    out: Path = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    quick: bool = options.quick
    tools = list(TOOLS)[: 1 if quick else None]
    steps = Steps(out, SECONDS[quick], ["build", "tests", "timings", "profile", *tools])
    site, results = WORK / "site", steps.timings
    environment = os.environ | {"PATH": with_toolkit(os.environ.get("PATH", ""))}
    results.unlink(missing_ok=True)

    if steps.run("build", build_command(site), ROOT, environment):
        copy_tests()
        paths = os.pathsep.join(map(str, (site, WORK, ROOT / "bench")))
        # JAX would take most of the device's memory, beside processes that share it.
        environment |= {
            "PYTHONPATH": paths, "PYVISION_TEST_DEVICE": "cuda", "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        }  # fmt: skip
        steps.run("tests", tests_command(quick), WORK, environment)
        steps.run("timings", timings_command(results, steps.left("timings"), quick), WORK, environment)
        steps.run("profile", profile_command(), WORK, environment)
        # In torch's cache arrays are neighbours, and an access beyond one is not seen.
        alone = environment | {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
        for tool in tools:
            steps.run(tool, sanitizer_command(tool), WORK, alone)

    return 0 if all(done["ok"] for done in steps.done) else 1


def copy_tests() -> None:
    """Beside no source of the package, which has no extensions in it."""
    shutil.copytree(ROOT / "tests", WORK / "tests", dirs_exist_ok=True)
    (WORK / "pytest.ini").write_text(SETTINGS)


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


def pytest_command(tests: Sequence[str]) -> list[str]:
    return [
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", str(WORK / "pytest.ini"),
        f"--rootdir={WORK}", *tests,
    ]  # fmt: skip


def tests_command(quick: bool) -> list[str]:
    """References are computed on the CPU, by several processes where pytest-xdist is."""
    workers = ["-n", "6"] if find_spec("xdist") else []
    return [*pytest_command(SAMPLE if quick else TESTS), *workers]


def timings_command(results: Path, seconds: float, quick: bool) -> list[str]:
    rest = ["--seconds", f"{0.9 * seconds:.0f}", *(["--quick"] if quick else [])]
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
        *pytest_command(SAMPLE),
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
            "Ratio: time of the peer over ours, above 1 we are faster. Cold: with L2 flushed before each "
            "call. Of peaks: TFLOP/s of that product, GB/s of that copy. Workspace: what the peer takes "
            "beside its results.",
            "",
            "| op | problem | dtype | peer | ours ms | peer ms | ratio | p10…p90 "
            "| cold: ours ms | peer ms | ratio | p10…p90 | TFLOP/s | of peak "
            "| GB/s | of peak | peer's kernel, workspace |",
            "|---" * 17 + "|",
        ]
        for r in timings["rows"]:
            peak = r["tflop_s"] / products[r["dtype"]] if r["dtype"] in products else 0.0
            kernel = f"{r['peer_algorithm']}, {r['peer_workspace_mb']} MB" if "peer_algorithm" in r else ""
            lines.append(
                f"| {r['op']} | {r['problem']} | {r['dtype']} | {r['peer']} "
                f"{times(r, '')} {times(r, '_cold')} "
                f"| {r['tflop_s']:.1f} | {peak:.0%} | {r['gb_s']:.0f} | {r['gb_s'] / copy:.0%} "
                f"| {kernel.replace('|', ' ')} |"
            )
        left_out: dict[str, int] = timings["left_out"]
        lines += ["", f"{len(timings['failed'])} rows failed, {sum(left_out.values())} had no time."]
        lines += [f"* {failed['op']}: {failed['error']}" for failed in timings["failed"]]
        lines += [f"* {op} left the device in an error: no more of its rows" for op in timings["broken"]]
        if left_out:
            lines += ["", "Left out: " + ", ".join(f"{op} {n}" for op, n in left_out.items()) + "."]
    return "\n".join(lines) + "\n"


def times(row: dict[str, Any], state: str) -> str:
    """The cells of one state of the cache."""
    ours, peer = row[f"ours_ms{state}"], row[f"peer_ms{state}"]
    ratio, p10, p90 = (row[f"ratio{part}{state}"] for part in ("", "_p10", "_p90"))
    return f"| {ours:.4f} | {peer:.4f} | {ratio:.2f} | {p10:.2f}…{p90:.2f}"


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started ends, too
    sys.exit(main())
