// Signs and judges every case with Stripe's official library for Node, then asks our verification.
const { execFileSync } = require("node:child_process");
const { readFileSync } = require("node:fs");
const path = require("node:path");
const Stripe = require("stripe");

const stripe = new Stripe("sk_test_unused");
const cases = JSON.parse(readFileSync(path.join(__dirname, "cases.json"), "utf8"));

function signature(body, secret, timestamp) {
  const header = stripe.webhooks.generateTestHeaderString({ payload: body, secret: `whsec_${secret}`, timestamp });
  return header.split("v1=")[1];
}

// `{new@1700000000}` in a header is the signature with whsec_new at that time.
function header(one) {
  return one.header.replace(/\{(\w+)@(-?\d+)(:cut)?\}/g, (_, secret, time, cut) => {
    const hex = signature(one.signed ?? one.body, secret, Number(time));
    return cut ? hex.slice(0, -2) : hex;
  });
}

function accepts(one) {
  return one.secrets.some((secret) => {
    try {
      return stripe.webhooks.signature.verifyHeader(one.body, one.header, secret, 300, undefined, one.now * 1000);
    } catch {
      // Not verified, or a header on which the library itself stumbles: refused either way.
      return false;
    }
  });
}

const signed = cases.map((one) => ({ ...one, header: header(one) }));
const ours = JSON.parse(
  execFileSync(path.join(process.env.GRIDWAY_BIN, "system-tests"), ["webhooks"], { input: JSON.stringify(signed), maxBuffer: 1 << 24 }),
);
let wrong = 0;
signed.forEach((one, index) => {
  const agreed = accepts(one) === (ours[index].verdict === "ok");
  if (agreed === Boolean(one.differs?.node)) {
    wrong += 1;
    console.log(`${one.name}: the library says ${accepts(one)}, we say ${ours[index].verdict}`);
  }
});
console.log(`node: stripe ${Stripe.PACKAGE_VERSION ?? require("stripe/package.json").version}, ${cases.length} cases, ${wrong} wrong`);
process.exit(wrong === 0 ? 0 : 1);
