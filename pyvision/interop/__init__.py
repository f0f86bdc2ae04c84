# SPDX-License-Identifier: Apache-2.0
"""pyvision's ops as other frameworks' own, one file per framework, which it imports."""
