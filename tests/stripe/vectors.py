"""Writes the vectors of the signature test (counterparties/stripe/tests/signatures.json).

Every verdict is the official library's own, but for times in the future, which it lets pass
and we do not. Run from anywhere; the output is the same each time.
"""

import json
from pathlib import Path

import stripe

from sign import header

NOW = 1_700_000_000
OLD, NEW = "whsec_old", "whsec_new"
BODY = json.dumps({"id": "evt_1", "object": "event", "type": "payment_intent.succeeded"}, indent=2)
UNICODE = '{"id":"evt_2","note":"Größe ≠ 12 €, \\u0000 \\n","n":1.10}'
TARGET = Path(__file__).resolve().parents[2] / "counterparties/stripe/tests/signatures.json"


def library_accepts(case: dict, secret: str) -> bool:
    real_time = stripe._webhook.time.time
    stripe._webhook.time.time = lambda: case["now"]
    try:
        return bool(stripe.WebhookSignature.verify_header(case["body"], case["header"] or "", secret, tolerance=300))
    except stripe.SignatureVerificationError:
        return False
    finally:
        stripe._webhook.time.time = real_time


def main() -> None:
    good = header(BODY, NEW, NOW)
    hexed = good.split("v1=")[1]
    cases = []

    def case(name, expect, *, body=BODY, signature=good, secrets=(NEW,), now=NOW):
        entry = {"name": name, "body": body, "header": signature, "secrets": list(secrets), "now": now, "expect": expect}
        accepted = any(library_accepts(entry, secret) for secret in secrets)
        if expect != "too_new":
            assert accepted == (expect == "ok"), (name, accepted)
        cases.append(entry)

    case("as signed", "ok")
    case("not ASCII", "ok", body=UNICODE, signature=header(UNICODE, NEW, NOW))
    case("empty body", "ok", body="", signature=header("", NEW, NOW))
    case("the second of two secrets", "ok", secrets=(OLD, NEW))
    case("two signatures while a secret is rolled", "ok", signature=f"t={NOW},v1={header(BODY, OLD, NOW).split('v1=')[1]},v1={hexed}")
    case("with the old scheme beside it", "ok", signature=f"{good},v0={'0' * 64}")
    case("order does not matter", "ok", signature=f"v1={hexed},t={NOW}")
    case("exactly 300 s old", "ok", now=NOW + 300)
    case("exactly 300 s ahead", "ok", now=NOW - 300)
    case("301 s old", "too_old", now=NOW + 301)
    case("301 s ahead", "too_new", now=NOW - 301)
    case("old and wrong is wrong", "no_match", now=NOW + 301, secrets=(OLD,))
    case("another secret", "no_match", secrets=(OLD,))
    case("a changed body", "no_match", body=BODY.replace("evt_1", "evt_2"))
    case("the body printed anew", "no_match", body=json.dumps(json.loads(BODY)))
    case("a changed time", "no_match", signature=good.replace(str(NOW), str(NOW + 1)))
    case("only the old scheme", "malformed", signature=f"t={NOW},v0={hexed}")
    case("a signature cut short", "no_match", signature=good[:-2])
    case("a signature that is not hex", "no_match", signature=f"t={NOW},v1=xyz")
    case("an empty signature", "no_match", signature=f"t={NOW},v1=")
    case("no time", "malformed", signature=f"v1={hexed}")
    case("a time that is no number", "malformed", signature=f"t=now,v1={hexed}")
    case("nonsense", "malformed", signature="nonsense")
    case("empty header", "malformed", signature="")
    case("no header", "missing", signature=None)
    TARGET.write_text(json.dumps(cases, indent=1, ensure_ascii=False) + "\n")
    print(f"{len(cases)} vectors written")


if __name__ == "__main__":
    main()
