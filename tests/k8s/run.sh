#!/usr/bin/env bash
# The manifests, rendered by kustomize and held against Kubernetes' own schemas, against the
# processors that there are and against the settings that they need.
set -euo pipefail
cd "$(dirname "$0")"
: "${GRIDWAY_BIN:?the folder with the built binaries}"
version=v5.8.1
. ../venv.sh
kustomize=$cache/kustomize-$version/kustomize
if [ ! -x "$kustomize" ]; then
    ../../scripts/ensure-tools.sh go=golang-go
    GOBIN=$(dirname "$kustomize") go install "sigs.k8s.io/kustomize/kustomize/v5@$version"
fi
exec "$venv/bin/python" check.py "$kustomize"
