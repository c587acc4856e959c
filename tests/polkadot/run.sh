#!/usr/bin/env bash
# @polkadot/api, a client that we did not write: on the TFChain stand-in it makes a twin, a farm, a
# node and contracts; and what it encodes from the real runtime's metadata is what our own shapes
# encode, byte for byte.
set -euo pipefail
cd "$(dirname "$0")"
: "${GRIDWAY_BIN:?the folder with the built binaries}"
cache=${GRIDWAY_CACHE:-$HOME/.cache/gridway}
modules=$cache/node-$(basename "$PWD")-$(sha256sum package-lock.json | cut -c1-12)
if [ ! -f "$modules/ready" ]; then
    rm -rf "$modules"
    mkdir -p "$modules"
    cp package.json package-lock.json .npmrc "$modules/"
    (cd "$modules" && npm ci --ignore-scripts --silent)
    touch "$modules/ready"
fi
# Modules are looked for beside the script.
cp ./*.mjs "$modules/"

coproc stand_in { SANDBOX_ACTIVATOR=//Alice exec "$GRIDWAY_BIN/sandbox-tfchain" --block-ms 100 --finality-lag 2 2>/dev/null; }
pid=$stand_in_PID
trap 'kill "$pid" 2>/dev/null || true' EXIT
read -r ready <&"${stand_in[0]}"
url=$(node -e 'console.log(JSON.parse(process.argv[1]).listening.replace("http", "ws"))' "$ready")
node "$modules/chain.mjs" "$url"

metadata=${1:-../../../shared/tfchain/metadata-spec125.scale}
if [ ! -f "$metadata" ]; then
    echo "polkadot: the encoding is not compared, ../shared/tfchain is not beside the checkout"
    exit 0
fi
"$GRIDWAY_BIN/system-tests" calls --metadata "$metadata" | node "$modules/calls.mjs" "$metadata"
