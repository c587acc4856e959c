"""One purchase from the payment to the contract, and everything that may be wrong on its way."""
import json
import time

import pytest
import requests
import stripe
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext
from conftest import moments, until


def pay(intent):
    paid = stripe.PaymentIntent.confirm(intent, payment_method="pm_card_visa", return_url="https://example.com/")
    assert paid.status == "succeeded"


def event_of(intent, kind="payment_intent.succeeded"):
    """The event as Stripe sends it, read by Stripe's library."""
    def look():
        found = stripe.Event.list(type=kind, limit=100).data
        return next((e for e in found if e.data.object["id"] == intent), None)
    return json.dumps(until(f"{kind} of {intent}", look).to_dict())


def settle(world, purchase, intent):
    payload = event_of(intent)
    assert world.webhook(payload, world.sign(payload)).status_code == 200
    world.ended(purchase, "settled")


def committed(world, topics):
    """Every committed record of the topics, as an independent consumer sees it."""
    consumer = Consumer({"bootstrap.servers": world.env["GRIDWAY_KAFKA_BROKERS"], "group.id": "auditor",
                         "enable.auto.commit": False, "isolation.level": "read_committed", "enable.partition.eof": True})
    places = [TopicPartition(t, p, 0) for t in topics for p in consumer.list_topics(t, 10).topics[t].partitions]
    consumer.assign(places)
    ended, records = set(), []
    while len(ended) < len(places):
        message = consumer.poll(20)
        assert message is not None, "the broker does not answer"
        if message.error():
            ended.add((message.topic(), message.partition()))
        else:
            records.append(message)
    consumer.close()
    return records


def test_a_card_payment_becomes_a_contract(world):
    purchase, intent = world.order("python-1")
    body = {"node_id": 1, "data": '{"name":"python"}', "purchase_id": purchase}
    asked = world.command("/deployments", "python-1-deployment", body)
    assert asked.status_code in (200, 202), asked.text
    pay(intent)
    payload = event_of(intent)
    header = world.sign(payload)
    stripe.Webhook.construct_event(payload, header, world.env["GRIDWAY_STRIPE_WEBHOOK_SECRETS"])
    assert world.webhook(payload, header).status_code == 200
    until("the contract", lambda: "DeploymentCreated" in world.types(purchase))
    way = ["PurchaseRequested", "PaymentIntentRequested", "PaymentIntentCreated", "StripeEventReceived", "UserPaid",
           "SwapRequested", "SwapCompleted", "HandoffRequested", "TftSentToBridge", "HandoffSettled", "PurchaseEnded",
           "PurchaseAccounted", "CreditBooked",
           "DeploymentRequested", "FundsArrived", "ContractRequested", "DeploymentCreated"]
    # The topics are folded each at its own pace.
    until("the whole timeline", lambda: len(world.types(purchase)) >= len(way))
    assert sorted(world.types(purchase)) == sorted(way)
    facts = json.dumps(moments(world.get(f"/purchases/{purchase}/timeline")))
    assert intent in facts
    assert "_secret_" not in facts, "a client secret is in the timeline"

    # Told twice more, nothing happens twice.
    for _ in range(2):
        assert world.webhook(payload, world.sign(payload)).status_code == 200
    other, its_intent = world.order("python-2")
    pay(its_intent)
    settle(world, other, its_intent)
    assert sorted(world.types(purchase)) == sorted(way)

    # Another team reads the topics back, with nothing of ours but the registry.
    registry = SchemaRegistryClient({"url": world.env["GRIDWAY_REGISTRY_URL"]})
    decode = AvroDeserializer(registry)
    seen = []
    for record in committed(world, ["purchases", "deployments", "users", "deposits"]):
        headers = {k: v.decode() for k, v in record.headers()}
        value = decode(record.value(), SerializationContext(record.topic(), MessageField.VALUE))
        assert headers["ce_specversion"] == "1.0" and headers["ce_subject"] == record.key().decode()
        assert headers["ce_type"].startswith(f"gridway.{record.topic()}."), headers
        if headers.get("ce_correlationid") == purchase and headers["ce_id"] not in {s[1] for s in seen}:
            seen.append((headers["ce_type"].rsplit(".", 1)[-1], headers["ce_id"], value))
            assert headers["traceparent"].split("-")[1] == purchase.replace("-", "")
    assert sorted(kind for kind, _, _ in seen if kind != "ContractAppeared") == sorted(way)
    swap = next(value for kind, _, value in seen if kind == "SwapCompleted")
    assert 0 < swap["usdc_spent"] and swap["tft"] == 251 * 10**7 and len(swap["transaction"]) == 64


@pytest.mark.parametrize("name", ["wrong", "old", "missing", "malformed", "changed body", "other secret"])
def test_a_webhook_that_is_not_stripes_is_refused(world, name):
    payload = json.dumps({"id": f"evt_{name}", "object": "event", "type": "payment_intent.succeeded",
                          "created": int(time.time()), "livemode": False, "data": {"object": {"id": "pi_x"}}})
    good = world.sign(payload)
    header, body, word = {
        "wrong": (good[:-4] + "0000", payload, "signature"),
        "old": (world.sign(payload, timestamp=int(time.time()) - 301), payload, "old"),
        "missing": (None, payload, "missing"),
        "malformed": ("v1=abc", payload, "malformed"),
        "changed body": (good, payload.replace("pi_x", "pi_y"), "signature"),
        "other secret": (world.sign(payload, secret="whsec_other"), payload, "signature"),
    }[name]
    answer = world.webhook(body, header)
    assert answer.status_code == 400, answer.text
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert word in answer.text, answer.text


def test_a_changed_amount_is_quarantined(world):
    # Another purchase's event, told of this one: Stripe's own list has nothing of this payment.
    _, paid = world.order("python-amount-template")
    pay(paid)
    purchase, intent = world.order("python-amount")
    event = json.loads(event_of(paid))
    event["id"] = "evt_changed_amount"
    event["data"]["object"]["id"] = intent
    event["data"]["object"]["metadata"]["purchase_id"] = purchase
    event["data"]["object"]["amount_received"] -= 1
    payload = json.dumps(event)
    assert world.webhook(payload, world.sign(payload)).status_code == 200
    world.ended(purchase, "quarantined")
    assert "SwapRequested" not in world.types(purchase)


def test_a_body_that_is_too_large_is_refused(world):
    answer = world.webhook("x" * 2_000_000, "t=1,v1=00")
    assert answer.status_code == 413, answer.text


def test_records_that_cannot_be_read_hold_up_nobody_else(world):
    purchase, intent = world.order("python-poison")
    partition = next(r.partition() for r in committed(world, ["purchases"]) if r.key().decode() == purchase)
    producer = Producer({"bootstrap.servers": world.env["GRIDWAY_KAFKA_BROKERS"]})
    for value in (b"not avro at all", b"\x00\x00\x0f\x42\x3f" + b"\x02", b"\x00\x00\x00", None):
        producer.produce("purchases", key=b"poison", value=value, partition=partition)
    assert producer.flush(20) == 0
    pay(intent)
    settle(world, purchase, intent)
    letters = until("the dead letters", lambda: (r := [r for r in committed(world, ["purchases.dead-letters"]) if r.key() == b"poison"]) and len(r) >= 4 and r)
    reasons = [dict(r.headers())["dl_reason"].decode() for r in letters]
    assert len(letters) == 4, reasons
    for word in ("wire format", "knows no schema with id 999999", "no value"):
        assert any(word in reason for reason in reasons), reasons
    for letter in letters:
        headers = dict(letter.headers())
        assert headers["dl_topic"] == b"purchases" and headers["dl_partition"] == str(partition).encode()


def test_a_counterparty_that_is_down_loses_nothing(world):
    purchase, intent = world.order("python-down")
    for name, path in (("GRIDWAY_TFCHAIN_URL", "/"), ("GRIDWAY_HORIZON_URL", "/transactions/")):
        world.stand_in(name, "POST", "/_control/faults", json={"path": path, "kind": "http503", "times": 25})
    try:
        pay(intent)
        settle(world, purchase, intent)
    finally:
        for name in ("GRIDWAY_TFCHAIN_URL", "GRIDWAY_HORIZON_URL"):
            world.stand_in(name, "DELETE", "/_control/faults")


def test_a_command_needs_its_key_and_its_caller(world):
    no_key = world.session.post(world.api + "/quotes", json={"tft": "1"}, timeout=20)
    assert no_key.status_code == 400 and "Idempotency-Key" in no_key.text
    nobody = requests.post(world.api + "/quotes", json={"tft": "1"}, headers={"Idempotency-Key": "k"}, timeout=20)
    assert nobody.status_code == 401
    first = world.command("/quotes", "same-key", {"tft": "1"})
    other = world.command("/quotes", "same-key", {"tft": "2"})
    assert (first.status_code, other.status_code) == (201, 422), other.text
