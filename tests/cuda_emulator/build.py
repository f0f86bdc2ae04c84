# SPDX-License-Identifier: Apache-2.0
"""Compiles CUDA sources for the emulator into a shared library, once per content."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sysconfig
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pybind11

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
    ROOT / "csrc/ops/conv2d/params.cc",
]

_COMPILER = os.environ.get("CXX", "g++")
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

    Objects are kept in the folder for temporary files, named by a hash of all they are made of.
    """
    cache = Path(tempfile.gettempdir()) / f"pyvision-cuda-emulator-{os.getuid()}"
    cache.mkdir(mode=0o700, exist_ok=True)
    headers = hashlib.sha256()
    for folder, pattern in ((ROOT / "cuda", "**/*.*h"), (ROOT / "csrc", "**/*.h"), (HERE, "**/*.h")):
        for path in sorted(folder.glob(pattern)):
            headers.update(path.read_bytes())
    headers.update(repr((_COMPILER, _FLAGS, _HOST, _KERNEL, pybind11.__version__)).encode())

    def compiled(source: Path) -> Path:
        digest = headers.copy()
        digest.update(source.read_bytes())
        target = cache / f"{source.stem}-{digest.hexdigest()[:20]}.o"
        if not target.exists():
            flags = _KERNEL if source.suffix == ".cu" else _HOST
            _run([_COMPILER, *_FLAGS, *flags, "-c", str(source), "-o", f"{target}.{os.getpid()}"])
            os.replace(f"{target}.{os.getpid()}", target)
        return target

    with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        objects = list(pool.map(compiled, [*sources, *RUNTIME]))
    digest = hashlib.sha256("".join(path.name for path in objects).encode()).hexdigest()[:20]
    library = cache / f"{name}-{digest}.so"
    if not library.exists():
        command = [_COMPILER, "-shared", "-o", f"{library}.{os.getpid()}", *map(str, objects), "-ldl"]
        _run(command)
        os.replace(f"{library}.{os.getpid()}", library)
    return library


def _run(command: Sequence[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0 or "warning:" in result.stderr:
        raise RuntimeError(f"{' '.join(command)}\n{result.stderr}")
