"""Runs `system-tests stripe-calls` against stripe-mock through a proxy that writes down each
request and stripe-mock's verdict on it."""

import http.client
import os
import re
import subprocess
import sys
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

CALLS = {
    "GET /v1/charges/:id",
    "GET /v1/disputes/:id",
    "GET /v1/events",
    "GET /v1/payment_intents",
    "GET /v1/payment_intents/:id",
    "GET /v1/refunds",
    "GET /v1/refunds/:id",
    "POST /v1/payment_intents",
    "POST /v1/payment_intents/:id",
    "POST /v1/refunds",
}
# What must be there for Stripe to refuse the second one.
KEYED = {"POST /v1/payment_intents": "create-intent", "POST /v1/refunds": "refund"}
UUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def start_mock():
    command = [os.environ["STRIPE_MOCK"], "-http-addr", "127.0.0.1:0", "-https-addr", "127.0.0.1:0"]
    mock = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for line in mock.stdout:
        if found := re.search(r"HTTP at address: (127\.0\.0\.1:\d+)", line):
            threading.Thread(target=mock.stdout.read, daemon=True).start()
            return mock, found[1]
    raise SystemExit(f"stripe-mock ended with {mock.wait()}")


def proxy(upstream):
    """(server, what was asked: (call, idempotency key, query and body, status, answer))"""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def forward(self):
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            connection = http.client.HTTPConnection(upstream, timeout=30)
            headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "content-length")}
            connection.request(self.command, self.path, body or None, headers)
            answer = connection.getresponse()
            content = answer.read()
            url = urllib.parse.urlsplit(self.path)
            call = f"{self.command} " + re.sub(r"/(pi|re|ch|dp|evt)_\w+", "/:id", url.path)
            asked = urllib.parse.unquote_plus(url.query) + urllib.parse.unquote_plus(body.decode())
            seen.append((call, self.headers.get("idempotency-key"), asked, answer.status, content.decode()))
            self.send_response(answer.status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = forward

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, seen


def awake(upstream):
    """The judge refuses what is wrong: else its consent would mean nothing."""
    for method, path, body in [
        ("POST", "/v1/payment_intents", "amount=500&currency=usd&nonsense=1"),
        ("POST", "/v1/payment_intents", "amount=a&currency=usd"),
        ("POST", "/v1/payment_intents", "currency=usd"),
        ("GET", "/v1/events?limit=many", None),
        ("GET", "/v1/nonsense", None),
    ]:
        connection = http.client.HTTPConnection(upstream, timeout=30)
        headers = {"authorization": "Bearer sk_test_123", "content-type": "application/x-www-form-urlencoded"}
        connection.request(method, path, body, headers)
        status = connection.getresponse().status
        assert status in (400, 404), f"stripe-mock takes {method} {path} {body}: {status}"


def main():
    mock, upstream = start_mock()
    try:
        awake(upstream)
        server, seen = proxy(upstream)
        url = f"http://127.0.0.1:{server.server_port}"
        subprocess.run([Path(os.environ["GRIDWAY_BIN"]) / "system-tests", "stripe-calls", "--url", url],
                       check=True, timeout=120)
    finally:
        mock.kill()
        mock.wait()
    wrong = [f"{call} {asked}: {status} {answer[:300]}" for call, _, asked, status, answer in seen if status != 200]
    for call, key, asked, _, _ in seen:
        if call in KEYED and not re.fullmatch(f"{UUID}:{KEYED[call]}", key or ""):
            wrong.append(f"{call} {asked}: its idempotency key is {key}")
    made = {call for call, *_ in seen}
    wrong += [f"{call} was not made" for call in sorted(CALLS - made)]
    wrong += [f"{call} is not in the list of calls" for call in sorted(made - CALLS)]
    for line in wrong:
        print(line)
    print(f"stripe-mock: {len(seen)} requests of {len(made)} kinds, {len(wrong)} wrong")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
