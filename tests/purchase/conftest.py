"""The product on its local stack, started once, and what the tests need to talk to it."""
import os
import pathlib
import signal
import subprocess
import tempfile
import time

import pytest
import requests
import stripe

BIN = pathlib.Path(os.environ["GRIDWAY_BIN"])
TOKEN = "sandbox-token-of-the-demo-user"
OPERATOR = "sandbox-token-of-an-operator"


def until(what, check, seconds=60):
    """Polls until `check` gives something; the last value is in the error."""
    deadline = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen within {seconds} s")
        time.sleep(0.05)


class World:
    def __init__(self, process, environment):
        self.process, self.env = process, environment
        self.api = environment["GRIDWAY_API_URL"]
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {TOKEN}"
        stripe.api_key = environment["GRIDWAY_STRIPE_KEY"]
        stripe.api_base = environment["GRIDWAY_STRIPE_URL"].rstrip("/")

    def command(self, path, key, body):
        headers = {"Idempotency-Key": key}
        if path != "/deployments":  # that one waits for its purchase
            headers["Prefer"] = "wait=20"
        return self.session.post(self.api + path, json=body, headers=headers, timeout=40)

    def get(self, path):
        answer = self.session.get(self.api + path, timeout=20)
        answer.raise_for_status()
        return answer.json()

    def order(self, key, tft="250"):
        """A purchase that waits for its payment: (purchase id, PaymentIntent id)."""
        quote = self.command("/quotes", f"{key}-quote", {"tft": tft})
        assert quote.status_code == 201, quote.text
        ordered = self.command("/payments/create-intent", key, {"quote_id": quote.json()["id"]})
        assert ordered.status_code in (200, 202), ordered.text
        purchase = ordered.json()["purchase_id"]
        intent = until("the PaymentIntent", lambda: self.get(f"/purchases/{purchase}").get("intent_id"))
        return purchase, intent

    def webhook(self, payload, header):
        headers = {"Content-Type": "application/json"}
        if header is not None:
            headers["Stripe-Signature"] = header
        return requests.post(self.api + "/payments/webhook", data=payload, headers=headers, timeout=20)

    def sign(self, payload, secret=None, timestamp=None):
        """The Stripe-Signature header as Stripe's own library computes it."""
        timestamp = int(time.time()) if timestamp is None else timestamp
        secret = secret or self.env["GRIDWAY_STRIPE_WEBHOOK_SECRETS"].split(",")[0]
        signature = stripe.WebhookSignature._compute_signature(f"{timestamp}.{payload}", secret)
        return f"t={timestamp},v1={signature}"

    def stand_in(self, name, method, path, **kwargs):
        # TFChain is a WebSocket; its controls are on the same port.
        base = self.env[name].replace("ws://", "http://", 1).rstrip("/")
        answer = requests.request(method, base + path, timeout=20, **kwargs)
        answer.raise_for_status()
        return answer

    def ended(self, purchase, state):
        return until(f"{purchase} {state}", lambda: self.get(f"/purchases/{purchase}")["state"] == state)

    def types(self, purchase):
        """The timeline's types, but for what depends on who is quicker: the watcher of the chain tells of a contract
        that it sees before its outcome stands in the log."""
        types = [moment["type"].rsplit(".", 1)[-1] for moment in moments(self.get(f"/purchases/{purchase}/timeline"))]
        return [name for name in types if name != "ContractAppeared"]


def moments(timeline):
    return timeline["events"]


def start(tmp, *arguments, **settings):
    """`gridway up`; gives the process and its environment once everything runs."""
    file = tmp / "environment"
    command = [BIN / "gridway", "up", "--environment", file, *arguments]
    process = subprocess.Popen(command, env={**os.environ, **settings}, stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if "Gridway is up" in line:
            break
    else:
        raise AssertionError(f"gridway up ended with {process.wait()}")
    pairs = (line.split("=", 1) for line in file.read_text().splitlines())
    return process, {name.removeprefix("export "): value.strip("'") for name, value in pairs}


def stop(process):
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 0


@pytest.fixture(scope="session")
def world():
    with tempfile.TemporaryDirectory() as tmp:
        # A refund is to be seen within the test: give up after three seconds.
        # The treasury is to hold more than it does: its alarm rings.
        process, environment = start(pathlib.Path(tmp), GRIDWAY_GIVE_UP_SECONDS="3", GRIDWAY_RECONCILE_SECONDS="2",
                                     GRIDWAY_TREASURY_MIN_USDC="2000000", GRIDWAY_TREASURY_SECONDS="1")
        world = World(process, environment)
        # Stripe's webhooks are made and signed by Stripe's own library here.
        world.stand_in("GRIDWAY_STRIPE_URL", "DELETE", "/_control/webhook")
        registered = world.command("/users", "register", {})
        assert registered.status_code in (200, 202), registered.text
        until("the twin", lambda: world.get("/users/me").get("twin_id"))
        yield world
        stop(process)
