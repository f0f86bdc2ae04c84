# SPDX-License-Identifier: Apache-2.0
"""`python -m pyvision` is the `pyvision` command."""

from __future__ import annotations

import sys

from pyvision.cli import main

sys.exit(main())
