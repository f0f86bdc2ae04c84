# SPDX-License-Identifier: Apache-2.0
"""bench/gpu_check.py without a GPU: its commands, its tables, and every call that it times, emulated."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
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
    """A clock that calls both sides, and lets pass what torch's and torchvision's kernels of the CPU lack."""

    def __init__(self, assert_alike: Any) -> None:
        self.unknown_to_peers = 0
        self.compared = 0
        self._assert_alike = assert_alike

    def _of_peer(self, call: Any) -> Any:
        try:
            return call()
        except RuntimeError as error:
            if not re.search("not implemented for '(Half|BFloat16)'|unsupported", str(error)):
                raise
            self.unknown_to_peers += 1
            return None

    def agree(self, ours: Any, known: Any, dtype: str) -> None:
        expected = self._of_peer(known)
        if expected is not None:
            self._assert_alike(ours(), expected, dtype)
            self.compared += 1

    def pair(self, ours: Any, peer: Any, *, cold: bool) -> np.ndarray:
        if not cold:
            ours()
            self._of_peer(peer)
        return np.array([[1.0, 2.0], [1.0, 3.0], [2.0, 4.0]])

    def facts(self, call: Any) -> dict[str, Any]:
        return {"peer_algorithm": "a|b", "peer_workspace_mb": 1.5}


def test_every_timed_call_runs(
    emulated_torch_cuda: Cuda, gpu_timings: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With the arguments that it is given, of small problems."""
    torch: Any = importlib.import_module("torch")
    enlarged = gpu_timings.SIZES.enlarged
    small = gpu_timings.Sizes(
        batch=1, maps=(8, 7), region_map=(8, 12, 16), regions=(3,), boxes=(30,), picture=(64, 70), prepared=9,
        descriptors=20, pairs=(40,), pyramid=((3, 4), (2, 2), (2, 1), (1, 1)), deformed=((8, 5),),
        enlarged=tuple(replace(e, in_channels=8, out_channels=4, extent=3) for e in enlarged),
        learned=((8, 5, 1), (8, 5, 2)),
    )  # fmt: skip
    monkeypatch.setattr(gpu_timings, "SIZES", small)
    monkeypatch.setattr(gpu_timings, "normal", lambda *shape: torch.randn(shape).cuda())
    monkeypatch.setattr(gpu_timings, "uniform", lambda *shape: torch.rand(shape).cuda())
    clock = Calls(gpu_timings.assert_alike)
    cases = [ConvCase(6, 6, 8, 8, 3, 1, (1, 1, 1, 1), groups=groups) for groups in (1, 2, 8)]
    tasks = list(gpu_timings.families(clock))
    tasks += [gpu_timings.conv_task(clock, case, dtype) for case in cases for dtype in gpu_timings.DTYPES]
    saved: list[Any] = []
    result = empty_result()
    gpu_timings.measure(tasks, 600, saved.append, result)
    assert result["failed"] == [] and result["left_out"] == {}
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
    assert clock.unknown_to_peers < len(result["rows"]) / 4 and clock.compared > 40


def test_layers_of_all_networks_and_dtypes(gpu_timings: ModuleType) -> None:
    layers = gpu_timings.layers(quick=False)
    assert {dtype for _, dtype in layers} == set(gpu_timings.DTYPES)
    assert any(1 < case.groups < case.in_channels for case, _ in layers)
    assert any(gpu_timings.is_depthwise(case) for case, _ in layers)
    assert len(layers) > 4 * len(gpu_timings.layers(quick=True)) * 0.8
    assert len(layers) == len(set(layers)) > 400


def test_what_tells_most_comes_first(gpu_timings: ModuleType) -> None:
    order = [op for op, _ in gpu_timings.in_order(None, quick=True)]
    first = list(dict.fromkeys(order))[:6]
    assert first[:2] == ["conv2d float16", "depthwise_conv2d float16"]
    assert first[2:] == ["deform_conv2d", "roi_align", "nms", "match"]
    assert order.index("match") < 40
    tasks = [task.args for op, task in gpu_timings.in_order(None, quick=False) if "conv2d float16" in op]
    assert len(tasks) == len(set(tasks))


def test_results_that_differ_are_no_row(gpu_timings: ModuleType) -> None:
    torch: Any = importlib.import_module("torch")
    x = torch.randn(3, 4)
    gpu_timings.assert_alike((x, None, x.half()), (x, None, x), "float16")
    for wrong in (x + 1, x * torch.nan, x[:2]):
        with pytest.raises(RuntimeError, match="a result of"):
            gpu_timings.assert_alike((x, wrong), (x, x), "bfloat16")


def empty_result() -> dict[str, Any]:
    return {"rows": [], "failed": [], "left_out": {}, "broken": [], "seconds": {}, "next": 0}


LINE = {"op": "b", "problem": "p", "dtype": "f", "ratio": 1.0}


def fail() -> Any:
    raise RuntimeError("no memory")


def test_a_row_that_fails_costs_no_other(
    gpu_timings: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu_timings, "usable", lambda: True)
    result = empty_result()
    gpu_timings.measure([("a", fail), ("b", lambda: LINE)], 60, lambda _: None, result)
    assert result["failed"] == [{"op": "a", "error": "RuntimeError: no memory"}] and result["rows"] == [LINE]
    assert "b p f: 1.00" in capsys.readouterr().out


def test_no_row_is_begun_that_cannot_end(gpu_timings: ModuleType) -> None:
    """As long as the last one of its name, or as a first one may take."""
    result = empty_result()
    result["seconds"] = {"long": 50.0}
    tasks = [("unknown", fail), ("long", fail), ("long", fail)]
    gpu_timings.measure(tasks, 1, lambda _: None, result)
    assert result["left_out"] == {"unknown": 1, "long": 2} and result["failed"] == []
    result = empty_result()
    gpu_timings.measure([("b", lambda: LINE)] * 2, gpu_timings.OTHERS_SECONDS + 1, lambda _: None, result)
    assert result["rows"] == [LINE] * 2 and result["seconds"]["b"] < 1


def test_a_device_in_an_error_goes_to_a_fresh_process(
    gpu_timings: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Which goes on behind the row, without others of its op."""
    file, commands = tmp_path / "timings.json", []
    tasks = [("b", lambda: LINE), ("a", fail), ("a", fail), ("b", lambda: LINE)]
    monkeypatch.setattr(gpu_timings, "in_order", lambda clock, quick: iter(tasks))
    monkeypatch.setattr(gpu_timings, "ceilings", lambda clock: {"device": "H"})
    monkeypatch.setattr(gpu_timings, "Clock", lambda *_: None)
    monkeypatch.setattr(gpu_timings, "usable", lambda: False)

    def call(command: list[Any]) -> int:
        commands.append(command)
        monkeypatch.setattr(sys, "argv", list(map(str, command[2:])))
        gpu_timings.main()
        return 0

    monkeypatch.setattr(gpu_timings.subprocess, "call", call)
    monkeypatch.setattr(sys, "argv", ["gpu_timings", str(file), "--seconds", "60", "--quick"])
    with pytest.raises(SystemExit) as ended:
        gpu_timings.main()
    assert ended.value.code == 0 and len(commands) == 1 and commands[0][-1] == "--quick"
    result = json.loads(file.read_text())
    assert result["machine"] == {"device": "H"} and result["rows"] == [LINE] * 2
    assert result["broken"] == ["a"] and len(result["failed"]) == 1 and result["left_out"] == {"a": 1}


ROW = {
    "op": "conv2d", "problem": "1x1", "dtype": "float16", "peer": "cuDNN", "ours_ms": 0.5, "peer_ms": 0.25,
    "ratio": 0.5, "ratio_p10": 0.4, "ratio_p90": 0.6, "ours_ms_cold": 0.7, "peer_ms_cold": 0.35,
    "ratio_cold": 0.5, "ratio_p10_cold": 0.45, "ratio_p90_cold": 0.55, "tflop_s": 400.0, "gb_s": 1000.0,
    "peer_algorithm": "sm90_a|b", "peer_workspace_mb": 2.0,
}  # fmt: skip
TIMINGS = {
    "machine": {
        "device": "H", "torch": "2", "cudnn": 9, "copy_gb_s": 2000.0, "gemm_tflop_s": {"float16": 800.0},
    },
    "rows": [ROW, ROW | {"op": "nms", "dtype": "uint8"}],
    "failed": [{"op": "match", "error": "RuntimeError: x"}],
    "broken": ["match"], "left_out": {"nms": 3, "maps": 4},
}  # fmt: skip


def test_table(gpu_check: ModuleType) -> None:
    text = gpu_check.markdown([{"step": "build", "ok": True, "seconds": 3.0, "last_line": ""}], TIMINGS)
    lines = text.splitlines()
    assert "| build | ok | 3.0 |" in lines
    columns = {line.count("|") for line in lines if line.startswith("| conv2d") or line.startswith("| op")}
    assert len(columns) == 1
    assert "| 0.5000 | 0.2500 | 0.50 | 0.40…0.60 | 0.7000 | 0.3500 | 0.50 | 0.45…0.55 |" in text
    assert "| 400.0 | 50% | 1000 | 50% | sm90_a b, 2.0 MB |" in text
    assert "* match: RuntimeError: x" in lines and "1 rows failed, 7 had no time." in lines
    assert "* match left the device in an error: no more of its rows" in lines
    assert "Left out: nms 3, maps 4." in lines


def test_steps_that_fail_are_recorded(
    gpu_check: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A build without a compiler for the GPU's; a step over its time, which leaves nothing running; a program
    that is not there."""
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
    start = "import subprocess; child = subprocess.Popen(['sleep', '60'])"
    wait = f"{start}; print(child.pid, flush=True); child.wait()"
    monkeypatch.setattr(gpu_check, "profile_command", lambda: [sys.executable, "-c", wait])
    monkeypatch.setitem(gpu_check.WEIGHTS, "profile", 0.02)  # two seconds
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
    child = int((tmp_path / "out" / "profile.log").read_text().split()[0])
    state = Path(f"/proc/{child}/stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"  # killed, if not yet waited for
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
    gpu_check.copy_tests()
    for quick in (False, True):
        command = [part for part in gpu_check.tests_command(quick) if part not in ("-n", "6")]
        listed = subprocess.run(
            [*command, "--collect-only"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert listed.returncode == 0, listed.stdout
        count = sum("::" in line for line in listed.stdout.splitlines())
        assert (30 < count < 150) if quick else count > 700
    assert gpu_check.sanitizer_command("memcheck")[-1] == gpu_check.SAMPLE[-1]
    refused = subprocess.run(
        gpu_check.profile_command(), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert refused.returncode == 2 and "argument --device" in refused.stderr
    asked = subprocess.run(
        [sys.executable, str(BENCH / "gpu_check.py"), "--help"], capture_output=True, text=True, check=True
    )
    assert "--quick" in asked.stdout
