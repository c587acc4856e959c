"""Webhooks that never come: the reconciler hears of them in Stripe's own list of events."""
import json

import stripe
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext
from conftest import until
from test_purchase import committed, event_of, pay

MINUTE = 60


def told(world, purchase):
    """Every record of the payment in the topic, echoes included: (id, source, value)."""
    decode = AvroDeserializer(SchemaRegistryClient({"url": world.env["GRIDWAY_REGISTRY_URL"]}))
    records = []
    for record in committed(world, ["purchases"]):
        headers = {k: v.decode() for k, v in record.headers() or []}
        if record.key().decode() == purchase and headers.get("ce_type", "").endswith(".StripeEventReceived"):
            value = decode(record.value(), SerializationContext("purchases", MessageField.VALUE))
            records.append((headers["ce_id"], headers["ce_source"], value))
    return records


def test_a_webhook_that_never_came_is_a_fact_within_a_minute(world):
    purchase, intent = world.order("python-never-told")
    pay(intent)
    until("the payment", lambda: "UserPaid" in world.types(purchase), MINUTE)
    world.ended(purchase, "settled")
    assert [source for _, source, _ in told(world, purchase)] == ["/gridway/reconciler"]

    # The webhook comes after all: the same fact, field by field, and nothing happens again.
    before = sorted(world.types(purchase))
    payload = event_of(intent)
    assert world.webhook(payload, world.sign(payload)).status_code == 200
    (first, _, listed), (second, source, sent) = until(
        "the echo", lambda: (r := told(world, purchase)) and len(r) == 2 and r)
    assert first == second and source == "/gridway/api"
    assert json.loads(listed.pop("raw")) == json.loads(sent.pop("raw"))
    assert listed == sent
    assert sorted(world.types(purchase)) == before


def test_what_the_webhook_told_is_not_told_again(world):
    purchase, intent = world.order("python-told")
    payload = json.loads(event_of(pay(intent) or intent))
    payload = json.dumps(payload)
    assert world.webhook(payload, world.sign(payload)).status_code == 200
    world.ended(purchase, "settled")
    # The reconciler has read past it once it has told of a later one.
    later, its_intent = world.order("python-told-later")
    pay(its_intent)
    world.ended(later, "settled")
    facts = told(world, purchase)
    assert len({fact for fact, _, _ in facts}) == 1
    assert [s for _, s, _ in facts].count("/gridway/reconciler") <= 1


def test_an_unknown_cursor_is_read_over_from_the_oldest_event(world):
    # As after thirty days: Stripe has forgotten the event at which the reconciler stands.
    world.stand_in("GRIDWAY_STRIPE_URL", "DELETE", "/_control/events?keep=0")
    assert not stripe.Event.list(limit=1).data
    purchase, intent = world.order("python-forgotten")
    pay(intent)
    world.ended(purchase, "settled")
