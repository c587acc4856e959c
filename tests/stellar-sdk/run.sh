#!/usr/bin/env bash
# What our code signs, and the Horizon stand-in, judged by Stellar's official libraries for Python
# and JavaScript.
set -euo pipefail
cd "$(dirname "$0")"
: "${GRIDWAY_BIN:?the folder with the built binaries}"
source ../venv.sh
source ../npm.sh
passphrase="Standalone Network ; February 2017"
vectors=$(mktemp)
trap 'rm -f "$vectors"' EXIT
"$GRIDWAY_BIN/system-tests" vectors >"$vectors"
export GRIDWAY_VECTORS=$vectors GRIDWAY_PASSPHRASE=$passphrase
# Each library has a network of its own: ledgers close every 200 ms.
for library in python javascript; do
    coproc stand_in { exec "$GRIDWAY_BIN/sandbox-horizon" --passphrase "$passphrase" --close-ms 200 2>/dev/null; }
    pid=$stand_in_PID
    trap 'rm -f "$vectors"; kill "$pid" 2>/dev/null || true' EXIT
    read -r ready <&"${stand_in[0]}"
    GRIDWAY_HORIZON=$("$venv/bin/python" -c "import json, sys; print(json.loads(sys.argv[1])['listening'])" "$ready")
    export GRIDWAY_HORIZON
    case $library in
        python) "$venv/bin/python" -m pytest -q -p no:cacheprovider . ;;
        javascript) node --test --test-reporter=dot test_vectors.cjs test_stand_in.cjs ;;
    esac
    kill "$pid"
    wait "$pid" 2>/dev/null || true
done
