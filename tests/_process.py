# SPDX-License-Identifier: Apache-2.0
"""Scripts in a fresh interpreter: for what must be decided before the import, or may end the process."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import textwrap

# Scripts start where there is no folder to import: the repository's pyvision/ would hide the installed one.
_EMPTY = tempfile.TemporaryDirectory(prefix="pyvision-")


def start_python(script: str, **environment: str) -> subprocess.Popen[str]:
    """Start `script` with these environment variables; the parent's PYVISION_… settings are not inherited."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("PYVISION_")}
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=_EMPTY.name,
        env=inherited | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_python(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `script` to its end, at most two minutes."""
    with start_python(script, **environment) as process:
        try:
            stdout, stderr = process.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def output_of(script: str, **environment: str) -> str:
    """What `script` prints; fails the test with its error output if it does not succeed."""
    done = run_python(script, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
