# SPDX-License-Identifier: Apache-2.0
"""What the CUDA compiler says of the kernels, and what the extension says without a driver, where nvcc is."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

CUDA = Path(__file__).resolve().parents[1] / "cuda"
ARCHITECTURES = ("80", "90a")
TUNED = (  # the build, for one architecture, warns of all
    "conv2d", "conv2d_backward", "deform_conv2d", "depthwise_conv2d", "grid_sample", "interpolate",
    "interpolate_taps", "match", "nms", "pool2d", "pool2d_backward", "prepare_image", "roi_align", "roi_pool",
    "separable_conv2d", "warp", "features/fast", "features/sift_pyramid",
)  # fmt: skip
ALL = [str(path.relative_to(CUDA).with_suffix("")) for path in sorted(CUDA.glob("**/*.cu"))]


@pytest.fixture
def nvcc() -> str:
    path = shutil.which("nvcc")
    if path is None:
        pytest.skip("nvcc is not here")
    return path


# PYVISION_TEST_ALL_KERNELS asks for the others, which takes minutes.
@pytest.mark.parametrize("name", ALL if "PYVISION_TEST_ALL_KERNELS" in os.environ else TUNED)
def test_no_kernel_spills_registers(nvcc: str, name: str, tmp_path: Path) -> None:
    targets = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in ARCHITECTURES]
    command = [
        nvcc, "-fatbin", "-t2", *targets, "-std=c++17", "-fmad=false", "-Xptxas=-v", f"-I{CUDA}",
        f"-I{CUDA.parent / 'csrc'}", str(CUDA / f"{name}.cu"), "-o", str(tmp_path / "kernels.fatbin"),
    ]  # fmt: skip
    report = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    spills = re.findall(r"(\d+) bytes spill stores, (\d+) bytes spill loads", report)
    entries = [report.count(f"' for 'sm_{a}'") for a in ARCHITECTURES]
    assert entries[0] == entries[1] > 0
    assert "warning" not in report, report
    assert len(spills) >= report.count("Compiling entry function")  # functions that are called say so too
    assert set(spills) == {("0", "0")}, report


WRAPPER = """
#include <string>
#include "common/errors.h"
using namespace pyvision::cuda;
template <class Call>
const char* kind_and_text(Call call) {
  static std::string text;
  try {
    call();
    text = "nothing: ";
  } catch (const OutOfDeviceMemory& error) {
    text = std::string("memory: ") + error.what();
  } catch (const CudaError& error) {
    text = std::string("cuda: ") + error.what();
  }
  return text.c_str();
}
extern "C" const char* of_error(int error) {
  return kind_and_text([&] { throw_cuda_error("nms", static_cast<cudaError_t>(error)); });
}
extern "C" const char* of_count() { return kind_and_text([] { device_count(); }); }
"""


def test_errors_say_what_to_do(nvcc: str, tmp_path: Path) -> None:
    """By their codes in the runtime's driver_types.h."""
    source, library = tmp_path / "wrapper.cu", tmp_path / "errors.so"
    source.write_text(WRAPPER)
    subprocess.run(
        [nvcc, "-shared", "-Xcompiler=-fPIC", "-std=c++17", '-DPYVISION_CUDA_ARCHITECTURES="sm_80, sm_90a"',
         f"-I{CUDA}", f"-I{CUDA.parent / 'csrc'}", str(source), str(CUDA / "common" / "device.cc"),
         "-o", str(library)],
        check=True,
    )  # fmt: skip
    errors = ctypes.CDLL(str(library))
    errors.of_error.restype = errors.of_count.restype = ctypes.c_char_p

    def of(code: int) -> str:
        return str(errors.of_error(code).decode())

    assert of(2).startswith("memory: [nms] expected more free memory on the device: ")
    for code in (35, 100, 3):  # a driver too old, no device, no initialisation
        assert re.match(
            r"cuda: \[nms\] expected CUDA to work, got .*; install an NVIDIA driver for CUDA \d", of(code)
        )
    for code in (209, 98, 222):  # no image for the device, no function, PTX too new
        assert "; this build has kernels for sm_80, sm_90a: rebuild with -C cmake.define.CMAKE" in of(code)
    assert re.match(r"cuda: \[nms\] expected CUDA to work, got cudaErrorIllegalAddress: .*", of(700))
    count = errors.of_count().decode()
    assert count == "nothing: " or "install an NVIDIA driver" in count
