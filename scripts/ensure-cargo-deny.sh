#!/usr/bin/env bash
# Installs cargo-deny beside the build cache unless it is there, and prints its path.
# It is built for a short build, not for speed: it runs for a second.
set -euo pipefail
version=0.20.2
root=${GRIDWAY_TOOLS:-$HOME/.cache/gridway/tools}
binary=$root/bin/cargo-deny
if [ "$("$binary" --version 2>/dev/null)" != "cargo-deny $version" ]; then
    echo "building cargo-deny $version" >&2
    CARGO_TARGET_DIR="$root/target" \
        CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=false \
        CARGO_PROFILE_RELEASE_CODEGEN_UNITS=256 CARGO_PROFILE_RELEASE_DEBUG=false \
        cargo install --quiet --locked cargo-deny --version "$version" --no-default-features --root "$root" >&2
    rm -rf "$root/target"
fi
echo "$binary"
