"""Paying by USDC, with the official Stellar SDK as the wallet."""
import base64
import hashlib
import json
import os
import subprocess
from decimal import Decimal

import pytest
from conftest import BIN, until
from stellar_sdk import Asset, Claimant, ClaimPredicate, Keypair, MuxedAccount, Price, Server, TransactionBuilder
from stellar_sdk.memo import IdMemo
from stellar_sdk.sep.stellar_uri import PayStellarUri


def role(name):
    """The sandbox's own keys: worth nothing, and the same in every sandbox."""
    return Keypair.from_raw_ed25519_seed(hashlib.sha256(f"gridway sandbox {name}".encode()).digest())


class Wallet:
    """An account of an outsider, with USDC and with an asset of the same name of somebody else."""

    def __init__(self, env):
        self.passphrase = env["GRIDWAY_STELLAR_PASSPHRASE"]
        self.server = Server(env["GRIDWAY_HORIZON_URL"])
        code, issuer = env["GRIDWAY_USDC_ASSET"].split(":")
        self.usdc, self.issuer = Asset(code, issuer), role("usdc issuer")
        assert self.issuer.public_key == issuer
        self.key = Keypair.random()
        self.send(self.issuer, lambda b: b.append_create_account_op(self.key.public_key, "100"))
        self.send(self.key, lambda b: b.append_change_trust_op(self.usdc))
        self.send(self.issuer, lambda b: b.append_payment_op(self.key.public_key, self.usdc, "1000"))

    def send(self, key, build, memo=None):
        builder = TransactionBuilder(self.server.load_account(key.public_key), self.passphrase, base_fee=1000)
        build(builder)
        if memo is not None:
            builder.add_memo(memo)
        transaction = builder.set_timeout(60).build()
        transaction.sign(key)
        answer = self.server.submit_transaction(transaction)
        assert answer["successful"]
        return answer["hash"]

    def pay(self, to, amount, asset=None, memo=None):
        return self.send(self.key, lambda b: b.append_payment_op(to, asset or self.usdc, amount), memo)

    def set_aside(self, to, amount, asset=None, memo=None, predicate=None):
        """In a claimable balance that this wallet can take back at any time."""
        claimants = [Claimant(to, predicate), Claimant(self.key.public_key)]
        return self.send(
            self.key, lambda b: b.append_create_claimable_balance_op(asset or self.usdc, amount, claimants), memo
        )

    def balance(self):
        lines = self.server.accounts().account_id(self.key.public_key).call()["balances"]
        return next(Decimal(b["balance"]) for b in lines if b.get("asset_issuer") == self.usdc.issuer)

    def received(self, treasury):
        """Payments of the treasury to this account, with the memo of each."""
        page = self.server.payments().for_account(self.key.public_key).include_failed(False).join("transactions").call()
        records = page["_embedded"]["records"]
        return [(r["amount"], r.get("asset_type"), r["transaction"].get("memo_type"), r["transaction"].get("memo"))
                for r in records if r["type"] == "payment" and r["from"] == treasury]


@pytest.fixture(scope="module")
def wallet(world):
    return Wallet(world.env)


def order(world, key, tft="100"):
    quote = world.command("/quotes", f"{key}-quote", {"tft": tft})
    assert quote.status_code == 201, quote.text
    ordered = world.command("/purchases", key, {"quote_id": quote.json()["id"], "funding": "usdc"})
    assert ordered.status_code == 202, ordered.text
    purchase = ordered.json()["purchase_id"]
    world.ended(purchase, "awaiting_deposit")
    return purchase


def credit(world):
    return Decimal(world.get("/deposits")["credit"])


def operator(world, *arguments, check=True):
    done = subprocess.run([BIN / "gridway", "deposits", *arguments], env={**os.environ, **world.env},
                          capture_output=True, text=True, check=check)
    return done.stdout


def deposit_of(world, transaction, state):
    def look():
        listed = [json.loads(line) for line in operator(world, "list", "--all", "--json").splitlines()]
        return next((d for d in listed if d["transaction"] == transaction and d["state"] == state), None)
    return until(f"{transaction} {state}", look)


def test_a_purchase_is_paid_as_the_instructions_say(world, wallet):
    purchase = order(world, "usdc-exact")
    told = world.get(f"/deposits/instructions?purchase={purchase}")
    uri = PayStellarUri.from_uri(told["uri"])
    assert (uri.destination, uri.amount) == (told["account"], told["amount"])
    assert (uri.asset_code, uri.asset_issuer) == (wallet.usdc.code, wallet.usdc.issuer)
    assert (uri.memo_type, str(uri.memo)) == ("MEMO_ID", told["memo"])
    assert uri.network_passphrase == wallet.passphrase
    muxed = MuxedAccount.from_account(told["muxed_account"])
    assert (muxed.account_id, str(muxed.account_muxed_id)) == (told["account"], told["memo"])
    assert told["qr_svg"].startswith("<?xml") and "<svg" in told["qr_svg"]
    wallet.pay(uri.destination, uri.amount, Asset(uri.asset_code, uri.asset_issuer), IdMemo(int(uri.memo)))
    world.ended(purchase, "settled")
    # Each topic reaches the timeline at its own pace. The grant is an event of the twin's credit and is
    # caused by the deposit, so it is not in the purchase's timeline; `PurchaseFunded` is.
    for kind in ("FundsWanted", "PurchaseFunded", "SwapCompleted", "PurchaseAccounted"):
        until(kind, lambda kind=kind: world.types(purchase).count(kind) == 1)
    seen = world.get(f"/purchases/{purchase}")
    # What was set aside for the swap and not spent is the buyer's.
    left = Decimal(seen["usdc_cap"]) - Decimal(seen["usdc_spent"])
    assert Decimal(seen["leftover"]) == left > 0
    until("the leftover as credit", lambda: credit(world) >= left)


def test_two_payments_add_up_one_of_them_to_the_muxed_address(world, wallet):
    purchase = order(world, "usdc-two")
    told = world.get(f"/deposits/instructions?purchase={purchase}")
    before = credit(world)
    first = (Decimal(told["amount"]) - before) / 2
    first = first.quantize(Decimal("0.0000001"))
    wallet.pay(told["account"], str(first), memo=IdMemo(int(told["memo"])))
    until("the first half", lambda: credit(world) == before + first)
    assert world.get(f"/purchases/{purchase}")["state"] == "awaiting_deposit"
    wallet.pay(told["muxed_account"], str(Decimal(told["amount"]) - before - first))
    world.ended(purchase, "settled")


def test_what_names_nobody_waits_for_an_operator_who_assigns_it(world, wallet):
    account = world.get("/deposits/instructions")["account"]
    transaction = wallet.pay(account, "2.5")
    deposit = deposit_of(world, transaction, "unmatched")
    assert deposit["reason"] == "no_memo"
    before, twin = credit(world), str(world.get("/users/me")["twin_id"])
    operator(world, "assign", deposit["id"], "--twin", twin, "--reason", "asked by mail", "--by", "test")
    until("the credit", lambda: credit(world) == before + Decimal("2.5"))
    # It is somebody's now: it cannot be sent back as well.
    with pytest.raises(subprocess.CalledProcessError):
        operator(world, "return", deposit["id"], "--reason", "no", "--by", "test")


def test_what_is_not_our_usdc_goes_back_to_its_sender_once(world, wallet):
    told = world.get("/deposits/instructions")
    transaction = wallet.pay(told["account"], "3", Asset.native(), IdMemo(int(told["memo"])))
    deposit = deposit_of(world, transaction, "unmatched")
    assert deposit["reason"] == "wrong_asset"
    operator(world, "return", deposit["id"], "--reason", "not USDC", "--by", "test")
    # Ordered again, whatever has happened meanwhile, nothing more is paid.
    operator(world, "return", deposit["id"], "--reason", "impatient", "--by", "test", check=False)
    deposit_of(world, transaction, "returned")
    operator(world, "return", deposit["id"], "--reason", "again", "--by", "test", check=False)
    back = [p for p in wallet.received(told["account"]) if p[1] == "native"]
    memo = base64.b64encode(bytes.fromhex(transaction)).decode()
    assert back == [("3.0000000", "native", "hash", memo)]


def test_what_is_set_aside_is_claimed_and_pays(world, wallet):
    # More than the credit that there is.
    purchase = order(world, "usdc-aside", tft="250")
    told = world.get(f"/deposits/instructions?purchase={purchase}")
    missing = Decimal(told["amount"]) - credit(world)
    transaction = wallet.set_aside(told["account"], str(missing), memo=IdMemo(int(told["memo"])))
    world.ended(purchase, "settled")
    deposit = deposit_of(world, transaction, "credited")
    claimed = wallet.server.transactions().transaction(deposit["claim_tx"]).call()
    assert claimed["successful"]
    kinds = [r["type"] for r in wallet.server.operations().for_claimable_balance(deposit["balance_id"]).call()
             ["_embedded"]["records"]]
    assert kinds == ["create_claimable_balance", "claim_claimable_balance"]


def test_what_is_set_aside_for_later_is_claimed_later_and_goes_back_like_any_other(world, wallet):
    account = world.get("/deposits/instructions")["account"]
    before = wallet.balance()
    later = ClaimPredicate.predicate_not(ClaimPredicate.predicate_before_relative_time(4))
    transaction = wallet.set_aside(account, "2.5", predicate=later)
    deposit = deposit_of(world, transaction, "unmatched")
    assert deposit["reason"] == "no_memo" and deposit["claim_tx"]
    operator(world, "return", deposit["id"], "--reason", "nobody's", "--by", "test")
    deposit_of(world, transaction, "returned")
    assert wallet.balance() == before


def test_what_is_set_aside_and_is_not_our_usdc_is_left_where_it_is(world, wallet):
    told = world.get("/deposits/instructions")
    transaction = wallet.set_aside(told["account"], "3", Asset.native(), IdMemo(int(told["memo"])))
    deposit = deposit_of(world, transaction, "unmatched")
    assert deposit["reason"] == "wrong_asset" and deposit["claim_tx"] is None
    operator(world, "return", deposit["id"], "--reason", "not USDC", "--by", "test")
    deposit_of(world, transaction, "lapsed")
    there = wallet.server.claimable_balances().claimable_balance(deposit["balance_id"]).call()
    assert there["amount"] == "3.0000000"


def test_a_purchase_that_cannot_be_made_sends_the_usdc_back(world, wallet):
    purchase = order(world, "usdc-back", "200")
    told = world.get(f"/deposits/instructions?purchase={purchase}")
    maker = role("maker")
    page = world.stand_in("GRIDWAY_HORIZON_URL", "GET", f"/accounts/{maker.public_key}/offers").json()
    offers = page["_embedded"]["records"]
    tft = Asset(*world.env["GRIDWAY_TFT_ASSET"].split(":"))

    def sell(builder, take_away):
        for offer in offers:
            price = Price(offer["price_r"]["n"], offer["price_r"]["d"])
            amount, number = ("0", int(offer["id"])) if take_away else (offer["amount"], 0)
            builder.append_manage_sell_offer_op(tft, wallet.usdc, amount, price, number)

    wallet.send(maker, lambda b: sell(b, True))
    try:
        before, held = wallet.balance(), credit(world)
        missing = Decimal(told["amount"]) - held
        wallet.pay(told["account"], str(missing), memo=IdMemo(int(told["memo"])))
        world.ended(purchase, "refunded")
        kinds = world.types(purchase)
        assert "SwapCompleted" not in kinds and kinds.count("UsdcCompensationRequested") == 1
        # Each deposit's part went to its sender, what came of no deposit to the credit.
        until("the whole", lambda: wallet.balance() + credit(world) == before + held)
    finally:
        wallet.send(maker, lambda b: sell(b, False))
