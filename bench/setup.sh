#!/usr/bin/env bash
# Installs the peers outside Rust, pinned: Go, uvloop and gevent from PyPI into bench/.venv, where the runner looks
# for them; redis from Debian, and valgrind for `bench -- guard`. Run it again after a change of python/requirements.txt.
#
# BINGFA_BENCH_PYTHON and BINGFA_BENCH_GO name other interpreters and compilers to the runner.
set -euo pipefail
cd "$(dirname "$0")"

python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
    echo "setup.sh: Python 3.10 or later is needed" >&2
    exit 1
}
[ -x .venv/bin/python3 ] || python3 -m venv .venv
.venv/bin/python3 -m pip install --quiet --disable-pip-version-check --requirement python/requirements.txt

if ! command -v valgrind >/dev/null || ! command -v redis-server >/dev/null; then
    root=()
    [ "$(id -u)" = 0 ] || root=(sudo)
    "${root[@]}" apt-get update -qq
    "${root[@]}" apt-get install -qq --yes redis-server valgrind >/dev/null
fi

.venv/bin/python3 --version
.venv/bin/go version
.venv/bin/python3 -m pip freeze
valgrind --version
redis-server --version
