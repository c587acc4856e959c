#!/usr/bin/env bash
# The AsyncAPI document read by AsyncAPI's own parser, with its Avro schemas.
set -euo pipefail
cd "$(dirname "$0")"
cache=${GRIDWAY_CACHE:-$HOME/.cache/gridway}
modules=$cache/npm-asyncapi-$(sha256sum package-lock.json | cut -c1-12)
if [ ! -f "$modules/ready" ]; then
    mkdir -p "$modules"
    cp package.json package-lock.json "$modules/"
    npm ci --prefix "$modules" --omit=dev --no-audit --no-fund --silent
    touch "$modules/ready"
fi
NODE_PATH=$modules/node_modules exec node check.js ../../docs/asyncapi.json
