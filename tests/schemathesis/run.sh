#!/usr/bin/env bash
# The running API held against its own contract by schemathesis, as a person of each role, with
# every check; and its public keys used by PyJWT.
set -euo pipefail
cd "$(dirname "$0")"
: "${GRIDWAY_BIN:?the folder with the built binaries}"
source ../venv.sh
exec "$venv/bin/python" run.py "$venv/bin/st"
