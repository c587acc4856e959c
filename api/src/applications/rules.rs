//! Every rule of what may become of an application. Pure: whoever calls holds the row's lock.

use super::requirements::DocumentKind;
use events::ids::UserId;
use std::collections::BTreeSet;

/// How far an application is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It waits for an operator.
    Submitted,
    /// It waits for the applicant.
    ChangesRequested,
    /// The node is taken.
    Approved,
    /// It is refused for good.
    Rejected,
    /// The applicant does not want it any more.
    Withdrawn,
}

impl Stage {
    /// Every stage.
    pub const ALL: [Self; 5] = [
        Self::Submitted,
        Self::ChangesRequested,
        Self::Approved,
        Self::Rejected,
        Self::Withdrawn,
    ];

    /// As rows and answers name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Submitted => "submitted",
            Self::ChangesRequested => "changes_requested",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// The stage of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == name)
    }
}

/// What the rules know of an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Who applies.
    pub applicant: UserId,
    /// How far it is.
    pub stage: Stage,
    /// What it says is counted: each change by the applicant adds one.
    pub revision: i32,
    /// What is attached.
    pub documents: BTreeSet<DocumentKind>,
}

impl Standing {
    /// An application that is new.
    #[must_use]
    pub const fn new(applicant: UserId) -> Self {
        Self {
            applicant,
            stage: Stage::Submitted,
            revision: 1,
            documents: BTreeSet::new(),
        }
    }
}

/// What somebody wants to become of an application. What an operator decides names the revision
/// that they have looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// By the applicant: a document, or another one in its place.
    Attach(DocumentKind),
    /// By the applicant, when changes were asked for.
    Resubmit,
    /// By the applicant.
    Withdraw,
    /// By an operator.
    RequestChanges(i32),
    /// By an operator.
    Approve(i32),
    /// By an operator.
    Reject(i32),
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Only the applicant may.
    NotTheirs,
    /// Nobody decides on an application of their own.
    Own,
    /// In this stage nothing of the kind may happen.
    Stage(Stage),
    /// The application says something else by now.
    Revision(i32),
    /// These documents are asked for and not there.
    Missing(Vec<DocumentKind>),
}

/// The standing after a command of `by`, or why it is refused.
///
/// # Errors
/// See [`Refusal`].
pub fn decide(standing: &Standing, command: Command, by: UserId) -> Result<Standing, Refusal> {
    let theirs = standing.applicant == by;
    let mut after = standing.clone();
    match command {
        Command::Attach(_) | Command::Resubmit | Command::Withdraw if !theirs => {
            return Err(Refusal::NotTheirs);
        }
        Command::RequestChanges(_) | Command::Approve(_) | Command::Reject(_) if theirs => {
            return Err(Refusal::Own);
        }
        Command::Attach(kind) => {
            open(standing)?;
            after.documents.insert(kind);
            after.revision += 1;
        }
        Command::Resubmit => {
            only(standing, &[Stage::ChangesRequested])?;
            after.stage = Stage::Submitted;
            after.revision += 1;
        }
        Command::Withdraw => {
            open(standing)?;
            after.stage = Stage::Withdrawn;
        }
        Command::RequestChanges(revision) => {
            only(standing, &[Stage::Submitted])?;
            looked_at(standing, revision)?;
            after.stage = Stage::ChangesRequested;
        }
        Command::Approve(revision) => {
            only(standing, &[Stage::Submitted])?;
            looked_at(standing, revision)?;
            let missing: Vec<DocumentKind> = DocumentKind::ALL
                .into_iter()
                .filter(|kind| kind.required() && !standing.documents.contains(kind))
                .collect();
            if !missing.is_empty() {
                return Err(Refusal::Missing(missing));
            }
            after.stage = Stage::Approved;
        }
        // Also one whose applicant never answers.
        Command::Reject(revision) => {
            open(standing)?;
            looked_at(standing, revision)?;
            after.stage = Stage::Rejected;
        }
    }
    Ok(after)
}

fn only(standing: &Standing, stages: &[Stage]) -> Result<(), Refusal> {
    if stages.contains(&standing.stage) {
        return Ok(());
    }
    Err(Refusal::Stage(standing.stage))
}

fn open(standing: &Standing) -> Result<(), Refusal> {
    only(standing, &[Stage::Submitted, Stage::ChangesRequested])
}

fn looked_at(standing: &Standing, revision: i32) -> Result<(), Refusal> {
    if standing.revision == revision {
        return Ok(());
    }
    Err(Refusal::Revision(standing.revision))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const REVISION: i32 = 7;

    fn anna() -> UserId {
        UserId::derive(&["anna"])
    }

    fn operator() -> UserId {
        UserId::derive(&["operator"])
    }

    fn standing(stage: Stage) -> Standing {
        Standing {
            applicant: anna(),
            stage,
            revision: REVISION,
            documents: DocumentKind::ALL.into_iter().collect(),
        }
    }

    fn commands() -> [(Command, UserId); 6] {
        [
            (Command::Attach(DocumentKind::HardwareProof), anna()),
            (Command::Resubmit, anna()),
            (Command::Withdraw, anna()),
            (Command::RequestChanges(REVISION), operator()),
            (Command::Approve(REVISION), operator()),
            (Command::Reject(REVISION), operator()),
        ]
    }

    /// Every command in every stage, by whoever may give it.
    #[test]
    fn every_command_in_every_stage() {
        use Stage::{Approved, ChangesRequested, Rejected, Submitted, Withdrawn};
        // In the order of `commands`: the stage afterwards, and what is added to the revision.
        type After = [Option<(Stage, i32)>; 6];
        let table: [(Stage, After); 5] = [
            (
                Submitted,
                [
                    Some((Submitted, 1)),
                    None,
                    Some((Withdrawn, 0)),
                    Some((ChangesRequested, 0)),
                    Some((Approved, 0)),
                    Some((Rejected, 0)),
                ],
            ),
            (
                ChangesRequested,
                [
                    Some((ChangesRequested, 1)),
                    Some((Submitted, 1)),
                    Some((Withdrawn, 0)),
                    None,
                    None,
                    Some((Rejected, 0)),
                ],
            ),
            (Approved, [None; 6]),
            (Rejected, [None; 6]),
            (Withdrawn, [None; 6]),
        ];
        assert_eq!(table.map(|(stage, _)| stage), Stage::ALL);
        for (stage, row) in table {
            for ((command, by), expected) in commands().into_iter().zip(row) {
                let got = decide(&standing(stage), command, by);
                match expected {
                    Some((after, more)) => {
                        let got = got.unwrap();
                        assert_eq!(
                            (got.stage, got.revision),
                            (after, REVISION + more),
                            "{stage:?} {command:?}"
                        );
                    }
                    None => {
                        assert_eq!(got, Err(Refusal::Stage(stage)), "{stage:?} {command:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_decision_stands_whoever_decides_next() {
        for (first, _) in &commands()[3..] {
            let decided = decide(&standing(Stage::Submitted), *first, operator()).unwrap();
            let second = decide(
                &decided,
                Command::Approve(REVISION),
                UserId::derive(&["another"]),
            );
            assert_eq!(second, Err(Refusal::Stage(decided.stage)), "{first:?}");
        }
    }

    #[test]
    fn nobody_decides_on_their_own_and_only_the_applicant_changes_it() {
        for stage in Stage::ALL {
            for (command, by) in commands() {
                let other = if by == anna() { operator() } else { anna() };
                let expected = if by == anna() {
                    Refusal::NotTheirs
                } else {
                    Refusal::Own
                };
                assert_eq!(
                    decide(&standing(stage), command, other),
                    Err(expected),
                    "{stage:?} {command:?}"
                );
            }
        }
    }

    #[test]
    fn a_decision_is_about_what_was_looked_at() {
        for stage in [Stage::Submitted, Stage::ChangesRequested] {
            for revision in [REVISION - 1, REVISION + 1, 0, -1] {
                let got = decide(&standing(stage), Command::Reject(revision), operator());
                assert_eq!(got, Err(Refusal::Revision(REVISION)));
            }
        }
        for command in [Command::Approve(6), Command::RequestChanges(6)] {
            let got = decide(&standing(Stage::Submitted), command, operator());
            assert_eq!(got, Err(Refusal::Revision(REVISION)));
        }
    }

    #[test]
    fn nothing_is_approved_without_the_documents_that_are_asked_for() {
        let mut bare = standing(Stage::Submitted);
        bare.documents.clear();
        let got = decide(&bare, Command::Approve(REVISION), operator());
        let Err(Refusal::Missing(missing)) = got else {
            unreachable!("{got:?}")
        };
        assert!(!missing.is_empty());
        for kind in &missing {
            bare = decide(&bare, Command::Attach(*kind), anna()).unwrap();
        }
        assert_eq!(
            bare.revision,
            REVISION + i32::try_from(missing.len()).unwrap()
        );
        let revision = bare.revision;
        assert!(decide(&bare, Command::Approve(revision), operator()).is_ok());
    }
}
