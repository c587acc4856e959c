#!/usr/bin/env bash
# What a buyer is told of a purchase, judged by tools that are not ours: the official library of
# Standard Webhooks verifies what a receiver is sent; mails come from a real mail server.
set -euo pipefail
cd "$(dirname "$0")"
: "${GRIDWAY_BIN:?the folder with the built binaries}"
source ../venv.sh
exec "$venv/bin/python" -m pytest -q -p no:cacheprovider .
