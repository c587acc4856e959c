#!/usr/bin/env bash
# Finds out what the build and the sandbox lack on this machine. Installs it as root on Debian;
# otherwise says in one line what to install. `ensure-tools.sh NAME=PACKAGE…` asks for more.
set -euo pipefail

# command=Debian package
commands=(
    gcc=gcc g++=g++ make=make pkg-config=pkg-config perl=perl-base
    java=default-jdk-headless mvn=maven redis-server=redis-server setpriv=util-linux
)
# header=Debian package: OpenSSL, zlib and curl are linked to
headers=(openssl/ssl.h=libssl-dev zlib.h=zlib1g-dev curl/curl.h=libcurl4-openssl-dev)

missing=()
for pair in "${commands[@]}" "$@"; do
    command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
done
if command -v gcc >/dev/null; then
    for pair in "${headers[@]}"; do
        echo "#include <${pair%%=*}>" | gcc -E -x c - >/dev/null 2>&1 || missing+=("${pair#*=}")
    done
else
    missing+=("${headers[@]#*=}")
fi
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null || missing+=(postgresql)
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)

if [ ${#missing[@]} -gt 0 ]; then
    if [ "$(id -u)" != 0 ] || [ ! -e /etc/debian_version ]; then
        echo "install first (names of Debian packages): ${missing[*]}" >&2
        exit 1
    fi
    echo "installing ${missing[*]}" >&2
    export DEBIAN_FRONTEND=noninteractive
    apt-get -q -o DPkg::Lock::Timeout=300 update >/dev/null
    apt-get -q -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "${missing[@]}" >/dev/null
fi

if ! command -v cargo >/dev/null; then
    echo "install first: Rust 1.95 with rustup (rust-toolchain.toml names the version)" >&2
    exit 1
fi
java_version=$(java -version 2>&1 | sed -n '1s/.*version "\([0-9]*\).*/\1/p')
if [ "${java_version:-0}" -lt 17 ]; then
    echo "install first: a JDK of version 17 or newer (found: ${java_version:-none})" >&2
    exit 1
fi
