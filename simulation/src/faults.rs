//! The fault matrix: each effect × each fault × each fate of the process that sends it.

use crate::meet::{Fate, meet};
use crate::net::Fault;
use crate::script::{Buyer, Change, Kind, Mishap, Script, Usdc, What};
use crate::trace::Trace;
use crate::world::Fixture;
use anyhow::Result;

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

/// Cases that cannot be.
fn excluded(_: &str, _: Fault, _: Fate) -> Option<&'static str> {
    None
}

/// Runs every case and prints the closing line.
///
/// # Errors
/// When a world cannot be built.
pub fn run(fixture: &Fixture) -> Result<bool> {
    let (mut cases, mut passed, mut left_out) = (0, 0, 0);
    for effect in EFFECTS {
        for fault in Fault::ALL {
            for fate in Fate::ALL {
                if let Some(why) = excluded(effect, fault, fate) {
                    println!("left out: {effect} × {fault:?} × {fate:?}: {why}");
                    left_out += 1;
                    continue;
                }
                cases += 1;
                let script = script(effect);
                let outcome = meet(&script, fixture, &Trace::default(), effect, fault, fate)?;
                if outcome.violations.is_empty() {
                    passed += 1;
                    continue;
                }
                println!("{effect} × {fault:?} × {fate:?}:");
                let trace = Trace::kept();
                meet(&script, fixture, &trace, effect, fault, fate)?;
                for line in trace.lines() {
                    println!("  {line}");
                }
                for violation in outcome.violations {
                    println!("  violation: {violation}");
                }
            }
        }
    }
    let product = EFFECTS.len() * Fault::ALL.len() * Fate::ALL.len();
    println!(
        "{} effects × {} faults × {} fates = {product}, {left_out} left out",
        EFFECTS.len(),
        Fault::ALL.len(),
        Fate::ALL.len()
    );
    println!("faults: {cases} cases, {passed} passed");
    Ok(cases == passed && cases + left_out == product)
}

/// A world in which the effect happens: one purchase with a deployment, one that is bought in parts,
/// or one whose money goes back, by card or by USDC.
fn script(effect: &str) -> Script {
    let from_the_start = |kind| vec![Mishap { at: 0, kind }];
    let mishaps = match effect {
        "create refund" | "submit return" => from_the_start(Kind::Price(None)),
        "submit part" => from_the_start(Kind::Depth(Some(60))),
        _ => Vec::new(),
    };
    Script {
        buyers: vec![Buyer {
            at: 0,
            pays_after: Some(1_000),
            pays_all: true,
            tellings: 2,
            dispute: None,
            gives_back: None,
            deploys: true,
            what: match effect {
                "create name" => What::Name,
                "create rent" => What::Rent,
                "create batch" => What::Batch,
                _ => What::Node,
            },
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
        }],
        mishaps,
        poisons: Vec::new(),
        network: 0,
        tears: 0,
        returns: 0,
        of_itself: 0,
    }
}
