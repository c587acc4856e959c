"""What our code signs, decoded, hashed and verified by stellar-sdk."""

import base64
import json
import os
from decimal import Decimal
from pathlib import Path

import pytest
from stellar_sdk import (
    FeeBumpTransactionEnvelope,
    HashMemo,
    Keypair,
    NoneMemo,
    ReturnHashMemo,
    TextMemo,
    TransactionBuilder,
    TransactionEnvelope,
)
from stellar_sdk.operation import (
    BumpSequence,
    ChangeTrust,
    ClaimClaimableBalance,
    CreateAccount,
    ManageSellOffer,
    PathPaymentStrictReceive,
    Payment,
)

VECTORS = json.loads(Path(os.environ["GRIDWAY_VECTORS"]).read_text())


def stroops(amount):
    return str(int(Decimal(amount) * 10**7))


def asset(value):
    return "native" if value.is_native() else f"{value.code}:{value.issuer}"


def account(muxed):
    """An account that is not muxed: none of ours is."""
    if muxed is None:
        return None
    assert muxed.account_muxed_id is None
    return muxed.account_id


def memo(value):
    match value:
        case NoneMemo():
            return {"type": "none", "value": None}
        case TextMemo():
            return {"type": "text", "value": value.memo_text.decode()}
        case HashMemo():
            return {"type": "hash", "value": value.memo_hash.hex()}
        case ReturnHashMemo():
            return {"type": "return", "value": value.memo_return.hex()}
    raise AssertionError(value)


def operation(op):
    said = {"source": account(op.source)}
    match op:
        case PathPaymentStrictReceive():
            return {
                "type": "path_payment_strict_receive",
                **said,
                "send_asset": asset(op.send_asset),
                "send_max": stroops(op.send_max),
                "destination": account(op.destination),
                "dest_asset": asset(op.dest_asset),
                "dest_amount": stroops(op.dest_amount),
                "path": [asset(hop) for hop in op.path],
            }
        case Payment():
            return {
                "type": "payment",
                **said,
                "destination": account(op.destination),
                "asset": asset(op.asset),
                "amount": stroops(op.amount),
            }
        case CreateAccount():
            return {
                "type": "create_account",
                **said,
                "destination": op.destination,
                "starting_balance": stroops(op.starting_balance),
            }
        case ClaimClaimableBalance():
            return {"type": "claim_claimable_balance", **said, "balance": op.balance_id}
        case BumpSequence():
            return {"type": "bump_sequence", **said, "bump_to": str(op.bump_to)}
        case ChangeTrust():
            return {"type": "change_trust", **said, "asset": asset(op.asset), "limit": stroops(op.limit)}
        case ManageSellOffer():
            return {
                "type": "manage_sell_offer",
                **said,
                "selling": asset(op.selling),
                "buying": asset(op.buying),
                "amount": stroops(op.amount),
                "price": f"{op.price.n}/{op.price.d}",
                "offer_id": str(op.offer_id),
            }
    raise AssertionError(op)


def verify(envelope, signers):
    """Each signer has signed the hash, in this order, and nobody else has."""
    assert len(envelope.signatures) == len(signers)
    for signer, signature in zip(signers, envelope.signatures, strict=True):
        key = Keypair.from_public_key(signer)
        assert signature.signature_hint == key.signature_hint()
        key.verify(envelope.hash(), signature.signature)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_vector(vector):
    envelope = TransactionBuilder.from_xdr(vector["envelope"], vector["passphrase"])
    inner = envelope
    if (bump := vector["fee_bump"]) is not None:
        assert isinstance(envelope, FeeBumpTransactionEnvelope)
        outer = envelope.transaction
        assert account(outer.fee_source) == bump["source"]
        assert str(outer.fee) == bump["fee"]
        assert envelope.hash_hex() == bump["hash"]
        verify(envelope, bump["signers"])
        inner = outer.inner_transaction_envelope
    assert isinstance(inner, TransactionEnvelope)
    assert inner.hash_hex() == vector["hash"]
    verify(inner, vector["signers"])
    tx = inner.transaction
    assert account(tx.source) == vector["source"]
    assert str(tx.sequence) == vector["sequence"]
    assert str(tx.fee) == vector["fee"]
    conditions = tx.preconditions
    assert (conditions.time_bounds.min_time, str(conditions.time_bounds.max_time)) == (0, vector["max_time"])
    least = conditions.min_sequence_number
    assert (None if least is None else str(least)) == vector["min_sequence"]
    assert conditions.ledger_bounds is None
    assert not conditions.min_sequence_age and not conditions.min_sequence_ledger_gap
    assert not conditions.extra_signers
    assert memo(tx.memo) == vector["memo"]
    assert [operation(op) for op in tx.operations] == vector["operations"]
    # Written anew by the library it is the same envelope, byte for byte.
    assert envelope.to_xdr() == vector["envelope"]


def test_there_is_a_vector_of_each_kind():
    kinds = {op["type"] for vector in VECTORS for op in vector["operations"]}
    assert kinds >= {"path_payment_strict_receive", "payment", "create_account", "bump_sequence"}
    assert {vector["memo"]["type"] for vector in VECTORS} == {"none", "text", "hash", "return"}
    assert sum(vector["fee_bump"] is not None for vector in VECTORS) >= 3


@pytest.mark.parametrize("place", [40, 60, 100])
def test_a_changed_envelope_is_noticed(place):
    """The checks above can fail."""
    vector = next(v for v in VECTORS if v["name"] == "swap, direct")
    raw = bytearray(base64.b64decode(vector["envelope"]))
    raw[place] ^= 1
    changed = dict(vector, envelope=base64.b64encode(raw).decode())
    with pytest.raises(Exception):  # noqa: B017 - which one depends on the place
        test_vector(changed)
