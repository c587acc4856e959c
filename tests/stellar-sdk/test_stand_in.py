"""The Horizon stand-in, driven by stellar-sdk: what a payment lane lives through."""

import hashlib
import os
import threading
import time

import pytest
from stellar_sdk import (
    Account,
    Asset,
    Claimant,
    ClaimPredicate,
    HashMemo,
    IdMemo,
    Keypair,
    Price,
    Server,
    TransactionBuilder,
)
from stellar_sdk.exceptions import BadRequestError, NotFoundError

PASSPHRASE = os.environ["GRIDWAY_PASSPHRASE"]
SERVER = Server(os.environ["GRIDWAY_HORIZON"])
ROOT = Keypair.from_raw_ed25519_seed(hashlib.sha256(PASSPHRASE.encode()).digest())
ISSUER, MAKER, TREASURY, LANE, UNOPENED = (Keypair.random() for _ in range(5))
USDC, TFT = Asset("USDC", ISSUER.public_key), Asset("TFT", ISSUER.public_key)
BASE = (1 << 18) << 44
MEMO = hashlib.sha256(b"event").digest()


def send(source, build, *signers):
    account = SERVER.load_account(source.public_key)
    builder = TransactionBuilder(account, PASSPHRASE, base_fee=SERVER.fetch_base_fee()).set_timeout(60)
    build(builder)
    envelope = builder.build()
    for key in signers or (source,):
        envelope.sign(key)
    return SERVER.submit_transaction(envelope)


def lane_transaction(lane, offset, send_max="6"):
    builder = TransactionBuilder(Account(lane.public_key, BASE + offset), PASSPHRASE, base_fee=100)
    builder.set_timeout(60).set_min_sequence_number(BASE).add_memo(HashMemo(MEMO))
    builder.append_path_payment_strict_receive_op(
        TREASURY.public_key, USDC, send_max, TFT, "250", [], source=TREASURY.public_key
    )
    envelope = builder.build()
    envelope.sign(lane)
    envelope.sign(TREASURY)
    return envelope


@pytest.fixture(scope="module", autouse=True)
def market():
    everybody = (ISSUER, MAKER, TREASURY, LANE, UNOPENED)

    def create(builder):
        for key in everybody:
            builder.append_create_account_op(key.public_key, "100")

    send(ROOT, create)

    def trust(builder):
        for key in (MAKER, TREASURY):
            for asset in (USDC, TFT):
                builder.append_change_trust_op(asset, source=key.public_key)

    send(MAKER, trust, MAKER, TREASURY)
    send(
        ISSUER,
        lambda b: b.append_payment_op(MAKER.public_key, TFT, "100000").append_payment_op(
            TREASURY.public_key, USDC, "1000"
        ),
    )
    send(
        MAKER,
        lambda b: b.append_manage_sell_offer_op(TFT, USDC, "100", Price(2, 100)).append_manage_sell_offer_op(
            TFT, USDC, "10000", Price(3, 100)
        ),
    )
    send(TREASURY, lambda b: b.append_bump_sequence_op(BASE, source=LANE.public_key), TREASURY, LANE)


def balance(key, asset):
    for line in SERVER.accounts().account_id(key.public_key).call()["balances"]:
        if line.get("asset_code") == asset.code and line.get("asset_issuer") == asset.issuer:
            return line["balance"]
    return None


def test_accounts_trust_and_offers():
    assert balance(TREASURY, USDC) == "1000.0000000"
    assert balance(LANE, USDC) is None
    maker = SERVER.accounts().account_id(MAKER.public_key).call()
    assert maker["subentry_count"] == 4, "two trustlines, two offers"
    with pytest.raises(NotFoundError):
        SERVER.load_account(Keypair.random().public_key)


def test_a_lane_is_opened_by_its_bump_and_takes_gaps():
    assert SERVER.load_account(LANE.public_key).sequence == BASE
    paths = SERVER.strict_receive_paths([USDC], TFT, "250").call()["_embedded"]["records"]
    # 100 at 0.02 and 150 at 0.03.
    assert paths[0]["source_amount"] == "6.5000000" and paths[0]["path"] == []
    with pytest.raises(BadRequestError) as refused:
        SERVER.submit_transaction(lane_transaction(UNOPENED, 0))
    assert refused.value.extras["result_codes"]["transaction"] == "tx_bad_seq"
    landed = SERVER.submit_transaction(lane_transaction(LANE, 41, "6.5"))
    assert landed["successful"] and landed["source_account_sequence"] == str(BASE + 42)
    assert (landed["memo_type"], landed["preconditions"]["min_account_sequence"]) == ("hash", str(BASE))
    assert (balance(TREASURY, TFT), balance(TREASURY, USDC)) == ("250.0000000", "993.5000000")
    # The same number again, and one below it.
    for offset in (41, 3):
        with pytest.raises(BadRequestError) as refused:
            SERVER.submit_transaction(lane_transaction(LANE, offset, "7"))
        assert refused.value.extras["result_codes"]["transaction"] == "tx_bad_seq"
    # Too dear: the number is used up.
    with pytest.raises(BadRequestError) as failed:
        SERVER.submit_transaction(lane_transaction(LANE, 50, "0.0000001"))
    assert failed.value.extras["result_codes"] == {
        "transaction": "tx_failed",
        "operations": ["op_over_source_max"],
    }
    assert SERVER.load_account(LANE.public_key).sequence == BASE + 51
    records = (
        SERVER.transactions()
        .for_account(LANE.public_key)
        .include_failed(True)
        .order(desc=True)
        .limit(5)
        .call()["_embedded"]["records"]
    )
    ours = [r for r in records if r["source_account"] == LANE.public_key]
    assert [(r["source_account_sequence"], r["successful"]) for r in ours] == [
        (str(BASE + 51), False),
        (str(BASE + 42), True),
    ]


def test_a_fee_bump_lands_under_its_own_hash():
    inner = lane_transaction(LANE, 60, "8")
    bump = TransactionBuilder.build_fee_bump_transaction(TREASURY, 500, inner, PASSPHRASE)
    bump.sign(TREASURY)
    landed = SERVER.submit_transaction(bump)
    assert landed["hash"] == bump.hash_hex()
    assert landed["inner_transaction"]["hash"] == inner.hash_hex()
    assert landed["fee_account"] == TREASURY.public_key
    assert SERVER.transactions().transaction(inner.hash_hex()).call()["successful"]


def records_of(builder):
    return builder.call()["_embedded"]["records"]


def refused(key, build, *signers):
    with pytest.raises(BadRequestError) as failed:
        send(key, build, *signers)
    return failed.value.extras["result_codes"]["operations"]


def test_what_is_set_aside_is_listed_until_it_is_claimed():
    later = ClaimPredicate.predicate_not(ClaimPredicate.predicate_before_relative_time(1_000))
    always = ClaimPredicate.predicate_unconditional()
    account = SERVER.load_account(TREASURY.public_key)
    builder = TransactionBuilder(account, PASSPHRASE, base_fee=100).set_timeout(60).add_memo(IdMemo(7))
    for amount, predicate in (("5", always), ("6", later)):
        claimants = [Claimant(LANE.public_key, predicate), Claimant(MAKER.public_key, always)]
        builder.append_create_claimable_balance_op(USDC, amount, claimants)
    envelope = builder.build()
    envelope.sign(TREASURY)
    ids = [envelope.transaction.get_claimable_balance_id(place) for place in (0, 1)]
    before = SERVER.accounts().account_id(TREASURY.public_key).call()
    landed = SERVER.submit_transaction(envelope)
    sponsor = SERVER.accounts().account_id(TREASURY.public_key).call()
    assert sponsor["num_sponsoring"] == before["num_sponsoring"] + 4

    listed = records_of(SERVER.claimable_balances().for_claimant(MAKER.public_key).for_asset(USDC))
    assert {r["id"]: r["amount"] for r in listed} == {ids[0]: "5.0000000", ids[1]: "6.0000000"}
    assert all(r["asset"] == f"USDC:{ISSUER.public_key}" for r in listed)
    assert all(r["sponsor"] == TREASURY.public_key for r in listed)
    assert records_of(SERVER.claimable_balances().for_claimant(MAKER.public_key).for_asset(TFT)) == []
    assert records_of(SERVER.claimable_balances().for_claimant(UNOPENED.public_key)) == []
    page = SERVER.claimable_balances().for_claimant(MAKER.public_key).limit(1)
    first = records_of(page)
    second = records_of(page.cursor(first[0]["paging_token"]))
    assert [*first, *second] == listed and records_of(page.cursor(second[0]["paging_token"])) == []
    # Relative times are absolute once it is there.
    one = SERVER.claimable_balances().claimable_balance(ids[1]).call()
    predicate = next(c["predicate"] for c in one["claimants"] if c["destination"] == LANE.public_key)
    assert set(predicate["not"]) == {"abs_before", "abs_before_epoch"}

    # The claimant's list of operations has them, with the memo, and their payments do not.
    operations = SERVER.operations().for_account(MAKER.public_key).join("transactions").order(desc=True).limit(2)
    created = records_of(operations)
    assert [r["type"] for r in created] == ["create_claimable_balance"] * 2
    assert created[1]["asset"] == f"USDC:{ISSUER.public_key}" and created[1]["amount"] == "5.0000000"
    assert created[0]["transaction"]["memo"] == "7" and created[0]["transaction_hash"] == landed["hash"]
    assert created[0]["claimants"][0]["predicate"] == {"not": {"rel_before": "1000"}}
    paid = records_of(SERVER.payments().for_account(MAKER.public_key).order(desc=True).limit(200))
    assert landed["hash"] not in {r["transaction_hash"] for r in paid}

    # Without a trustline, too early, and by a stranger.
    assert refused(LANE, lambda b: b.append_claim_claimable_balance_op(ids[0])) == ["op_no_trust"]
    assert refused(LANE, lambda b: b.append_claim_claimable_balance_op(ids[1])) == ["op_cannot_claim"]
    assert refused(UNOPENED, lambda b: b.append_claim_claimable_balance_op(ids[0])) == ["op_cannot_claim"]
    held = balance(MAKER, USDC)
    send(MAKER, lambda b: b.append_claim_claimable_balance_op(ids[0]))
    assert float(balance(MAKER, USDC)) == float(held) + 5
    assert refused(MAKER, lambda b: b.append_claim_claimable_balance_op(ids[0])) == ["op_does_not_exist"]
    with pytest.raises(NotFoundError):
        SERVER.claimable_balances().claimable_balance(ids[0]).call()
    sponsor = SERVER.accounts().account_id(TREASURY.public_key).call()
    assert sponsor["num_sponsoring"] == before["num_sponsoring"] + 2
    claimed = records_of(SERVER.operations().for_claimable_balance(ids[0]))
    assert [r["type"] for r in claimed] == ["create_claimable_balance", "claim_claimable_balance"]
    assert claimed[1]["balance_id"] == ids[0] and claimed[1]["claimant"] == MAKER.public_key


def test_what_cannot_be_set_aside():
    claimant = Claimant(LANE.public_key)

    def aside(asset, amount):
        return lambda b: b.append_create_claimable_balance_op(asset, amount, [claimant])

    assert refused(UNOPENED, aside(USDC, "1")) == ["op_no_trust"]
    assert refused(TREASURY, aside(USDC, "100000000")) == ["op_underfunded"]
    # All that is not reserve: none is left for the new entry.
    assert refused(UNOPENED, aside(Asset.native(), "98.9")) == ["op_low_reserve"]
    twice = [claimant, claimant]
    assert refused(TREASURY, lambda b: b.append_create_claimable_balance_op(USDC, "1", twice)) == ["op_malformed"]


def test_a_stream_shows_what_comes_once():
    seen = []
    ready = threading.Event()

    def listen():
        stream = SERVER.payments().for_account(LANE.public_key).cursor("now").limit(2)
        ready.set()
        for payment in stream.stream():
            seen.append(payment)
            if len(seen) == 2:
                return

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    ready.wait(5)
    # `now` is the end of the list when the stream is opened, so it must be open first.
    deadline = time.monotonic() + 30
    sent = 0
    while len(seen) < 2 and time.monotonic() < deadline:
        sent += 1
        send(TREASURY, lambda b: b.append_payment_op(LANE.public_key, Asset.native(), f"0.{sent:07}"))
    listener.join(10)
    assert len(seen) == 2
    assert len({p["id"] for p in seen}) == 2
    first, second = (int(p["amount"].split(".")[1]) for p in seen)
    assert second == first + 1, "nothing was left out in between"
    assert all(p["to"] == LANE.public_key and p["type"] == "payment" for p in seen)
