"""Prints the Stripe-Signature header for a payload, made by the official library.

    python sign.py whsec_… < event.json
    python sign.py whsec_… --timestamp 1700000000 < event.json

The payload is taken from stdin byte by byte as it is (UTF-8); post exactly these bytes.
"""

import argparse
import sys
import time

import stripe


def header(payload: str, secret: str, timestamp: int) -> str:
    # The library verifies but gives no public way to build a header; it signs in here.
    signature = stripe.WebhookSignature._compute_signature(f"{timestamp}.{payload}", secret)
    return f"t={timestamp},v1={signature}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("secret", help="signing secret, whsec_…")
    parser.add_argument("--timestamp", type=int, help="seconds since 1970; now when absent")
    arguments = parser.parse_args()
    timestamp = int(time.time()) if arguments.timestamp is None else arguments.timestamp
    print(header(sys.stdin.buffer.read().decode("utf-8"), arguments.secret, timestamp))


if __name__ == "__main__":
    main()
