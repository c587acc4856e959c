#!/usr/bin/env bash
# The end-to-end purchase and bad input, judged by tools that are not ours: Stripe's official
# Python library pays and signs, Confluent's client reads the topics back.
set -euo pipefail
cd "$(dirname "$0")"
: "${GRIDWAY_BIN:?the folder with the built binaries}"
venv=${GRIDWAY_PURCHASE_VENV:-$HOME/.cache/gridway/venv-purchase}
stamp=$venv/$(sha256sum requirements.txt | cut -c1-16)
if [ ! -f "$stamp" ]; then
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install -q -r requirements.txt
    touch "$stamp"
fi
exec "$venv/bin/python" -m pytest -q -p no:cacheprovider .
