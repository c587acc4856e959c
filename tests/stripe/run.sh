#!/usr/bin/env bash
# The Stripe stand-in and our webhook verification, judged by Stripe's official Python library.
set -euo pipefail
cd "$(dirname "$0")"
export SANDBOX_STRIPE_BIN=${GRIDWAY_BIN:?the folder with the built binaries}/sandbox-stripe
source ../venv.sh
exec "$venv/bin/python" -m pytest -q -p no:cacheprovider .
