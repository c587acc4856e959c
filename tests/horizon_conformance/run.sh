#!/usr/bin/env bash
# The conformance script that passes on a real Stellar network, on the stand-in: ledgers that close
# on submission, and ledgers that close regularly.
set -euo pipefail
cd "$(dirname "$0")"
: "${GRIDWAY_BIN:?the folder with the built binaries}"
script=../../../shared/stellar/horizon_conformance.py
if [ ! -f "$script" ]; then
    echo "horizon conformance: skipped, ../shared/stellar is not here"
    exit 0
fi
source ../venv.sh
passphrase="Standalone Network ; February 2017"
root=$("$venv/bin/python" -c "import hashlib, sys; from stellar_sdk import Keypair; print(Keypair.from_raw_ed25519_seed(hashlib.sha256(sys.argv[1].encode()).digest()).secret)" "$passphrase")
for close_ms in 0 200; do
    coproc stand_in { exec "$GRIDWAY_BIN/sandbox-horizon" --passphrase "$passphrase" --close-ms "$close_ms" 2>/dev/null; }
    # Bash forgets the variable when the process ends.
    pid=$stand_in_PID
    trap 'kill "$pid" 2>/dev/null || true' EXIT
    read -r ready <&"${stand_in[0]}"
    url=$("$venv/bin/python" -c "import json, sys; print(json.loads(sys.argv[1])['listening'])" "$ready")
    log=$(mktemp)
    if ! "$venv/bin/python" "$script" --horizon "$url" --passphrase "$passphrase" --root-secret "$root" >"$log" 2>&1; then
        grep -v '^PASS' "$log" || true
        echo "conformance failed with --close-ms $close_ms"
        exit 1
    fi
    echo "--close-ms $close_ms: $(tail -1 "$log")"
    rm -f "$log"
    kill "$pid"
    wait "$pid" 2>/dev/null || true
done
