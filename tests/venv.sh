# Sourced by the run.sh of a folder with a requirements.txt: makes a virtual environment outside
# the checkout, anew when the requirements change, and leaves its path in $venv.
cache=${GRIDWAY_CACHE:-$HOME/.cache/gridway}
venv=$cache/venv-$(basename "$PWD")-$(sha256sum requirements.txt | cut -c1-12)
if [ ! -f "$venv/ready" ]; then
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install -q -r requirements.txt
    touch "$venv/ready"
fi
# Programs that test act for one person, with a service token, and for somebody who watches over all.
export GRIDWAY_API_TOKENS=${GRIDWAY_API_TOKENS:-sandbox-token-of-the-demo-user:7d1c4f0a-31b4-5c39-9d57-0d2f6a3a4b11,sandbox-token-of-an-operator:7d1c4f0a-31b4-5c39-9d57-0d2f6a3a4b12/dashboard_operator}
