"""Last of all: the treasury is emptied, so no swap can be made any more."""
import stripe
from conftest import until
from stellar_sdk import Asset, Keypair, Server, TransactionBuilder
from test_purchase import event_of, pay


def empty_treasury(env):
    """Pays all USDC back to its issuer, with the official SDK."""
    code, issuer = env["GRIDWAY_USDC_ASSET"].split(":")
    server, key = Server(env["GRIDWAY_HORIZON_URL"]), Keypair.from_secret(env["GRIDWAY_TREASURY_SECRET"])
    balances = server.accounts().account_id(key.public_key).call()["balances"]
    held = next(b["balance"] for b in balances if b.get("asset_code") == code and b.get("asset_issuer") == issuer)
    builder = TransactionBuilder(server.load_account(key.public_key), env["GRIDWAY_STELLAR_PASSPHRASE"], base_fee=1000)
    builder.append_payment_op(issuer, Asset(code, issuer), held).set_timeout(60)
    transaction = builder.build()
    transaction.sign(key)
    assert server.submit_transaction(transaction)["successful"]


def test_a_swap_that_cannot_be_made_is_refunded_whole_and_once(world):
    purchase, intent = world.order("python-refund")
    body = {"node_id": 2, "data": "x", "purchase_id": purchase}
    assert world.command("/deployments", "python-refund-deployment", body).status_code in (200, 202)
    empty_treasury(world.env)
    pay(intent)
    payload = event_of(intent)
    assert world.webhook(payload, world.sign(payload)).status_code == 200
    world.ended(purchase, "refunded")
    kinds = world.types(purchase)
    assert kinds.count("CompensationRequested") == 1 and "SwapFailed" in kinds and "SwapCompleted" not in kinds
    refunds = stripe.Refund.list(payment_intent=intent).data
    assert [(r.amount, r.status) for r in refunds] == [(stripe.PaymentIntent.retrieve(intent).amount_received, "succeeded")]
    # What waited for the TFT does not wait for ever.
    until("the deployment's end", lambda: "DeploymentFailed" in world.types(purchase))
