# SPDX-License-Identifier: Apache-2.0
"""The thread pool: counts, forks, concurrent callers, resizing under load, Ctrl-C."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pyvision import _core
from tests._process import output_of, run_python, start_python

# Enough rows for some fifty chunks.
_ROWS, _COLUMNS = 2000, 257


@pytest.fixture
def restored_threads() -> Iterator[None]:
    before = _core.num_threads()
    yield
    _core.set_num_threads(before)


def _input(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((_ROWS, _COLUMNS), dtype=np.float32)


def test_results_are_bitwise_equal_for_any_count(restored_threads: None, isa: str) -> None:
    x = _input()
    _core.set_num_threads(1)
    expected = _core.softmax(x, 1)
    for count in (2, 3, 7):
        _core.set_num_threads(count)
        assert np.array_equal(_core.softmax(x, 1), expected)


# ---- how many threads


def test_the_environment_sets_the_count() -> None:
    report = "from pyvision import _core; print(_core.num_threads(), _core.num_threads_reason())"
    assert output_of(report, PYVISION_NUM_THREADS="3") == "3 PYVISION_NUM_THREADS"


@pytest.mark.parametrize("value", ["0", "-1", "two", "2x", "1.5", "4097", "99999999999999999999"])
def test_a_bad_count_in_the_environment_is_a_clear_error(value: str) -> None:
    done = run_python("from pyvision import _core; _core.num_threads()", PYVISION_NUM_THREADS=value)
    expected = f"[PYVISION_NUM_THREADS] expected an integer in [1, 4096], got '{value}'"
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == f"ValueError: {expected}"


def test_the_affinity_mask_is_respected() -> None:
    script = """
        import os
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        from pyvision import _core
        print(_core.num_threads())
    """
    assert output_of(script) == "1"


def test_an_empty_variable_counts_as_unset() -> None:
    script = "from pyvision import _core; print(_core.num_threads_reason() != 'PYVISION_NUM_THREADS')"
    assert output_of(script, PYVISION_NUM_THREADS="") == "True"


@pytest.mark.parametrize("count", [0, -1, 4097])
def test_set_num_threads_refuses_counts_out_of_range(count: int) -> None:
    before = _core.num_threads()
    with pytest.raises(ValueError, match=rf"^\[set_num_threads\] expected a count in .*, got {count}$"):
        _core.set_num_threads(count)
    assert _core.num_threads() == before


# ---- many callers


def test_concurrent_callers_get_their_own_results(restored_threads: None) -> None:
    _core.set_num_threads(3)
    inputs = [_input(seed) for seed in range(8)]
    expected = [_core.softmax(x, 1) for x in inputs]

    def check(index: int) -> bool:
        return all(np.array_equal(_core.softmax(inputs[index], 1), expected[index]) for _ in range(20))

    with ThreadPoolExecutor(8) as callers:
        assert list(callers.map(check, range(8))) == [True] * 8


def test_the_count_may_change_while_others_run(restored_threads: None) -> None:
    x = _input()
    expected = _core.softmax(x, 1)
    stop = threading.Event()

    def call_until_stopped() -> int:
        calls = 0
        while not stop.is_set():
            assert np.array_equal(_core.softmax(x, 1), expected)
            calls += 1
        return calls

    with ThreadPoolExecutor(3) as callers:
        counts = [callers.submit(call_until_stopped) for _ in range(3)]
        try:
            for step in range(60):
                _core.set_num_threads(1 + step % 4)
                assert _core.num_threads() == 1 + step % 4
        finally:
            stop.set()
        assert all(count.result() > 0 for count in counts)


def test_two_threads_may_resize_at_once(restored_threads: None) -> None:
    def resize(offset: int) -> None:
        for step in range(50):
            _core.set_num_threads(1 + (step + offset) % 4)

    with ThreadPoolExecutor(2) as callers:
        list(callers.map(resize, (0, 1)))
    assert np.array_equal(_core.softmax(_input(), 1), _core.softmax(_input(), 1))


# ---- forks

_FORK_PREAMBLE = f"""
import os, threading
import numpy as np
from pyvision import _core
x = np.random.default_rng(0).standard_normal(({_ROWS}, {_COLUMNS}), dtype=np.float32)
expected = _core.softmax(x, 1)  # the pool exists from here on
def works():
    return np.array_equal(_core.softmax(x, 1), expected) and _core.num_threads() == 3
def fork_once():
    pid = os.fork()
    if pid == 0:
        os._exit(0 if works() else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""


def test_a_forked_child_has_a_working_pool() -> None:
    script = "print(fork_once(), works())"
    assert output_of(_FORK_PREAMBLE + script, PYVISION_NUM_THREADS="3") == "0 True"


def test_a_fork_while_others_compute_does_not_hang_the_child() -> None:
    script = """
stop = threading.Event()
def compute():
    while not stop.is_set():
        _core.softmax(x, 1)
threads = [threading.Thread(target=compute) for _ in range(2)]
for thread in threads: thread.start()
codes = {fork_once() for _ in range(20)}
stop.set()
for thread in threads: thread.join()
print(codes, works())
"""
    assert output_of(_FORK_PREAMBLE + script, PYVISION_NUM_THREADS="3") == "{0} True"


def test_multiprocessing_with_fork() -> None:
    script = """
import multiprocessing
with multiprocessing.get_context("fork").Pool(2) as pool:
    print(pool.map(call_works, range(6)), works())
"""
    preamble = _FORK_PREAMBLE + "def call_works(_): return works()\n"
    assert output_of(preamble + script, PYVISION_NUM_THREADS="3") == f"{[True] * 6} True"


def test_a_child_may_fork_again() -> None:
    script = """
pid = os.fork()
if pid == 0:
    os._exit(0 if works() and fork_once() == 0 else 1)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    assert output_of(_FORK_PREAMBLE + script, PYVISION_NUM_THREADS="3") == "0"


# ---- Ctrl-C

# Each takes a second at least, on any core: what it is given, and the call.
_LONG_OPS = {
    # 309 GFLOP
    "conv2d": (
        "x, weight = np.zeros((1, 512, 512, 256), np.float32), np.zeros((256, 256, 3, 3), np.float32)",
        'ops.conv2d(x, weight, padding=1, layout="NHWC")',
    ),
    # one strip of rows for each thread
    "SIFT": ("x = np.zeros((4000, 4000), np.uint8)", "features.SIFT().detect(x)"),
    # millions of corners on one level
    "ORB": (
        "x = np.random.default_rng(0).integers(0, 256, (2500, 3500), np.uint8)",
        "features.ORB(None, threshold=0).detect_and_compute(x)",
    ),
    # in no parallel_for
    "find_homography": (
        "x, y = np.random.default_rng(0).random((2, 5, 2))",
        "features.find_homography(x, y, max_iterations=2**31 - 1, threshold=1e-12)",
    ),
}


@pytest.mark.parametrize(
    ("op", "threads"),
    [("conv2d", "1"), ("conv2d", "2"), ("SIFT", "2"), ("ORB", "2"), ("find_homography", "1")],
)
def test_ctrl_c_is_answered_within_200_ms(op: str, threads: str) -> None:
    given, call = _LONG_OPS[op]
    script = f"""
import time
import numpy as np
from pyvision import features, ops
{given}
print("ready", flush=True)
try:
    {call}
except KeyboardInterrupt:
    print(time.monotonic())
"""

    def delay() -> float:
        with start_python(script, PYVISION_NUM_THREADS=threads) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.3)  # well into the op
            sent = time.monotonic()
            process.send_signal(signal.SIGINT)
            stdout, stderr = process.communicate(timeout=120)
        assert process.returncode == 0, stderr
        return float(stdout) - sent

    # The best of three: a loaded machine may keep the child off its core for that long.
    assert min(delay() for _ in range(3)) < 0.2
