# SPDX-License-Identifier: Apache-2.0
"""Compiles CUDA sources for the emulator into a shared library, once per content."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pybind11
import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RUNTIME = sorted(HERE.glob("runtime/*.cc"))
KERNELS = sorted(path for path in ROOT.glob("cuda/**/*.cu") if path.name != "sort.cu")
# Of what the extension is made, but for the files that speak to the CUDA runtime and to CUB.
MODULE = [
    *sorted(path for path in ROOT.glob("cuda/**/*.cc") if path.name != "device.cc"),
    *KERNELS,
    HERE / "library" / "device.cc",
    HERE / "library" / "sort.cc",
    ROOT / "csrc/core/activation.cc",
    *sorted(ROOT.glob("csrc/ops/*/params.cc")),
]

_COMPILER = "g++"  # its instrumentation is what the runtime stands in for
_FLAGS = [
    "-std=c++17", "-g1", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-ffp-contract=off",
    "-DPYVISION_CUDA_EMULATED", f"-I{HERE / 'include'}", f"-I{ROOT / 'cuda'}", f"-I{ROOT / 'csrc'}",
]  # fmt: skip
_HOST = ["-O2", f"-I{pybind11.get_include()}", f"-I{sysconfig.get_path('include')}"]
# Every load and store of a kernel becomes a call of the runtime's. Statics whose address is not taken would
# escape instrumentation, were the compiler to find that out; a vector's load is to stay one.
_KERNEL = [
    "-x", "c++", "-O1", "-fsanitize=thread", "-fsanitize=bounds", "-fno-ipa-reference-addressable",
    "-fno-tree-sra", "--param=tsan-instrument-func-entry-exit=0", "-Wno-unknown-pragmas",
]  # fmt: skip


def build(name: str, sources: Sequence[Path]) -> Path:
    """The shared library ``name`` of ``sources`` (.cu and .cc) and the emulator's runtime.

    Objects and libraries stay in the folder for temporary files, with the hashes of what they are made of.
    """
    if sys.platform != "linux" or shutil.which(_COMPILER) is None:
        pytest.skip("the CUDA emulator needs g++ and Linux")
    cache = Path(tempfile.gettempdir()) / f"pyvision-cuda-emulator-{os.getuid()}"
    cache.mkdir(mode=0o700, exist_ok=True)
    with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        objects = list(pool.map(lambda source: _object(cache, source), [*sources, *RUNTIME]))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in objects)).hexdigest()[:20]
    library = cache / f"{name}-{digest}.so"
    if not library.exists():
        _compile([_COMPILER, "-shared", *map(str, objects), "-ldl"], library)
    return library


def _object(cache: Path, source: Path) -> Path:
    """``source`` compiled, unless it was with these flags and neither it nor a header has changed since."""
    command = [_COMPILER, *_FLAGS, *(_KERNEL if source.suffix == ".cu" else _HOST), "-c", str(source)]
    key = hashlib.sha256(repr(command).encode()).hexdigest()[:20]
    target, record = (cache / f"{source.stem}-{key}.{kind}" for kind in ("o", "json"))
    if target.exists() and record.exists():
        hashes: dict[str, str] = json.loads(record.read_text())
        if all(_hash(path) == value for path, value in hashes.items()):
            return target
    record.unlink(missing_ok=True)
    rule = _compile([*command, "-MMD", "-MF", "/dev/stdout"], target)
    files = rule.replace("\\\n", " ").partition(":")[2].split()
    record.write_text(json.dumps({path: _hash(path) for path in files}))
    return target


def _hash(path: str) -> str | None:
    file = Path(path)
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else None


def _compile(command: Sequence[str], target: Path) -> str:
    """Run ``command`` for ``target``, which appears whole or not at all; returns what it prints."""
    partial = f"{target}.{os.getpid()}"
    result = subprocess.run([*command, "-o", partial], capture_output=True, text=True, check=False)
    if result.returncode != 0 or "warning:" in result.stderr:
        raise RuntimeError(f"{' '.join(command)}\n{result.stderr}")
    os.replace(partial, target)
    return result.stdout
