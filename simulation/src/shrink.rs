//! Makes a failing world small enough to be read.

use crate::script::{Script, Usdc, What};
use crate::trace::Trace;
use crate::world::{Fixture, live};
use anyhow::Result;

/// Worlds that are tried at most.
const TRIES: usize = 200;

/// Cuts down the script of a failing seed and prints what is left, with its trace.
///
/// # Errors
/// When a world cannot be built.
pub fn show(seed: u64, script: Script, fixture: &Fixture) -> Result<()> {
    let again = if script.wire { " --wire" } else { "" };
    let small = shrink(seed, script, fixture)?;
    let trace = Trace::kept();
    let outcome = live(seed, &small, fixture, &trace)?;
    println!("seed {seed}, cut down: {small:#?}");
    for line in trace.lines() {
        println!("{line}");
    }
    for violation in &outcome.violations {
        println!("violation: {violation}");
    }
    println!("again, whole: simulation --show {seed}{again}");
    Ok(())
}

fn shrink(seed: u64, mut script: Script, fixture: &Fixture) -> Result<Script> {
    let mut tries = 0;
    loop {
        let mut smaller = None;
        for candidate in candidates(&script) {
            tries += 1;
            if tries > TRIES {
                return Ok(script);
            }
            if !live(seed, &candidate, fixture, &Trace::default())?
                .violations
                .is_empty()
            {
                smaller = Some(candidate);
                break;
            }
        }
        match smaller {
            Some(candidate) => script = candidate,
            None => return Ok(script),
        }
    }
}

/// Smaller scripts, the boldest cuts first.
fn candidates(script: &Script) -> Vec<Script> {
    let mut all = Vec::new();
    let mut with = |change: &dyn Fn(&mut Script)| {
        let mut candidate = script.clone();
        change(&mut candidate);
        if candidate != *script {
            all.push(candidate);
        }
    };
    with(&|s| s.mishaps.clear());
    with(&|s| s.poisons.clear());
    with(&|s| s.wire = false);
    with(&|s| s.troubles.clear());
    with(&|s| s.newcomers.clear());
    with(&|s| s.network = 0);
    with(&|s| s.tears = 0);
    with(&|s| s.doubts = 0);
    with(&|s| s.returns = 0);
    with(&|s| s.of_itself = 0);
    with(&|s| s.network /= 2);
    with(&|s| s.tears /= 2);
    with(&|s| {
        s.buyers.truncate(s.buyers.len().max(2) - 1);
    });
    for place in 0..script.mishaps.len() {
        with(&|s| {
            s.mishaps.remove(place);
        });
    }
    for place in 0..script.troubles.len() {
        with(&|s| {
            s.troubles.remove(place);
        });
    }
    with(&|s| s.network = s.network.saturating_sub(1));
    for place in 0..script.buyers.len() {
        with(&|s| s.buyers[place].tellings = 1);
        with(&|s| s.buyers[place].dispute = None);
        with(&|s| s.buyers[place].deploys = false);
        with(&|s| s.buyers[place].what = What::Node);
        with(&|s| s.buyers[place].changes.clear());
        with(&|s| {
            s.buyers[place].changes.pop();
        });
        with(&|s| s.buyers[place].pays_all = false);
        with(&|s| s.buyers[place].usdc = None);
        with(&|s| s.buyers[place].usdc = s.buyers[place].usdc.map(|_| Usdc::Exact));
    }
    all
}
