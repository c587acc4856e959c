# Sourced by the run.sh of a folder with a package-lock.json: installs its packages outside the
# checkout, anew when they change, and exports NODE_PATH so that CommonJS modules find them.
command -v npm >/dev/null || {
    echo "npm is missing: install Node.js 20 or later"
    exit 1
}
cache=${GRIDWAY_CACHE:-$HOME/.cache/gridway}
node_folder=$cache/node-$(basename "$PWD")-$(sha256sum package-lock.json | cut -c1-12)
if [ ! -f "$node_folder/ready" ]; then
    rm -rf "$node_folder"
    mkdir -p "$node_folder"
    cp package.json package-lock.json "$node_folder/"
    (cd "$node_folder" && npm ci --silent --ignore-scripts --no-audit --no-fund)
    touch "$node_folder/ready"
fi
export NODE_PATH=$node_folder/node_modules
