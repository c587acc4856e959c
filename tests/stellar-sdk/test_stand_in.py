"""The Horizon stand-in, driven by stellar-sdk: what a payment lane lives through."""

import hashlib
import os
import threading
import time

import pytest
from stellar_sdk import Account, Asset, HashMemo, Keypair, Price, Server, TransactionBuilder
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
