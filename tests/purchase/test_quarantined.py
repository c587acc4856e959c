"""Records that cannot be read: their aggregate waits, the rest goes on, an operator lets it go.

Runs after the tests that read the whole log back, before the one that empties the treasury."""
import io
import json
import os
import subprocess
import uuid

import fastavro
import pytest
from confluent_kafka import Producer
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from conftest import BIN, until
from test_purchase import committed, event_of, pay, settle

READERS = {"purchases", "payments", "swaps", "handoffs", "tfchain-watcher", "reconciler"}


def gridway(world, *arguments):
    """The command line as an operator uses it: (exit code, what it printed)."""
    done = subprocess.run([BIN / "gridway", "deadletters", *map(str, arguments)], env={**os.environ, **world.env},
                          capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


def letters(world, purchase):
    """The open dead letters of a purchase: {processor: (partition, offset, cause)}."""
    code, said = gridway(world, "list")
    assert code == 0, said
    rows = [line.split("\t") for line in said.splitlines() if purchase in line]
    return {row[0]: (row[1], row[2], row[6]) for row in rows if row[3] == "open"}


def ordered(world, key):
    """An order that waits for its payment: (purchase, intent, partition)."""
    purchase, intent = world.order(key)
    partition = next(r.partition() for r in committed(world, ["purchases"]) if r.key().decode() == purchase)
    return purchase, intent, partition


def envelope(purchase, kind="TimerFired", **changes):
    headers = {"ce_id": str(uuid.uuid4()), "ce_type": f"gridway.purchases.{kind}", "ce_source": "/test",
               "ce_specversion": "1.0", "ce_time": "2026-01-01T00:00:00Z", "ce_subject": purchase}
    headers.update(changes)
    return [(name, value.encode()) for name, value in headers.items() if value is not None]


def write(world, purchase, partition, value, headers):
    producer = Producer({"bootstrap.servers": world.env["GRIDWAY_KAFKA_BROKERS"]})
    producer.produce("purchases", key=purchase.encode(), value=value, partition=partition, headers=headers)
    assert producer.flush(20) == 0


def waits(world, purchase):
    """Every reader has put the record aside."""
    return until("the dead letters", lambda: (found := letters(world, purchase)).keys() >= READERS and found)


def timer(world, purchase):
    """A real event of the topic, as our own writers write it, and the registry's id of its schema."""
    registry = SchemaRegistryClient({"url": world.env["GRIDWAY_REGISTRY_URL"]})
    registered = registry.get_latest_version("purchases-gridway.purchases.TimerFired")
    schema = json.loads(registered.schema.schema_str)
    body = io.BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(schema), {"purchase_id": purchase, "timer": "none", "due": 0})
    return registered.schema_id, body.getvalue(), schema


POISONS = {
    "no value": lambda world, p: (None, envelope(p)),
    "no wire format": lambda world, p: (b"{}", envelope(p)),
    "unknown schema id": lambda world, p: (b"\x00\x00\x0f\x42\x3f\x02", envelope(p)),
    "truncated": lambda world, p: (
        b"\x00" + (t := timer(world, p))[0].to_bytes(4, "big") + t[1][:-9], envelope(p)),
    "no envelope": lambda world, p: (b"\x00" + (t := timer(world, p))[0].to_bytes(4, "big") + t[1], []),
    "garbled time": lambda world, p: (
        b"\x00" + (t := timer(world, p))[0].to_bytes(4, "big") + t[1], envelope(p, ce_time="yesterday")),
}


@pytest.mark.parametrize("kind", POISONS)
def test_an_aggregate_waits_behind_what_cannot_be_read_until_it_is_discarded(world, kind):
    slug = kind.replace(" ", "-")
    purchase, intent, partition = ordered(world, f"python-letter-{slug}")
    write(world, purchase, partition, *POISONS[kind](world, purchase))
    found = waits(world, purchase)
    # Only now: the reconciler tells of a payment, too.
    pay(intent)
    payload = event_of(intent)
    assert world.webhook(payload, world.sign(payload)).status_code == 200
    # Others go on to their end meanwhile.
    other, other_intent = world.order(f"python-letter-other-{slug}")
    pay(other_intent)
    settle(world, other, other_intent)
    assert "UserPaid" not in world.types(purchase)
    at, offset, _ = found["purchases"]
    code, said = gridway(world, "show", "purchases", at, offset)
    assert code == 0 and "hidden" in said, said
    code, said = gridway(world, "discard", "purchases", at, offset)
    assert code != 0 and "--reason" in said, said
    for processor in READERS:
        code, said = gridway(world, "discard", processor, at, offset, "--reason", "a test", "--by", "python")
        assert code == 0 and "1 of 1 released" in said, said
    world.ended(purchase, "settled")
    code, said = gridway(world, "redrive", "purchases", at, offset, "--reason", "again")
    assert code != 0 and "discarded before" in said, said


def test_a_schema_that_is_registered_later_is_read_after_a_redrive(world):
    purchase, intent, partition = ordered(world, "python-letter-schema")
    _, _, schema = timer(world, purchase)
    schema["fields"].append({"name": "note", "type": "string", "default": ""})
    registry = SchemaRegistryClient({"url": world.env["GRIDWAY_REGISTRY_URL"]})
    probe = {"type": "record", "name": "Probe", "namespace": "test", "fields": []}
    coming = registry.register_schema("probe-value", Schema(json.dumps(probe), "AVRO")) + 1
    body = io.BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(schema),
                               {"purchase_id": purchase, "timer": "none", "due": 0, "note": "new"})
    write(world, purchase, partition, b"\x00" + coming.to_bytes(4, "big") + body.getvalue(), envelope(purchase))
    waits(world, purchase)
    pay(intent)
    code, said = gridway(world, "redrive", "purchases", "--all", "--reason", "too early")
    assert code == 0 and "released" in said, said
    subject = "purchases-gridway.purchases.TimerFired"
    assert registry.register_schema(subject, Schema(json.dumps(schema), "AVRO")) == coming
    payload = event_of(intent)
    assert world.webhook(payload, world.sign(payload)).status_code == 200
    code, said = gridway(world, "redrive", "--all", "--cause-contains", str(coming), "--reason", "the schema is there")
    assert code == 0 and "released" in said, said
    world.ended(purchase, "settled")


def test_what_is_not_there_is_said(world):
    code, said = gridway(world, "list", "--processor", "nobody")
    assert code != 0 and "there are purchases" in said, said
    code, said = gridway(world, "show", "purchases", 0, 999999)
    assert code != 0 and "deadletters list" in said, said
