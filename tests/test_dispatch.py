# SPDX-License-Identifier: Apache-2.0
"""Which kernels run, and how PYVISION_ISA changes that."""

from __future__ import annotations

import numpy as np
import pytest

from pyvision import _core
from tests._process import output_of, run_python

_REPORT = """
from pyvision import _core
print(_core.isa(), *sorted(set(_core.kernel_isas().values())), sep=",")
print(_core.isa_reason())
"""


@pytest.mark.parametrize("name", _core.supported_isas())
def test_environment_forces_every_kernel(name: str) -> None:
    assert output_of(_REPORT, PYVISION_ISA=name).splitlines() == [f"{name},{name}", "PYVISION_ISA"]


@pytest.mark.parametrize("environment", [{}, {"PYVISION_ISA": ""}])
def test_the_best_is_chosen_by_default(environment: dict[str, str]) -> None:
    supported = _core.supported_isas()
    best = supported[-1]
    expected = [f"{best},{best}", f"best of {', '.join(supported)}"]
    assert output_of(_REPORT, **environment).splitlines() == expected


@pytest.mark.parametrize("name", ["sse9", "AVX2", "avx2 ", "0"])
def test_an_unknown_name_is_a_clear_error_at_import(name: str) -> None:
    done = run_python("import pyvision", PYVISION_ISA=name)
    names = ", ".join(_core.supported_isas())
    assert done.returncode == 1
    expected = f"[PYVISION_ISA] expected an instruction set this CPU has ({names}), got '{name}'"
    assert done.stderr.strip().splitlines()[-1] == f"ImportError: {expected}"


def test_set_isa_refuses_unknown_names_and_changes_nothing() -> None:
    before = _core.isa(), _core.isa_reason()
    with pytest.raises(ValueError, match=r"^\[set_isa\] expected an instruction set .*, got 'mmx'$"):
        _core.set_isa("mmx")
    assert (_core.isa(), _core.isa_reason()) == before


def test_every_kernel_follows(isa: str) -> None:
    """The fixture fails if one op's kernels stay behind; here they also have to give the result."""
    x = np.random.default_rng(0).standard_normal((3, 37), dtype=np.float32)
    assert _core.isa() == isa
    exact = np.exp(x.astype(np.float64))
    exact /= exact.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(_core.softmax(x, 1), exact, rtol=1e-6)
