#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds the extension with AddressSanitizer and UndefinedBehaviorSanitizer in a temporary environment and runs tests
# under it: all but the command line's (processes of their own, slow to start so), or those named as arguments.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
. "$work/venv/bin/activate"
PYVISION_SANITIZE=address,undefined SKBUILD_BUILD_DIR="$work/build" pip install --quiet '.[test]'

# Python itself is not instrumented, so the runtimes come first; libstdc++ with them, or exceptions are not seen.
preload=
for library in libasan.so libubsan.so libstdc++.so; do
  preload+="$(readlink -f "$(gcc -print-file-name=$library)") "
done
# Python keeps some memory until exit, by design. malloc for its objects, so that overruns meet a red zone.
export LD_PRELOAD=$preload PYTHONMALLOC=malloc ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1
[ $# -gt 0 ] || set -- tests --ignore=tests/test_cli.py
pytest -q -x -p no:cacheprovider "$@"
