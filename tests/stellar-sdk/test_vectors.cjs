// What our code signs, decoded, hashed and verified by @stellar/stellar-sdk.
const assert = require("node:assert/strict");
const fs = require("node:fs");
const test = require("node:test");
const { FeeBumpTransaction, Keypair, Transaction, TransactionBuilder } = require("@stellar/stellar-sdk");

const vectors = JSON.parse(fs.readFileSync(process.env.GRIDWAY_VECTORS, "utf8"));

function stroops(amount) {
  const [whole, rest = ""] = amount.split(".");
  return BigInt(whole + rest.padEnd(7, "0")).toString();
}

const asset = (value) => (value.isNative() ? "native" : `${value.code}:${value.issuer}`);

function memo({ type, value }) {
  if (type === "none") return { type, value: null };
  return { type, value: type === "text" ? value.toString() : value.toString("hex") };
}

function operation(op, raw) {
  const source = op.source ?? null;
  switch (op.type) {
    case "pathPaymentStrictReceive":
      return {
        type: "path_payment_strict_receive",
        source,
        send_asset: asset(op.sendAsset),
        send_max: stroops(op.sendMax),
        destination: op.destination,
        dest_asset: asset(op.destAsset),
        dest_amount: stroops(op.destAmount),
        path: op.path.map(asset),
      };
    case "payment":
      return {
        type: "payment",
        source,
        destination: op.destination,
        asset: asset(op.asset),
        amount: stroops(op.amount),
      };
    case "createAccount":
      return {
        type: "create_account",
        source,
        destination: op.destination,
        starting_balance: stroops(op.startingBalance),
      };
    case "claimClaimableBalance":
      return { type: "claim_claimable_balance", source, balance: op.balanceId };
    case "bumpSequence":
      return { type: "bump_sequence", source, bump_to: op.bumpTo };
    case "changeTrust":
      return { type: "change_trust", source, asset: asset(op.line), limit: stroops(op.limit) };
    case "manageSellOffer": {
      // The library shows the price as a decimal; the network has it as a ratio.
      const price = raw.body().manageSellOfferOp().price();
      return {
        type: "manage_sell_offer",
        source,
        selling: asset(op.selling),
        buying: asset(op.buying),
        amount: stroops(op.amount),
        price: `${price.n()}/${price.d()}`,
        offer_id: op.offerId,
      };
    }
    default:
      throw new Error(op.type);
  }
}

/** Each signer has signed the hash, in this order, and nobody else has. */
function verify(transaction, signers) {
  assert.equal(transaction.signatures.length, signers.length);
  signers.forEach((signer, place) => {
    const key = Keypair.fromPublicKey(signer);
    const signature = transaction.signatures[place];
    assert.deepEqual(signature.hint(), key.signatureHint());
    assert.ok(key.verify(transaction.hash(), signature.signature()), `${signer} has not signed`);
  });
}

function check(vector) {
  const decoded = TransactionBuilder.fromXDR(vector.envelope, vector.passphrase);
  let inner = decoded;
  if (vector.fee_bump) {
    assert.ok(decoded instanceof FeeBumpTransaction);
    assert.equal(decoded.feeSource, vector.fee_bump.source);
    assert.equal(decoded.fee, vector.fee_bump.fee);
    assert.equal(decoded.hash().toString("hex"), vector.fee_bump.hash);
    verify(decoded, vector.fee_bump.signers);
    inner = decoded.innerTransaction;
  }
  assert.ok(inner instanceof Transaction);
  assert.equal(inner.hash().toString("hex"), vector.hash);
  verify(inner, vector.signers);
  assert.equal(inner.source, vector.source);
  assert.equal(inner.sequence, vector.sequence);
  assert.equal(inner.fee, vector.fee);
  assert.deepEqual({ ...inner.timeBounds }, { minTime: "0", maxTime: vector.max_time });
  assert.equal(inner.minAccountSequence ?? null, vector.min_sequence);
  assert.equal(inner.ledgerBounds, undefined);
  assert.equal(inner.extraSigners?.length ?? 0, 0);
  assert.deepEqual(memo(inner.memo), vector.memo);
  const raw = inner.tx.operations();
  assert.deepEqual(
    inner.operations.map((op, place) => operation(op, raw[place])),
    vector.operations,
  );
  // Written anew by the library it is the same envelope, byte for byte.
  assert.equal(decoded.toXDR(), vector.envelope);
}

for (const vector of vectors) test(vector.name, () => check(vector));

test("a changed envelope is noticed", () => {
  const vector = vectors.find((v) => v.name === "swap, direct");
  for (const place of [40, 60, 100]) {
    const raw = Buffer.from(vector.envelope, "base64");
    raw[place] ^= 1;
    assert.throws(() => check({ ...vector, envelope: raw.toString("base64") }), `byte ${place}`);
  }
});
