//! The fault matrix: each effect × each fault × each fate of the process that sends it; and the
//! effects on TFChain again over the wire, where the chain's own troubles are faults, too.

use crate::meet::{Befalls, Fate, meet};
use crate::net::Fault;
use crate::script::{Buyer, Change, Kind, Mishap, Script, Trouble, Usdc, What};
use crate::trace::Trace;
use crate::world::Fixture;
use anyhow::Result;
use sandbox_tfchain::runtime::Change as Upgrade;

/// Requests to counterparties: effects, and the reads by which their outcome is found.
const EFFECTS: [&str; 13] = [
    "create intent",
    "create refund",
    "submit swap",
    "submit part",
    "submit hand-off",
    "submit return",
    "submit claim",
    "create contract",
    "create name",
    "create rent",
    "create batch",
    "update contract",
    "cancel contract",
];

/// Transactions on TFChain; the model has no twins.
const ON_TFCHAIN: [&str; 9] = [
    "create contract",
    "create name",
    "create rent",
    "create batch",
    "update contract",
    "cancel contract",
    "activate",
    "accept terms",
    "create twin",
];

/// What TFChain does to a transaction that has come.
const TROUBLES: [Trouble; 4] = [
    Trouble::Drop,
    Trouble::Fork {
        depth: 2,
        lose: true,
    },
    Trouble::Restart(3_000),
    Trouble::Upgrade(Upgrade::Indices),
];

/// A matrix.
struct Matrix {
    effects: &'static [&'static str],
    befalls: Vec<Befalls>,
    wire: bool,
}

/// Cases that cannot be.
fn excluded(_: &str, _: Befalls, _: Fate) -> Option<&'static str> {
    None
}

/// Runs every case and prints the closing line.
///
/// # Errors
/// When a world cannot be built.
pub fn run(fixture: &Fixture) -> Result<bool> {
    let faults = || Fault::ALL.into_iter().map(Befalls::Network);
    let modelled = Matrix {
        effects: &EFFECTS,
        befalls: faults().collect(),
        wire: false,
    };
    let wired = Matrix {
        effects: &ON_TFCHAIN,
        befalls: faults()
            .chain(TROUBLES.into_iter().map(Befalls::Chain))
            .collect(),
        wire: true,
    };
    let (mut product, mut cases, mut passed, mut left_out) = (0, 0, 0, 0);
    for matrix in [modelled, wired] {
        let (some, good, out) = matrix.run(fixture)?;
        product += matrix.effects.len() * matrix.befalls.len() * Fate::ALL.len();
        cases += some;
        passed += good;
        left_out += out;
        println!(
            "{} effects × {} faults × {} fates = {}{}, {out} left out",
            matrix.effects.len(),
            matrix.befalls.len(),
            Fate::ALL.len(),
            some + out,
            if matrix.wire { ", over the wire" } else { "" },
        );
    }
    println!("faults: {cases} cases, {passed} passed");
    Ok(cases == passed && cases + left_out == product)
}

impl Matrix {
    /// Cases that were lived through, that passed, and that were left out.
    fn run(&self, fixture: &Fixture) -> Result<(usize, usize, usize)> {
        let (mut cases, mut passed, mut left_out) = (0, 0, 0);
        for &effect in self.effects {
            for &befalls in &self.befalls {
                for fate in Fate::ALL {
                    if let Some(why) = excluded(effect, befalls, fate) {
                        println!("left out: {effect} × {befalls} × {fate:?}: {why}");
                        left_out += 1;
                        continue;
                    }
                    cases += 1;
                    let mut script = script(effect);
                    script.wire = self.wire;
                    passed += usize::from(passes(&script, fixture, effect, befalls, fate)?);
                }
            }
        }
        Ok((cases, passed, left_out))
    }
}

/// Whether a case shows nothing that must not be; prints what it shows.
fn passes(
    script: &Script,
    fixture: &Fixture,
    effect: &'static str,
    befalls: Befalls,
    fate: Fate,
) -> Result<bool> {
    let outcome = meet(script, fixture, &Trace::default(), effect, befalls, fate)?;
    if outcome.violations.is_empty() {
        return Ok(true);
    }
    let wire = if script.wire { "over the wire: " } else { "" };
    println!("{wire}{effect} × {befalls} × {fate:?}:");
    let trace = Trace::kept();
    meet(script, fixture, &trace, effect, befalls, fate)?;
    for line in trace.lines() {
        println!("  {line}");
    }
    for violation in outcome.violations {
        println!("  violation: {violation}");
    }
    Ok(false)
}

/// A world in which the effect happens: one purchase with a deployment, one that is bought in parts,
/// or one whose money goes back, by card or by USDC; or somebody who wants a twin.
fn script(effect: &str) -> Script {
    let twin = matches!(effect, "activate" | "accept terms" | "create twin");
    let from_the_start = |kind| vec![Mishap { at: 0, kind }];
    let mishaps = match effect {
        "create refund" | "submit return" => from_the_start(Kind::Price(None)),
        "submit part" => from_the_start(Kind::Depth(Some(60))),
        _ => Vec::new(),
    };
    Script {
        buyers: if twin {
            Vec::new()
        } else {
            vec![buyer(effect)]
        },
        mishaps,
        poisons: Vec::new(),
        network: 0,
        tears: 0,
        doubts: 0,
        returns: 0,
        of_itself: 0,
        wire: false,
        troubles: Vec::new(),
        newcomers: if twin { vec![0] } else { Vec::new() },
    }
}

/// Who buys, so that the effect happens.
fn buyer(effect: &str) -> Buyer {
    let what = match effect {
        "create name" => What::Name,
        "create rent" => What::Rent,
        "create batch" => What::Batch,
        _ => What::Node,
    };
    Buyer {
        changes: match effect {
            "update contract" => vec![Change::Update(120_000), Change::Update(1)],
            "cancel contract" => vec![Change::Update(120_000), Change::Cancel(1)],
            _ => Vec::new(),
        },
        usdc: match effect {
            "submit return" => Some(Usdc::InTwo),
            "submit claim" => Some(Usdc::SetAside),
            _ => None,
        },
        ..Buyer::prompt(0, what)
    }
}
