# SPDX-License-Identifier: Apache-2.0
"""bench/gpu_check.py without a GPU: its commands, its tables, and every call that it times, emulated."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from pyvision.profile.peers import ConvCase
from tests.cuda_device import Cuda

BENCH = Path(__file__).resolve().parents[1] / "bench"


@pytest.fixture
def gpu_check(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module("gpu_check")


@pytest.fixture
def gpu_timings(torchvision: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module("gpu_timings")


class Calls:
    """A clock that calls both sides, and refuses what only our side's dtypes lack on a CPU."""

    def __init__(self) -> None:
        self.unknown_to_peers = 0

    def pair(self, ours: Any, peer: Any, *, cold: bool) -> np.ndarray:
        if not cold:
            ours()
            try:
                peer()
            except RuntimeError as error:  # torch's and torchvision's kernels of the CPU
                if not re.search("not implemented for '(Half|BFloat16)'|unsupported", str(error)):
                    raise
                self.unknown_to_peers += 1
        return np.array([[1.0, 2.0], [1.0, 3.0], [2.0, 4.0]])

    def facts(self, call: Any) -> dict[str, Any]:
        return {"peer_algorithm": "a|b", "peer_workspace_mb": 1.5}


def test_every_timed_call_runs(
    emulated_torch_cuda: Cuda, gpu_timings: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With the arguments that it is given, of small problems."""
    torch: Any = importlib.import_module("torch")
    small = gpu_timings.Sizes(
        batch=1, maps=(8, 7), region_map=(8, 12, 16), regions=(3,), boxes=(30,), picture=(64, 70), prepared=9,
        descriptors=20, pairs=(40,), pyramid=((3, 4), (2, 2), (2, 1), (1, 1)), deformed=((8, 5),),
        enlarged=(8, 3), learned=((8, 5, 1), (8, 5, 2)),
    )  # fmt: skip
    monkeypatch.setattr(gpu_timings, "SIZES", small)
    monkeypatch.setattr(gpu_timings, "normal", lambda *shape: torch.randn(shape).cuda())
    monkeypatch.setattr(gpu_timings, "uniform", lambda *shape: torch.rand(shape).cuda())
    clock = Calls()
    cases = [ConvCase(6, 6, 8, 8, 3, 1, (1, 1, 1, 1), groups=groups) for groups in (1, 2, 8)]
    tasks = list(gpu_timings.families(clock))
    tasks += [
        ("conv2d", lambda case=case, dtype=dtype: gpu_timings.conv_row(clock, case, dtype))
        for case in cases
        for dtype in gpu_timings.DTYPES
    ]
    saved: list[Any] = []
    result = gpu_timings.measure(iter(tasks), 600, saved.append)
    assert result["failed"] == [] and result["left_out"] == 0
    found = {row["op"] for row in result["rows"]}
    assert found >= {
        "conv2d", "depthwise_conv2d", "conv_transpose2d", "conv2d_backward", "depthwise_conv2d_backward",
        "separable_conv2d", "deform_conv2d", "deform_conv2d_backward", "multi_scale_deformable_attention",
        "roi_align", "roi_align_backward", "nms", "nms_rotated", "soft_nms", "matrix_nms", "match",
        "find_homography", "max_pool2d", "interpolate", "grid_sample", "prepare_image", "warp_affine",
        *gpu_timings.FEATURES,
    }  # fmt: skip
    assert len(saved) == len(tasks)
    json.dumps(result)
    assert clock.unknown_to_peers < len(result["rows"]) / 4


def test_layers_of_all_networks_and_dtypes(gpu_timings: ModuleType) -> None:
    tasks = [task for _, task in gpu_timings.layers(None, quick=False)]
    cases = [task.args[1] for task in tasks]
    assert {task.args[2] for task in tasks} == set(gpu_timings.DTYPES)
    assert any(1 < case.groups < case.in_channels for case in cases)
    assert any(case.groups == case.in_channels for case in cases)
    assert len(tasks) > 4 * len(list(gpu_timings.layers(None, quick=True))) * 0.9
    assert len({(case, dtype) for case, dtype in (task.args[1:] for task in tasks)}) > 400


def test_a_row_that_fails_costs_no_other(gpu_timings: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    row = {"op": "b", "problem": "p", "dtype": "f", "ratio": 1.0}

    def fail() -> Any:
        raise RuntimeError("no memory")

    result = gpu_timings.measure(iter([("a", fail), ("b", lambda: row)]), 60, lambda _: None)
    assert result["failed"] == [{"op": "a", "error": "RuntimeError: no memory"}] and result["rows"] == [row]
    assert gpu_timings.measure(iter([("a", fail)]), -1, lambda _: None)["left_out"] == 1
    assert "b p f: 1.00" in capsys.readouterr().out


ROW = {
    "op": "conv2d", "problem": "1x1", "dtype": "float16", "peer": "cuDNN", "ours_ms": 0.5, "peer_ms": 0.25,
    "ratio": 0.5, "ratio_p10": 0.4, "ratio_p90": 0.6, "ratio_cold": 0.45, "tflop_s": 400.0, "gb_s": 1000.0,
    "peer_algorithm": "sm90_a|b", "peer_workspace_mb": 2.0,
}  # fmt: skip
TIMINGS = {
    "machine": {
        "device": "H", "torch": "2", "cudnn": 9, "copy_gb_s": 2000.0, "gemm_tflop_s": {"float16": 800.0},
    },
    "rows": [ROW, ROW | {"op": "nms", "dtype": "uint8"}],
    "failed": [{"op": "match", "error": "RuntimeError: x"}],
    "left_out": 7,
}  # fmt: skip


def test_table(gpu_check: ModuleType) -> None:
    text = gpu_check.markdown([{"step": "build", "ok": True, "seconds": 3.0, "last_line": ""}], TIMINGS)
    lines = text.splitlines()
    assert "| build | ok | 3.0 |" in lines
    columns = {line.count("|") for line in lines if line.startswith("| conv2d") or line.startswith("| op")}
    assert len(columns) == 1
    assert "| 400.0 | 50% | 1000 | 50% | sm90_a b, 2.0 MB |" in text
    assert "* match: RuntimeError: x" in lines and "1 rows failed, 7 had no time." in lines


def test_steps_that_fail_are_recorded(
    gpu_check: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A build without a compiler for the GPU's; a step over its time; a program that is not there."""
    monkeypatch.setattr(
        gpu_check, "build_command", lambda site: [sys.executable, "-c", "raise SystemExit(3)"]
    )
    monkeypatch.setattr(sys, "argv", ["gpu_check.py", "--out", str(tmp_path / "out"), "--quick"])
    assert gpu_check.main() == 1
    report = json.loads((tmp_path / "out" / "gpu_check.json").read_text())
    assert [(s["step"], s["ok"]) for s in report["steps"]] == [("build", False)]

    monkeypatch.setattr(gpu_check, "WORK", tmp_path)
    monkeypatch.setattr(gpu_check, "build_command", lambda site: [sys.executable, "-c", "print('built')"])
    monkeypatch.setattr(gpu_check, "tests_command", lambda quick: ["no such program"])
    wait = [sys.executable, "-c", "import time; time.sleep(60)"]
    monkeypatch.setattr(gpu_check, "profile_command", lambda: wait)
    monkeypatch.setitem(gpu_check.SHARE, "profile", 0.001)
    write = f"import sys, json; json.dump({TIMINGS!r}, open(sys.argv[1], 'w'))"
    monkeypatch.setattr(
        gpu_check, "timings_command", lambda results, *_: [sys.executable, "-c", write, str(results)]
    )
    monkeypatch.setattr(gpu_check, "sanitizer_command", lambda tool: [sys.executable, "-c", "print('clean')"])
    assert gpu_check.main() == 1
    report = json.loads((tmp_path / "out" / "gpu_check.json").read_text())
    steps = {s["step"]: s for s in report["steps"]}
    assert {name: s["ok"] for name, s in steps.items()} == {
        "build": True, "tests": False, "timings": True, "profile": False, "memcheck": True,
    }  # fmt: skip
    assert "timed out" in steps["profile"]["last_line"] and report["rows"][0] == ROW
    assert (tmp_path / "tests" / "conftest.py").exists()


SAMPLED = """
import sys, pytest
code = pytest.main(sys.argv[1:])
for file, name in sys.modules["tests.cuda_device"].kernels_run():
    print("ran", file, name)
sys.exit(code)
"""


def test_the_sample_starts_every_kernel(gpu_check: ModuleType, emulated_cuda: Cuda, tmp_path: Path) -> None:
    (tmp_path / "sampled.py").write_text(SAMPLED)  # beside no source of the package
    environment = {name: value for name, value in os.environ.items() if name != "PYVISION_TEST_DEVICE"}
    done = subprocess.run(
        [sys.executable, str(tmp_path / "sampled.py"), "-q", "-p", "no:cacheprovider", *gpu_check.SAMPLE],
        cwd=gpu_check.ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    ran = {tuple(line.split()[1:]) for line in done.stdout.splitlines() if line.startswith("ran ")}
    declared = {
        (str(path), name)
        for path in gpu_check.ROOT.glob("cuda/**/*.cu*")
        for name in re.findall(r"__global__ void(?:\s+__launch_bounds__\(.*?\))?\s+(\w+)\(", path.read_text())
    }
    assert len(declared) > 100 and declared == ran


def test_commands_are_understood(
    gpu_check: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """pytest finds the tests that the commands name; the others' options are known."""
    monkeypatch.setattr(gpu_check, "WORK", tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    shutil.copytree(gpu_check.ROOT / "tests", tmp_path / "tests")
    for quick in (False, True):
        command = [part for part in gpu_check.tests_command(quick) if part not in ("-n", "6")]
        listed = subprocess.run(
            [*command, "--collect-only"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert listed.returncode == 0, listed.stdout
        count = sum("::" in line for line in listed.stdout.splitlines())
        assert (30 < count < 150) if quick else count > 700
    assert gpu_check.sanitizer_command("memcheck")[-2:] == ["-k", gpu_check.SANITIZED]
    refused = subprocess.run(
        gpu_check.profile_command(), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert refused.returncode == 2 and "argument --device" in refused.stderr
    asked = subprocess.run(
        [sys.executable, str(BENCH / "gpu_check.py"), "--help"], capture_output=True, text=True, check=True
    )
    assert "--quick" in asked.stdout
