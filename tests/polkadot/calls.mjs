// Encodes every call that Gridway uses from the metadata of a real runtime, and compares with what
// Gridway's own shapes encode (JSON on stdin: call → arguments and bytes).
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { Metadata, TypeRegistry, expandMetadata } from "@polkadot/types";
import { stringCamelCase } from "@polkadot/util";

const registry = new TypeRegistry();
const metadata = new Metadata(registry, `0x${readFileSync(process.argv[2]).toString("hex")}`);
registry.setMetadata(metadata);
const { tx } = expandMetadata(registry, metadata);

const call = ({ pallet, name, arguments: args }) =>
  tx[stringCamelCase(pallet)][stringCamelCase(name)](
    ...args.map((arg) => (Array.isArray(arg) && arg[0]?.pallet ? arg.map(call) : arg)),
  );

const ours = JSON.parse(readFileSync(0, "utf8"));
assert.ok(ours.length >= 9, "every call that is used");
for (const one of ours) {
  assert.equal(one.bytes, call(one).toHex(), `${one.pallet}.${one.name}`);
}
console.log(`polkadot: ${ours.length} calls are encoded alike from the metadata of spec 125`);
