# SPDX-License-Identifier: Apache-2.0
"""Arrays in and out: kinds, copies, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pyvision._array import as_numpy, result_like
from pyvision.ops._args import integer, pair

X = np.arange(12, dtype=np.float32).reshape(3, 4)


def take(x: Any, *dtypes: str) -> np.ndarray:
    return as_numpy(x, "op", "input", dtypes or ("float32",))


class DlpackOnly:
    """What a framework unknown to us looks like; `device` is DLPack's device type."""

    def __init__(self, array: np.ndarray, device: int = 1) -> None:
        self.array, self.device = array, device

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device, 0


class ArrayProtocolOnly:
    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return X


def test_views_are_not_copied() -> None:
    for x in (X, X[::2, ::-1], np.broadcast_to(X, (2, 3, 4))):
        assert take(x) is x
    assert np.shares_memory(take(DlpackOnly(X)), X)
    assert take(ArrayProtocolOnly()) is X


def test_foreign_byte_order_and_misalignment_are_copied() -> None:
    swapped = X.astype(">f4")
    odd = np.frombuffer(b"\0" + X.tobytes(), np.uint8)[1:].view(np.float32).reshape(3, 4)
    assert not odd.flags.aligned
    for x in (swapped, odd):
        y = take(x)
        assert y.dtype.isnative and y.flags.aligned
        np.testing.assert_array_equal(y, X)


def test_torch_comes_and_goes_without_a_copy() -> None:
    torch = pytest.importorskip("torch")
    t = torch.from_numpy(X.copy())
    assert np.shares_memory(take(t), t.numpy())
    back = result_like(X, None, t)
    assert isinstance(back, torch.Tensor)
    assert back.data_ptr() == X.ctypes.data
    t.requires_grad_()
    with pytest.raises(TypeError, match=r"\[op\] expected input without gradients.*detach"):
        take(t)
    with torch.no_grad():
        np.testing.assert_array_equal(take(t), X)
    for refused in (t.detach().to(torch.bfloat16), t.detach().to_sparse(), t.detach().to("meta")):
        with pytest.raises(TypeError, match=r"\[op\] expected input"):
            take(refused)


def test_result_is_the_first_callers_kind() -> None:
    assert result_like(X, X) is X
    assert result_like(X, ArrayProtocolOnly()) is X

    class Namespace:
        @staticmethod
        def from_dlpack(x: np.ndarray) -> tuple[str, np.ndarray]:
            return "mine", x

    class Standard(DlpackOnly):
        def __array_namespace__(self) -> type[Namespace]:
            return Namespace

    assert result_like(X, Standard(X), X) == ("mine", X)


@pytest.mark.parametrize(
    "x", [None, 1.0, "x", [1.0], ((1.0,),), np.float32(1), np.ndarray, object()], ids=repr
)
def test_what_is_no_array_is_refused(x: Any) -> None:
    with pytest.raises(TypeError, match=r"\[op\] expected input to be an array, got "):
        take(x)


def test_other_dtypes_and_devices_are_refused() -> None:
    with pytest.raises(TypeError, match="float32 or uint8, got float64"):
        take(X.astype(np.float64), "float32", "uint8")
    with pytest.raises(TypeError, match="CUDA"):
        take(DlpackOnly(X, device=2))

    class Cuda:
        __cuda_array_interface__ = None

    with pytest.raises(TypeError, match="CUDA"):
        take(Cuda())

    class Broken(DlpackOnly):
        def __dlpack__(self, **options: Any) -> Any:
            return "no capsule"

    with pytest.raises(TypeError, match="DLPack"):
        take(Broken(X))


def test_pair() -> None:
    assert pair(3, "op", "stride") == pair((3, 3), "op", "stride") == pair([3, np.int64(3)], "op", "stride")
    for value in (True, 1.0, "3", None, (1.0, 2), np.ones(2)):
        with pytest.raises(TypeError, match=r"\[op\] expected stride to be an integer"):
            pair(value, "op", "stride")  # type: ignore[arg-type]
    for value in ((), (1,), (1, 2, 3)):
        with pytest.raises(ValueError, match="or two"):
            pair(value, "op", "stride")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="64 bits"):
        integer(2**63, "op", "stride")
