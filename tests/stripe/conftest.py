"""The stand-in as a process per test, with the official library pointed at it, and an endpoint
that takes webhooks."""

import json
import os
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
import stripe

SECRET = "whsec_sandbox_test"


class StandIn:
    def __init__(self, url):
        self.url = url

    def control(self, path, body=None, method="POST"):
        answer = requests.request(method, f"{self.url}/_control/{path}", json=body, timeout=10)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def counts(self):
        return self.control("counts", method="GET")


class Endpoint:
    """Collects webhooks; `answers` are the statuses of the first ones, 200 follows."""

    def __init__(self):
        self.taken = []
        self.refused = []
        self.answers = []
        self.arrived = threading.Condition()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                with endpoint.arrived:
                    status = endpoint.answers.pop(0) if endpoint.answers else 200
                    into = endpoint.taken if status == 200 else endpoint.refused
                    into.append((body, self.headers["stripe-signature"]))
                    endpoint.arrived.notify_all()
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/payments/webhook"

    def events(self):
        """What was taken, each verified by the official library."""
        return [stripe.Webhook.construct_event(body, header, SECRET) for body, header in self.taken]

    def wait_for(self, condition, seconds=20):
        deadline = time.monotonic() + seconds
        with self.arrived:
            while not condition():
                left = deadline - time.monotonic()
                assert left > 0, f"not in {seconds} s; taken: {[e.type for e in self.events()]}"
                self.arrived.wait(left)


@pytest.fixture
def stand_in(monkeypatch):
    binary = os.environ.get("SANDBOX_STRIPE_BIN")
    if not binary:
        pytest.fail("SANDBOX_STRIPE_BIN must be the path of the sandbox-stripe binary")
    process = subprocess.Popen([binary], stdout=subprocess.PIPE, env={**os.environ, "RUST_LOG": "warn"})
    url = json.loads(process.stdout.readline())["listening"]
    monkeypatch.setattr(stripe, "api_key", "sk_test_sandbox")
    monkeypatch.setattr(stripe, "api_base", url)
    monkeypatch.setattr(stripe, "max_network_retries", 0)
    yield StandIn(url)
    process.terminate()
    assert process.wait(10) == 0


@pytest.fixture
def endpoint(stand_in):
    endpoint = Endpoint()
    stand_in.control("webhook", {"url": endpoint.url, "secret": SECRET})
    yield endpoint
    endpoint.server.shutdown()
    endpoint.server.server_close()
