# SPDX-License-Identifier: Apache-2.0
"""The CUDA emulator itself: what runs right, each fault it reports, its matrix instructions."""

from __future__ import annotations

import ctypes
import re
from functools import cache

import numpy as np
import pytest

from tests.cuda_emulator.build import HERE, build
from tests.helpers import EPS

X = np.arange(64, dtype=np.float32)
REVERSED = X[::-1]
LACKING_TWO = np.where(X >= 62, 0, X)  # the last copy stops after 8 of its 16 bytes

RIGHT = {
    "reverse_block": REVERSED,
    "neighbours_in_a_word": REVERSED,
    "warp_order": X.reshape(-1, 2)[:, ::-1].ravel(),
    "warp_order_in_parts": X.reshape(-1, 16)[:, ::-1].ravel(),
    "sums": np.full(64, X.sum() + 0.25 + 0.5),
    "copy_with_wait": LACKING_TWO[::-1],
}
FAULTS = {
    "race_without_barrier": r"thread \(32, 0, 0\): race on static shared .* written by thread number 0",
    "race_without_second_barrier": "race on static shared memory",
    "race_on_one_word": r"written by thread number 0 of the block with no barrier between: write of 4 bytes",
    "race_read_of_half_a_word": r"race on static shared .* written by thread number 4 of .*: read of 2 bytes",
    "race_write_of_half_a_word": r"race on static shared .* read by thread number 4 of .*: write of 2 bytes",
    "race_on_a_byte": r"race on static shared .* written by thread number 5 of .*: read of 1 bytes",
    "race_on_a_word_of_bytes": "race on static shared .* written by thread number .*: read of 4 bytes",
    "lanes_without_order": r"race on shared memory .* written by thread number \d+ of",
    "warp_without_order": "race on shared memory",
    "race_of_blocks": "race on global memory .* written by another block",
    "dynamic_out_of_bounds": r"thread \(63, 0, 0\): out of bounds of shared memory \+ 256 of 256 bytes",
    "static_out_of_bounds": "out of bounds of an array: index 63",
    "global_read_out_of_bounds": "out of bounds of global memory.* 0 bytes behind an array of 256",
    "global_write_out_of_bounds": "out of bounds of global memory.* 4 bytes before an array of 256",
    "global_never_written": "nothing was written to global memory",
    "shared_never_written": r"thread \(7, 0, 0\): nothing was written to shared memory \+ 28",
    "misaligned": "misaligned address of 16 bytes",
    "read_across_the_end": r"out of bounds of shared memory \+ 240 of 248 bytes: read of 16 bytes",
    "misaligned_copy": "cp.async: misaligned address",
    "misaligned_atomic": "atomic: misaligned address",
    "misaligned_matrix": "ldmatrix: rows must lie at multiples of 16 bytes",
    "copy_to_global_memory": "cp.async: its target is no shared memory",
    "copy_out_of_bounds": r"out of bounds of global memory.* 0 bytes behind an array of 256",
    "atomic_out_of_bounds": r"out of bounds of global memory.* 0 bytes behind an array of 256",
    "race_with_an_atomic": "race on static shared memory",
    "stack_of_another_thread": "out of bounds of global memory, address 0x",
    "lanes_at_different_places": "__shfl_xor_sync: other lanes of its mask are at",
    "barrier_in_a_branch": "divergent barrier",
    "barrier_after_return": r"thread \(3, 0, 0\): divergent barrier: this thread has returned",
    "barrier_inside_a_warp": "deadlock: .*__shfl_sync",
    "shuffle_from_absent_lane": "lane 15 reads lane 16, which takes no part",
    "shuffle_by_unnamed_lane": "a lane that its mask does not name",
    "copy_without_wait": "cp.async has not landed",
    "copy_without_barrier": "race on shared memory",
    "copy_over_what_is_read": "race on shared memory .* read by .*: write of 16 bytes",
    "copy_that_lands_late": "race on shared memory .* written by .*: read of 4 bytes",
    "copy_beyond_shared_memory": r"out of bounds of shared memory \+ 256 of 256 bytes: write of 16 bytes",
}


@cache
def library() -> ctypes.CDLL:
    faults = ctypes.CDLL(str(build("faults", [HERE / "faults.cu"])))
    for function in (faults.case_name, faults.run_case, faults.run_mma):
        function.restype = ctypes.c_char_p
    faults.half_to_float.restype = ctypes.c_float
    faults.half_to_float.argtypes = [ctypes.c_uint16]
    for function in (faults.float_to_half, faults.float_to_bfloat16):
        function.restype = ctypes.c_uint16
        function.argtypes = [ctypes.c_float]
    return faults


def run(name: str, falling: bool = False) -> tuple[np.ndarray, str]:
    names = [library().case_name(i).decode() for i in range(library().case_count())]
    x, y = X.copy(), np.zeros(64, np.float32)
    report = library().run_case(
        names.index(name), ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(y.ctypes.data), falling
    )
    return y, report.decode()


def test_every_case_is_expected() -> None:
    names = {library().case_name(i).decode() for i in range(library().case_count())}
    assert names == RIGHT.keys() | FAULTS.keys()


@pytest.mark.parametrize("falling", [False, True])
@pytest.mark.parametrize("name", RIGHT)
def test_right_kernels_run(name: str, falling: bool) -> None:
    y, report = run(name, falling)
    assert report == ""
    np.testing.assert_array_equal(y, RIGHT[name])


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_reported_with_their_place(name: str) -> None:
    _, report = run(name)
    assert re.search(rf"(?s)^\[cuda_emulator\] .*{FAULTS[name]}", report)
    assert "faults.cu:" in report
    assert run(name, falling=True)[1] != ""
    assert run("reverse_block")[1] == ""  # a fault leaves nothing behind


def tf32(x: np.ndarray) -> np.ndarray:
    return (np.ascontiguousarray(x, np.float32).view(np.uint32) & ~np.uint32(0x1FFF)).view(np.float32)


def bf16_bits(x: np.ndarray) -> np.ndarray:
    return (np.ascontiguousarray(x, np.float32).view(np.uint32) >> 16).astype(np.uint16)


@pytest.mark.parametrize("kind", ["f16", "bf16", "tf32"])
def test_matrix_instructions_multiply(kind: str) -> None:
    """ldmatrix and mma together give A @ B.T, whatever the layout of the fragments between them is."""
    rng = np.random.default_rng(0)
    depth = 8 if kind == "tf32" else 16
    a, b = (rng.standard_normal((rows, depth)).astype(np.float32) for rows in (16, 8))
    d = rng.standard_normal((16, 8)).astype(np.float32)
    if kind == "f16":
        held = [a.astype(np.float16), b.astype(np.float16)]
        a, b = (half.astype(np.float32) for half in held)
    elif kind == "bf16":
        held = [bf16_bits(a), bf16_bits(b)]
        a, b = ((bits.astype(np.uint32) << 16).view(np.float32) for bits in held)
    else:
        held, (a, b) = [a, b], (tf32(a), tf32(b))
    expected = d + a.astype(np.float64) @ b.astype(np.float64).T
    bound = np.abs(d) + np.abs(a) @ np.abs(b).T
    order = ["f16", "bf16", "tf32"]
    report = library().run_mma(order.index(kind), *(ctypes.c_void_p(m.ctypes.data) for m in (*held, d)))
    assert report == b""
    assert (np.abs(d - expected) <= EPS * bound).all()


def test_half_precision_is_converted_as_numpy_does() -> None:
    halves = np.arange(0, 2**16, 7, dtype=np.uint16).view(np.float16)
    widened = [library().half_to_float(bits) for bits in halves.view(np.uint16).tolist()]
    np.testing.assert_array_equal(widened, halves.astype(np.float32))

    rng = np.random.default_rng(0)
    scale = np.float32(2) ** rng.integers(-28, 17, 2000).astype(np.float32)
    ties = scale * rng.choice(np.arange(1, 4, 2**-11, dtype=np.float32), 2000)
    floats = np.concatenate([halves.astype(np.float32), ties, -ties, scale * rng.random(2000, np.float32)])
    floats = floats[~np.isnan(floats)]
    with np.errstate(over="ignore"):
        expected = floats.astype(np.float16).view(np.uint16)
    np.testing.assert_array_equal([library().float_to_half(x) for x in floats.tolist()], expected)


def test_bfloat16_is_rounded_to_nearest_even() -> None:
    for x, bits in (
        (1.0, 0x3F80),
        (1.00390625, 0x3F80),
        (1.01171875, 0x3F82),
        (3e38, 0x7F62),
        (-0.0, 0x8000),
    ):
        assert library().float_to_bfloat16(x) == bits
    assert library().float_to_bfloat16(float("nan")) & 0x7FFF > 0x7F80
