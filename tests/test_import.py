# SPDX-License-Identifier: Apache-2.0
"""What `import pyvision` costs and offers."""

from __future__ import annotations

import pytest

import pyvision
from tests._process import output_of

IMPORTED = """
import sys
import numpy
before = set(sys.modules)
import pyvision
new = {name.partition(".")[0] for name in set(sys.modules) - before} - {"pyvision"} - sys.stdlib_module_names
eager = {name for name in sys.modules if name.startswith("pyvision.")}
print(sorted(new), sorted(eager))
"""


def test_import_brings_numpy_alone() -> None:
    assert output_of(IMPORTED) == "[] ['pyvision._backend', 'pyvision._config', 'pyvision._core']"


def test_promised_names_are_there() -> None:
    assert set(pyvision.__all__) <= set(dir(pyvision))
    for name in pyvision.__all__:
        assert getattr(pyvision, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        pyvision.nonsense  # noqa: B018


def test_thread_count() -> None:
    before = pyvision.get_num_threads()
    try:
        pyvision.set_num_threads(3)
        assert pyvision.get_num_threads() == 3
        for wrong in (0, -1, 4097):
            with pytest.raises(ValueError, match="set_num_threads"):
                pyvision.set_num_threads(wrong)
        for wrong in (1.5, "2", None, True):
            with pytest.raises(TypeError, match="set_num_threads"):
                pyvision.set_num_threads(wrong)  # type: ignore[arg-type]
        assert pyvision.get_num_threads() == 3
    finally:
        pyvision.set_num_threads(before)


def test_show_config_says_what_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    pyvision.show_config()
    text = capsys.readouterr().out
    assert pyvision.__version__ in text
    assert f"{pyvision._core.isa()} ({pyvision._core.isa_reason()})" in text
    assert f"{pyvision.get_num_threads()} ({pyvision._core.num_threads_reason()})" in text
    assert "CUDA" in text
