# SPDX-License-Identifier: Apache-2.0
"""Modules: parameters by name, tracing, and running what was traced."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from pyvision._array import Array, as_numpy
from pyvision.nn._compile import Runtime, changes
from pyvision.nn._value import find_value


class Module:
    """Base of all layers and models.

    Arrays and modules assigned to attributes are registered under the attribute's name, which makes the names
    of the state dict those of torch and torchvision. Parameters are read-only float32 arrays: assign a new
    array, or use :meth:`load_state_dict`, to change one.

    Calling a module on arrays traces :meth:`forward` once per (H, W, C) of the inputs and per instruction
    set, compiles the graph, and runs it. The batch size may vary between calls. A module may be called from
    several threads at once, and pickled.
    """

    buffer_names: tuple[str, ...] = ()
    """Arrays that are part of the state dict but are not trained."""
    ignored_state: tuple[str, ...] = ()
    """Names that checkpoints hold and that mean nothing at inference."""
    input_shape: tuple[int, int, int] | None = None
    """(C, H, W) of the input :meth:`summary` assumes when it is given none."""

    allow_winograd: bool = True
    """Whether 3x3 convolutions may use Winograd's algorithm: two to four times as fast, about ten times the
    rounding error. Like ``autotune``, read from the module that is called, not from those inside it."""
    autotune: bool = False
    """Whether to measure the algorithms of each 3x3 convolution when the module is compiled (some tenths of a
    second per layer; the user's cache folder remembers), instead of using the built-in cost model. Results
    are then the same for one number of threads only."""

    precision: str = "f32"
    """Of the products of convolutions: "bf16" rounds their inputs and weights to bfloat16, sums in f32, and
    is up to twice as fast where the CPU has AVX512_BF16 (see :func:`pyvision.ops.conv2d`). What one of them
    hands to another is stored as bfloat16, everything else is float32. Read from the module called."""

    _version: int
    _runtime: Runtime

    def __new__(cls, *args: Any, **kwargs: Any) -> Module:
        module = super().__new__(cls)
        object.__setattr__(module, "_version", changes.next())
        object.__setattr__(module, "_runtime", Runtime())
        return module

    def forward(self, *inputs: Any) -> Any:
        """Compute the outputs (values, or tuples, lists and dicts of them) from symbolic values."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward")

    def __call__(self, *inputs: Any, layout: str = "NCHW") -> Any:
        """Run on float32 arrays (N, C, H, W), (N, H, W, C) or (N, C), or record the call on symbolic values.

        Returns what :meth:`forward` returns, with arrays of the caller's kind in ``layout`` for values.

        Raises:
            TypeError: an input is not a float32 array on the CPU.
            ValueError: its shape does not fit the module, or ``layout`` is neither "NCHW" nor "NHWC".
        """
        if (value := find_value(inputs)) is not None:
            with value.tracer.scope(self):
                return self.forward(*inputs)
        return self._runtime.run(self, inputs, layout)

    # Structure

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, np.ndarray):
            value = _frozen(value, type(self).__name__, name)
        if name == "precision" and value not in ("f32", "bf16"):
            op = type(self).__name__
            raise ValueError(f"[{op}] expected precision to be 'f32' or 'bf16', got {value!r}")
        object.__setattr__(self, name, value)
        object.__setattr__(self, "_version", changes.next())

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        object.__setattr__(self, "_version", changes.next())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules assigned to attributes of this one."""
        return ((name, value) for name, value in vars(self).items() if isinstance(value, Module))

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module, named ``prefix``, and all below it."""
        yield prefix, self
        for name, child in self.named_children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def named_parameters(self) -> Iterator[tuple[str, np.ndarray]]:
        """Trained arrays by their dotted name."""
        return ((name, array) for name, array, is_buffer in self._named_state() if not is_buffer)

    def parameters(self) -> Iterator[np.ndarray]:
        """Trained arrays."""
        return (array for _, array in self.named_parameters())

    def _named_state(self) -> Iterator[tuple[str, np.ndarray, bool]]:
        for prefix, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, np.ndarray):
                    yield _join(prefix, name), value, name in module.buffer_names

    def state_versions(self) -> tuple[int, ...]:
        """Changes whenever an attribute of this module or of one below it was assigned."""
        return tuple(module._version for _, module in self.named_modules())

    # State

    def state_dict(self) -> dict[str, np.ndarray]:
        """Every parameter and buffer by its dotted name; the arrays are the module's own and read-only."""
        return {name: array for name, array, _ in self._named_state()}

    def load_state_dict(self, state: Mapping[str, Array], *, strict: bool = True) -> None:
        """Take parameters and buffers from arrays (float16, 32 or 64), named as in torch's checkpoints.

        Nothing changes when an error is raised. With ``strict=False`` names may be missing or unexpected.

        Raises:
            ValueError: names are missing or unexpected, or shapes differ.
            TypeError: an entry is not an array of these types.
        """
        op = f"{type(self).__name__}.load_state_dict"
        own = self.state_dict()
        ignored = {
            _join(prefix, name) for prefix, module in self.named_modules() for name in module.ignored_state
        }
        missing = [name for name in own if name not in state]
        unexpected = [name for name in state if name not in own and name not in ignored]
        if strict and (missing or unexpected):
            raise ValueError(
                f"[{op}] expected the names of this module: "
                f"missing {_some(missing) or 'none'}; unexpected {_some(unexpected) or 'none'}"
            )
        loaded = {}
        for name in own.keys() & state.keys():
            array = as_numpy(state[name], op, name, ("float32", "float16", "float64"))
            if array.shape != own[name].shape:
                raise ValueError(f"[{op}] expected {name} of shape {own[name].shape}, got {array.shape}")
            loaded[name] = array.astype(np.float32)
        for prefix, module in self.named_modules():
            for name in [name for name, value in vars(module).items() if isinstance(value, np.ndarray)]:
                full_name = _join(prefix, name)
                if full_name in loaded:
                    loaded[full_name].flags.writeable = False  # ours alone: spares the copy
                    setattr(module, name, loaded[full_name])

    def eval(self) -> Module:
        """Return self: modules only ever infer. Here so that code written for torch runs."""
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_runtime", "_version")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)

    # For people

    def summary(self, input_shape: tuple[int, int, int] | None = None) -> None:
        """Print the compiled layers with shapes, GFLOP, parameters and memory for an input of (C, H, W)."""
        from pyvision.nn._summary import print_summary

        shape = input_shape or self.input_shape
        if shape is None:
            raise ValueError(f"[{type(self).__name__}.summary] expected input_shape (C, H, W), got None")
        c, h, w = shape
        print_summary(type(self).__name__, self._runtime.executable(self, ((h, w, c),)))

    def extra_repr(self) -> str:
        """What stands between the parentheses of the module's own line."""
        return ""

    def __repr__(self) -> str:
        children = list(self.named_children())
        head = f"{type(self).__name__}({self.extra_repr()}"
        if not children:
            return head + ")"
        lines = [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in children]
        return head + "\n  " + "\n  ".join(lines) + "\n)"


class Sequential(Module):
    """Modules that run one after the other, named "0", "1", …"""

    def __init__(self, *modules: Module) -> None:
        for i, module in enumerate(modules):
            setattr(self, str(i), module)

    def forward(self, x: Any) -> Any:
        for _, module in self.named_children():
            x = module(x)
        return x

    def __len__(self) -> int:
        return sum(1 for _ in self.named_children())

    def __iter__(self) -> Iterator[Module]:
        return (module for _, module in self.named_children())

    def __getitem__(self, index: int) -> Module:
        return [*self][index]


class ModuleList(Module):
    """Modules named "0", "1", …, for a parent that calls them itself."""

    def __init__(self, modules: Iterator[Module] | list[Module] | tuple[Module, ...] = ()) -> None:
        for module in modules:
            self.append(module)

    def append(self, module: Module) -> ModuleList:
        """Add a module at the end."""
        setattr(self, str(len(self)), module)
        return self

    def __len__(self) -> int:
        return sum(1 for _ in self.named_children())

    def __iter__(self) -> Iterator[Module]:
        return (module for _, module in self.named_children())

    def __getitem__(self, index: int) -> Module:
        return [*self][index]


def _frozen(array: np.ndarray, owner: str, name: str) -> np.ndarray:
    """A read-only C-contiguous copy, or the array itself where it is one already and owns its memory."""
    if array.dtype != np.float32:
        raise TypeError(f"[{owner}] expected {name} of dtype float32, got {array.dtype}")
    if array.flags.writeable or not (array.flags.c_contiguous and array.flags.owndata):
        array = np.array(array, np.float32, order="C")
        array.flags.writeable = False
    return array


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
