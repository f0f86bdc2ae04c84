# SPDX-License-Identifier: Apache-2.0
"""DCNv3, DCNv4, deformable attention and all gradients of sampling on CUDA.

Results are compared with float64 loops, gradients with the CPU's, whose positions are rounded alike.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pyvision import ops
from tests.cuda_device import Cuda
from tests.helpers import EPS, assert_within, random
from tests.reference import deform as reference
from tests.test_cuda_conv2d import DTYPES, STORED
from tests.test_deform_conv3 import CASES, Case
from tests.test_multi_scale_deformable_attention import CASES as ATTENTION_CASES
from tests.test_multi_scale_deformable_attention import Case as AttentionCase

Arrays = dict[str, np.ndarray]


def held(cuda: Cuda, dtype: str, arrays: Arrays) -> tuple[dict[str, Any], Arrays]:
    """Arrays on the device, and what it holds of them; integers stay what they are."""
    on = {k: cuda.array(v, dtype if v.dtype == np.float32 else None) for k, v in arrays.items()}
    return on, {
        k: cuda.numpy(v).astype(np.float32) if arrays[k].dtype == np.float32 else arrays[k]
        for k, v in on.items()
    }


def assert_gradients(cuda: Cuda, dtype: str, actual: Any, known: Any, stored: Any = (0.0,) * 5) -> None:
    """Sums in another order; ``stored``: of each gradient what was rounded to ``dtype`` on the way."""
    for got, value, rounded in zip(actual, known, stored[: len(known)], strict=True):
        if value is None:
            assert got is None
            continue
        assert cuda.dtype(got) == dtype
        error = 2e-5 * np.abs(value).max(initial=0) + STORED[dtype] * (np.abs(value) + rounded) + 2.0**-25
        assert_within(cuda.numpy(got).astype(np.float32), value, error)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES)
def test_dcn(cuda: Cuda, case: Case, dtype: str) -> None:
    on, arrays = held(cuda, dtype, case.arrays() | {"grad": case.grad_output()})
    grad_on, grad = on.pop("grad"), arrays.pop("grad")
    kernel, stride, padding, dilation, groups, scale, remove_center = case.geometry
    y, bound = reference.deform_conv3(
        *arrays.values(), kernel=kernel, stride=stride, padding=padding, dilation=dilation, groups=groups,
        offset_scale=scale, remove_center=remove_center,
    )  # fmt: skip
    error = (4 * case.taps + 10) * EPS * bound
    result = ops.deform_conv3(**on, **case.options)
    assert cuda.dtype(result) == dtype
    third = cuda.numpy(result).astype(np.float32)
    assert_within(third, y, error + STORED[dtype] * (np.abs(y) + error) + 2.0**-25)
    assert_gradients(
        cuda, dtype, ops.deform_conv3_backward(grad_on, **on, **case.options), case.gradients(arrays, grad)
    )

    for extra in (0, -3 * groups * case.taps % 8):
        joined = case.offset_mask(arrays["offset"], arrays["mask"], extra)
        joined_on = cuda.array(joined, dtype)
        fourth = ops.deform_conv4(on["input"], joined_on, **case.options)
        np.testing.assert_array_equal(cuda.numpy(fourth).astype(np.float32), third)
        assert_gradients(
            cuda, dtype,
            ops.deform_conv4_backward(grad_on, on["input"], joined_on, **case.options),
            ops.deform_conv4_backward(grad, arrays["input"], joined, **case.options),
        )  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", ATTENTION_CASES)
def test_attention(cuda: Cuda, case: AttentionCase, dtype: str) -> None:
    on, arrays = held(cuda, dtype, case.arrays() | {"grad": case.grad_output()})
    grad_on, grad = on.pop("grad"), arrays.pop("grad")
    y, bound = reference.multi_scale_deformable_attention(*arrays.values())
    error = (4 * len(case.shapes) * case.points + 10) * EPS * bound
    result = ops.multi_scale_deformable_attention(**on)
    assert cuda.dtype(result) == dtype
    actual = cuda.numpy(result).astype(np.float32)
    assert_within(actual, y, error + STORED[dtype] * (np.abs(y) + error) + 2.0**-25)
    assert_gradients(
        cuda, dtype,
        ops.multi_scale_deformable_attention_backward(grad_on, **on),
        ops.multi_scale_deformable_attention_backward(grad, **arrays),
    )  # fmt: skip


def deform_arrays(
    channels: tuple[int, int], groups: int, offset_groups: int, out: tuple[int, int] = (4, 5)
) -> Arrays:
    """Those of a 3x3 convolution with stride (2, 1) of two 7 x 6 images, NHWC."""
    taps = 9 * offset_groups
    return {
        "grad_output": random((2, *out, channels[1])),
        "input": random((2, 7, 6, channels[0]), seed=1),
        "offset": 2 * random((2, *out, 2 * taps), seed=2),
        "weight": random((channels[1], channels[0] // groups, 3, 3), seed=3),
        "mask": random((2, *out, taps), seed=4),
    }


GEOMETRY: dict[str, Any] = {"stride": (2, 1), "padding": (1, 1), "dilation": (1, 1)}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("channels", "groups", "offset_groups"),
    [((16, 24), 1, 1), ((16, 8), 2, 1), ((6, 4), 2, 3), ((32, 5), 1, 2)],
)
def test_deform_conv2d(
    cuda: Cuda, dtype: str, channels: tuple[int, int], groups: int, offset_groups: int
) -> None:
    on, arrays = held(cuda, dtype, deform_arrays(channels, groups, offset_groups, (4, 6)))
    # Columns and their gradients are stored on the way: as many terms of no larger size.
    largest = {k: v if k == "offset" else np.full_like(v, np.abs(v).max()) for k, v in arrays.items()}
    sums = [g.max() for g in ops.deform_conv2d_backward(**largest, **GEOMETRY, layout="NHWC")]
    sums[1] = 2 * sums[4] * largest["mask"].max()  # a difference of two pixels, times the mask
    for masked in (True, False):
        if not masked:
            del on["mask"], arrays["mask"]
        known = ops.deform_conv2d_backward(**arrays, **GEOMETRY, layout="NHWC")
        actual = ops.deform_conv2d_backward(**on, **GEOMETRY, layout="NHWC")
        assert_gradients(cuda, dtype, actual, known, sums if dtype != "float32" else (0.0,) * 5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_deform_conv2d_layouts(cuda: Cuda, dtype: str) -> None:
    arrays = deform_arrays((16, 8), 1, 2, (4, 6))
    last = ops.deform_conv2d_backward(
        **{k: cuda.array(v, dtype) for k, v in arrays.items()}, **GEOMETRY, layout="NHWC"
    )
    planar = {
        k: v if k == "weight" else np.ascontiguousarray(v.transpose(0, 3, 1, 2)) for k, v in arrays.items()
    }
    first = ops.deform_conv2d_backward(**{k: cuda.array(v, dtype) for k, v in planar.items()}, **GEOMETRY)
    for i, (a, b) in enumerate(zip(first, last, strict=True)):
        expected = cuda.numpy(b)
        if i in (0, 1, 4):
            expected = expected.transpose(0, 3, 1, 2)
        np.testing.assert_array_equal(cuda.numpy(a), expected)


def test_schedule_does_not_matter(cuda: Cuda) -> None:
    """Many samples meet in few pixels."""
    case = Case(size=(2, 3), kernel=(5, 5), padding=(4, 4))
    on, _ = held(cuda, "float32", case.arrays() | {"grad": case.grad_output()})
    grad = on.pop("grad")
    attention = AttentionCase(queries=40, shapes=((2, 2), (1, 1)))
    others, _ = held(cuda, "float32", attention.arrays() | {"grad_output": attention.grad_output()})
    deformed, _ = held(cuda, "float32", deform_arrays((8, 8), 1, 1, (4, 6)))
    results = []
    for falling in (False, True):
        cuda.falling_order(falling)
        found = [
            *ops.deform_conv3_backward(grad, **on, **case.options),
            *ops.multi_scale_deformable_attention_backward(**others),
            *ops.deform_conv2d_backward(**deformed, **GEOMETRY, layout="NHWC"),
        ]
        results.append([cuda.numpy(x) for x in found])
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, -3e38, 1e9])
def test_positions_of_any_value_index_no_memory(cuda: Cuda, value: float) -> None:
    case = Case()
    arrays = case.arrays()
    arrays["offset"][..., ::3] = value
    on = {k: cuda.array(v) for k, v in arrays.items()}
    assert np.isfinite(cuda.numpy(ops.deform_conv3(**on, **case.options))).all()
    grads = ops.deform_conv3_backward(cuda.array(case.grad_output()), **on, **case.options)
    assert all(np.isfinite(cuda.numpy(g)).all() for g in grads)

    attention = AttentionCase()
    arrays = attention.arrays()
    arrays["sampling_locations"][..., 1::3, :] = value
    on = {k: cuda.array(v) for k, v in arrays.items()}
    assert np.isfinite(cuda.numpy(ops.multi_scale_deformable_attention(**on))).all()
    grads = ops.multi_scale_deformable_attention_backward(cuda.array(attention.grad_output()), **on)
    assert all(np.isfinite(cuda.numpy(g)).all() for g in grads)


@pytest.mark.parametrize(
    "shapes", [[[5, 6], [4, 4]], [[0, 3], [5, 6]], [[-1, 2], [2**40, 2**40]], [[39, 1], [1, 1]]]
)
def test_levels_that_do_not_fit_index_no_memory(cuda: Cuda, shapes: list[list[int]]) -> None:
    """The shapes are not read back; what fits is used."""
    case = AttentionCase()
    arrays = case.arrays() | {"spatial_shapes": np.array(shapes, np.int64)}
    on = {k: cuda.array(v) for k, v in arrays.items()}
    y = cuda.numpy(ops.multi_scale_deformable_attention(**on))
    assert np.isfinite(y).all()
    grads = ops.multi_scale_deformable_attention_backward(cuda.array(case.grad_output()), **on)
    assert all(np.isfinite(cuda.numpy(g)).all() for g in grads)
    if shapes[0] == [5, 6]:
        alone = arrays["attention_weights"].copy()
        alone[:, :, :, 1] = 0
        fits = case.arrays() | {"attention_weights": alone}
        np.testing.assert_allclose(y, ops.multi_scale_deformable_attention(**fits), rtol=0, atol=1e-5)


def test_nothing_to_sample(cuda: Cuda) -> None:
    case = Case(n=0)
    on = {k: cuda.array(v) for k, v in case.arrays().items()}
    assert ops.deform_conv3(**on, **case.options).shape[0] == 0
    grads = ops.deform_conv3_backward(cuda.array(case.grad_output()), **on, **case.options)
    assert [g.shape for g in grads] == [on[k].shape for k in ("input", "offset", "mask")]
    attention = AttentionCase(queries=0)
    on = {k: cuda.array(v) for k, v in attention.arrays().items()}
    assert tuple(ops.multi_scale_deformable_attention(**on).shape) == (1, 0, 10)
    grad_value, *_ = ops.multi_scale_deformable_attention_backward(cuda.array(attention.grad_output()), **on)
    assert not cuda.numpy(grad_value).any()


@pytest.mark.parametrize(
    ("op", "changed", "error", "message"),
    [
        ("deform_conv3", {"offset": np.zeros((1, 5, 6, 35), np.float32)}, ValueError, "expected offset with"),
        ("deform_conv3", {"mask": np.zeros((1, 5, 6, 17), np.float32)}, ValueError, "expected mask of shape"),
        ("deform_conv3", {"input": np.zeros((1, 5, 6, 10))}, TypeError, "expected input of dtype"),
        ("deform_conv3", {"groups": 3}, ValueError, "expected channels divisible by groups"),
        ("deform_conv3", {"offset_scale": np.inf}, ValueError, "expected a finite offset_scale"),
        ("deform_conv3", {"kernel_size": 2, "remove_center": True}, ValueError, "expected an odd"),
        ("deform_conv3_backward", {"grad_output": random((1, 5, 6, 9))}, ValueError, "expected grad_output"),
    ],
)  # fmt: skip
def test_bad_dcn(cuda: Cuda, op: str, changed: dict[str, Any], error: type, message: str) -> None:
    case = Case()
    good: dict[str, Any] = case.arrays() | case.options
    if op.endswith("backward"):
        good["grad_output"] = case.grad_output()
    arguments = good | changed
    on = {k: cuda.array(v) if isinstance(v, np.ndarray) else v for k, v in arguments.items()}
    with pytest.raises(error, match=rf"^\[{op}\] {message}"):
        getattr(ops, op)(**on)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"value": random((1, 39, 2))}, ValueError, "expected value of shape"),
        ({"spatial_shapes": np.zeros((2, 3), np.int64)}, ValueError, "expected spatial_shapes of shape"),
        ({"spatial_shapes": np.zeros((2, 2), np.int32)}, TypeError, "expected spatial_shapes of dtype"),
        ({"sampling_locations": random((1, 4, 2, 1, 3, 2))}, ValueError, "expected sampling_locations of"),
        ({"attention_weights": random((1, 4, 2, 2, 4))}, ValueError, "expected attention_weights of"),
    ],
)
def test_bad_attention(cuda: Cuda, changed: dict[str, Any], error: type, message: str) -> None:
    on = {k: cuda.array(v) for k, v in (AttentionCase().arrays() | changed).items()}
    with pytest.raises(error, match=rf"^\[multi_scale_deformable_attention\] {message}"):
        ops.multi_scale_deformable_attention(**on)


def test_bad_deform_conv2d(cuda: Cuda) -> None:
    good = {k: cuda.array(v) for k, v in deform_arrays((16, 8), 1, 1, (4, 6)).items()}
    for name, message in (("grad_output", "expected grad_output"), ("mask", "expected mask of shape")):
        wrong = cuda.array(random((2, 4, 6, 7)))
        with pytest.raises(ValueError, match=rf"^\[deform_conv2d_backward\] {message}"):
            ops.deform_conv2d_backward(**(good | {name: wrong}), **GEOMETRY, layout="NHWC")
