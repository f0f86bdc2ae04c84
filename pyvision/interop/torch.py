# SPDX-License-Identifier: Apache-2.0
"""The ops of :mod:`pyvision.ops` as PyTorch's own: with autograd, for ``torch.compile`` and ``torch.export``.

Functions have torch's and torchvision's names and arguments, and those of :mod:`pyvision.ops`, where each is
described, but no ``layout``: maps are (N, C, H, W), and a result is ``torch.channels_last`` where its map is,
which saves a copy. Dtypes and errors are those of :mod:`pyvision.ops`.

Each is the operator ``torch.ops.pyvision.<name>``, and its gradient ``torch.ops.pyvision.<name>_backward``.
Convolutions, and poolings that are linear in their map, can be differentiated twice.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Literal, ParamSpec, TypeVar

import torch
from torch import Tensor

from pyvision import ops
from pyvision.ops._args import IntPair, flag, integer, pair, real
from pyvision.ops.conv import padding_sides
from pyvision.ops.pooling import filled

__all__ = [
    "adaptive_avg_pool2d",
    "avg_pool2d",
    "batched_nms",
    "batched_nms_rotated",
    "box_iou",
    "box_iou_rotated",
    "conv2d",
    "conv_transpose2d",
    "deform_conv2d",
    "deform_conv3",
    "deform_conv4",
    "deform_roi_pool",
    "depthwise_conv2d",
    "grid_sample",
    "interpolate",
    "inverted_residual",
    "max_pool2d",
    "max_unpool2d",
    "multi_scale_deformable_attention",
    "multi_scale_roi_align",
    "nms",
    "nms_rotated",
    "prroi_pool",
    "ps_roi_align",
    "ps_roi_pool",
    "roi_align",
    "roi_align_rotated",
    "roi_pool",
    "separable_conv2d",
]

Boxes = Tensor | Sequence[Tensor]
RotatedBoxes = Tensor | Sequence[Tensor]
Padding = IntPair | Literal["valid", "same"]

P = ParamSpec("P")
R = TypeVar("R")


# ---- arguments, as the dispatcher takes them


def _tensor(value: Any, op: str, name: str) -> Tensor:
    if not isinstance(value, Tensor):
        raise TypeError(f"[{op}] expected {name} to be a torch tensor, got {type(value).__name__}")
    return value


def _tensors(value: Any, op: str, name: str) -> list[Tensor]:
    if not isinstance(value, list | tuple):
        raise TypeError(f"[{op}] expected {name} to be a list of tensors, got {type(value).__name__}")
    if not value:
        raise ValueError(f"[{op}] expected {name} to hold one tensor at least, got none")
    return [_tensor(x, op, f"{name}[{i}]") for i, x in enumerate(value)]


def _boxes(value: Any, op: str, name: str, columns: int = 5) -> Tensor:
    """(K, columns), the image's index first."""
    if isinstance(value, Tensor):
        return value
    images = _tensors(value, op, name)
    for i, boxes in enumerate(images):
        if boxes.ndim != 2 or boxes.shape[1] != columns - 1:
            raise ValueError(
                f"[{op}] expected {name}[{i}] of shape (N, {columns - 1}), got {tuple(boxes.shape)}"
            )
        if boxes.dtype != images[0].dtype:
            raise TypeError(f"[{op}] expected {name}[{i}] of dtype {images[0].dtype}, got {boxes.dtype}")
    indices = [boxes.new_full((boxes.shape[0], 1), i) for i, boxes in enumerate(images)]
    return torch.cat([torch.cat(indices), torch.cat(images)], 1)


def _padding(value: Any, op: str, name: str) -> list[int] | None:
    """The two numbers, or None in place of "same"."""
    if isinstance(value, str):
        padding_sides(op, value, (), (1, 1), (1, 1))  # refuses other words
        return None if value == "same" else [0, 0]
    return list(pair(value, op, name))


def _reals(value: Any, op: str, name: str) -> list[float]:
    if not isinstance(value, list | tuple):
        raise TypeError(f"[{op}] expected {name} to be a list of numbers, got {value!r}")
    return [real(x, op, name) for x in value]


def _text(value: Any, op: str, name: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"[{op}] expected {name} to be a string, got {value!r}")
    return value


Take = Callable[[Any, str, str], Any]

_KINDS: dict[str, tuple[str, Take]] = {
    "Tensor": ("Tensor", _tensor),
    "Sequence[Tensor]": ("Tensor[]", _tensors),
    "Boxes": ("Tensor", _boxes),
    "RotatedBoxes": ("Tensor", lambda value, op, name: _boxes(value, op, name, 6)),
    "IntPair": ("SymInt[]", lambda value, op, name: list(pair(value, op, name))),
    "Padding": ("SymInt[]?", _padding),
    "int": ("SymInt", integer),
    "float": ("float", real),
    "Sequence[float]": ("float[]", _reals),
    "bool": ("bool", flag),
    "str": ("str", _text),
}
"""By annotation: the type in the dispatcher's schema, and what checks a value and makes it that."""


def _kind(annotation: str) -> tuple[str, Take]:
    schema, take = _KINDS[annotation.removesuffix(" | None")]
    if not annotation.endswith(" | None"):
        return schema, take
    return f"{schema}?", lambda value, op, name: None if value is None else take(value, op, name)


# ---- results without values


def _is_dense(x: Tensor, dims: tuple[int, ...]) -> bool:
    """Whether memory runs through ``dims``, the last of them fastest.

    ``is_contiguous`` would ask for the first extent, which is not known while a number of boxes is traced.
    """
    step = 1
    for dim in reversed(dims):
        if x.stride(dim) != step and x.shape[dim] != 1:
            return False
        step *= x.shape[dim]
    return True


def _format(x: Tensor) -> torch.memory_format:
    """What a result keeps of its map."""
    last = x.ndim == 4 and not _is_dense(x, (0, 1, 2, 3)) and _is_dense(x, (0, 2, 3, 1))
    return torch.channels_last if last else torch.contiguous_format


def _like(x: Tensor, shape: Sequence[int]) -> Tensor:
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=_format(x))


def _convolved(x: Tensor, weight: Tensor, stride: Any, padding: Any, dilation: Any) -> list[int]:
    """Height and width behind a convolution."""
    if padding is None:  # "same"
        return list(x.shape[2:])
    sizes = zip(x.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True)
    return [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sizes]


def _pooled(x: Tensor, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool) -> Tensor:
    size = []
    for n, k, s, p, d in zip(x.shape[2:], kernel, stride or kernel, padding, dilation, strict=True):
        count = (n + 2 * p - d * (k - 1) - 1 + (s - 1 if ceil_mode else 0)) // s + 1
        size.append(count - 1 if ceil_mode and (count - 1) * s >= n + p else count)  # none begins beyond it
    return _like(x, (*x.shape[:2], *size))


def _binned(x: Tensor, boxes: Any, output_size: Any, *, own_channels: bool = False) -> Tensor:
    vertical, horizontal = output_size
    channels = x.shape[1] // (vertical * horizontal) if own_channels else x.shape[1]
    return _like(x, (boxes.shape[0], channels, vertical, horizontal))


def _selected(boxes: Tensor) -> Tensor:
    """Indices, as many as the boxes' values say."""
    return boxes.new_empty(torch.library.get_ctx().new_dynamic_size(), dtype=torch.int64)


# ---- operators


class _Operator:
    """``pyvision::<name>`` and ``pyvision::<name>_backward``: what runs, imitates and differentiates them.

    The latter takes what ``pyvision.ops.<name>_backward`` does, by name: ``grad_output``, arguments of the
    forward call, the map's shape, ``places``; and ``output_mask``, by which of ``gradients`` it is wanted.
    """

    def __init__(self, fake: Callable[..., Any], gradients: tuple[str, ...], places: str | None) -> None:
        self.name = fake.__name__.strip("_")
        self.signature = inspect.signature(fake)
        self.kinds = {name: _kind(p.annotation) for name, p in self.signature.parameters.items()}
        self.map = next(iter(self.kinds))
        self.gradients, self.places = gradients, places
        self.has_layout = "layout" in inspect.signature(getattr(ops, self.name)).parameters
        schema = ", ".join(f"{schema} {name}" for name, (schema, _) in self.kinds.items())
        result = self.signature.return_annotation.removeprefix("tuple[").rstrip("]")
        self.forward = torch.library.custom_op(
            f"pyvision::{self.name}", self._push, mutates_args=(), schema=f"({schema}) -> ({result})"
        )
        self.forward.register_fake(lambda *values: fake(**self._named(values)))
        if gradients:
            self._define_backward()

    def _define_backward(self) -> None:
        self.accepted = inspect.signature(getattr(ops, f"{self.name}_backward")).parameters
        # The gradient's argument in place of the map, where it needs no more than its shape.
        self.shapes = next((name for name in ("input_shape", "input_shapes") if name in self.accepted), None)
        self.pulled = {"grad_output": "Tensor"}
        for name, (schema, _) in self.kinds.items():
            if name in self.accepted:
                self.pulled[name] = f"{schema}?" if name == self.map and self.shapes else schema
        if self.shapes:
            self.pulled[self.shapes] = "SymInt[]"
        if self.places:
            self.pulled[self.places] = "Tensor"
        self.pulled["output_mask"] = "bool[]"
        schema = ", ".join(f"{schema} {name}" for name, schema in self.pulled.items())
        self.backward = torch.library.custom_op(
            f"pyvision::{self.name}_backward", self._pull, mutates_args=(), schema=f"({schema}) -> Tensor[]"
        )
        self.backward.register_fake(self._pulled_without_values)
        self.forward.register_autograd(self._differentiate, setup_context=self._keep)
        # What the gradient does not take.
        self.defaults = {
            name: p.default for name, p in self.signature.parameters.items() if name not in self.pulled
        }
        self.is_bilinear = self.gradients == ("input", "weight", "bias")
        if self.is_bilinear:
            self.backward.register_autograd(self._differentiate_bilinear, setup_context=self._keep_twice)
        elif self.shapes and not self.places:
            self.backward.register_autograd(self._differentiate_linear, setup_context=self._keep_twice)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        given = self.signature.bind(*args, **kwargs)
        given.apply_defaults()
        values = given.arguments
        return self.forward(*(take(values[name], self.name, name) for name, (_, take) in self.kinds.items()))

    def _named(self, values: Sequence[Any]) -> dict[str, Any]:
        return dict(zip(self.kinds, values, strict=True))

    def _push(self, *values: Any) -> Any:
        arguments = self._named(values)
        if self.places:
            arguments[f"return_{self.places}"] = True
        return getattr(ops, self.name)(**_as_words(arguments))

    def _pull(self, *values: Any) -> list[Tensor]:
        arguments = dict(zip(self.pulled, values, strict=True))
        wanted = arguments["output_mask"]
        if "output_mask" not in self.accepted:
            del arguments["output_mask"]
        if self.shapes == "input_shapes":
            arguments[self.shapes] = _by_level(arguments[self.shapes])
        found = getattr(ops, f"{self.name}_backward")(**_as_words(arguments))
        if not isinstance(found, tuple | list):
            return [found]
        if isinstance(found, list):  # by one argument, a list of maps
            return found
        return [gradient for gradient, is_wanted in zip(found, wanted, strict=True) if is_wanted]

    def _pulled_without_values(self, *values: Any) -> list[Tensor]:
        arguments = dict(zip(self.pulled, values, strict=True))
        grad = arguments["grad_output"]
        if self.shapes:
            return [_like(grad, shape) for shape in _by_level(arguments[self.shapes])]
        found = []
        for name, wanted in zip(self.gradients, arguments["output_mask"], strict=True):
            if not wanted:
                continue
            x = arguments.get(name)
            if x is None and name == self.map:  # of the shape of its indices
                found.append(_like(grad, arguments["indices"].shape))
            elif x is None:  # a bias, whose values no gradient depends on
                found.append(grad.new_empty(grad.shape[1]))
            else:
                # Of weights a deformable convolution's are so on CUDA alone.
                keeps = name == "input" or (name == "weight" and (self.is_bilinear or x.is_cuda))
                memory_format = _format(x) if keeps and self.has_layout else torch.contiguous_format
                found.append(torch.empty_like(x, memory_format=memory_format))
        return found

    def _keep(self, ctx: Any, inputs: Sequence[Any], output: Any) -> None:
        arguments = self._named(inputs)
        if self.shapes:
            maps = arguments[self.map]
            maps = [maps] if isinstance(maps, Tensor) else maps
            arguments[self.shapes] = [extent for x in maps for extent in x.shape]
            if arguments.get("mode") != "max":  # which finds its maxima again
                arguments[self.map] = None
        if self.places:
            arguments[self.places] = output[1]
        _save(ctx, {name: arguments[name] for name in self.pulled if name in arguments})

    def _differentiate(self, ctx: Any, grad: Tensor, *_: Any) -> tuple[Any, ...]:
        needed = dict(zip(self.kinds, ctx.needs_input_grad, strict=True))
        # Of a list of maps: those of one are those of all.
        wanted = [any(n) if isinstance(n := needed[name], list | tuple) else n for name in self.gradients]
        arguments = _saved(ctx) | {"grad_output": grad, "output_mask": wanted}
        found = self.backward(*(arguments[name] for name in self.pulled))
        if self.shapes == "input_shapes":
            gradients: dict[str, Any] = {self.map: found}
        else:
            names = (name for name, is_wanted in zip(self.gradients, wanted, strict=True) if is_wanted)
            gradients = dict(zip(names, found, strict=True))
        return tuple(gradients.get(name) for name in self.kinds)

    def _keep_twice(self, ctx: Any, inputs: Sequence[Any], output: Any) -> None:
        _save(ctx, dict(zip(self.pulled, inputs, strict=True)))

    def _differentiate_linear(self, ctx: Any, second: list[Tensor]) -> tuple[Any, ...]:
        """A gradient's, by ``grad_output``: the op itself."""
        arguments = _saved(ctx)
        if arguments.get("mode") == "max":
            raise RuntimeError(
                f"[{self.name}_backward] expected mode 'average' to differentiate it again, got 'max'"
            )
        arguments["output_size"] = list(arguments["grad_output"].shape[2:])
        arguments[self.map] = second if self.shapes == "input_shapes" else second[0]
        return self.forward(*(arguments[name] for name in self.kinds)), *[None] * (len(self.pulled) - 1)

    def _differentiate_bilinear(self, ctx: Any, second: list[Tensor]) -> tuple[Any, ...]:
        """The gradients' of an op that is linear in the input and in the weight: the op and its gradients."""
        arguments = _saved(ctx)
        names = [
            name for name, wanted in zip(self.gradients, arguments["output_mask"], strict=True) if wanted
        ]
        seconds = dict(zip(names, second, strict=True))
        needed = dict(zip(self.pulled, ctx.needs_input_grad, strict=True))
        found: dict[str, Any] = {}
        if needed["grad_output"]:
            terms = []
            for name in (name for name in names if name != "bias"):
                with_second = self.defaults | arguments | {name: seconds[name]}
                terms.append(self.forward(*(with_second[name] for name in self.kinds)))
            if "bias" in seconds:
                terms.append(seconds["bias"].reshape(-1, 1, 1).expand_as(arguments["grad_output"]))
            found["grad_output"] = sum(terms[1:], terms[0])
        for name, other in (("input", "weight"), ("weight", "input")):
            if needed[name] and other in seconds:
                mask = [gradient == name for gradient in self.gradients]
                with_second = arguments | {other: seconds[other], "output_mask": mask}
                (found[name],) = self.backward(*(with_second[name] for name in self.pulled))
        return tuple(found.get(name) for name in self.pulled)


def _as_words(arguments: dict[str, Any]) -> dict[str, Any]:
    return arguments | {"padding": "same"} if arguments.get("padding", 0) is None else arguments


def _by_level(extents: Sequence[int]) -> list[list[int]]:
    """Shapes of maps that lie one behind the other in ``extents``."""
    return [list(extents[i : i + 4]) for i in range(0, len(extents), 4)]


def _save(ctx: Any, arguments: dict[str, Any]) -> None:
    tensors = {name: value for name, value in arguments.items() if isinstance(value, Tensor)}
    ctx.save_for_backward(*tensors.values())
    ctx.names = tuple(tensors)
    ctx.others = {name: value for name, value in arguments.items() if name not in tensors}


def _saved(ctx: Any) -> dict[str, Any]:
    return {**ctx.others, **dict(zip(ctx.names, ctx.saved_tensors, strict=True))}


def _operator(*gradients: str, places: str | None = None) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """The op of :mod:`pyvision.ops` of the function's name; the function is its signature and fake kernel.

    It sees pairs where its signature has one number or two, boxes as one tensor, and None for
    ``padding="same"``; it returns a tensor of the result's shape, dtype, device and memory format.

    Args:
        gradients: what the op's gradient is by, in the order of its results.
        places: the gradient's argument that is the second of two results.
    """

    def define(fake: Callable[P, R]) -> Callable[P, R]:
        operator = _Operator(fake, gradients, places)

        @wraps(fake)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            result: R = operator(*args, **kwargs)
            return result

        return call

    return define


# ---- convolutions


@_operator("input", "weight", "bias")
def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: IntPair = 1,
    padding: Padding = 0,
    dilation: IntPair = 1,
    groups: int = 1,
    *,
    allow_winograd: bool = True,
) -> Tensor:
    """:func:`torch.nn.functional.conv2d` by :func:`pyvision.ops.conv2d`."""
    return _like(
        input, (input.shape[0], weight.shape[0], *_convolved(input, weight, stride, padding, dilation))
    )


@_operator("input", "weight", "bias")
def depthwise_conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: IntPair = 1,
    padding: Padding = 0,
    dilation: IntPair = 1,
) -> Tensor:
    """:func:`pyvision.ops.depthwise_conv2d`: ``groups`` is the number of channels."""
    return _like(
        input, (input.shape[0], weight.shape[0], *_convolved(input, weight, stride, padding, dilation))
    )


@_operator("input", "depthwise_weight", "pointwise_weight", "depthwise_bias", "pointwise_bias")
def separable_conv2d(
    input: Tensor,
    depthwise_weight: Tensor,
    pointwise_weight: Tensor,
    depthwise_bias: Tensor | None = None,
    pointwise_bias: Tensor | None = None,
    stride: IntPair = 1,
    padding: Padding = 0,
    dilation: IntPair = 1,
) -> Tensor:
    """:func:`pyvision.ops.separable_conv2d`: a depthwise and a 1x1 convolution."""
    size = _convolved(input, depthwise_weight, stride, padding, dilation)
    return _like(input, (input.shape[0], pointwise_weight.shape[0], *size))


@_operator(
    "input", "expand_weight", "depthwise_weight", "project_weight",
    "expand_bias", "depthwise_bias", "project_bias",
)  # fmt: skip
def inverted_residual(
    input: Tensor,
    expand_weight: Tensor,
    depthwise_weight: Tensor,
    project_weight: Tensor,
    expand_bias: Tensor | None = None,
    depthwise_bias: Tensor | None = None,
    project_bias: Tensor | None = None,
    stride: IntPair = 1,
    padding: Padding = 0,
    dilation: IntPair = 1,
) -> Tensor:
    """:func:`pyvision.ops.inverted_residual`: a 1x1, a depthwise and a 1x1 convolution."""
    size = _convolved(input, depthwise_weight, stride, padding, dilation)
    return _like(input, (input.shape[0], project_weight.shape[0], *size))


@_operator("input", "weight", "bias")
def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: IntPair = 1,
    padding: IntPair = 0,
    output_padding: IntPair = 0,
    groups: int = 1,
    dilation: IntPair = 1,
    *,
    allow_winograd: bool = True,
) -> Tensor:
    """:func:`torch.nn.functional.conv_transpose2d` by :func:`pyvision.ops.conv_transpose2d`."""
    geometry: Any = (input.shape[2:], weight.shape[2:], stride, padding, output_padding, dilation)
    size = [(n - 1) * s - 2 * p + d * (k - 1) + o + 1 for n, k, s, p, o, d in zip(*geometry, strict=True)]
    return _like(input, (input.shape[0], weight.shape[1] * groups, *size))


@_operator("input", "offset", "weight", "bias", "mask")
def deform_conv2d(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: IntPair = 1,
    padding: IntPair = 0,
    dilation: IntPair = 1,
    mask: Tensor | None = None,
) -> Tensor:
    """:func:`torchvision.ops.deform_conv2d` by :func:`pyvision.ops.deform_conv2d`."""
    return _like(
        input, (input.shape[0], weight.shape[0], *_convolved(input, weight, stride, padding, dilation))
    )


@_operator("input", "offset", "mask")
def deform_conv3(
    input: Tensor,
    offset: Tensor,
    mask: Tensor,
    kernel_size: IntPair,
    stride: IntPair,
    padding: IntPair,
    dilation: IntPair,
    groups: int,
    offset_scale: float = 1.0,
    remove_center: bool = False,
) -> Tensor:
    """DCNv3, :func:`pyvision.ops.deform_conv3`: maps are (N, H, W, C)."""
    return input.new_empty((*offset.shape[:3], input.shape[3]))


@_operator("input", "offset_mask")
def deform_conv4(
    input: Tensor,
    offset_mask: Tensor,
    kernel_size: IntPair,
    stride: IntPair,
    padding: IntPair,
    dilation: IntPair,
    groups: int,
    offset_scale: float = 1.0,
    remove_center: bool = False,
) -> Tensor:
    """DCNv4, :func:`pyvision.ops.deform_conv4`: maps are (N, H, W, C)."""
    return input.new_empty((*offset_mask.shape[:3], input.shape[3]))


@_operator("value", "sampling_locations", "attention_weights")
def multi_scale_deformable_attention(
    value: Tensor, spatial_shapes: Tensor, sampling_locations: Tensor, attention_weights: Tensor
) -> Tensor:
    """Deformable DETR's attention, :func:`pyvision.ops.multi_scale_deformable_attention`."""
    return value.new_empty((*sampling_locations.shape[:2], value.shape[2] * value.shape[3]))


# ---- regions


@_operator("input")
def roi_align(
    input: Tensor,
    boxes: Boxes,
    output_size: IntPair,
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
    *,
    mode: str = "average",
) -> Tensor:
    """:func:`torchvision.ops.roi_align` by :func:`pyvision.ops.roi_align`; ``mode`` is "average" or "max"."""
    return _binned(input, boxes, output_size)


@_operator("features")
def multi_scale_roi_align(
    features: Sequence[Tensor],
    boxes: Boxes,
    output_size: IntPair,
    spatial_scales: Sequence[float],
    sampling_ratio: int = 2,
    aligned: bool = False,
    *,
    canonical_scale: int = 224,
    canonical_level: int = 4,
) -> Tensor:
    """:func:`pyvision.ops.multi_scale_roi_align`: each box from the level of a pyramid that fits its size."""
    return _binned(features[0], boxes, output_size)


def roi_pool(input: Tensor, boxes: Boxes, output_size: IntPair, spatial_scale: float = 1.0) -> Tensor:
    """:func:`torchvision.ops.roi_pool` by :func:`pyvision.ops.roi_pool`."""
    return _roi_pool(input, boxes, output_size, spatial_scale)[0]


@_operator("input", places="argmax")
def _roi_pool(
    input: Tensor, boxes: Boxes, output_size: IntPair, spatial_scale: float
) -> tuple[Tensor, Tensor]:
    y = _binned(input, boxes, output_size)
    return y, torch.empty_like(y, dtype=torch.int32)


@_operator("input")
def ps_roi_align(
    input: Tensor,
    boxes: Boxes,
    output_size: IntPair,
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
) -> Tensor:
    """:func:`torchvision.ops.ps_roi_align` by :func:`pyvision.ops.ps_roi_align`."""
    return _binned(input, boxes, output_size, own_channels=True)


@_operator("input")
def ps_roi_pool(input: Tensor, boxes: Boxes, output_size: IntPair, spatial_scale: float = 1.0) -> Tensor:
    """:func:`torchvision.ops.ps_roi_pool` by :func:`pyvision.ops.ps_roi_pool`."""
    return _binned(input, boxes, output_size, own_channels=True)


@_operator("input")
def roi_align_rotated(
    input: Tensor,
    boxes: RotatedBoxes,
    output_size: IntPair,
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = True,
) -> Tensor:
    """RoI Align of rotated boxes, :func:`pyvision.ops.roi_align_rotated`."""
    return _binned(input, boxes, output_size)


@_operator("input", "offset", "mask")
def deform_roi_pool(
    input: Tensor,
    boxes: Boxes,
    offset: Tensor | None,
    output_size: IntPair,
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    gamma: float = 0.1,
    mask: Tensor | None = None,
) -> Tensor:
    """Deformable RoI pooling, :func:`pyvision.ops.deform_roi_pool`."""
    return _binned(input, boxes, output_size)


@_operator("input", "boxes")
def prroi_pool(input: Tensor, boxes: Boxes, output_size: IntPair, spatial_scale: float = 1.0) -> Tensor:
    """Precise RoI pooling, :func:`pyvision.ops.prroi_pool`: differentiable by the boxes too."""
    return _binned(input, boxes, output_size)


# ---- maps


def max_pool2d(
    input: Tensor,
    kernel_size: IntPair,
    stride: IntPair | None = None,
    padding: IntPair = 0,
    dilation: IntPair = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """:func:`torch.nn.functional.max_pool2d` by :func:`pyvision.ops.max_pool2d`."""
    wanted = flag(return_indices, "max_pool2d", "return_indices")
    found = _max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode)
    return found if wanted else found[0]


@_operator("input", places="indices")
def _max_pool2d(
    input: Tensor,
    kernel_size: IntPair,
    stride: IntPair | None,
    padding: IntPair,
    dilation: IntPair,
    ceil_mode: bool,
) -> tuple[Tensor, Tensor]:
    y = _pooled(input, kernel_size, stride, padding, dilation, ceil_mode)
    return y, torch.empty_like(y, dtype=torch.int64)


def max_unpool2d(
    input: Tensor,
    indices: Tensor,
    kernel_size: IntPair,
    stride: IntPair | None = None,
    padding: IntPair = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """:func:`torch.nn.functional.max_unpool2d` by :func:`pyvision.ops.max_unpool2d`."""
    size: Any = output_size
    if isinstance(size, tuple | list) and len(size) == 4:
        size = size[2:]
    return _max_unpool2d(input, indices, kernel_size, stride, padding, size)


@_operator("input")
def _max_unpool2d(
    input: Tensor,
    indices: Tensor,
    kernel_size: IntPair,
    stride: IntPair | None,
    padding: IntPair,
    output_size: IntPair | None,
) -> Tensor:
    kernel: Any = kernel_size
    steps: Any = stride or kernel
    sides: Any = padding
    size: Any = output_size
    if size is None:
        extents = zip(input.shape[2:], kernel, steps, sides, strict=True)
        size = [(n - 1) * s - 2 * p + k for n, k, s, p in extents]
    return _like(input, (*input.shape[:2], *size))


@_operator("input")
def avg_pool2d(
    input: Tensor,
    kernel_size: IntPair,
    stride: IntPair | None = None,
    padding: IntPair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """:func:`torch.nn.functional.avg_pool2d` by :func:`pyvision.ops.avg_pool2d`."""
    return _pooled(input, kernel_size, stride, padding, (1, 1), ceil_mode)


def adaptive_avg_pool2d(input: Tensor, output_size: IntPair | tuple[int | None, int | None] | None) -> Tensor:
    """:func:`torch.nn.functional.adaptive_avg_pool2d` by :func:`pyvision.ops.adaptive_avg_pool2d`."""
    op = "adaptive_avg_pool2d"
    sizes = output_size if isinstance(output_size, tuple | list) else (output_size, output_size)
    return _adaptive_avg_pool2d(input, filled(sizes, _tensor(input, op, "input").shape[2:], op))


@_operator("input")
def _adaptive_avg_pool2d(input: Tensor, output_size: IntPair) -> Tensor:
    size: Any = output_size
    return _like(input, (*input.shape[:2], *size))


@_operator("input", "grid")
def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """:func:`torch.nn.functional.grid_sample` by :func:`pyvision.ops.grid_sample`."""
    return _like(input, (*input.shape[:2], *grid.shape[1:3]))


def interpolate(
    input: Tensor,
    size: IntPair | None = None,
    scale_factor: float | tuple[float, float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """:func:`torch.nn.functional.interpolate` by :func:`pyvision.ops.interpolate`."""
    factors = None
    if (size is None) == (scale_factor is None):
        got = "neither" if size is None else "both"
        raise ValueError(f"[interpolate] expected one of size and scale_factor, got {got}")
    if scale_factor is not None:
        factors = scale_factor if isinstance(scale_factor, tuple | list) else (scale_factor, scale_factor)
    return _interpolate(input, size, factors, mode, align_corners, recompute_scale_factor, antialias)


@_operator("input")
def _interpolate(
    input: Tensor,
    size: IntPair | None,
    scale_factor: Sequence[float] | None,
    mode: str,
    align_corners: bool | None,
    recompute_scale_factor: bool | None,
    antialias: bool,
) -> Tensor:
    extents: Any = size
    if extents is None:
        scaled = zip(input.shape[2:], scale_factor or (), strict=True)
        extents = [torch.sym_int(n * f) for n, f in scaled]  # type: ignore[no-untyped-call]
    return _like(input, (*input.shape[:2], *extents))


# ---- boxes, without gradients


@_operator()
def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, *, max_output: int | None = None) -> Tensor:
    """:func:`torchvision.ops.nms` by :func:`pyvision.ops.nms`."""
    return _selected(boxes)


@_operator()
def batched_nms(
    boxes: Tensor,
    scores: Tensor,
    idxs: Tensor,
    iou_threshold: float,
    *,
    image_idxs: Tensor | None = None,
    max_output: int | None = None,
) -> Tensor:
    """:func:`torchvision.ops.batched_nms` by :func:`pyvision.ops.batched_nms`."""
    return _selected(boxes)


@_operator()
def nms_rotated(
    boxes: Tensor, scores: Tensor, iou_threshold: float, *, max_output: int | None = None
) -> Tensor:
    """:func:`pyvision.ops.nms_rotated`."""
    return _selected(boxes)


@_operator()
def batched_nms_rotated(
    boxes: Tensor, scores: Tensor, idxs: Tensor, iou_threshold: float, *, max_output: int | None = None
) -> Tensor:
    """:func:`pyvision.ops.batched_nms_rotated`."""
    return _selected(boxes)


@_operator()
def box_iou(boxes1: Tensor, boxes2: Tensor, fmt: str = "xyxy", *, aligned: bool = False) -> Tensor:
    """:func:`torchvision.ops.box_iou` by :func:`pyvision.ops.box_iou`."""
    shape = boxes1.shape[:1] if aligned else (boxes1.shape[0], boxes2.shape[0])
    dtype = torch.float64 if boxes1.dtype == torch.float64 else torch.float32  # halves are widened
    return boxes1.new_empty(shape, dtype=dtype)


@_operator()
def box_iou_rotated(boxes1: Tensor, boxes2: Tensor, *, aligned: bool = False) -> Tensor:
    """:func:`pyvision.ops.box_iou_rotated`."""
    return boxes1.new_empty(boxes1.shape[:1] if aligned else (boxes1.shape[0], boxes2.shape[0]))
