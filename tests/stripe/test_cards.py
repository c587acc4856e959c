"""Disputes, slow payments, thin notifications and the list of events, as Stripe's library sees them."""

import pytest
import stripe
from conftest import SECRET


def create(**more):
    fields = {"amount": 2500, "currency": "usd", "automatic_payment_methods": {"enabled": True}}
    return stripe.PaymentIntent.create(**{**fields, **more})


def paid(card="pm_card_visa"):
    return stripe.PaymentIntent.confirm(create().id, payment_method=card, return_url="https://example.com/")


def types(**filters):
    """Types of all events, oldest first."""
    return [event.type for event in stripe.Event.list(limit=100, **filters)][::-1]


@pytest.mark.parametrize("evidence, status", [("winning_evidence", "won"), ("losing_evidence", "lost")])
def test_a_dispute_from_its_beginning_to_its_end(stand_in, evidence, status):
    intent = paid("pm_card_createDispute")
    charge = stripe.Charge.retrieve(intent.latest_charge)
    assert charge.disputed
    [dispute] = stripe.Dispute.list(payment_intent=intent.id).data
    assert (dispute.status, dispute.amount, dispute.charge) == ("needs_response", 2500, charge.id)
    with pytest.raises(stripe.InvalidRequestError) as error:
        stripe.Refund.create(payment_intent=intent.id)
    assert error.value.code == "charge_disputed"
    closed = stripe.Dispute.modify(dispute.id, evidence={"uncategorized_text": evidence})
    assert closed.status == stripe.Dispute.retrieve(dispute.id).status == status
    story = ["charge.dispute.created", "charge.dispute.funds_withdrawn"]
    story += ["charge.dispute.funds_reinstated"] * (status == "won") + ["charge.dispute.closed"]
    assert types(type="charge.dispute.*") == story
    with pytest.raises(stripe.InvalidRequestError):
        stripe.Dispute.close(dispute.id)


def test_a_dispute_may_come_later_and_be_accepted(stand_in):
    intent = paid()
    stand_in.control("disputes", {"payment_intent": intent.id, "reason": "product_not_received"})
    [dispute] = stripe.Dispute.list().data
    assert dispute.reason == "product_not_received"
    assert stripe.Dispute.close(dispute.id).status == "lost"


def test_a_bank_debit_takes_its_time(stand_in, endpoint):
    good, bad, slow = (paid(f"pm_usBankAccount_{how}") for how in ("success", "insufficientFunds", "processing"))
    assert {good.status, bad.status, slow.status} == {"processing"}
    endpoint.wait_for(lambda: any(e.type == "payment_intent.payment_failed" for e in endpoint.events()))
    endpoint.wait_for(lambda: any(e.type == "payment_intent.succeeded" for e in endpoint.events()))
    assert stripe.PaymentIntent.retrieve(bad.id).status == "requires_payment_method"
    assert stripe.PaymentIntent.retrieve(good.id).amount_received == 2500
    assert stripe.PaymentIntent.cancel(slow.id).status == "canceled"


def test_a_payment_that_asks_for_authentication(stand_in):
    intent = paid("pm_card_authenticationRequired")
    assert intent.status == "requires_action"
    stand_in.control("authenticate", {"payment_intent": intent.id})
    assert stripe.PaymentIntent.retrieve(intent.id).status == "succeeded"


def test_thin_notifications_are_what_the_library_parses(stand_in, endpoint):
    stand_in.control("webhook", {"url": endpoint.url, "secret": SECRET, "thin": True})
    intent = paid()
    with endpoint.arrived:
        assert endpoint.arrived.wait_for(lambda: len(endpoint.taken) == 3, 20)
    client = stripe.StripeClient("sk_test_sandbox", base_addresses={"api": stand_in.url})
    told = [client.parse_event_notification(body, header, SECRET) for body, header in endpoint.taken]
    assert {note.type for note in told} == {
        "v1.payment_intent.created", "v1.payment_intent.succeeded", "v1.charge.succeeded"}
    succeeded = next(note for note in told if note.type == "v1.payment_intent.succeeded")
    related = succeeded.related_object
    assert (related.id, related.type, related.url) == (intent.id, "payment_intent", f"/v1/payment_intents/{intent.id}")
    with pytest.raises(stripe.SignatureVerificationError):
        client.parse_event_notification(*endpoint.taken[0], "whsec_other")


def test_the_list_of_events_forgets_and_refuses(stand_in):
    for _ in range(3):
        paid()
    events = stripe.Event.list(limit=100).data
    assert len(events) == 9
    stand_in.control("events?keep=4", method="DELETE")
    assert [e.id for e in stripe.Event.list(limit=100)] == [e.id for e in events[:4]]
    with pytest.raises(stripe.InvalidRequestError) as error:
        stripe.Event.list(ending_before=events[5].id)
    assert (error.value.code, error.value.http_status) == ("resource_missing", 400)
    only = ["payment_intent.succeeded", "charge.refunded"]
    assert {e.type for e in stripe.Event.list(types=only)} == {"payment_intent.succeeded"}
    for wrong in ({"types": only, "type": "charge.refunded"}, {"types": ["x"] * 21},
                  {"ending_before": events[0].id, "starting_after": events[1].id}):
        with pytest.raises(stripe.InvalidRequestError):
            stripe.Event.list(**wrong)


def test_dropped_webhooks_are_in_the_list_all_the_same(stand_in, endpoint):
    stand_in.control("webhook", {"url": endpoint.url, "secret": SECRET, "drop_every": 3})
    for _ in range(4):
        paid()
    endpoint.wait_for(lambda: len(endpoint.taken) == 8)
    assert stand_in.counts()["webhooks_dropped"] == 4
    assert len(stripe.Event.list(limit=100).data) == 12


def test_currencies_have_their_own_units(stand_in):
    assert create(currency="jpy", amount=50).amount == 50
    assert create(currency="kwd", amount=1050).amount == 1050
    with pytest.raises(stripe.InvalidRequestError, match="last digit"):
        create(currency="kwd", amount=1055)
