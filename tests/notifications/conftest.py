"""The product on its local stack, a person with mailbox, phone and webhook receiver, an operator."""
import email
import email.policy
import http.server
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import threading
import time

import pytest
import requests

BIN = pathlib.Path(os.environ["GRIDWAY_BIN"])
# What `gridway up` signs up.
PERSON = {"email": "demo@example.org", "password": "a horse of the sandbox"}
OPERATOR = {"email": "operator@example.org", "password": "a mule of the sandbox"}
PHONE = "+491701234567"


def until(what, check, seconds=60):
    """Polls until `check` gives something."""
    deadline = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen within {seconds} s")
        time.sleep(0.05)


class Receiver:
    """Keeps what it is sent; the first of each id is answered 500, the rest 200."""

    def __init__(self):
        self.heard = heard = []
        seen = set()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                headers = {name.lower(): value for name, value in self.headers.items()}
                heard.append((time.time(), headers, body))
                status = 200 if headers["webhook-id"] in seen else 500
                seen.add(headers["webhook-id"])
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    def of(self, kind):
        return [message for message in self.heard if json.loads(message[2])["type"] == kind]


class World:
    def __init__(self, environment):
        self.env, self.api = environment, environment["GRIDWAY_API_URL"]
        self.keys = 0
        self.session = requests.Session()
        tokens = requests.post(f"{self.api}/auth/login", json=PERSON, timeout=20)
        tokens.raise_for_status()
        self.session.headers["Authorization"] = f"Bearer {tokens.json()['access_token']}"

    def command(self, method, path, body=None, wait=0):
        self.keys += 1
        headers = {"Idempotency-Key": f"notifications-{self.keys}"}
        if wait:
            headers["Prefer"] = f"wait={wait}"
        return self.session.request(method, self.api + path, json=body, headers=headers, timeout=40)

    def get(self, path):
        answer = self.session.get(self.api + path, timeout=20)
        answer.raise_for_status()
        return answer.json()

    def mails(self, address, subject):
        """Mails of the real mail server whose subject has the words."""
        url = f"{self.env['GRIDWAY_SANDBOX_MAILBOX']}/api/user/{address}/messages/INBOX"
        answer = requests.get(url, timeout=20)
        all_of_them = answer.json() if answer.ok else []
        parsed = [email.message_from_string(m["mimeMessage"], policy=email.policy.default) for m in all_of_them]
        return [mail for mail in parsed if subject in mail["subject"]]

    def kept(self, what):
        """What the stand-ins of SendGrid (mails) and Twilio (texts) have taken."""
        return requests.get(f"{self.env['GRIDWAY_TWILIO_URL']}/_control/{what}", timeout=20).json()

    def texts(self, words):
        return [text for text in self.kept("texts") if text["to"] == PHONE and words in text["body"]]

    def stripe(self, path, **form):
        base = self.env["GRIDWAY_STRIPE_URL"].rstrip("/")
        key = self.env["GRIDWAY_STRIPE_KEY"]
        answer = requests.post(base + path, data=form, headers={"Authorization": f"Bearer {key}"}, timeout=20)
        answer.raise_for_status()
        return answer

    def buy(self, tft):
        """A purchase by card, paid: (purchase id, PaymentIntent id)."""
        quote = self.command("POST", "/quotes", {"tft": tft})
        assert quote.status_code == 201, quote.text
        ordered = self.command("POST", "/payments/create-intent", {"quote_id": quote.json()["id"]}, wait=20)
        assert ordered.ok, ordered.text
        purchase = ordered.json()["purchase_id"]
        intent = until("the PaymentIntent", lambda: self.get(f"/purchases/{purchase}").get("intent_id"))
        self.stripe(f"/v1/payment_intents/{intent}/confirm", payment_method="pm_card_visa",
                    return_url="https://example.com/")
        until("the purchase", lambda: self.get(f"/purchases/{purchase}")["state"] == "settled")
        return purchase, intent

    def told(self, kind, channel):
        """The person's own list, of a kind and channel."""
        found = self.get("/notifications?limit=100")["notifications"]
        return [n for n in found if (n["kind"], n["channel"]) == (kind, channel)]

    def gridway(self, *arguments, **settings):
        return subprocess.Popen([BIN / "gridway", *arguments], env={**os.environ, **self.env, **settings},
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.fixture(scope="session")
def world():
    with tempfile.TemporaryDirectory() as tmp:
        file = pathlib.Path(tmp) / "environment"
        # Contracts are billed as often as the tests say: a balance is read at each bill.
        process = subprocess.Popen([BIN / "gridway", "up", "--environment", file], stdout=subprocess.PIPE, text=True,
                                   env={**os.environ, "GRIDWAY_BALANCE_CHECK_SECONDS": "1"})
        for line in process.stdout:
            if "Gridway is up" in line:
                break
        else:
            raise AssertionError(f"gridway up ended with {process.wait()}")
        pairs = (line.split("=", 1) for line in file.read_text().splitlines())
        world = World({name.removeprefix("export "): value.strip("'") for name, value in pairs})
        made = world.gridway("users", "create", OPERATOR["email"], "--role", "dashboard_operator")
        made.communicate(OPERATOR["password"] + "\n", timeout=60)
        assert made.returncode == 0
        until("the twin", lambda: twin(world))
        yield world
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0


def twin(world):
    """The person's twin, once the read models know the person."""
    try:
        return world.get("/users/me").get("twin_id")
    except requests.HTTPError as error:
        if error.response.status_code == 404:
            return None
        raise


@pytest.fixture(scope="session")
def receiver():
    return Receiver()
