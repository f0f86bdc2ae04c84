# SPDX-License-Identifier: Apache-2.0
# Nothing for Python: what it has is for cimport.
