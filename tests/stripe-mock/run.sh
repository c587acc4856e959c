#!/usr/bin/env bash
# Every request that our Stripe client can make, validated by stripe-mock: Stripe's own stand-in,
# which holds each request against Stripe's OpenAPI description.
set -euo pipefail
cd "$(dirname "$0")"
: "${GRIDWAY_BIN:?the folder with the built binaries}"
version=v0.203.0
export STRIPE_MOCK=${GRIDWAY_CACHE:-$HOME/.cache/gridway}/stripe-mock-$version/stripe-mock
if [ ! -x "$STRIPE_MOCK" ]; then
    ../../scripts/ensure-tools.sh go=golang-go
    GOBIN=$(dirname "$STRIPE_MOCK") go install "github.com/stripe/stripe-mock@$version"
fi
exec python3 check.py
