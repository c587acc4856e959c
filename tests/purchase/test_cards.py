"""What cards do besides paying: disputes, refunds by somebody else, slow payments, receipts.

Nothing is told by webhook here but what a test posts: the reconciler hears of all of it."""
import json
import time

import stripe
from conftest import until
from test_purchase import committed, event_of, pay
from test_reconciled import told


def alarms(world, purchase):
    timeline = world.get(f"/purchases/{purchase}/timeline")["events"]
    return [e["facts"]["alarm"] for e in timeline if e["type"].endswith(".PurchaseAlarmed")]


def confirm(intent, card):
    return stripe.PaymentIntent.confirm(intent, payment_method=card, return_url="https://example.com/")


def test_a_disputed_purchase_goes_on_when_the_dispute_is_won(world):
    purchase, intent = world.order("cards-disputed")
    confirm(intent, "pm_card_createDispute")
    until("the hold", lambda: "disputed" in alarms(world, purchase))
    until("the swap", lambda: "SwapCompleted" in world.types(purchase))
    assert "HandoffRequested" not in world.types(purchase)
    [dispute] = stripe.Dispute.list(payment_intent=intent).data
    stripe.Dispute.modify(dispute.id, evidence={"uncategorized_text": "winning_evidence"})
    world.ended(purchase, "settled")
    assert not stripe.Refund.list(payment_intent=intent).data


def test_a_part_refunded_in_the_dashboard_stops_the_delivery_and_the_rest_goes_back(world):
    purchase, intent = world.order("cards-part-refunded")
    world.stand_in("GRIDWAY_HORIZON_URL", "POST", "/_control/faults",
                   json={"path": "/transactions", "kind": "http503", "times": 1000})
    try:
        pay(intent)
        until("the payment", lambda: "SwapRequested" in world.types(purchase))
        by_hand = stripe.Refund.create(payment_intent=intent, amount=100)
        until("the refund by hand", lambda: "refunded_outside" in alarms(world, purchase))
    finally:
        world.stand_in("GRIDWAY_HORIZON_URL", "DELETE", "/_control/faults")
    world.ended(purchase, "refunded")
    amounts = {r.id: r.amount for r in stripe.Refund.list(payment_intent=intent)}
    received = stripe.PaymentIntent.retrieve(intent).amount_received
    assert sum(amounts.values()) == received and amounts.pop(by_hand.id) == 100 and len(amounts) == 1
    assert "HandoffRequested" not in world.types(purchase)


def test_what_is_refunded_after_the_delivery_is_a_loss(world):
    purchase, intent = world.order("cards-loss")
    pay(intent)
    world.ended(purchase, "settled")
    for amount in (100, 50):
        stripe.Refund.create(payment_intent=intent, amount=amount)
    until("both losses", lambda: world.types(purchase).count("LossBooked") == 2)
    timeline = world.get(f"/purchases/{purchase}/timeline")["events"]
    booked = [e["facts"]["amount"] for e in timeline if e["type"].endswith(".LossBooked")]
    assert sorted(booked) == ["0.50 USD", "1.00 USD"], booked
    assert "CompensationRequested" not in world.types(purchase)


def test_a_bank_debit_is_waited_for(world):
    purchase, intent = world.order("cards-debit")
    assert confirm(intent, "pm_usBankAccount_success").status == "processing"
    world.ended(purchase, "settled")
    kinds = [value["event_type"] for _, _, value in told(world, purchase)]
    assert set(kinds) == {"payment_intent.processing", "payment_intent.succeeded"}


def test_a_payment_after_the_banks_check(world):
    purchase, intent = world.order("cards-3ds")
    assert confirm(intent, "pm_card_authenticationRequired").status == "requires_action"
    until("the question", lambda: "bank asks" in (world.get(f"/purchases/{purchase}").get("detail") or ""))
    world.stand_in("GRIDWAY_STRIPE_URL", "POST", "/_control/authenticate", json={"payment_intent": intent})
    world.ended(purchase, "settled")


def test_a_cancelled_payment_ends_the_purchase(world):
    purchase, intent = world.order("cards-cancelled")
    stripe.PaymentIntent.cancel(intent)
    world.ended(purchase, "not_paid")


def test_the_receipt_goes_to_the_payer_and_the_address_nowhere_else(world):
    address = "payer+receipt@example.com"
    quote = world.command("/quotes", "cards-receipt-quote", {"tft": "250"}).json()["id"]
    order = {"quote_id": quote, "receipt_email": address}
    refused = world.command("/payments/create-intent", "cards-receipt-wrong", {**order, "receipt_email": "nobody"})
    assert refused.status_code == 422 and "receipt_email" in refused.text
    ordered = until("the client secret", lambda: (
        a := world.command("/payments/create-intent", "cards-receipt", order).json()).get("client_secret") and a)
    intent = ordered["intent_id"]
    assert stripe.PaymentIntent.retrieve(intent).receipt_email == address
    pay(intent)
    world.ended(ordered["purchase_id"], "settled")
    # Stripe's events of the intent show the address: it is not taken from there either.
    topics = ["purchases", "deployments", "users", "unmatched"]
    assert not [r for r in committed(world, topics) if r.value() and address.encode() in r.value()]


def test_a_thin_notification_is_a_fact_once_its_object_is_fetched(world):
    purchase, intent = world.order("cards-thin")
    pay(intent)
    event_of(intent)
    payload = json.dumps({
        "id": f"evt_test_{intent}", "object": "v2.core.event", "type": "v1.payment_intent.succeeded",
        "created": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()), "livemode": False,
        "related_object": {"id": intent, "type": "payment_intent", "url": f"/v1/payment_intents/{intent}"}})
    assert world.webhook(payload, world.sign(payload, secret="whsec_wrong")).status_code == 400
    assert world.webhook(payload, world.sign(payload)).status_code == 200
    world.ended(purchase, "settled")
    [fact] = [v for _, _, v in told(world, purchase) if v["stripe_event_id"] == f"evt_test_{intent}"]
    assert (fact["event_type"], fact["intent_id"]) == ("payment_intent.succeeded", intent)
    assert fact["amount_received"] == stripe.PaymentIntent.retrieve(intent).amount_received
    assert world.types(purchase).count("UserPaid") == 1
