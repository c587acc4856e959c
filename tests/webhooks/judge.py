"""Signs and judges every case with Stripe's official library for Python, then asks our verification."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import stripe

CASES = json.loads((Path(__file__).parent / "cases.json").read_text(encoding="utf-8"))


def header(case):
    """`{new@1700000000}` in a header is the signature with whsec_new at that time."""

    def signature(match):
        payload = f"{match[2]}.{case.get('signed', case['body'])}"
        made = stripe.WebhookSignature._compute_signature(payload, f"whsec_{match[1]}")
        return made[:-2] if match[3] else made

    return re.sub(r"\{(\w+)@(-?\d+)(:cut)?\}", signature, case["header"])


def accepts(case):
    stripe._webhook.time.time = lambda: case["now"]
    for secret in case["secrets"]:
        try:
            if stripe.WebhookSignature.verify_header(case["body"], case["header"], secret, tolerance=300):
                return True
        except stripe.SignatureVerificationError:
            pass
    return False


def main():
    signed = [{**case, "header": header(case)} for case in CASES]
    done = subprocess.run([Path(os.environ["GRIDWAY_BIN"]) / "system-tests", "webhooks"],
                          input=json.dumps(signed).encode(), stdout=subprocess.PIPE, check=True)
    wrong = 0
    for case, ours in zip(signed, json.loads(done.stdout), strict=True):
        agreed = accepts(case) == (ours["verdict"] == "ok")
        if agreed == bool(case.get("differs", {}).get("python")):
            wrong += 1
            print(f"{case['name']}: the library says {accepts(case)}, we say {ours['verdict']}")
    print(f"python: stripe {stripe.VERSION}, {len(CASES)} cases, {wrong} wrong")
    sys.exit(wrong != 0)


if __name__ == "__main__":
    main()
