"""One mail, one text message and one webhook for a purchase, each as it should be."""
import json

import pytest
import requests
from conftest import OPERATOR, PERSON, PHONE, until
from standardwebhooks.webhooks import Webhook, WebhookVerificationError


def verified(secret, message):
    _, headers, body = message
    return Webhook(secret).verify(body, headers)


def test_a_phone_is_its_owners_once_they_know_the_code(world):
    answer = world.command("PUT", "/notifications/phone", {"number": "12"})
    assert (answer.status_code, answer.json()["field"]) == (422, "number")
    # Twilio's own magic number for one that is none.
    answer = world.command("PUT", "/notifications/phone", {"number": "+15005550001"})
    assert answer.status_code == 422, answer.text
    answer = world.command("PUT", "/notifications/phone", {"number": PHONE})
    assert answer.status_code == 202, answer.text
    assert (answer.json()["number"], answer.json()["pending"]) == (None, PHONE)
    [text] = world.texts("your code is")
    code = text["body"].split("your code is ")[1][:6]
    wrong = "000000" if code != "000000" else "000001"
    answer = world.command("POST", "/notifications/phone/verify", {"code": wrong})
    assert (answer.status_code, answer.json()["type"][-12:]) == (409, "code-invalid")
    answer = world.command("POST", "/notifications/phone/verify", {"code": code})
    assert (answer.status_code, answer.json()["number"]) == (202, PHONE)
    # Once.
    assert world.command("POST", "/notifications/phone/verify", {"code": code}).status_code == 409


def test_only_public_addresses_become_endpoints(world):
    # Of what is not public, the sandbox allows 127.0.0.1 alone.
    for url in ["http://1.1.1.1/", "https://10.0.0.1/", "https://169.254.169.254/latest/meta-data",
                "http://127.0.0.2:1/", "https://[::1]/", "https://0xa9fea9fe/", "ftp://example.org/"]:
        answer = world.command("POST", "/webhook-endpoints", {"url": url})
        assert (answer.status_code, answer.json().get("field")) == (422, "url"), url


def test_a_purchase_is_told_once_by_each_channel(world, receiver):
    wish = {"language": "en", "choices": [{"kind": "purchase_settled", "channel": "sms", "wanted": True}]}
    answer = world.command("PUT", "/notifications/preferences", wish)
    assert answer.status_code == 202, answer.text
    answer = world.command("POST", "/webhook-endpoints", {"url": receiver.url, "description": "a test"})
    assert answer.status_code == 202, answer.text
    assert answer.headers["cache-control"] == "no-store"
    endpoint, secret = answer.json()["id"], answer.json()["secret"]
    shown = world.get(f"/webhook-endpoints/{endpoint}")
    assert "secret" not in shown and shown["state"] == "active"

    purchase, _ = world.buy("250")
    # The receiver fails first: the second attempt follows after five seconds.
    first, second = until("two attempts", lambda: len(heard := receiver.of("purchase_settled")) > 1 and heard)
    assert first[1]["webhook-id"] == second[1]["webhook-id"]
    assert 4.5 < second[0] - first[0] < 30
    assert first[2] == second[2]
    for message in (first, second):
        body = verified(secret, message)
        assert body["data"]["purchase_id"] == purchase
        assert body["data"]["tft"] == "250.0000000 TFT"
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(message[2] + " ", message[1])
    [told] = until("the delivery", lambda: [n for n in world.told("purchase_settled", "webhook")
                                            if n["state"] == "delivered"])
    assert told["id"] == first[1]["webhook-id"]
    assert [(a["status"], a["code"]) for a in told["attempts"]] == [(500, "http_status"), (200, None)]

    [mail] = until("the mail", lambda: world.mails(PERSON["email"], "have arrived"))
    [told] = until("its delivery", lambda: [n for n in world.told("purchase_settled", "email")
                                            if n["state"] == "delivered"])
    assert mail["message-id"].startswith(f"<{told['id']}@")
    assert purchase in mail.get_content() and "250.0000000 TFT" in mail.get_content()
    [text] = until("the text message", lambda: world.texts("have arrived"))
    assert text["body"].startswith("Gridway: Your 250.0000000 TFT have arrived [")
    # Nothing of it came twice meanwhile, and the list has each once.
    assert len(world.mails(PERSON["email"], "have arrived")) == 1
    assert len(world.texts("have arrived")) == 1
    for channel in ("email", "sms", "webhook"):
        assert len(world.told("purchase_settled", channel)) == 1

    # A rotated secret signs beside the one before; a webhook is sent again under its id.
    rotated = world.command("POST", f"/webhook-endpoints/{endpoint}/rotate-secret")
    assert rotated.status_code == 202 and rotated.json()["secret"] != secret, rotated.text
    deliveries = world.get(f"/webhook-endpoints/{endpoint}/deliveries")["notifications"]
    [delivery] = [d for d in deliveries if d["kind"] == "purchase_settled"]
    again = world.command("POST", f"/webhook-endpoints/{endpoint}/deliveries/{delivery['id']}/resend")
    assert again.status_code == 202, again.text
    *_, third = until("it again", lambda: len(heard := receiver.of("purchase_settled")) > 2 and heard)
    assert third[1]["webhook-id"] == first[1]["webhook-id"] and third[2] == first[2]
    assert len(third[1]["webhook-signature"].split(" ")) == 2
    for each in (secret, rotated.json()["secret"]):
        assert verified(each, third)["type"] == "purchase_settled"
    with pytest.raises(WebhookVerificationError):
        verified(rotated.json()["secret"], first)

    # An endpoint that is removed is not told any more, and is not there.
    assert world.command("DELETE", f"/webhook-endpoints/{endpoint}").status_code == 202
    assert world.session.get(f"{world.api}/webhook-endpoints/{endpoint}", timeout=20).status_code == 404


def test_a_balance_that_will_not_last_is_told_with_its_figures(world):
    purchase, _ = world.buy("40")
    body = {"node_id": 1, "data": '{"name":"low"}', "purchase_id": purchase}
    asked = world.command("POST", "/deployments", body, wait=20)
    assert asked.status_code in (200, 202), asked.text
    shown = f"/deployments/{asked.json()['id']}"
    contract = until("the contract", lambda: world.get(shown)["contract_id"])
    assert world.get("/users/me")["balance"] is None
    chain = world.env["GRIDWAY_TFCHAIN_URL"].replace("ws://", "http://").rstrip("/")

    def bill(amount):
        """The chain bills so many 10^-7 TFT for the contract."""
        told = {"does": "bill", "contract": contract, "amount": amount}
        answer = requests.post(f"{chain}/_control/contract", json=told, timeout=20)
        assert answer.ok, answer.text

    def balance_after(amount):
        """What `GET /users/me` says once the balance was read after the bill."""
        before = (world.get("/users/me")["balance"] or {}).get("observed_at")

        def read():
            # A bill within a second of the reading before has none.
            bill(amount)
            balance = world.get("/users/me")["balance"]
            return balance if balance and balance["observed_at"] != before else None
        return until("a reading", read)
    # Far more than the account holds for an hour of it: 0.1 TFT at each turn of the loop.
    low = balance_after(1_000_000)
    assert low["low"] and low["lasts_seconds"] < 48 * 3600
    [mail] = until("the mail", lambda: world.mails(PERSON["email"], "Your balance pays for"))
    text = mail.get_content()
    assert "48 hours" in text and " TFT" in text
    until("its delivery", lambda: [n for n in world.told("balance_low", "email") if n["state"] == "delivered"])
    # It is told once, however often it is read.
    balance_after(1_000_000)
    assert len(world.mails(PERSON["email"], "Your balance pays for")) == 1


def all_live(address):
    """Whether a processor works on every partition of `notifications`."""
    metrics = requests.get(f"{address}/metrics", timeout=20).text.splitlines()
    states = [line for line in metrics if line.startswith("gridway_partition_state{")]
    return len(states) == 6 and all(line.endswith(" 2") for line in states)


def test_by_sendgrid_a_dispute_is_told_to_the_buyer_and_the_operators(world):
    _, intent = world.buy("20")
    until("its mail", lambda: len(world.mails(PERSON["email"], "Your 20.0000000 TFT have arrived")) == 1)
    # The slot is taken over by a process that sends another way.
    mails = world.gridway("serve", "processor", "mails", "--slot", "0",
                          GRIDWAY_SENDGRID_KEY=world.env["GRIDWAY_SANDBOX_SENDGRID_KEY"])
    listening = json.loads(mails.stdout.readline())["listening"]
    try:
        # Until then the other one may send.
        until("the takeover", lambda: all_live(listening))
        base = world.env["GRIDWAY_STRIPE_URL"].rstrip("/")
        opened = requests.post(f"{base}/_control/disputes", json={"payment_intent": intent}, timeout=20)
        assert opened.ok, opened.text

        def sent():
            found = {}
            for mail in world.kept("mails"):
                to = mail["personalizations"][0]["to"][0]["email"]
                found.setdefault(to, []).append(mail["subject"])
            return found
        until("both mails", lambda: {PERSON["email"], OPERATOR["email"]} <= sent().keys())
        assert sent()[PERSON["email"]] == ["A dispute about your purchase of 20.0000000 TFT was opened"]
        assert sent()[OPERATOR["email"]] == ["A purchase needs a person: disputed"]
        # It is urgent: the phone rings unasked.
        until("the text message", lambda: len(world.texts("A dispute about your purchase")) == 1)
        [told] = until("the delivery", lambda: [n for n in world.told("purchase_disputed", "email")
                                                if n["state"] == "delivered"])
        [mail] = [m for m in world.kept("mails") if m["personalizations"][0]["to"][0]["email"] == PERSON["email"]]
        assert mail["headers"]["Message-ID"].startswith(f"<{told['id']}@")
        # What concerns operators is theirs: the buyer's list has none of it.
        assert not world.told("purchase_alarmed", "email")
        # Nobody was told the same by the other way.
        assert not world.mails(PERSON["email"], "A dispute")
        assert not world.mails(OPERATOR["email"], "disputed")
    finally:
        mails.terminate()
        mails.wait(timeout=60)


def test_nothing_personal_is_in_the_list(world):
    everything = json.dumps(world.get("/notifications?limit=100"))
    for word in (PERSON["email"], PHONE, OPERATOR["email"], "127.0.0.1"):
        assert word not in everything
