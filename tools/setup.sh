#!/usr/bin/env bash
# Finds Python 3.11 or newer, creates .venv, installs requirements.txt and this package. `make` calls it when
# requirements.txt or pyproject.toml is newer than the stamp .venv/.ready.
set -euo pipefail
cd "$(dirname "$0")/.."

stop() { printf '%s\n' "" "$@" "" >&2; exit 1; }

# A name on the PATH may be a shim that does not run, so each candidate must prove itself. PYTHON=... comes first.
find_python() {
    local candidate
    for candidate in ${PYTHON:-} python3.14 python3.13 python3.12 python3.11 python3 python; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            echo "$candidate"
            return
        fi
    done
    stop "Python 3.11 or newer is needed, and none was found." \
         "Found: $(python3 --version 2>/dev/null || echo 'no python3 at all')." \
         "Install it from https://www.python.org/downloads/ (Debian, Ubuntu: sudo apt install python3 python3-venv)," \
         "or name one: make book PYTHON=/path/to/python3.12"
}

if ! .venv/bin/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
    python=$(find_python)
    "$python" -c 'import venv, ensurepip' >/dev/null 2>&1 || stop \
        "$("$python" --version) is here, but its modules venv and ensurepip are not." \
        "Debian and Ubuntu keep them apart: sudo apt install python3-venv"
    echo "Creating .venv with $("$python" --version)"
    rm -rf .venv
    "$python" -m venv .venv || stop "$python -m venv .venv failed; its message stands above."
fi

echo "Installing what the book and the tests need into .venv (a minute or two the first time)"
pip=(.venv/bin/python -m pip --disable-pip-version-check install --quiet)
"${pip[@]}" -r requirements.txt || stop \
    "pip could not install requirements.txt; its message stands above." \
    "Most often the network is unreachable. Behind a proxy, set HTTPS_PROXY; with a mirror, set PIP_INDEX_URL."
"${pip[@]}" --no-deps --editable . || stop "pip could not install this package; its message stands above."
touch .venv/.ready
