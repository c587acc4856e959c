// The Horizon stand-in, driven by @stellar/stellar-sdk: what a payment lane lives through.
const assert = require("node:assert/strict");
const crypto = require("node:crypto");
const test = require("node:test");
const { Account, Asset, Claimant, Horizon, Keypair, Memo, NotFoundError, Operation, TransactionBuilder } = require("@stellar/stellar-sdk");

const networkPassphrase = process.env.GRIDWAY_PASSPHRASE;
const server = new Horizon.Server(process.env.GRIDWAY_HORIZON, { allowHttp: true });
const sha256 = (data) => crypto.createHash("sha256").update(data).digest();
const root = Keypair.fromRawEd25519Seed(sha256(networkPassphrase));
const [issuer, maker, treasury, lane, unopened] = Array.from({ length: 5 }, () => Keypair.random());
const usdc = new Asset("USDC", issuer.publicKey());
const tft = new Asset("TFT", issuer.publicKey());
const base = 1n << 62n;

async function send(source, operations, ...signers) {
  const account = await server.loadAccount(source.publicKey());
  const fee = String(await server.fetchBaseFee());
  const builder = new TransactionBuilder(account, { fee, networkPassphrase }).setTimeout(60);
  for (const operation of operations) builder.addOperation(operation);
  const transaction = builder.build();
  transaction.sign(...(signers.length ? signers : [source]));
  return server.submitTransaction(transaction);
}

function laneTransaction(key, offset, sendMax = "6") {
  const account = new Account(key.publicKey(), String(base + BigInt(offset)));
  const transaction = new TransactionBuilder(account, { fee: "100", networkPassphrase })
    .setTimeout(60)
    .setMinAccountSequence(String(base))
    .addMemo(Memo.hash(sha256("event")))
    .addOperation(
      Operation.pathPaymentStrictReceive({
        source: treasury.publicKey(),
        sendAsset: usdc,
        sendMax,
        destination: treasury.publicKey(),
        destAsset: tft,
        destAmount: "250",
        path: [],
      }),
    )
    .build();
  transaction.sign(key, treasury);
  return transaction;
}

const codes = (error) => error.response.data.extras.result_codes;

async function balance(key, asset) {
  const { balances } = await server.loadAccount(key.publicKey());
  return balances.find((line) => line.asset_code === asset.code && line.asset_issuer === asset.issuer)?.balance;
}

test("a lane's life", async (t) => {
  await t.test("accounts, trust and offers", async () => {
    const create = [issuer, maker, treasury, lane, unopened].map((key) =>
      Operation.createAccount({ destination: key.publicKey(), startingBalance: "100" }),
    );
    assert.ok((await send(root, create)).successful);
    const trust = [maker, treasury].flatMap((key) =>
      [usdc, tft].map((asset) => Operation.changeTrust({ source: key.publicKey(), asset })),
    );
    await send(maker, trust, maker, treasury);
    await send(issuer, [
      Operation.payment({ destination: maker.publicKey(), asset: tft, amount: "100000" }),
      Operation.payment({ destination: treasury.publicKey(), asset: usdc, amount: "1000" }),
    ]);
    await send(maker, [
      Operation.manageSellOffer({ selling: tft, buying: usdc, amount: "100", price: { n: 2, d: 100 } }),
      Operation.manageSellOffer({ selling: tft, buying: usdc, amount: "10000", price: { n: 3, d: 100 } }),
    ]);
    assert.equal(await balance(treasury, usdc), "1000.0000000");
    assert.equal(await balance(lane, usdc), undefined);
    await assert.rejects(server.loadAccount(Keypair.random().publicKey()), NotFoundError);
  });

  await t.test("a lane is opened by its bump and takes gaps", async () => {
    const bump = Operation.bumpSequence({ source: lane.publicKey(), bumpTo: String(base) });
    await send(treasury, [bump], treasury, lane);
    assert.equal((await server.loadAccount(lane.publicKey())).sequenceNumber(), String(base));
    const paths = (await server.strictReceivePaths([usdc], tft, "250").call()).records;
    assert.equal(paths[0].source_amount, "6.5000000");
    await assert.rejects(server.submitTransaction(laneTransaction(unopened, 0)), (error) => {
      assert.equal(codes(error).transaction, "tx_bad_seq");
      return true;
    });
    const landed = await server.submitTransaction(laneTransaction(lane, 41, "6.5"));
    assert.ok(landed.successful);
    const shown = await server.transactions().transaction(landed.hash).call();
    assert.equal(shown.source_account_sequence, String(base + 42n));
    assert.equal(shown.preconditions.min_account_sequence, String(base));
    assert.equal(shown.memo, sha256("event").toString("base64"));
    assert.equal(await balance(treasury, tft), "250.0000000");
    for (const offset of [41, 3]) {
      await assert.rejects(server.submitTransaction(laneTransaction(lane, offset, "7")), (error) => {
        assert.equal(codes(error).transaction, "tx_bad_seq");
        return true;
      });
    }
    await assert.rejects(server.submitTransaction(laneTransaction(lane, 50, "0.0000001")), (error) => {
      assert.deepEqual(codes(error), { transaction: "tx_failed", operations: ["op_over_source_max"] });
      return true;
    });
    assert.equal((await server.loadAccount(lane.publicKey())).sequenceNumber(), String(base + 51n));
  });

  await t.test("a fee-bump lands under its own hash", async () => {
    const inner = laneTransaction(lane, 60, "8");
    const bump = TransactionBuilder.buildFeeBumpTransaction(treasury, "500", inner, networkPassphrase);
    bump.sign(treasury);
    const landed = await server.submitTransaction(bump);
    assert.equal(landed.hash, bump.hash().toString("hex"));
    const shown = await server.transactions().transaction(inner.hash().toString("hex")).call();
    assert.ok(shown.successful);
  });

  await t.test("what is set aside is listed until it is claimed", async () => {
    const source = await server.loadAccount(treasury.publicKey());
    const created = new TransactionBuilder(source, { fee: "100", networkPassphrase })
      .setTimeout(60)
      .addMemo(Memo.id("7"))
      .addOperation(
        Operation.createClaimableBalance({
          asset: usdc,
          amount: "5",
          claimants: [
            new Claimant(maker.publicKey()),
            new Claimant(lane.publicKey(), Claimant.predicateNot(Claimant.predicateBeforeRelativeTime("1000"))),
          ],
        }),
      )
      .build();
    created.sign(treasury);
    const id = created.getClaimableBalanceId(0);
    await server.submitTransaction(created);
    const list = () => server.claimableBalances().claimant(maker.publicKey()).asset(usdc).call();
    const [listed] = (await list()).records;
    assert.equal(listed.id, id);
    assert.equal(listed.amount, "5.0000000");
    const { records } = await server.operations().forAccount(maker.publicKey()).order("desc").limit(1).call();
    assert.equal(records[0].type, "create_claimable_balance");
    assert.equal((await records[0].transaction()).memo, "7");
    const claim = Operation.claimClaimableBalance({ balanceId: id });
    const refused = (code) => (error) => {
      assert.deepEqual(codes(error).operations, [code]);
      return true;
    };
    await assert.rejects(send(unopened, [claim]), refused("op_cannot_claim"));
    const held = await balance(maker, usdc);
    await send(maker, [claim]);
    assert.equal(Number(await balance(maker, usdc)), Number(held) + 5);
    await assert.rejects(send(maker, [claim]), refused("op_does_not_exist"));
    assert.deepEqual((await list()).records, []);
    await assert.rejects(server.claimableBalances().claimableBalance(id).call(), NotFoundError);
  });

  await t.test("a stream shows what comes, once and in order", async () => {
    const seen = [];
    const { records } = await server.payments().forAccount(lane.publicKey()).order("desc").limit(1).call();
    let close;
    const done = new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`only ${seen.length} payments came`)), 20_000);
      close = server
        .payments()
        .forAccount(lane.publicKey())
        .cursor(records[0].paging_token)
        .stream({
          onmessage: (payment) => {
            seen.push(payment);
            if (seen.length === 12) {
              clearTimeout(late);
              resolve();
            }
          },
        });
    });
    // More than one stream's worth (10): the library reconnects where it was.
    for (let round = 0; round < 3; round += 1) {
      const pay = [1, 2, 3, 4].map((n) =>
        Operation.payment({
          destination: lane.publicKey(),
          asset: Asset.native(),
          amount: `0.000000${round * 4 + n > 9 ? 9 : round * 4 + n}`,
        }),
      );
      await send(treasury, pay);
    }
    await done;
    close();
    assert.equal(new Set(seen.map((payment) => payment.id)).size, 12);
    assert.deepEqual(
      seen.map((payment) => payment.amount.at(-1)),
      ["1", "2", "3", "4", "5", "6", "7", "8", "9", "9", "9", "9"],
    );
  });
});
