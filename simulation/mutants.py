#!/usr/bin/env python3
"""Removes one clause of the law at a time and asks the simulation, or the tests, to notice.

Each mutant is one replacement in a copy of the tree. A mutant that survives means that the
clause is not guarded by any check: the run fails.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("GRIDWAY_CACHE", Path.home() / ".cache/gridway")) / "mutants"
SEEDS = 3000

# name, the clause that it removes, file, what stands there, what the mutant says
MUTANTS = [
    (
        "random idempotency key",
        "the key at Stripe derives from the request",
        "processors/payments/src/lib.rs",
        "        request: job.record.id(),\n        amount: request.charge,",
        '        request: EventId::derive(&["mutant", &clock::now().0.to_string()]),\n        amount: request.charge,',
    ),
    (
        "sequence from a counter",
        "the number on Stellar is the record's offset",
        "processors/lanes/src/lib.rs",
        "            offset: job.record.offset,\n            deadline",
        "            offset: { static N: std::sync::atomic::AtomicI64 = std::sync::atomic::AtomicI64::new(1000);"
        " N.fetch_add(1, std::sync::atomic::Ordering::Relaxed) },\n            deadline",
    ),
    (
        "lane chosen anew",
        "the lane follows from the event's id",
        "processors/lanes/src/lib.rs",
        "lane_index(&job.record.id(), opening.lanes)",
        "u16::try_from(pipeline::clock::now().0 % i64::from(opening.lanes)).unwrap_or(0)",
    ),
    (
        "deadline chosen anew",
        "maxTime stands in the request",
        "processors/swaps/src/lib.rs",
        ".transaction(job, request.deadline, memo, operation)",
        ".transaction(job, pipeline::clock::now().after(std::time::Duration::from_secs(60)), memo, operation)",
    ),
    (
        "not landed without the closed ledger",
        "what was not taken never will be only at a ledger that closed after the deadline",
        "counterparties/stellar/src/find.rs",
        "Some(account) if account.ledger < ledger =>",
        "Some(account) if account.ledger < ledger && account.ledger == 0 =>",
    ),
    (
        "lagging list believed",
        "a list says nothing before it shows what set the account's number",
        "counterparties/stellar/src/find.rs",
        "if !self.shows_current {",
        "if !self.shows_current && self.account.ledger == 0 {",
    ),
    (
        "retry after Unknown without find",
        "after an unknown answer only find may follow",
        "pipeline/src/drive.rs",
        '                        "the outcome of the effect is unknown, looking for it"\n                    );\n                    known = Known::Nothing;',
        '                        "the outcome of the effect is unknown, looking for it"\n                    );\n                    known = Known::Free;',
    ),
    (
        "echo treated as a fact",
        "a policy takes an event id once",
        "pipeline/src/policy.rs",
        "        if !self.seen.insert(record.id()) {",
        "        if !self.seen.insert(record.id()) && record.offset < 0 {",
        # The rules have a net of their own, which would hide it.
        (
            "processors/purchases/src/decide/card.rs",
            "        if purchase.receipts.contains_key(&intent) {\n            return;\n        }\n",
            "",
        ),
    ),
    (
        "a webhook that never came is forgotten",
        "what Stripe lists is a fact though no webhook told it",
        "processors/reconciler/src/lib.rs",
        "Some(purchase) if state.contains(&purchase) =>",
        "Some(purchase) if state.contains(&purchase) && state.is_empty() =>",
    ),
    (
        "closed aggregates forgotten",
        "aggregates and ids are remembered for ever",
        "pipeline/src/policy.rs",
        "        metrics::records(P::NAME, \"fact\");\n        self.firing",
        "        if self.seen.len() > 12 { self.seen.clear(); self.aggregates.clear(); }\n        metrics::records(P::NAME, \"fact\");\n        self.firing",
    ),
    (
        "own open request taken for an echo",
        "a request is open until its outcome stands in the log",
        "pipeline/src/executor.rs",
        "    fn fold(&mut self, record: Record<X::Event>, _: i64) -> Result<(), Fault> {\n        self.take(record, false, &mut None);",
        "    fn fold(&mut self, record: Record<X::Event>, committed: i64) -> Result<(), Fault> {\n"
        "        if record.offset < committed && self.executor.request(&record).is_some() { return Ok(()); }\n"
        "        self.take(record, false, &mut None);",
    ),
    (
        "decisions not taken again",
        "after a takeover decisions that the log lacks are taken again",
        "pipeline/src/policy.rs",
        "let decides = again || record.offset >= committed.saturating_sub(overlap);",
        "let decides = again || record.offset >= committed.min(committed + overlap);",
    ),
    (
        "random event ids",
        "the id of a decision derives from its cause",
        "pipeline/src/append.rs",
        "    EventId::derive(&[&cause.to_string(), processor, name, discriminator])",
        "    EventId::derive(&[&cause.to_string(), processor, name, discriminator, &clock::now().0.to_string()])",
    ),
    (
        "timer closes an open request",
        "only its outcome ends a request",
        "processors/purchases/src/state.rs",
        "            Stage::Paid { .. }\n            | Stage::AwaitingDeposit { .. }",
        "            Stage::Paid { next: Next::UnderWay, paid_at, attempt, .. } => timers.push(timer(RETRY_SWAP,\n"
        "                paid_at.after(Duration::from_secs(u64::try_from(30 * *attempt).unwrap_or(30))))),\n"
        "            Stage::Paid { .. }\n            | Stage::AwaitingDeposit { .. }",
        (
            "processors/purchases/src/decide.rs",
            "                    paid_at,\n                    attempt,\n                    next: Next::At(_),\n",
            "                    paid_at,\n                    attempt,\n                    next: Next::At(_) | Next::UnderWay,\n",
        ),
    ),
    (
        "refund without the terminal decision",
        "a charge goes back only once delivery is given up",
        "processors/purchases/src/decide/handoff.rs",
        "        let stage = std::mem::take(&mut purchase.stage);\n        purchase.stage = match self.rules.retry_at(self.now, attempt + 1) {",
        "        if let Some(order) = order_of(&purchase.stage).cloned() {\n"
        "            for intent in purchase.receipts.keys().cloned().collect::<Vec<_>>() {\n"
        "                self.refund(purchase, &intent, order.charge, \"mutant\");\n            }\n        }\n"
        "        let stage = std::mem::take(&mut purchase.stage);\n        purchase.stage = match self.rules.retry_at(self.now, attempt + 1) {",
    ),
    (
        "partition taken before its end",
        "a partition goes live only once it is folded to its end",
        "pipeline/src/worker.rs",
        "            let end = self.log.end(partition).map_err(self.lost())?;",
        "            let end = self.log.end(partition).map_err(self.lost())?.min(1);",
    ),
    (
        "what comes back stays paused",
        "a partition that is assigned is read, whatever was when it was taken away",
        "pipeline/src/worker.rs",
        "        self.log.pause(partitions, false).map_err(self.lost())?;\n",
        "",
    ),
    (
        "effect before the record is owned",
        "whoever signs proves first that the work is still its own",
        "pipeline/src/executor.rs",
        "Some(ask) => ask().await.unwrap_or(false),",
        "Some(ask) => ask().await.unwrap_or(false) || true,",
    ),
    (
        "effect without asking",
        "whoever signs proves first that the work is still its own",
        "pipeline/src/executor.rs",
        "Some(ask) => ask().await.unwrap_or(false),",
        "Some(_) => true,",
    ),
    (
        "proof without a commit",
        "a proof goes through the fence of the consumer group",
        "pipeline/src/worker.rs",
        "self.transact(!proofs.is_empty())?;",
        "self.transact(false)?;",
    ),
    (
        "earlier parts forgotten",
        "a part buys what earlier ones have left",
        "processors/purchases/src/decide/swap.rs",
        "let tft = order.swap_tft.checked_sub(purchase.bought);",
        "let tft = order.swap_tft.checked_sub(Amount::ZERO);",
        # The books have a net of their own, which would stop the purchase.
        (
            "processors/purchases/src/decide/books.rs",
            "if bought != order.swap_tft.checked_sub(request.rest) {",
            "if bought.is_err() {",
        ),
    ),
    (
        "cost of earlier parts forgotten",
        "all parts together cost what was set aside, and the rest is the buyer's",
        "processors/purchases/src/decide/swap.rs",
        "let spent = purchase.spent.checked_add(event.usdc_spent);",
        "let spent = Amount::ZERO.checked_add(event.usdc_spent);",
    ),
    (
        "leftover of parts dropped",
        "what swaps did not spend is the buyer's credit",
        "processors/purchases/src/decide/usdc.rs",
        "left.ok().filter(|_| !withheld)",
        "left.ok().filter(|_| !withheld && purchase.bought_by <= 1)",
    ),
    (
        "loss of a dispute not booked",
        "what a bank took is booked, of whichever payment",
        "processors/purchases/src/decide/refunds.rs",
        "                Receipt::Refunded => 0,\n                Receipt::Kept | Receipt::Refunding { .. } => continue,",
        "                Receipt::Refunded if matches!(purchase.stage, Stage::Lost { .. }) => 0,\n"
        "                Receipt::Refunded | Receipt::Kept | Receipt::Refunding { .. } => continue,",
    ),
    (
        "disputed refund asked for and given up",
        "while a dispute is open the refund of its charge waits",
        "processors/purchases/src/decide/card.rs",
        "            self.resume_refund(purchase, intent);",
        "            let _ = intent;",
    ),
    (
        "chain's event taken again after a restart",
        "a fact of the chain has the id of its block and place",
        "processors/watcher/src/contracts.rs",
        'let id = EventId::derive(&["tfchain", &fact.block.to_string(), &fact.index.to_string()]);',
        'let id = EventId::derive(&["tfchain", &fact.block.to_string(), &fact.index.to_string(),\n'
        "            &pipeline::clock::now().0.to_string()]);",
    ),
    (
        "cancelled by the chain ignored",
        "what others end has ended, whatever is under way",
        "processors/deployments/src/decide.rs",
        "            state.saw(cancelled.contract_id);\n"
        "            if let Some(deployment) = state.all.get_mut(&cancelled.deployment_id) {",
        "            state.saw(cancelled.contract_id);\n"
        "            if let Some(deployment) = state.all.get_mut(&cancelled.deployment_id).filter(|_| false) {",
    ),
    (
        "cancelled deployment created again",
        "what was cancelled stays so, however often it is asked for",
        "processors/deployments/src/decide/create.rs",
        "    if state.all.contains_key(&order.deployment_id) {",
        "    if state.all.get(&order.deployment_id).is_some_and(|d| d.stage != Stage::Cancelled) {",
        # A request that is told again is an echo before the rules see it.
        (
            "pipeline/src/policy.rs",
            "        if !self.seen.insert(record.id()) {",
            "        if !self.seen.insert(record.id()) && record.offset < 0 {",
        ),
    ),
    (
        "update sent after the cancellation",
        "what is being cancelled is not changed",
        "processors/deployments/src/decide.rs",
        "    if deployment.cancel || cancelling {",
        "    if deployment.cancel && !cancelling {",
    ),
    (
        "low balance rung twice",
        "only a crossing of the threshold rings",
        "processors/treasury/src/lib.rs",
        "        if low == side.low {",
        "        if low == side.low && !low {",
    ),
    (
        "nonce read at the best block",
        "state and nonce are read at one finalized block",
        "counterparties/tfchain/src/client.rs",
        "        let view = self.node().head().await?;\n        self.account_at(view, account).await\n",
        "        let view = self.node().head().await?;\n"
        "        let mut state = self.account_at(view, account).await?;\n"
        "        let link = self.node().link().await?;\n"
        "        let next = link.rpc.system_account_next_index(account);\n"
        "        let next = self.node().within(&link, next).await?;\n"
        "        state.nonce = u32::try_from(next).unwrap_or(state.nonce);\n"
        "        Ok(state)\n",
    ),
    (
        "activated without a look at that block",
        "an account is paid by a nonce of the block at which it was seen without",
        "counterparties/tfchain/src/activations.rs",
        "    if activated(state, plan) {\n        return Ok(Missing::Nothing);\n    }\n",
        "    if activated(state, plan) && plan.deadline < 0 {\n        return Ok(Missing::Nothing);\n    }\n",
    ),
    (
        "taken back and still claimed",
        "a claimable balance that is there no more is given up",
        "processors/deposits/src/decide/claim.rs",
        "if event.code == GONE {",
        "if event.code.len() > 99 && event.code == GONE {",
    ),
    (
        "set aside is credit",
        "a claimable balance is no deposit before it is claimed",
        "processors/deposits/src/decide/claim.rs",
        "            Ok(_) => self.claim_from(&mut deposit, self.now),",
        "            Ok(_) => {\n                self.claim_from(&mut deposit, self.now);\n"
        "                self.claimed(&mut deposit);\n            }",
    ),
    (
        "effect before its record is committed",
        "only what is committed is read: what is taken back may be decided otherwise",
        "pipeline/src/kafka.rs",
        '.set("group.instance.id", instance)\n            .set("isolation.level", "read_committed")',
        '.set("group.instance.id", instance)\n            .set("isolation.level", "read_uncommitted")',
    ),
    (
        "zombie not fenced",
        "a slot has one transactional id, whoever owns it",
        "pipeline/src/kafka.rs",
        '.set("transactional.id", instance)',
        '.set("transactional.id", format!("{instance}-{:?}", std::time::Instant::now()))',
    ),
    (
        "offsets apart from the records",
        "what was decided and how far it was read are one transaction",
        "pipeline/src/kafka_log.rs",
        "        for append in appends {\n            let mut record",
        "        if !offsets.is_empty() {\n"
        "            let _ = self.consumer.commit(&self.list(offsets), CommitMode::Sync);\n        }\n"
        "        for append in appends {\n            let mut record",
    ),
    (
        "a slice's offset passes over what is left",
        "decided before an offset is appended before it",
        "pipeline/src/worker.rs",
        "            let left = self.outbox.first_of(*id);",
        "            let left = self.outbox.first_of(*id).filter(|_| false);",
    ),
    (
        "offsets far ahead of what was read back",
        "what is lost after its commit is decided again",
        "pipeline/src/worker.rs",
        "let least = [left, unread]",
        "let least = [left, unread.filter(|_| false)]",
    ),
]

# What the simulation has a model of is judged by tests: what lies between a worker and Kafka, against a
# real broker; between the client and a node, against the stand-in that speaks Substrate's protocol.
KAFKA = ["-p", "pipeline", "--lib"]
BY_TESTS = {
    "effect before its record is committed": KAFKA,
    "zombie not fenced": KAFKA,
    "offsets apart from the records": KAFKA,
    # No world's log is longer than what a policy decides again anyway.
    "a slice's offset passes over what is left": KAFKA,
    "offsets far ahead of what was read back": KAFKA,
    "nonce read at the best block": ["-p", "sandbox-tfchain", "--test", "activations", "--test", "troubles"],
    "activated without a look at that block": ["-p", "sandbox-tfchain", "--test", "activations"],
    # Once in a thousand worlds: two readings in a row that are behind, of a number that was taken.
    "not landed without the closed ledger": ["-p", "counterparties-stellar", "--lib"],
    # Seldom in a world: a cancellation that has to be tried again, and an update meanwhile.
    "update sent after the cancellation": ["-p", "processor-deployments", "--test", "rules"],
    # No world has a treasury that runs low.
    "low balance rung twice": ["-p", "processor-treasury", "--test", "crossings"],
}
# Only long outages hold partitions paused while they are taken away.
BY_OUTAGES = {"what comes back stays paused"}


def sh(*args, **kwargs):
    return subprocess.run(args, check=True, text=True, **kwargs)


def replace(tree, file, old, new):
    path = tree / file
    text = path.read_text()
    if text.count(old) != 1:
        sys.exit(f"mutants: {file} does not hold this exactly once, mend mutants.py:\n{old}")
    path.write_text(text.replace(old, new))


def cargo(tree, *command):
    env = dict(os.environ, CARGO_TARGET_DIR=str(CACHE / "target"))
    return subprocess.run(["cargo", *command], cwd=tree, env=env, text=True, capture_output=True)


def build(tree, name=None):
    tests = BY_TESTS.get(name)
    if tests:
        return cargo(tree, "test", "--quiet", "--locked", "--no-run", *tests)
    return cargo(tree, "build", "--quiet", "--locked", "-p", "simulation")


def judge(tree, name=None):
    """Who noticed, after how many worlds or tests, and what it said first; None: nobody."""
    tests = BY_TESTS.get(name)
    if tests:
        run = cargo(tree, "test", "--quiet", "--locked", *tests)
        failed = re.findall(r"^    ([\w:]+)$", run.stdout, re.M)
        why = re.search(r"panicked at [^\n]*\n[^\n]*", run.stdout)
        said = "failed: " + ", ".join(failed) + (" " + why[0].replace("\n", " ") if why else "")
        return ("tests", len(failed), said) if run.returncode else None
    if name in BY_OUTAGES:
        run = subprocess.run([CACHE / "target/debug/simulation", "--outages"], capture_output=True, text=True)
        cases = re.search(r"^outages: (\d+) cases, (\d+) passed", run.stdout, re.M)
        failed = int(cases[1]) - int(cases[2]) if cases else 0
        return ("outages", failed, run.stdout.splitlines()[2].strip()) if run.returncode else None
    run = subprocess.run([CACHE / "target/debug/simulation", "--seeds", str(SEEDS), "--first"],
                         capture_output=True, text=True)
    seeds = re.search(r"^sim: (\d+) seeds", run.stdout, re.M)
    if run.returncode and seeds:
        return "simulation", int(seeds[1]), run.stdout.splitlines()[0]
    return None


def check():
    """Holds that each mutant still finds the place that it changes."""
    stale = [f"{name}: {file}"
             for name, _, *places, in MUTANTS
             for file, old, *_ in [places[:3], *places[3:]]
             if (ROOT / file).read_text().count(old) != 1]
    if stale:
        sys.exit("mutants: mend mutants.py, these do not find their place exactly once:\n" + "\n".join(stale))
    print(f"mutants: {len(MUTANTS)} find their places")


def main():
    wanted = sys.argv[1:]
    if wanted == ["--check"]:
        return check()
    tree = CACHE / "tree"
    tree.mkdir(parents=True, exist_ok=True)

    def sync():
        """Makes the copy equal to the tree; what is written gets a new time, so cargo sees it."""
        listed = sh("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard",
                    cwd=ROOT, capture_output=True).stdout
        for name in filter(None, listed.split("\0")):
            source, copy = ROOT / name, tree / name
            if not source.is_file():
                continue
            content = source.read_bytes()
            if not copy.is_file() or copy.read_bytes() != content:
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(content)

    sync()
    chosen = [m for m in MUTANTS if not wanted or m[0] in wanted]
    for name in {m[0] if m[0] in BY_TESTS or m[0] in BY_OUTAGES else None for m in chosen}:
        built = build(tree, name)
        if built.returncode:
            sys.exit(f"mutants: the tree itself does not build:\n{built.stderr}")
        noticed = judge(tree, name)
        if noticed:
            sys.exit(f"mutants: the tree itself is not sound: {noticed}")
    survivors, tried = [], 0
    print(f"{'mutant':<40} {'caught by':<12} {'after':>6} {'seconds':>8}")
    for name, clause, file, old, new, *more in chosen:
        tried += 1
        replace(tree, file, old, new)
        for other in more:
            replace(tree, *other)
        built = build(tree, name)
        if built.returncode:
            sys.exit(f"mutants: {name} does not build:\n{built.stderr}")
        begun = time.monotonic()
        noticed = judge(tree, name)
        took = time.monotonic() - begun
        sync()
        if noticed:
            by, after, said = noticed
            print(f"{name:<40} {by:<12} {after:>6} {took:>8.1f}", flush=True)
            print("  " + said[:160], flush=True)
        else:
            survivors.append(name)
            print(f"{name:<40} {'SURVIVED':<12} {SEEDS:>6} {took:>8.1f}   {clause}", flush=True)
    print(f"mutants: {tried} tried, {tried - len(survivors)} caught")
    sys.exit(1 if survivors else 0)


if __name__ == "__main__":
    main()
