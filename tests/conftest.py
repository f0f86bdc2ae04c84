# SPDX-License-Identifier: Apache-2.0
"""Fixtures every test shares: each ISA forced in turn, thread counts, the reference data where it is."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

from pyvision import _core
from tests import cuda_device

# A shell that runs the tests in the background has it ignored, and the processes that they start would
# inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED = Path(__file__).resolve().parents[2] / "shared"


@contextmanager
def _forced(name: str, extension: str | None = None) -> Iterator[None]:
    """AVX-512 with ``extension`` or, where that is None, without any."""
    if name not in _core.supported_isas():
        pytest.skip(f"this CPU has no {name}")
    before = _core.isa()
    _core.set_isa(name, extension is not None)
    try:
        if extension is not None and extension not in _core.active_extensions():
            pytest.skip(f"this CPU has no {extension}")
        yield
    finally:
        _core.set_isa(before)


@pytest.fixture(params=["scalar", "avx2", "avx512"])
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Force one ISA for the test, and fail if any op's kernels silently fell back to another."""
    with _forced(request.param):
        assert set(_core.kernel_isas().values()) == {request.param}
        yield request.param


@pytest.fixture(params=["scalar", "avx2", "avx512", "avx512_bf16"])
def bf16_isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Force the kernels of one ISA, or of AVX-512 with its extension; tests compare their ``kernel_isa``."""
    with _forced(*request.param.split("_")):
        yield request.param


@pytest.fixture(params=["scalar", "avx2", "avx512", "avx512_vnni"])
def vnni_isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """The same of the integer kernels."""
    with _forced(*request.param.split("_")):
        yield request.param


@pytest.fixture(params=["scalar", "avx2", "avx512", "avx512_vpopcntdq"])
def popcount_isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """The same of the kernels that count bits."""
    with _forced(*request.param.split("_")):
        yield request.param


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = _core.num_threads()
    _core.set_num_threads(request.param)
    yield request.param
    _core.set_num_threads(before)


@pytest.fixture
def emulated_cuda() -> Iterator[cuda_device.Cuda]:
    """The emulated CUDA device."""
    _skip_without_emulator()
    yield from cuda_device.installed(cuda_device.Cuda())


@pytest.fixture
def emulated_torch_cuda() -> Iterator[cuda_device.TorchCuda]:
    """The same with torch's tensors."""
    _skip_without_emulator()
    pytest.importorskip("torch")
    yield from cuda_device.torch_installed()


def _skip_without_emulator() -> None:
    if os.environ.get("PYVISION_TEST_DEVICE") == "cuda":
        pytest.skip("a real device stands for the emulator")


@pytest.fixture
def cuda(request: pytest.FixtureRequest) -> cuda_device.Cuda:
    """The device that PYVISION_TEST_DEVICE names: "cuda" a real one, else the emulated one."""
    chosen = os.environ.get("PYVISION_TEST_DEVICE")
    if chosen == "cuda":
        return cuda_device.TorchCuda()
    device: cuda_device.Cuda = request.getfixturevalue(
        "emulated_torch_cuda" if chosen == "torch" else "emulated_cuda"
    )
    return device


@pytest.fixture
def shared() -> Path:
    """The folder of reference networks and images beside the repository."""
    if not SHARED.is_dir():
        pytest.skip("the shared reference data is not beside this repository")
    return SHARED


@pytest.fixture
def torchvision(shared: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """torchvision beside a CPU-only torch, which its wheel does not import with unaided."""
    pytest.importorskip("torch")
    monkeypatch.syspath_prepend(str(shared / "tools"))
    pytest.importorskip("torchvision_cpu", exc_type=ImportError)
    return sys.modules["torchvision"]
