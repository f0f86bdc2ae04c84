# SPDX-License-Identifier: Apache-2.0
"""From a module and input shapes to an executable, once; then runs."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pyvision import _core
from pyvision._array import Array, as_numpy, check_layout, from_nhwc, is_channels_last, result_like, to_nhwc
from pyvision.nn._algorithms import set_algorithms, set_precision
from pyvision.nn._value import Tracer, Value

if TYPE_CHECKING:
    from pyvision.nn.module import Module

MapShape = tuple[int, int, int]
"""(H, W, C) of one image."""


class ChangeCounter:
    """Numbers every assignment to an attribute of any module, so that "nothing changed" is one comparison."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self.latest = 0

    def next(self) -> int:
        self.latest = next(self._numbers)
        return self.latest


changes = ChangeCounter()


class Trace(NamedTuple):
    """A recorded call."""

    graph: _core.Graph
    structure: Any
    """What forward returned, with positions among the graph's outputs in place of values."""
    ranks: list[int]
    """Of each output: 4 for maps, 2 for features."""


class Compiled(NamedTuple):
    """An executable and how to give back what forward returned."""

    executable: _core.Executable
    structure: Any
    ranks: list[int]
    versions: tuple[int, ...]
    """The module's state_versions() it was made from."""


class Runtime:
    """The executables of one module: one per input shapes, ranks and instruction set."""

    def __init__(self) -> None:
        self._compiled: dict[Any, Compiled] = {}
        self._lock = threading.Lock()
        self._seen: tuple[int, tuple[int, ...]] = (-1, ())

    def _versions(self, module: Module) -> tuple[int, ...]:
        """module.state_versions(), walked only after something changed somewhere."""
        latest = changes.latest  # before the walk: a change during it makes the next call walk again
        if self._seen[0] != latest:
            self._seen = latest, module.state_versions()
        return self._seen[1]

    def run(self, module: Module, inputs: tuple[Array, ...], layout: str) -> Any:
        op = type(module).__name__
        check_layout(layout, op)
        if not inputs:
            raise TypeError(f"[{op}] expected at least one input")
        arrays = [as_numpy(x, op, "input") for x in inputs]
        maps = [_as_map(array, layout, op) for array in arrays]
        shapes = tuple((m.shape[1], m.shape[2], m.shape[3]) for m in maps)
        compiled = self._get(module, shapes, tuple(array.ndim for array in arrays))
        outputs = compiled.executable.run(maps)
        channels_last = is_channels_last(arrays[0], layout) if arrays[0].ndim == 4 else False

        def finish(position: int) -> Array:
            output = outputs[position]
            if compiled.ranks[position] == 2:
                return result_like(output.reshape(len(output), output.shape[3]), *inputs)
            return result_like(from_nhwc(output, layout, channels_last), *inputs)

        return map_structure(finish, compiled.structure)

    def executable(self, module: Module, shapes: tuple[MapShape, ...]) -> _core.Executable:
        """The executable for maps of these shapes."""
        return self._get(module, shapes, (4,) * len(shapes)).executable

    def _get(self, module: Module, shapes: tuple[MapShape, ...], ranks: tuple[int, ...]) -> Compiled:
        key = shapes, ranks, _core.isa()
        versions = self._versions(module)
        found = self._compiled.get(key)
        if found is not None and found.versions == versions:
            return found
        with self._lock:  # several threads may come here at once; one compiles
            found = self._compiled.get(key)
            if found is None or found.versions != versions:
                graph, structure, output_ranks = trace(module, shapes, ranks)
                set_precision(graph, module.precision)
                graph.optimize()
                set_algorithms(graph, allow_winograd=module.allow_winograd, autotune=module.autotune)
                found = Compiled(_core.Executable(graph), structure, output_ranks, versions)
                self._compiled[key] = found
        return found


def trace(module: Module, shapes: tuple[MapShape, ...], ranks: tuple[int, ...] | None = None) -> Trace:
    """Record ``module.forward`` on maps of these shapes; the graph is as written, not optimised."""
    tracer = Tracer({id(child): name for name, child in module.named_modules()})
    ranks = ranks or (4,) * len(shapes)
    inputs = [tracer.input(*shape, rank) for shape, rank in zip(shapes, ranks, strict=True)]
    values: list[Value] = []

    def position(value: object) -> int:
        if not isinstance(value, Value):
            raise TypeError(f"[{type(module).__name__}] expected forward to return values, got {value!r}")
        values.append(value)
        return len(values) - 1

    structure = map_structure(position, module(*inputs))
    tracer.graph.set_outputs([value.id for value in values])
    return Trace(tracer.graph, structure, [value.rank for value in values])


def map_structure(function: Callable[[Any], Any], structure: Any) -> Any:
    """``structure`` with ``function`` applied to everything in it that is not a tuple, list or dict."""
    if isinstance(structure, dict):
        return {key: map_structure(function, value) for key, value in structure.items()}
    if isinstance(structure, list | tuple):
        return type(structure)(map_structure(function, value) for value in structure)
    return function(structure)


def _as_map(array: np.ndarray, layout: str, op: str) -> np.ndarray:
    """Features (N, C) become a map of 1 x 1 pixels."""
    if array.ndim == 2:
        return np.ascontiguousarray(array)[:, None, None, :]
    return to_nhwc(array, layout, op, "input")
