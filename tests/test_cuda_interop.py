# SPDX-License-Identifier: Apache-2.0
"""What only a real device can show: autograd of torch on it, arrays of CuPy and of JAX."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from pyvision import ops
from tests.cuda_device import Cuda
from tests.helpers import random
from tests.test_interop_torch import CASES, Case, leaves

on_a_device = pytest.mark.skipif(
    os.environ.get("PYVISION_TEST_DEVICE") != "cuda",
    reason="doubles of these libraries are in test_device.py",
)
DEVICE = "cuda"
ELSEWHERE = "box_iou"  # no kernels
ON_THE_DEVICE = {name: case for name, case in CASES.items() if not name.startswith(ELSEWHERE)}


@pytest.fixture
def torch() -> ModuleType:
    module: Any = pytest.importorskip("torch")
    return module  # type: ignore[no-any-return]


each = pytest.mark.parametrize("case", ON_THE_DEVICE.values(), ids=ON_THE_DEVICE.keys())


def placed(torch: Any, value: Any, place: Callable[[Any], Any]) -> Any:
    """An argument in float32 on the device, with a gradient where it has one."""
    if isinstance(value, list):
        return [placed(torch, x, place) for x in value]
    if not isinstance(value, torch.Tensor):
        return value
    x = value.detach().float() if value.is_floating_point() else value
    return place(x).requires_grad_(value.requires_grad)


@each
def test_every_op_has_kernels(torch: Any, emulated_torch_cuda: Cuda, case: Case) -> None:
    """Without autograd, which emulated tensors do not know."""
    given = dataclasses.replace(case, by=()).arguments(torch)
    cpu, on = (
        {name: placed(torch, x, place) for name, x in given.items()}
        for place in (lambda x: x, lambda x: x.cuda())
    )
    op = getattr(ops, case.op)
    expected, actual = op(**cpu), op(**on)
    assert actual.is_cuda
    torch.testing.assert_close(actual.cpu(), expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


@on_a_device
@each
def test_torch(torch: Any, case: Case) -> None:
    """Values and gradients in float32 are those of the CPU."""
    from pyvision.interop import torch as interop

    found = []
    for device in ("cpu", DEVICE):

        def place(x: Any, device: str = device) -> Any:
            return x.to(device)

        arguments = {name: placed(torch, x, place) for name, x in case.arguments(torch).items()}
        y = getattr(interop, case.op)(**arguments)
        assert y.device.type == device
        grads: tuple[Any, ...] = ()
        if case.by:
            grad = torch.arange(y.numel(), device=device, dtype=y.dtype).view(y.shape) / 9
            grads = torch.autograd.grad(y, leaves(case, arguments), grad)
        found.append([x.detach().cpu() for x in (y, *grads)])
    for expected, actual in zip(*found, strict=True):
        scale = float(expected.abs().max()) if expected.numel() else 0.0
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-4 * scale)


@on_a_device
def test_torch_compiles(torch: Any) -> None:
    from pyvision.interop import torch as interop

    def module(x: Any, weight: Any) -> Any:
        return interop.conv2d(x, weight, padding=1).relu().sum()

    x, weight = (torch.randn(s, device=DEVICE, requires_grad=True) for s in ((2, 8, 6, 7), (8, 8, 3, 3)))
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    grads = [torch.autograd.grad(call(x, weight), (x, weight)) for call in (module, compiled)]
    torch.testing.assert_close(*grads)


@on_a_device
@pytest.mark.parametrize("library", ["cupy", "jax.numpy"])
def test_arrays_of_other_libraries(library: str) -> None:
    xp = pytest.importorskip(library)
    pytest.importorskip("cupy")  # by way of which JAX's come and go
    x, weight = random((2, 8, 6, 7)), random((16, 8, 3, 3), seed=1)
    y = ops.conv2d(xp.asarray(x), xp.asarray(weight), padding=1)
    assert isinstance(y, xp.ndarray)
    np.testing.assert_allclose(_on_host(y), ops.conv2d(x, weight, padding=1), rtol=0, atol=1e-4)
    boxes = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [50, 50, 60, 70]], np.float32)
    kept = ops.nms(xp.asarray(boxes), xp.asarray(np.array([0.9, 0.8, 0.7], np.float32)), 0.5)
    assert _on_host(kept).tolist() == [0, 2]


def _on_host(array: Any) -> np.ndarray:
    return array.get() if hasattr(array, "get") else np.asarray(array)
