# SPDX-License-Identifier: Apache-2.0
"""CUDA arrays of other frameworks: which are taken, where memory comes from, what is refused."""

from __future__ import annotations

import re
import sys
import weakref
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import pyvision
from pyvision import _backend, _device, cli, ops
from pyvision.profile import gpu
from tests import test_cuda_features
from tests.cuda_device import STREAM, Cuda
from tests.helpers import random

BOXES = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [50, 50, 60, 70]], np.float32)
SCORES = np.array([0.9, 0.8, 0.7], np.float32)


def test_everything_a_result_needs_comes_from_the_callers_framework(
    emulated_cuda: Cuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workspace, output and stream; and nothing else is asked of it."""
    asked: list[tuple[tuple[int, ...], str]] = []
    streams: list[tuple[int, int]] = []
    cupy, kernels = sys.modules["cupy"], sys.modules["pyvision._cuda"]
    empty, stream = cupy.empty, kernels.Stream
    monkeypatch.setattr(
        cupy, "empty", lambda shape, dtype: asked.append((shape, dtype)) or empty(shape, dtype)
    )
    monkeypatch.setattr(
        kernels, "Stream", lambda device, handle: streams.append((device, handle)) or stream(device, handle)
    )
    kept = ops.nms(emulated_cuda.array(BOXES), emulated_cuda.array(SCORES), 0.5)
    assert emulated_cuda.numpy(kept).tolist() == [0, 2]
    assert [dtype for _, dtype in asked] == ["uint8", "int64", "int64"]
    assert asked[1:] == [((3,), "int64"), ((1,), "int64")]
    assert streams == [(0, STREAM)]


class Exporter:
    """A foreign array in CUDA memory: with DLPack and an array namespace, as JAX's; or as numba's."""

    def __init__(self, held: Any) -> None:
        self.held = held

    @property
    def shape(self) -> tuple[int, ...]:
        return self.held.shape


class Numba(Exporter):
    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return dict(self.held.__cuda_array_interface__)


class Jax(Exporter):
    def __dlpack__(self, **_: Any) -> Any:
        return self.held

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0

    def __array_namespace__(self) -> Any:
        return SimpleNamespace(from_dlpack=Jax)


def test_foreign_arrays_come_and_go_through_cupy(
    emulated_cuda: Cuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["cupy"], "from_dlpack", lambda x: x.__dlpack__(), raising=False)
    for kind in (Numba, Jax):
        x, weight = (kind(emulated_cuda.array(random(shape))) for shape in ((1, 5, 5, 8), (8, 8, 3, 3)))
        y = ops.conv2d(x, weight, layout="NHWC")
        expected = ops.conv2d(x.held, weight.held, layout="NHWC")
        assert isinstance(y, Jax) == (kind is Jax)
        actual = y.held if isinstance(y, Jax) else y
        np.testing.assert_array_equal(emulated_cuda.numpy(actual), emulated_cuda.numpy(expected))


def test_temporaries_of_others_live_until_the_stream_has_passed(
    emulated_cuda: Cuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    cupy = sys.modules["cupy"]
    events: list[SimpleNamespace] = []

    def record() -> SimpleNamespace:
        events.append(SimpleNamespace(done=False))
        return events[-1]

    stream = SimpleNamespace(ptr=STREAM, record=record)
    monkeypatch.setattr(cupy, "from_dlpack", lambda x: x.__dlpack__(), raising=False)
    monkeypatch.setattr(cupy.cuda, "get_current_stream", lambda index: stream)
    alive: list[Any] = []

    def temporary() -> Jax:
        x = Jax(emulated_cuda.array(random((1, 5, 5, 8))))
        alive.append(weakref.ref(x.held))
        return x

    def called() -> list[bool]:
        """Which of the calls' temporaries live after one more."""
        ops.conv2d(temporary(), weight, layout="NHWC")
        return [ref() is not None for ref in alive]

    weight = Jax(emulated_cuda.array(random((8, 8, 3, 3))))
    assert [called(), called()] == [[True], [True, True]]
    events[0].done = True
    assert called() == [False, True, True]
    events[2].done = True  # no earlier than what was queued before it
    assert called() == [False, True, True, True]
    for event in events:
        event.done = True
    assert called() == [False, False, False, False, True]
    events[-1].done = True  # a later call in this process frees the last one


def test_foreign_arrays_without_cupy_say_what_to_install(
    emulated_cuda: Cuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, weight = (Jax(emulated_cuda.array(random(shape))) for shape in ((1, 5, 5, 8), (8, 8, 3, 3)))
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(TypeError, match=r"pip install 'pyvision-kernels\[cuda\]'"):
        ops.conv2d(x, weight, layout="NHWC")


def test_what_exports_no_memory_is_refused(emulated_cuda: Cuda) -> None:
    class Broken:
        shape = (3, 4)

        @property
        def __cuda_array_interface__(self) -> dict[str, Any]:
            return {}

        def __dlpack_device__(self) -> tuple[int, int]:
            return 2, 0

        def __dlpack__(self) -> Any:
            raise BufferError("spent")

    with pytest.raises(TypeError, match=r"^\[nms\] expected boxes to export its CUDA memory"):
        ops.nms(Broken(), Broken(), 0.5)


def test_other_places_and_frameworks_are_refused(emulated_cuda: Cuda) -> None:
    boxes, scores = emulated_cuda.array(BOXES), emulated_cuda.array(SCORES)
    with pytest.raises(
        ValueError, match=r"^\[nms\] expected all arrays on one device, got boxes on device 0 and s"
    ):
        ops.nms(boxes, SCORES, 0.5)
    with pytest.raises(ValueError, match=r"scores on device 0"):
        ops.nms(BOXES, scores, 0.5)
    elsewhere = emulated_cuda.array(SCORES)
    elsewhere.device = SimpleNamespace(id=1)
    with pytest.raises(ValueError, match="got boxes on device 0 and scores on device 1"):
        ops.nms(boxes, elsewhere, 0.5)
    with pytest.raises(TypeError, match=r"^\[nms\] expected all arrays of one framework"):
        ops.nms(boxes, Jax(scores), 0.5)


def test_ops_without_a_kernel_refuse_cuda_arrays(emulated_cuda: Cuda) -> None:
    with pytest.raises(TypeError, match=r"^\[box_iou\] expected boxes1 .*CUDA"):
        ops.box_iou(emulated_cuda.array(BOXES), emulated_cuda.array(BOXES))


def test_torch(emulated_torch_cuda: Cuda) -> None:
    torch, cuda = pytest.importorskip("torch"), emulated_torch_cuda
    x, weight = random((2, 8, 5, 6)), random((16, 8, 3, 3), seed=1)
    for memory in (torch.contiguous_format, torch.channels_last):
        on_cpu = torch.from_numpy(x).contiguous(memory_format=memory)
        held: Any = cuda.strided(on_cpu.numpy())
        y = ops.conv2d(held, cuda.array(weight), padding=1)
        assert isinstance(y, torch.Tensor) and y.is_cuda and y.is_contiguous(memory_format=memory)
        expected = torch.nn.functional.conv2d(on_cpu, torch.from_numpy(weight), padding=1)
        torch.testing.assert_close(y.cpu(), expected, rtol=1e-4, atol=1e-4)
    boxes, scores = (torch.from_numpy(a).cuda() for a in (BOXES, SCORES))
    assert ops.nms(boxes, scores, 0.5).tolist() == [0, 2]
    with pytest.raises(TypeError, match=r"^\[nms\] expected boxes without gradients"):
        ops.nms(boxes.detach().requires_grad_(), scores, 0.5)


def test_keypoints_of_torch(emulated_torch_cuda: Cuda) -> None:
    test_cuda_features.test_keypoints_stay_on_the_device(emulated_torch_cuda)


def test_arrays_on_the_cpu_are_not_asked_for_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_device, "cuda_kernels", lambda: pytest.fail("asked"))
    assert ops.nms(BOXES, SCORES, 0.5).tolist() == [0, 2]


def test_without_kernels_the_cpu_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_device, "cuda_kernels", lambda: None)
    with pytest.raises(TypeError, match=r"^\[nms\] expected boxes .*CUDA"):
        ops.nms(Jax(None), SCORES, 0.5)


def test_state(emulated_cuda: Cuda, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _backend.cuda_state() == "emulator (compute capability 8.0)"

    def fail() -> int:
        raise pyvision.CudaError("[cuda] expected CUDA to work, got no driver; install one")

    monkeypatch.setattr(sys.modules["pyvision._cuda"], "device_count", fail)
    assert _backend.cuda_state().startswith("built in, not usable: [cuda] expected CUDA to work")
    assert issubclass(pyvision.CudaError, RuntimeError)


def test_errors_of_the_device_have_types(emulated_cuda: Cuda) -> None:
    kernels = sys.modules["pyvision._cuda"]
    with pytest.raises(pyvision.CudaError, match=r"^\[cuda\] expected device 0, the only one, got 1"):
        kernels.device_info(1)
    with pytest.raises(MemoryError, match=r"^\[cuda\] expected memory of a device"):
        kernels.device_info(-1)


class OutOfMemoryError(RuntimeError):
    """Torch's and CuPy's have this name."""


def refuse(*_: Any, **__: Any) -> Any:
    raise OutOfMemoryError("Tried to allocate 4.00 GiB\nmore of it")


def test_a_framework_without_memory_is_a_memory_error(
    emulated_cuda: Cuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, weight = emulated_cuda.array(random((1, 8, 5, 5))), emulated_cuda.array(random((8, 8, 3, 3)))
    text = (
        r"^\[cuda\] expected more free memory on device 0: Tried to allocate 4.00 GiB; take a smaller batch, "
        r"or have .*: cupy.get_default_memory_pool\(\).free_all_blocks\(\)$"
    )
    for name in ("empty", "ascontiguousarray"):
        with monkeypatch.context() as patch:
            patch.setattr(sys.modules["cupy"], name, refuse)
            with pytest.raises(MemoryError, match=text):
                ops.conv2d(x, weight)


def test_torch_without_memory_is_a_memory_error(
    emulated_torch_cuda: Cuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    x = emulated_torch_cuda.array(random((1, 8, 5, 5)))
    monkeypatch.setattr(torch, "empty", refuse)
    with pytest.raises(MemoryError, match=r"have the framework .*: torch.cuda.empty_cache\(\)$"):
        ops.max_pool2d(x, 2)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OutOfMemoryError("CUDA out of memory"), "argument --batch: not enough memory"),
        (MemoryError("[cuda] expected"), "argument --batch: not enough memory"),
        (
            pyvision.CudaError("[conv2d] expected CUDA to work"),
            r"argument --device: \[conv2d\] expected",
        ),
    ],
)
def test_profile_says_what_the_device_lacks(
    error: Exception, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(gpu, "TorchGpu", lambda precision: SimpleNamespace(machine=lambda: None))
    monkeypatch.setattr(gpu, "time_conv2d_on", fail)
    arguments = ["profile", "conv2d", "--network", "resnet50", "--device", "cuda", "--peers", ""]
    assert cli.main(arguments) == 2
    assert re.search(message, capsys.readouterr().err)


def test_kernel_faults_are_errors_of_the_call(emulated_cuda: Cuda) -> None:
    """A result that nothing was written to is not read: what the emulator finds reaches the caller."""
    kernels = sys.modules["pyvision._cuda"]
    cupy = sys.modules["cupy"]
    x, y = cupy.empty((1, 2, 3), "float32"), cupy.empty((1, 3, 2), "float32")
    views = [kernels.DeviceArray(a.data.ptr, a.shape, "float32", 0) for a in (x, y)]
    with pytest.raises(RuntimeError, match=r"\[cuda_emulator\] .*nothing was written to global memory"):
        kernels.transpose(kernels.Stream(0, 0), *views)
