# SPDX-License-Identifier: Apache-2.0
"""What the CUDA compiler says of the kernels, and what the extension says without a driver, where nvcc is."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

CUDA = Path(__file__).resolve().parents[1] / "cuda"
ARCHITECTURES = ("80", "90a")
TUNED = (  # the build warns of all
    "conv2d", "deform_conv2d", "depthwise_conv2d", "grid_sample", "interpolate", "nms", "pool2d",
    "pool2d_backward", "prepare_image", "roi_align", "warp", "features/fast", "features/sift_pyramid",
)  # fmt: skip


@pytest.mark.parametrize("name", TUNED)
def test_no_kernel_spills_registers(name: str, tmp_path: Path) -> None:
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("nvcc is not here")
    targets = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in ARCHITECTURES]
    command = [
        nvcc, "-fatbin", "-t2", *targets, "-std=c++17", "-fmad=false", "-Xptxas=-v", f"-I{CUDA}",
        f"-I{CUDA.parent / 'csrc'}", str(CUDA / f"{name}.cu"), "-o", str(tmp_path / "kernels.fatbin"),
    ]  # fmt: skip
    report = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    spills = re.findall(r"(\d+) bytes spill stores, (\d+) bytes spill loads", report)
    entries = [report.count(f"' for 'sm_{a}'") for a in ARCHITECTURES]
    assert entries[0] == entries[1] > 0
    assert len(spills) >= report.count("Compiling entry function")  # functions that are called say so too
    assert set(spills) == {("0", "0")}, report
