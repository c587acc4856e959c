#!/usr/bin/env bash
# Runs each executable tests/<name>/run.sh, in the order of their names, against built binaries.
# Each starts what it needs, says what it found and exits 0 if that is as it should be.
set -uo pipefail
cd "$(dirname "$0")"
passed=0
failed=0
for script in */run.sh; do
    [ -x "$script" ] || continue
    echo "== tests/$script"
    if "./$script"; then
        passed=$((passed + 1))
    else
        echo "== tests/$script failed ($?)"
        failed=$((failed + 1))
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
