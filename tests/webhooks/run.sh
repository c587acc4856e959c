#!/usr/bin/env bash
# Our verification of webhooks, judged by Stripe's official libraries for Node and Python: each signs
# every case of cases.json with its own code and gives its own verdict; ours must be the same, but
# where a case says why it is not.
set -euo pipefail
cd "$(dirname "$0")"
: "${GRIDWAY_BIN:?the folder with the built binaries}"
source ../venv.sh
source ../npm.sh
node judge.cjs
"$venv/bin/python" judge.py
