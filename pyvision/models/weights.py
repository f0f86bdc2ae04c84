# SPDX-License-Identifier: Apache-2.0
"""Pretrained weights: where they are, what they must be, and how a model takes them.

Files are safetensors: a header and plain numbers. Pickle files, which can run code when read, are refused.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from pyvision.nn import Module, init


class WeightsFile(NamedTuple):
    """A file inside this package."""

    name: str
    sha256: str


EMBEDDED = {
    "nanodet_g": WeightsFile(
        "nanodet_g.safetensors", "e4a46c7eace02ff71d65b083cd46bee0f4646fbf6f03f51a5e414092209012da"
    ),
    "selfie_segmentation": WeightsFile(
        "selfie_segmentation.safetensors", "33b7aa711076c1cb995c0675160069546351c0ce0eacf497163539cb57ef52e4"
    ),
}
"""Weights by the name of the model they are the default of. Written by tools/convert_weights.py."""

_MAX_HEADER_BYTES = 100_000_000  # as the safetensors library
_PICKLE_PROTOCOLS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_ZIP = b"PK\x03\x04"  # what torch.save writes

M = TypeVar("M", bound=Module)


def build(factory: Callable[[], M], name: str, weights: str | os.PathLike[str] | None) -> M:
    """Make a model and give it weights: "default", the path of a safetensors file, or None for random ones.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, is not a safetensors file, or does not fit the model.
    """
    if weights is None:
        with init.seeded(0):
            return factory()
    with init.placeholders():
        model = factory()
    model.load_state_dict(read_embedded(name) if weights == "default" else read_file(weights))
    return model


def read_embedded(name: str) -> dict[str, np.ndarray]:
    """The default weights of a model, checked against their SHA-256."""
    file = EMBEDDED[name]
    path = Path(__file__).parent / "weights" / file.name
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != file.sha256:
        raise ValueError(
            f"[weights] expected {path} with SHA-256 {file.sha256}, got {found}: reinstall the package"
        )
    return parse(data, str(path))


def read_file(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Every tensor of a safetensors file by its name."""
    return parse(Path(path).read_bytes(), os.fspath(path))


def parse(data: bytes, path: str) -> dict[str, np.ndarray]:
    """Read a safetensors file from memory; ``path`` is for messages."""
    if data.startswith((_ZIP, *_PICKLE_PROTOCOLS)):
        raise ValueError(
            f"[weights] expected a safetensors file, got a pickle or torch.save file: {path}. "
            "Such files can run code when read; convert it with safetensors.torch.save_file"
        )
    header_bytes = int.from_bytes(data[:8], "little")
    if len(data) < 8 or header_bytes > min(len(data) - 8, _MAX_HEADER_BYTES):
        raise ValueError(
            f"[weights] expected a safetensors file, got {len(data)} bytes "
            f"that announce a header of {header_bytes}: {path}"
        )
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return load(data)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"[weights] expected a sound safetensors file, got {error}: {path}") from error
