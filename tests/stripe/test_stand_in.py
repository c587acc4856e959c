"""The official library against the stand-in: what it does to Stripe, it can do here."""

import concurrent.futures
import time

import pytest
import stripe


def create(**changes):
    parameters = {
        "amount": 2500,
        "currency": "usd",
        "automatic_payment_methods": {"enabled": True},
        "metadata": {"purchase_id": "p-1", "user_id": "u-1", "request_id": "r-1"},
    }
    return stripe.PaymentIntent.create(**{**parameters, **changes})


def paid(**changes):
    return stripe.PaymentIntent.confirm(create(**changes).id, payment_method="pm_card_visa")


# --- PaymentIntents


def test_a_payment_from_creation_to_charge(stand_in):
    intent = create(receipt_email="a@example.com")
    assert (intent.status, intent.amount, intent.amount_received) == ("requires_payment_method", 2500, 0)
    assert intent.client_secret.startswith(f"{intent.id}_secret_") and intent.livemode is False
    confirmed = stripe.PaymentIntent.confirm(intent.id, payment_method="pm_card_visa", expand=["latest_charge"])
    assert (confirmed.status, confirmed.amount_received) == ("succeeded", 2500)
    assert confirmed.latest_charge.paid and confirmed.latest_charge.metadata["purchase_id"] == "p-1"
    assert stripe.PaymentIntent.retrieve(intent.id).status == "succeeded"
    assert stripe.Charge.retrieve(confirmed.latest_charge.id).payment_intent == intent.id
    with pytest.raises(stripe.InvalidRequestError) as error:
        stripe.PaymentIntent.confirm(intent.id, payment_method="pm_card_visa")
    assert error.value.code == "payment_intent_unexpected_state"


@pytest.mark.parametrize(
    "card, code, decline",
    [
        ("pm_card_chargeDeclined", "card_declined", "generic_decline"),
        ("pm_card_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card", "expired_card"),
    ],
)
def test_a_declined_card_leaves_the_intent_open(stand_in, card, code, decline):
    intent = create()
    with pytest.raises(stripe.CardError) as error:
        stripe.PaymentIntent.confirm(intent.id, payment_method=card)
    assert (error.value.http_status, error.value.code) == (402, code)
    assert error.value.error.decline_code == decline
    again = stripe.PaymentIntent.retrieve(intent.id)
    assert again.status == "requires_payment_method"
    assert again.last_payment_error.code == code
    assert again.last_payment_error.payment_method.card.last4
    assert stripe.PaymentIntent.confirm(intent.id, payment_method="pm_card_visa").last_payment_error is None


def test_a_browser_confirms_with_its_client_secret(stand_in):
    intent = create()
    key = {"api_key": "pk_test_sandbox"}
    seen = stripe.PaymentIntent.retrieve(intent.id, client_secret=intent.client_secret, **key)
    assert seen.amount == 2500 and "metadata" not in seen
    with pytest.raises(stripe.InvalidRequestError):
        stripe.PaymentIntent.confirm(intent.id, payment_method="pm_card_visa", client_secret="wrong", **key)
    with pytest.raises(stripe.PermissionError):
        stripe.PaymentIntent.list(**key)
    done = stripe.PaymentIntent.confirm(
        intent.id, payment_method="pm_card_visa", client_secret=intent.client_secret, **key
    )
    assert done.status == "succeeded"


def test_cancel(stand_in):
    intent = create()
    assert stripe.PaymentIntent.cancel(intent.id, cancellation_reason="abandoned").status == "canceled"
    for act in (stripe.PaymentIntent.cancel, stripe.PaymentIntent.confirm):
        with pytest.raises(stripe.InvalidRequestError) as error:
            act(intent.id)
        assert error.value.code == "payment_intent_unexpected_state"


@pytest.mark.parametrize(
    "changes, param, code",
    [
        ({"amount": 49}, "amount", "amount_too_small"),
        ({"amount": 100_000_000}, "amount", "amount_too_large"),
        ({"amount": "12.5"}, "amount", "parameter_invalid_integer"),
        ({"amount": 0}, "amount", "parameter_invalid_integer"),
        ({"currency": "xyz"}, "currency", None),
        ({"receipt_email": "nobody"}, "receipt_email", "email_invalid"),
        ({"colour": "blue"}, "colour", "parameter_unknown"),
        ({"payment_method": "pm_card_none"}, "payment_method", "resource_missing"),
        ({"metadata": {"k" * 41: "v"}}, "metadata", None),
        ({"metadata": {"k": "v" * 501}}, "metadata[k]", None),
    ],
)
def test_what_is_wrong_is_named(stand_in, changes, param, code):
    with pytest.raises(stripe.InvalidRequestError) as error:
        create(**changes)
    assert (error.value.param, error.value.code) == (param, code)
    assert stand_in.counts()["payment_intents"] == 0


def test_keys_are_checked(stand_in):
    with pytest.raises(stripe.AuthenticationError):
        create(api_key="sk_test_other")
    with pytest.raises(stripe.InvalidRequestError) as error:
        stripe.PaymentIntent.retrieve("pi_none")
    assert (error.value.http_status, error.value.code) == (404, "resource_missing")


def test_lists_page_in_both_directions(stand_in):
    ids = [create(customer="cus_1" if n % 2 else None).id for n in range(7)][::-1]
    assert [i.id for i in stripe.PaymentIntent.list(limit=3).auto_paging_iter()] == ids
    first = stripe.PaymentIntent.list(limit=3)
    assert first.has_more and [i.id for i in first] == ids[:3]
    last = stripe.PaymentIntent.list(limit=5, starting_after=ids[2])
    assert not last.has_more and [i.id for i in last] == ids[3:]
    back = stripe.PaymentIntent.list(limit=2, ending_before=ids[4])
    assert back.has_more and [i.id for i in back] == ids[2:4]
    assert len(stripe.PaymentIntent.list(customer="cus_1").data) == 3
    now = int(time.time())
    assert len(stripe.PaymentIntent.list(created={"gte": now - 300}).data) == 7
    assert stripe.PaymentIntent.list(created={"gt": now + 300}).data == []
    for wrong in ({"limit": 0}, {"limit": 101}, {"starting_after": "pi_none"}):
        with pytest.raises(stripe.InvalidRequestError):
            stripe.PaymentIntent.list(**wrong)


# --- Refunds


def test_refunds_never_exceed_the_charge(stand_in):
    intent = paid()
    part = stripe.Refund.create(payment_intent=intent.id, amount=1000, metadata={"request_id": "r-2"})
    assert (part.status, part.amount, part.charge) == ("succeeded", 1000, intent.latest_charge)
    with pytest.raises(stripe.InvalidRequestError) as error:
        stripe.Refund.create(payment_intent=intent.id, amount=1501)
    assert error.value.param == "amount"
    rest = stripe.Refund.create(payment_intent=intent.id)
    assert rest.amount == 1500
    with pytest.raises(stripe.InvalidRequestError) as error:
        stripe.Refund.create(payment_intent=intent.id)
    assert error.value.code == "charge_already_refunded"
    charge = stripe.Charge.retrieve(intent.latest_charge)
    assert charge.refunded and charge.amount_refunded == 2500
    assert [r.id for r in stripe.Refund.list(payment_intent=intent.id)] == [rest.id, part.id]
    assert stripe.Refund.retrieve(part.id).metadata["request_id"] == "r-2"
    assert stand_in.counts()["by_purchase"]["p-1"] == {
        "intents": [intent.id],
        "succeeded": 1,
        "charged_minor": 2500,
        "refunds": 2,
        "refunded_minor": 2500,
    }


def test_what_was_not_paid_is_not_refunded(stand_in):
    intent = create()
    with pytest.raises(stripe.InvalidRequestError, match="does not have a successful charge"):
        stripe.Refund.create(payment_intent=intent.id)
    with pytest.raises(stripe.InvalidRequestError) as error:
        stripe.Refund.create(payment_intent="pi_none")
    assert error.value.code == "resource_missing"


def test_refunds_that_settle_later(stand_in, endpoint):
    slow = stripe.PaymentIntent.confirm(create().id, payment_method="pm_card_pendingRefund")
    failing = stripe.PaymentIntent.confirm(create().id, payment_method="pm_card_refundFail")
    pending = stripe.Refund.create(payment_intent=slow.id)
    doomed = stripe.Refund.create(payment_intent=failing.id)
    assert (pending.status, doomed.status) == ("pending", "succeeded")
    endpoint.wait_for(lambda: sum(e.type == "refund.updated" for e in endpoint.events()) == 2)
    endpoint.wait_for(lambda: any(e.type == "refund.failed" for e in endpoint.events()))
    assert stripe.Refund.retrieve(pending.id).status == "succeeded"
    failed = stripe.Refund.retrieve(doomed.id)
    assert (failed.status, failed.failure_reason) == ("failed", "expired_or_canceled_card")
    assert stripe.Charge.retrieve(failing.latest_charge).amount_refunded == 0


# --- Idempotency


def test_a_key_replays_the_first_answer(stand_in):
    first, second = create(idempotency_key="k"), create(idempotency_key="k")
    assert first.id == second.id and stand_in.counts()["payment_intents"] == 1
    assert second.last_response.headers["idempotent-replayed"] == "true"
    assert second.last_response.headers["original-request"] == first.last_response.request_id
    stripe.PaymentIntent.confirm(first.id, payment_method="pm_card_visa")
    assert create(idempotency_key="k").status == "requires_payment_method", "the answer of then, not of now"


def test_a_declined_card_is_replayed_too(stand_in):
    intent = create()
    for _ in range(2):
        with pytest.raises(stripe.CardError):
            stripe.PaymentIntent.confirm(intent.id, payment_method="pm_card_chargeDeclined", idempotency_key="k")
    assert len(stripe.Charge.list(payment_intent=intent.id).data) == 1


def test_a_key_is_for_one_request_only(stand_in):
    create(idempotency_key="k")
    with pytest.raises(stripe.IdempotencyError, match="same parameters"):
        create(idempotency_key="k", amount=2501)
    with pytest.raises(stripe.IdempotencyError, match="same endpoint"):
        stripe.Refund.create(payment_intent="pi_none", idempotency_key="k")


def test_what_failed_validation_does_not_use_up_its_key(stand_in):
    with pytest.raises(stripe.InvalidRequestError):
        create(idempotency_key="k", amount=1)
    assert create(idempotency_key="k").amount == 2500


def test_a_key_in_use_is_refused(stand_in):
    stand_in.control("idempotency", {"kind": "hold", "delay_ms": 1500})
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        both = [pool.submit(create, idempotency_key="k") for _ in range(2)]
        errors = [done.exception() for done in both]
    refused = [error for error in errors if error]
    assert len(refused) == 1 and (refused[0].http_status, refused[0].error.code) == (409, "idempotency_key_in_use")
    assert stand_in.counts()["payment_intents"] == 1


@pytest.mark.parametrize("work", [True, False])
def test_a_stored_500_stays(stand_in, work):
    stand_in.control("idempotency", {"kind": "store_500", "work": work, "path": "/v1/payment_intents"})
    for _ in range(3):
        with pytest.raises(stripe.APIError) as error:
            create(idempotency_key="k")
        assert error.value.http_status == 500
    assert stand_in.counts()["payment_intents"] == int(work)
    stand_in.control("idempotency/keys", method="DELETE")
    create(idempotency_key="k")
    assert stand_in.counts()["payment_intents"] == int(work) + 1, "after 24 h nothing protects any more"


def test_a_lost_answer_is_found_under_its_key(stand_in):
    stand_in.control("faults", {"method": "POST", "path": "/v1/payment_intents", "kind": "lose_answer", "times": 1})
    with pytest.raises(stripe.APIConnectionError):
        create(idempotency_key="k")
    assert create(idempotency_key="k").last_response.headers["idempotent-replayed"] == "true"
    assert stand_in.counts()["payment_intents"] == 1


# --- Events and webhooks


def test_events_tell_the_story(stand_in):
    intent = paid(idempotency_key="k")
    stripe.Refund.create(payment_intent=intent.id)
    events = list(stripe.Event.list(limit=2).auto_paging_iter())
    assert [event.type for event in events] == [
        "charge.refunded",
        "refund.created",
        "payment_intent.succeeded",
        "charge.succeeded",
        "payment_intent.created",
    ]
    created = events[-1]
    assert created.request.idempotency_key == "k" and created.api_version == "2026-09-30.endive"
    assert created.data.object.status == "requires_payment_method", "as it was then"
    assert stripe.Event.retrieve(created.id).id == created.id
    assert [e.type for e in stripe.Event.list(type="refund.created")] == ["refund.created"]
    after = stripe.Event.list(ending_before=events[2].id)
    assert [event.id for event in after] == [events[0].id, events[1].id]


def test_webhooks_are_signed_and_repeated_until_taken(stand_in, endpoint):
    endpoint.answers = [500, 404, 302]
    intent = paid()
    with pytest.raises(stripe.CardError):
        stripe.PaymentIntent.confirm(create().id, payment_method="pm_card_chargeDeclined")
    stripe.PaymentIntent.cancel(create().id)
    stripe.Refund.create(payment_intent=intent.id)
    wanted = {
        "payment_intent.created",
        "payment_intent.succeeded",
        "payment_intent.payment_failed",
        "payment_intent.canceled",
        "charge.succeeded",
        "charge.failed",
        "charge.refunded",
        "refund.created",
    }
    endpoint.wait_for(lambda: {event.type for event in endpoint.events()} >= wanted and len(endpoint.taken) >= 10)
    events = endpoint.events()
    assert len({event.id for event in events}) == len(events) == 10, "each once, as each was taken once"
    assert len(endpoint.refused) == 3
    succeeded = next(event for event in events if event.type == "payment_intent.succeeded")
    assert succeeded.data.object.metadata["purchase_id"] == "p-1"
    assert succeeded.data.object.amount_received == 2500
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(*endpoint.taken[0], "whsec_other")
    endpoint.wait_for(lambda: stripe.Event.retrieve(succeeded.id).pending_webhooks == 0)


def test_webhooks_wait_for_an_endpoint_that_is_down(stand_in, endpoint):
    stand_in.control("webhook", {"url": "http://127.0.0.1:9/", "secret": "whsec_none"})
    paid()
    assert endpoint.taken == []
    from conftest import SECRET

    stand_in.control("webhook", {"url": endpoint.url, "secret": SECRET, "events": ["payment_intent.succeeded"]})
    endpoint.wait_for(lambda: len(endpoint.taken) == 3)


def test_confirming_is_fast(stand_in, endpoint):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        intents = list(pool.map(lambda n: create(metadata={"purchase_id": f"p-{n}"}), range(200)))
        list(pool.map(lambda i: stripe.PaymentIntent.confirm(i.id, payment_method="pm_card_visa"), intents))
    counts = stand_in.counts()
    assert counts["succeeded"] == 200 and all(p["succeeded"] == 1 for p in counts["by_purchase"].values())
    endpoint.wait_for(lambda: len(endpoint.taken) == 600)
