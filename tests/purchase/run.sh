#!/usr/bin/env bash
# The end-to-end purchase and bad input, judged by tools that are not ours: Stripe's official
# Python library pays and signs, Confluent's client reads the topics back, the official Stellar
# SDK empties the treasury.
set -euo pipefail
cd "$(dirname "$0")"
: "${GRIDWAY_BIN:?the folder with the built binaries}"
source ../venv.sh
exec "$venv/bin/python" -m pytest -q -p no:cacheprovider .
