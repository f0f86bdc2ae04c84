# SPDX-License-Identifier: Apache-2.0
"""Ops as PyTorch's: gradients, compilation and export, against pyvision.ops, torch and torchvision."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from pyvision import ops

README = Path(__file__).resolve().parents[1] / "README.md"

BOXES = np.array([[0, 0.6, 1.2, 4.1, 5.3], [1, 1.7, 0.4, 4.6, 3.9], [1, 2.2, 3.1, 3.3, 5.7]])
ROTATED = np.array([[0, 2.3, 3.2, 4.1, 2.3, 25], [1, 2.7, 2.4, 3.6, 2.9, -70]])


@dataclass(frozen=True)
class Case:
    """A call: arrays that are random of a shape, or given, and ``by``, those with gradients."""

    op: str
    by: tuple[str, ...]
    arrays: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)
    theirs: str = ""  # torch or torchvision, where they have the op
    twice: bool = False  # whether gradients have gradients
    dtype: str = "float64"

    def arguments(self, torch: ModuleType, *, channels_last: bool = False) -> dict[str, Any]:
        rng = np.random.default_rng(0)

        def tensor(name: str, given: Any) -> Any:
            if isinstance(given, list):
                return [tensor(name, one) for one in given]
            values = rng.standard_normal(given) if isinstance(given, tuple) else given
            x = torch.from_numpy(np.array(values))
            x = x.to(getattr(torch, self.dtype)) if x.is_floating_point() else x
            if channels_last and x.ndim == 4:
                x = x.contiguous(memory_format=torch.channels_last)
            return x.requires_grad_(name in self.by)

        return {name: tensor(name, given) for name, given in self.arrays.items()} | self.options


MAP = (2, 2, 6, 5)
APART = np.random.default_rng(2).permutation(120).reshape(MAP) / 8.0  # no two pixels change places
LOCATIONS = np.random.default_rng(1).uniform(-0.1, 1.1, (2, 5, 2, 2, 3, 2))
CASES = {
    name: Case(name.split()[0], *rest)
    for name, *rest in [
        ("conv2d", ("input", "weight", "bias"), {"input": (2, 4, 6, 5), "weight": (6, 2, 3, 2), "bias": (6,)},
         {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2), "groups": 2}, "torch", True),
        ("conv2d same", ("input", "weight"), {"input": (1, 3, 5, 4), "weight": (2, 3, 2, 3)},
         {"padding": "same"}, "torch", True),
        ("depthwise_conv2d", ("input", "weight", "bias"),
         {"input": (2, 3, 5, 6), "weight": (6, 1, 3, 3), "bias": (6,)}, {"padding": 1}, "", True),
        ("separable_conv2d",
         ("input", "depthwise_weight", "pointwise_weight", "depthwise_bias", "pointwise_bias"),
         {"input": (2, 3, 5, 6), "depthwise_weight": (6, 1, 3, 3), "pointwise_weight": (4, 6, 1, 1),
          "depthwise_bias": (6,), "pointwise_bias": (4,)}, {"stride": 2, "padding": 1}),
        ("inverted_residual",
         ("input", "expand_weight", "depthwise_weight", "project_weight", "expand_bias", "depthwise_bias",
          "project_bias"),
         {"input": (2, 3, 5, 6), "expand_weight": (5, 3, 1, 1), "depthwise_weight": (5, 1, 3, 3),
          "project_weight": (4, 5, 1, 1), "expand_bias": (5,), "depthwise_bias": (5,), "project_bias": (4,)},
         {"stride": 2, "padding": 1}),
        ("conv_transpose2d", ("input", "weight", "bias"),
         {"input": (2, 4, 3, 4), "weight": (4, 2, 3, 2), "bias": (4,)},
         {"stride": 2, "padding": (1, 0), "output_padding": 1, "groups": 2}, "torch", True),
        ("deform_conv2d", ("input", "offset", "weight", "bias", "mask"),
         {"input": (1, 4, 5, 4), "offset": (1, 24, 4, 4), "weight": (4, 2, 2, 3), "bias": (4,),
          "mask": (1, 12, 4, 4)}, {"padding": (0, 1)}, "torchvision"),
        ("deform_conv3", ("input", "offset", "mask"),
         {"input": (1, 4, 5, 4), "offset": (1, 4, 5, 32), "mask": (1, 4, 5, 16)},
         {"kernel_size": 3, "stride": 1, "padding": 1, "dilation": 1, "groups": 2, "remove_center": True}),
        ("deform_conv4", ("input", "offset_mask"), {"input": (1, 4, 5, 4), "offset_mask": (1, 2, 3, 56)},
         {"kernel_size": 3, "stride": 2, "padding": 1, "dilation": 1, "groups": 2}),
        ("multi_scale_deformable_attention", ("value", "sampling_locations", "attention_weights"),
         {"value": (2, 26, 2, 3), "spatial_shapes": np.array([[4, 5], [2, 3]]),
          "sampling_locations": LOCATIONS, "attention_weights": (2, 5, 2, 2, 3)}),
        ("roi_align", ("input",), {"input": MAP, "boxes": BOXES},
         {"output_size": (2, 3), "spatial_scale": 0.9, "sampling_ratio": 2, "aligned": True},
         "torchvision", True),
        ("roi_align max", ("input",), {"input": MAP, "boxes": BOXES}, {"output_size": 2, "mode": "max"}),
        ("multi_scale_roi_align", ("features",), {"features": [MAP, (2, 2, 3, 3)], "boxes": BOXES},
         {"output_size": 2, "spatial_scales": [1.0, 0.5], "canonical_scale": 4, "canonical_level": 1},
         "", True),
        ("roi_pool", ("input",), {"input": MAP, "boxes": BOXES}, {"output_size": (3, 2)}, "torchvision"),
        ("ps_roi_align", ("input",), {"input": (2, 12, 4, 4), "boxes": BOXES},
         {"output_size": (2, 3), "sampling_ratio": 2}, "torchvision", True),
        ("ps_roi_pool", ("input",), {"input": (2, 12, 4, 4), "boxes": BOXES},
         {"output_size": (2, 3)}, "", True),
        ("roi_align_rotated", ("input",), {"input": MAP, "boxes": ROTATED}, {"output_size": 2}, "", True),
        ("deform_roi_pool", ("input", "offset", "mask"),
         {"input": MAP, "boxes": BOXES, "offset": (3, 2, 2, 2), "mask": (3, 1, 2, 2)}, {"output_size": 2}),
        ("prroi_pool", ("input",), {"input": MAP, "boxes": BOXES}, {"output_size": (2, 3)}),
        ("max_pool2d", ("input",), {"input": APART},
         {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}, "torch"),
        ("avg_pool2d", ("input",), {"input": MAP},
         {"kernel_size": (3, 2), "padding": (1, 0), "count_include_pad": False}, "torch", True),
        ("adaptive_avg_pool2d", ("input",), {"input": MAP}, {"output_size": (3, None)}, "torch", True),
        ("max_unpool2d", ("input",), {"input": MAP, "indices": np.arange(120).reshape(MAP) % 60},
         {"kernel_size": (2, 1)}, "torch"),
        ("interpolate", ("input",), {"input": MAP}, {"size": (4, 9), "mode": "bicubic"}, "torch", True),
        ("interpolate antialias", ("input",), {"input": MAP},
         {"scale_factor": (0.6, 1.5), "mode": "bilinear", "antialias": True}, "torch", True),
        ("grid_sample", ("input", "grid"), {"input": MAP, "grid": LOCATIONS[0, :2, 0] * 2 - 1},
         {"mode": "bicubic", "align_corners": False}, "torch"),
        ("nms", (), {"boxes": BOXES[:, 1:], "scores": (3,)}, {"iou_threshold": 0.2}, "torchvision"),
        ("batched_nms", (), {"boxes": BOXES[:, 1:], "scores": (3,), "idxs": np.array([0, 1, 1])},
         {"iou_threshold": 0.2}, "torchvision"),
        ("nms_rotated", (), {"boxes": ROTATED[:, 1:], "scores": (2,)}, {"iou_threshold": 0.1}),
        ("batched_nms_rotated", (), {"boxes": ROTATED[:, 1:], "scores": (2,), "idxs": np.array([1, 1])},
         {"iou_threshold": 0.1}),
        ("box_iou", (), {"boxes1": BOXES[:, 1:], "boxes2": BOXES[:2, 1:]}, {}, "torchvision"),
        ("box_iou aligned", (), {"boxes1": BOXES[:, 1:], "boxes2": BOXES[:, 1:] + 1}, {"aligned": True}),
        ("box_iou cxcywh", (), {"boxes1": BOXES[:, 1:], "boxes2": BOXES[:2, 1:]}, {"fmt": "cxcywh"}),
        ("box_iou_rotated", (), {"boxes1": ROTATED[:, 1:], "boxes2": ROTATED[:, 1:] + 1}),
    ]
}  # fmt: skip
DIFFERENTIABLE = {name: case for name, case in CASES.items() if case.by}

each = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
each_differentiable = pytest.mark.parametrize("case", DIFFERENTIABLE.values(), ids=DIFFERENTIABLE.keys())


@pytest.fixture
def torch() -> Iterator[ModuleType]:
    """With one thread: a pool beside ours would only be in its way."""
    module: Any = pytest.importorskip("torch")
    before = module.get_num_threads()
    module.set_num_threads(1)
    yield module
    module.set_num_threads(before)


@pytest.fixture
def interop(torch: ModuleType) -> ModuleType:
    from pyvision.interop import torch as module

    return module


def leaves(case: Case, arguments: dict[str, Any]) -> list[Any]:
    """The tensors with gradients."""
    found = [arguments[name] for name in case.by]
    return [x for one in found for x in (one if isinstance(one, list) else [one])]


def of_leaves(function: Any, case: Case, arguments: dict[str, Any]) -> Callable[..., Any]:
    """The call as a function of :func:`leaves`."""

    def call(*tensors: Any) -> Any:
        rest = iter(tensors)
        given = {
            name: [next(rest) for _ in arguments[name]] if isinstance(arguments[name], list) else next(rest)
            for name in case.by
        }
        return function(**(arguments | given))

    return call


def detached(value: Any) -> Any:
    if isinstance(value, list):
        return [detached(x) for x in value]
    return value.detach() if hasattr(value, "detach") else value


def test_every_op_with_a_gradient_is_there(interop: ModuleType) -> None:
    names = {name.removesuffix("_backward") for name in ops.__all__ if name.endswith("_backward")}
    assert names <= set(interop.__all__)
    assert {case.op for case in DIFFERENTIABLE.values()} == names
    assert {case.op for case in CASES.values()} == set(interop.__all__)


# ---- values and gradients


@each
def test_equals_the_op_on_arrays(torch: ModuleType, interop: ModuleType, case: Case) -> None:
    for channels_last in (False, True):
        arguments = case.arguments(torch, channels_last=channels_last)
        y = getattr(interop, case.op)(**arguments)
        expected = getattr(ops, case.op)(**{name: detached(value) for name, value in arguments.items()})
        assert y.requires_grad == bool(case.by)
        assert torch.equal(y, expected) and y.dtype == expected.dtype and y.stride() == expected.stride()


@each_differentiable
def test_gradients_equal_the_ops_on_arrays_in_channels_last(
    torch: ModuleType, interop: ModuleType, case: Case
) -> None:
    """And with either memory format maps come out as they go in."""
    has_format = "input" in case.by and "layout" in inspect.signature(getattr(ops, case.op)).parameters
    found = []
    for channels_last in (False, True):
        arguments = case.arguments(torch, channels_last=channels_last)
        tensors = leaves(case, arguments)
        y = getattr(interop, case.op)(**arguments)
        grads = torch.autograd.grad(
            y, tensors, torch.ones_like(y) * torch.arange(y.numel()).view(y.shape) / 9
        )
        found.append((y, *grads))
        if has_format and channels_last:
            for x in (y, grads[0]):
                assert x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    tolerance = 1e-10 if case.dtype == "float64" else 1e-4
    for first, last in zip(*found, strict=True):
        torch.testing.assert_close(first, last, rtol=tolerance, atol=tolerance)


@each_differentiable
@pytest.mark.filterwarnings("ignore:Input #. requires gradient and is not a double")
def test_gradcheck(torch: ModuleType, interop: ModuleType, case: Case) -> None:
    arguments = case.arguments(torch)
    tensors = leaves(case, arguments)
    function = of_leaves(getattr(interop, case.op), case, arguments)
    # Poolings of windows take float32 alone, but are linear: differences are exact but for rounding.
    tolerances = {"atol": 1e-6} if case.dtype == "float64" else {"eps": 1e-2, "atol": 1e-3}
    assert torch.autograd.gradcheck(function, tensors, **tolerances)
    if case.twice:
        assert torch.autograd.gradgradcheck(function, tensors, **tolerances, fast_mode=True)


def test_precise_pooling_by_its_boxes(torch: ModuleType, interop: ModuleType) -> None:
    x, boxes = torch.randn(MAP, dtype=torch.float64), torch.from_numpy(BOXES)

    def pool(corners: Any) -> Any:
        return interop.prroi_pool(x, torch.cat([boxes[:, :1], corners], 1), 2)

    assert torch.autograd.gradcheck(pool, boxes[:, 1:].clone().requires_grad_())


@pytest.mark.parametrize("op", ["roi_pool", "grid_sample"])
def test_what_has_no_second_gradient_says_so(torch: ModuleType, interop: ModuleType, op: str) -> None:
    case = CASES[op]
    arguments = case.arguments(torch)
    tensors = leaves(case, arguments)
    y = getattr(interop, op)(**arguments)
    first = torch.autograd.grad(y.square().sum(), tensors, create_graph=True)
    with pytest.raises(RuntimeError, match=f"{op}_backward.* no autograd formula"):
        sum(x.sum() for x in first).backward()


def test_maxima_have_no_second_gradient(torch: ModuleType, interop: ModuleType) -> None:
    arguments = CASES["roi_align max"].arguments(torch)
    y = interop.roi_align(**arguments)
    (first,) = torch.autograd.grad(y.square().sum(), arguments["input"], create_graph=True)
    with pytest.raises(RuntimeError, match="expected mode 'average'"):
        first.sum().backward()


def test_gradients_by_some_of_the_arguments(torch: ModuleType, interop: ModuleType) -> None:
    """Those that are wanted are the same without the others, also of a level of a pyramid."""
    for name, case in DIFFERENTIABLE.items():
        arguments = case.arguments(torch)
        function = of_leaves(getattr(interop, case.op), case, arguments)
        tensors = leaves(case, arguments)
        y = function(*tensors)
        grad = torch.randn_like(y)
        together = torch.autograd.grad(y, tensors, grad)
        for i, expected in enumerate(together):
            alone = [x.detach().requires_grad_(j == i) for j, x in enumerate(tensors)]
            function(*alone).backward(grad)
            assert [x.grad is not None for x in alone] == [j == i for j in range(len(alone))], name
            torch.testing.assert_close(alone[i].grad, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.theirs])
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_equals_theirs(
    torch: ModuleType, interop: ModuleType, request: pytest.FixtureRequest, name: str
) -> None:
    case = CASES[name]
    if case.theirs == "torch":
        theirs = getattr(torch.nn.functional, case.op)
    else:
        theirs = getattr(request.getfixturevalue("torchvision").ops, case.op)
    arguments = case.arguments(torch)
    y, expected = getattr(interop, case.op)(**arguments), theirs(**arguments)
    tolerance = 1e-9 if case.dtype == "float64" else 1e-5
    torch.testing.assert_close(y, expected, rtol=tolerance, atol=tolerance)
    if case.by:
        grad = torch.randn_like(y)
        ours = torch.autograd.grad(y, leaves(case, arguments), grad)
        for a, b in zip(ours, torch.autograd.grad(expected, leaves(case, arguments), grad), strict=True):
            torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def test_indices_of_maxima(torch: ModuleType, interop: ModuleType) -> None:
    x = torch.randn(MAP, requires_grad=True)
    y, indices = interop.max_pool2d(x, 2, return_indices=True)
    expected, places = torch.nn.functional.max_pool2d(x, 2, return_indices=True)
    assert torch.equal(y, expected) and torch.equal(indices, places) and not indices.requires_grad


def test_boxes_by_image(torch: ModuleType, interop: ModuleType) -> None:
    """Lists of boxes: those of the images one behind the other."""
    x, boxes = torch.randn(MAP, dtype=torch.float64), torch.from_numpy(BOXES)
    given = [boxes[boxes[:, 0] == i, 1:] for i in range(2)]
    assert torch.equal(interop.roi_align(x, given, 2), interop.roi_align(x, boxes, 2))
    rotated = torch.from_numpy(ROTATED)
    given = [rotated[rotated[:, 0] == i, 1:] for i in range(2)]
    assert torch.equal(interop.roi_align_rotated(x, given, 2), interop.roi_align_rotated(x, rotated, 2))


# ---- the dispatcher


@each
def test_operators_are_as_torch_wants_them(torch: ModuleType, interop: ModuleType, case: Case) -> None:
    """The op and its gradient, as the call dispatches to them: schema, fake kernel, autograd, tracing."""
    from torch.utils._python_dispatch import TorchDispatchMode

    calls: list[tuple[Any, tuple[Any, ...]]] = []

    class Recorded(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func.namespace == "pyvision":
                calls.append((func, args))
            return func(*args, **(kwargs or {}))

    arguments = case.arguments(torch, channels_last=True)
    with Recorded():
        y = getattr(interop, case.op)(**arguments)
        if case.by:
            y.sum().backward()
    assert [func.name() for func, _ in calls] == [
        f"pyvision::{case.op}{suffix}" for suffix in (("", "_backward") if case.by else ("",))
    ]

    def leaf(x: Any, wanted: bool) -> Any:
        if isinstance(x, list):
            return [leaf(one, wanted) for one in x]
        return (
            x.detach().clone(memory_format=torch.preserve_format).requires_grad_(wanted)
            if (isinstance(x, torch.Tensor))
            else x
        )

    (forward, given), *rest = calls
    names = [argument.name for argument in forward._schema.arguments]
    torch.library.opcheck(
        forward, tuple(leaf(x, name in case.by) for name, x in zip(names, given, strict=True))
    )
    for backward, given in rest:
        torch.library.opcheck(backward, tuple(leaf(x, i == 0 and case.twice) for i, x in enumerate(given)))


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_compiled_module_equals_itself(torch: ModuleType, interop: ModuleType, channels_last: bool) -> None:
    """Whole, with batches of several sizes, and with proposals as many as they turn out to be."""

    class Detector(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.randn(6, 3, 3, 3) * 0.3)
            self.bias = torch.nn.Parameter(torch.randn(6))
            self.separate = torch.nn.Parameter(torch.randn(6, 1, 3, 3) * 0.3)

        def forward(self, x: Any, boxes: Any, scores: Any) -> Any:
            x = interop.conv2d(x, self.weight, self.bias, padding="same").relu()
            x = interop.max_pool2d(interop.depthwise_conv2d(x, self.separate, padding=1), 2)
            boxes = boxes[interop.nms(boxes, scores, iou_threshold=0.5)]
            return interop.roi_align(x, [boxes, boxes + 1], (3, 2), 0.5, aligned=True).sum((2, 3))

    torch.manual_seed(0)
    module = Detector()
    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
        for batch in (2, 3, 4):
            x = torch.randn(batch, 3, 12, 14)
            if channels_last:
                x = x.contiguous(memory_format=torch.channels_last)
            x.requires_grad_()
            corners = torch.rand(9, 2) * 8
            boxes, scores = torch.cat([corners, corners + 5], 1), torch.rand(9)
            y, expected = compiled(x, boxes, scores), module(x, boxes, scores)
            assert 0 < len(y) < 18 and torch.equal(y, expected)
            leaves = (x, *module.parameters())
            ours = torch.autograd.grad(y.square().sum(), leaves)
            theirs = torch.autograd.grad(expected.square().sum(), leaves)
            torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


def test_an_exported_module_equals_itself(torch: ModuleType, interop: ModuleType) -> None:
    class Pyramid(torch.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, fine: Any, boxes: Any) -> Any:
            coarse = interop.adaptive_avg_pool2d(fine, (5, 4))
            return interop.multi_scale_roi_align([fine, coarse], [boxes, boxes + 1], 2, [1.0, 0.5])

    count = torch.export.Dim("count", min=1, max=100)
    x, boxes = torch.randn(2, 3, 10, 8), torch.tensor([[1.0, 2.0, 6.0, 7.0], [0.0, 0.0, 4.0, 3.0]])
    exported = torch.export.export(Pyramid(), (x, boxes), dynamic_shapes=(None, {0: count})).module()
    for given in (boxes, boxes[:1], boxes.repeat(5, 1)):
        assert torch.equal(exported(x, given), Pyramid()(x, given))


def test_meta_tensors_have_shapes(torch: ModuleType, interop: ModuleType) -> None:
    for case in DIFFERENTIABLE.values():
        arguments = case.arguments(torch)
        expected = getattr(interop, case.op)(**arguments)
        moved = {
            name: [x.to("meta") for x in value]
            if isinstance(value, list) and hasattr(value[0], "to")
            else value.to("meta")
            if hasattr(value, "to")
            else value
            for name, value in arguments.items()
        }
        y = getattr(interop, case.op)(**moved)
        assert (y.shape, y.dtype, y.device.type) == (expected.shape, expected.dtype, "meta")


# ---- bad inputs


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("conv2d", {"stride": 0}),
        ("conv2d", {"stride": (1, 2, 3)}),
        ("conv2d", {"dilation": 1.5}),
        ("conv2d", {"padding": "odd"}),
        ("conv2d", {"groups": 3}),
        ("conv2d", {"groups": 2**70}),
        ("conv2d", {"weight": (6, 3, 3, 3)}),
        ("conv2d", {"input": (4, 6, 5)}),
        ("conv2d same", {"stride": 2}),
        ("conv_transpose2d", {"output_padding": -1}),
        ("depthwise_conv2d", {"bias": (5,)}),
        ("deform_conv2d", {"offset": (1, 23, 4, 4)}),
        ("deform_conv3", {"offset_scale": "1"}),
        ("roi_align", {"boxes": np.array([[2.0, 0, 0, 3, 3]])}),
        ("roi_align", {"boxes": np.array([[0.0, 0, np.nan, 3, 3]])}),
        ("roi_align", {"boxes": (3, 4)}),
        ("roi_align", {"output_size": 0}),
        ("roi_align", {"spatial_scale": None}),
        ("roi_align", {"mode": "median"}),
        ("multi_scale_roi_align", {"spatial_scales": [0.5, 1.0]}),
        ("multi_scale_roi_align", {"spatial_scales": 1.0}),
        ("max_pool2d", {"padding": 2}),
        ("max_pool2d", {"return_indices": 1}),
        ("avg_pool2d", {"divisor_override": 0}),
        ("adaptive_avg_pool2d", {"output_size": (1, 2, 3)}),
        ("adaptive_avg_pool2d", {"output_size": -1}),
        ("grid_sample", {"mode": "cubic"}),
        ("grid_sample", {"padding_mode": 0}),
        ("nms", {"iou_threshold": 2.0}),
        ("nms", {"scores": (2,)}),
        ("box_iou aligned", {"boxes2": (2, 4)}),
    ],
)
def test_bad_inputs_are_refused_as_by_the_op(
    torch: ModuleType, interop: ModuleType, name: str, changes: dict[str, Any]
) -> None:
    case = CASES[name]
    arrays = case.arrays | {key: value for key, value in changes.items() if key in case.arrays}
    options = case.options | {key: value for key, value in changes.items() if key not in case.arrays}
    arguments = Case(case.op, case.by, arrays, options, dtype=case.dtype).arguments(torch)
    with pytest.raises((TypeError, ValueError)) as expected:
        getattr(ops, case.op)(**{name: detached(value) for name, value in arguments.items()})
    with pytest.raises(expected.type, match=f"^{re.escape(str(expected.value))}$"):
        getattr(interop, case.op)(**arguments)


def test_what_is_no_tensor_is_refused(torch: ModuleType, interop: ModuleType) -> None:
    x, w = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 3, 3)
    boxes = torch.zeros(1, 4)
    for call, message in (
        (
            lambda: interop.conv2d(x.numpy(), w),
            r"\[conv2d\] expected input to be a torch tensor, got ndarray",
        ),
        (lambda: interop.conv2d(x, None), r"\[conv2d\] expected weight to be a torch tensor, got NoneType"),
        (lambda: interop.adaptive_avg_pool2d(None, 1), "expected input to be a torch tensor"),
        (lambda: interop.roi_align(x, "boxes", 1), "expected boxes to be a list of tensors, got str"),
        (
            lambda: interop.roi_align(x, [boxes, boxes.double()], 1),
            r"expected boxes\[1\] of dtype torch.float32",
        ),
        (lambda: interop.roi_align(x.int(), boxes, 1), "expected input of dtype"),
        (lambda: interop.multi_scale_roi_align(x, boxes, 1, [1.0]), "expected features to be a list"),
        (lambda: interop.conv2d(x, w, stried=2), "unexpected keyword argument 'stried'"),
    ):
        with pytest.raises(TypeError, match=message):
            call()
    for call, message in (
        (lambda: interop.roi_align(x, [], 1), "expected boxes to hold one tensor at least"),
        (lambda: interop.roi_align(x, [torch.zeros(1, 5)], 1), r"expected boxes\[0\] of shape \(N, 4\)"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


# ---- training


def test_training_goes_as_with_torch(torch: ModuleType, interop: ModuleType) -> None:
    """The same net on either's ops: losses agree step by step, and fall."""

    def losses(functional: Any) -> list[float]:
        torch.manual_seed(0)
        images = torch.randn(12, 3, 8, 8).contiguous(memory_format=torch.channels_last)
        labels = torch.arange(12) % 4
        shapes = (16, 3, 3, 3), (16,), (16, 16, 3, 3), (16, 4, 2, 2), (4,)
        weights = [(torch.randn(shape) * 0.2).requires_grad_() for shape in shapes]
        found = []
        for _ in range(30):
            x = functional.conv2d(images, weights[0], weights[1], padding=1).relu()
            x = functional.max_pool2d(x, 2)
            x = functional.conv2d(x, weights[2], stride=2, padding=1).relu()
            x = functional.conv_transpose2d(x, weights[3], weights[4], stride=2)
            logits = functional.adaptive_avg_pool2d(x, 1).flatten(1)
            loss = torch.nn.functional.cross_entropy(logits, labels)
            with torch.no_grad():
                for weight, grad in zip(weights, torch.autograd.grad(loss, weights), strict=True):
                    weight.sub_(0.3 * grad)
            found.append(loss.item())
        return found

    ours, theirs = losses(interop), losses(torch.nn.functional)
    assert ours[-1] < 0.2 * ours[0]
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)


def test_the_example_of_the_readme(torch: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    section = README.read_text().split("## Training with PyTorch\n")[1]
    (example, *_) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    torch.manual_seed(0)
    exec(compile(example, str(README), "exec"), {})
    first, *_, last = (float(line.split()[-1]) for line in capsys.readouterr().out.splitlines())
    assert last < 0.5 * first
