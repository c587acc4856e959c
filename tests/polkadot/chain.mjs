// Makes a twin, a farm, a node and contracts on the stand-in.
import assert from "node:assert/strict";
import { ApiPromise, Keyring, WsProvider } from "@polkadot/api";

const api = await ApiPromise.create({ provider: new WsProvider(process.argv[2]), noInitWarn: true });
const alice = new Keyring({ type: "sr25519", ss58Format: 42 }).addFromUri("//Alice");

/** Sends a call and waits until it is final; its events, and its error by name if it failed. */
function send(call, options = {}) {
  return new Promise((resolve, reject) => {
    call
      .signAndSend(alice, options, ({ status, events, dispatchError }) => {
        if (status.isDropped || status.isInvalid || status.isUsurped) {
          reject(new Error(status.type));
        }
        if (!status.isFinalized) return;
        let error = null;
        if (dispatchError) {
          const module = dispatchError.isModule && api.registry.findMetaError(dispatchError.asModule);
          error = module ? `${module.section}.${module.name}` : dispatchError.toString();
        }
        resolve({ error, events: events.map(({ event }) => event) });
      })
      .catch(reject);
  });
}

function one(result, section, method) {
  assert.equal(result.error, null);
  const found = result.events.filter((e) => e.section === section && e.method === method);
  assert.equal(found.length, 1, `${section}.${method} in ${result.events.map((e) => e.method)}`);
  return found[0].data[0];
}

const { specName, specVersion } = api.runtimeVersion;
assert.equal(`${specName} ${specVersion}`, "substrate-threefold 149");
assert.equal(api.registry.chainSS58, 42);
assert.equal(api.consts.balances.existentialDeposit.toNumber(), 500);

const grid = api.tx.tfgridModule;
const early = await send(grid.createTwin(null, null));
assert.equal(early.error, "tfgridModule.UserDidNotSignTermsAndConditions");
await send(grid.userAcceptTc("http://zos.tf/terms/v0.1", "9021d4dee05a661e2cb6838152c67f25"));
const twin = one(await send(grid.createTwin(null, null)), "tfgridModule", "TwinStored");
assert.equal(twin.accountId.toString(), alice.address);
assert.equal((await api.query.tfgridModule.twinIdByAccountID(alice.address)).unwrap().toNumber(), twin.id.toNumber());

const farm = one(
  await send(grid.createFarm("polkadot-farm", [{ ip: "203.0.113.2/24", gw: "203.0.113.1" }])),
  "tfgridModule",
  "FarmStored",
);
const resources = { hru: 1n << 40n, sru: 1n << 39n, cru: 8, mru: 1n << 34n };
const location = { city: "Cairo", country: "Egypt", latitude: "30.04", longitude: "31.24" };
const node = one(
  await send(grid.createNode(farm.id, resources, location, [], false, false, null)),
  "tfgridModule",
  "NodeStored",
);
assert.equal(node.twinId.toNumber(), twin.id.toNumber());

const contracts = api.tx.smartContractModule;
const hash = `0x${"5a".repeat(32)}`;
const create = () => contracts.createNodeContract(node.id, hash, "a workload", 1, null);
const contract = one(await send(create()), "smartContractModule", "ContractCreated");
assert.equal(contract.contractType.asNodeContract.publicIpsList.length, 1);
const unique = () => api.query.smartContractModule.contractIDByNodeIDAndHash(node.id, hash);
assert.equal((await unique()).toNumber(), contract.contractId.toNumber());
assert.equal((await send(create())).error, "smartContractModule.ContractIsNotUnique");

const newHash = `0x${"5b".repeat(32)}`;
const updated = one(
  await send(contracts.updateNodeContract(contract.contractId, newHash, "another")),
  "smartContractModule",
  "ContractUpdated",
);
assert.equal(updated.contractType.asNodeContract.deploymentHash.toHex(), newHash);
assert.equal((await unique()).toNumber(), 0);

const both = await send(
  api.tx.utility.batchAll([contracts.createNameContract("polka"), contracts.createNameContract("polka")]),
);
assert.equal(both.error, "smartContractModule.NameExists");
assert.equal((await api.query.smartContractModule.contractIDByNameRegistration("polka")).toNumber(), 0);
const named = await send(
  api.tx.utility.batchAll([contracts.createNameContract("polka"), contracts.createNameContract("dot")]),
);
assert.equal(named.events.filter((e) => e.method === "ContractCreated").length, 2);
one(await send(contracts.cancelContract(contract.contractId)), "smartContractModule", "NodeContractCanceled");
assert.ok((await api.query.smartContractModule.contracts(contract.contractId)).isNone);

const { nonce } = await api.query.system.account(alice.address);
await assert.rejects(send(create(), { nonce: nonce.toNumber() - 1 }), /1010.*outdated/);
const fee = await create().paymentInfo(alice);
assert.ok(fee.partialFee.toBigInt() > 0n);

await api.disconnect();
console.log(`polkadot: twin ${twin.id}, farm ${farm.id}, node ${node.id}, contract ${contract.contractId} and names on the stand-in`);
process.exit(0);
