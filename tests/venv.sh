# Sourced by the run.sh of a folder with a requirements.txt: makes a virtual environment outside
# the checkout, anew when the requirements change, and leaves its path in $venv.
cache=${GRIDWAY_CACHE:-$HOME/.cache/gridway}
venv=$cache/venv-$(basename "$PWD")-$(sha256sum requirements.txt | cut -c1-12)
if [ ! -f "$venv/ready" ]; then
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install -q -r requirements.txt
    touch "$venv/ready"
fi
