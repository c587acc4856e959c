"""sign.py signs what the official library accepts, and the checked-in vectors are current."""

import subprocess
import sys
from pathlib import Path

import stripe
import vectors

HERE = Path(__file__).resolve().parent


def test_sign_from_the_command_line():
    body = '{"id": "evt_1", "object": "event", "note": "Größe"}'
    signed = subprocess.run(
        [sys.executable, HERE / "sign.py", "whsec_x"], input=body.encode(), capture_output=True, check=True
    )
    assert stripe.Webhook.construct_event(body, signed.stdout.decode().strip(), "whsec_x").id == "evt_1"


def test_vectors_are_those_of_the_generator(tmp_path, monkeypatch):
    checked_in = vectors.TARGET.read_text()
    monkeypatch.setattr(vectors, "TARGET", tmp_path / "signatures.json")
    vectors.main()
    assert vectors.TARGET.read_text() == checked_in
