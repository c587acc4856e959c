//! What the chain's answers mean. One function, so that nothing else decides on it.

use events::outcome::{Attempt, Refusal};

/// What came of a submitted transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is in a finalized block and its call failed there, by this name.
    Failed {
        /// Pallet, or `Token`.
        module: String,
        /// Error.
        name: String,
    },
    /// The node did not take it, with this code of `author_submitExtrinsic`.
    Rejected {
        /// Code.
        code: i32,
        /// The node's words.
        detail: String,
    },
    /// It left the pool without getting into a block.
    LeftPool,
    /// Nobody listened, so it was not sent.
    NotConnected(String),
    /// It was sent, and no answer came or one that cannot be read.
    NoAnswer(String),
    /// It was not seen in a finalized block for as long as was waited.
    NotFinalized,
}

/// Errors by which the runtime says that the wish itself cannot be granted.
const REFUSALS: &[&str] = &[
    "SmartContractModule.TwinNotExists",
    "SmartContractModule.NodeNotExists",
    "SmartContractModule.FarmNotExists",
    "SmartContractModule.FarmHasNotEnoughPublicIPs",
    "SmartContractModule.FarmHasNotEnoughPublicIPsFree",
    "SmartContractModule.FailedToReserveIP",
    "SmartContractModule.NodeNotAuthorizedToDeployContract",
    "SmartContractModule.PricingPolicyNotExists",
    "SmartContractModule.NotEnoughResourcesOnNode",
    "SmartContractModule.NodeHasActiveContracts",
    "SmartContractModule.NodeHasRentContract",
    "SmartContractModule.NodeNotAvailableToDeploy",
    "SmartContractModule.NoSuchSolutionProvider",
    "SmartContractModule.SolutionProviderNotApproved",
    "SmartContractModule.MethodIsDeprecated",
    "SmartContractModule.TwinNotAuthorizedToUpdateContract",
    "SmartContractModule.TwinNotAuthorizedToCancelContract",
    "SmartContractModule.CannotUpdateContractInGraceState",
    "SmartContractModule.InvalidContractType",
    "SmartContractModule.NameNotValid",
    "SmartContractModule.NameContractNameTooShort",
    "SmartContractModule.NameContractNameTooLong",
    "TfgridModule.InvalidDocumentLinkInput",
    "TfgridModule.InvalidDocumentHashInput",
    "TfgridModule.InvalidRelay",
    "TfgridModule.InvalidRelayAddress",
];

/// Errors that say that the wish is granted already, or that the state is not what was read:
/// looking again tells.
const LOOK_AGAIN: &[&str] = &[
    "SmartContractModule.ContractIsNotUnique",
    "SmartContractModule.ContractNotExists",
    "SmartContractModule.NameExists",
    "TfgridModule.TwinExists",
    "TfgridModule.TwinWithPubkeyExists",
    "TfgridModule.UserDidNotSignTermsAndConditions",
];

/// Errors for want of money. Nothing happened, and once there is money it can.
const WITHOUT_FUNDS: &[&str] = &[
    "Token.FundsUnavailable",
    "Token.BelowMinimum",
    "Token.NotExpendable",
    "Balances.InsufficientBalance",
    "Balances.ExistentialDeposit",
    "Balances.Expendability",
];

/// What an answer means for the wish. `Landed` is not among them: that a wish came true is read
/// from the events of the finalized block.
#[must_use]
pub fn meaning<P>(answer: &Answer) -> Attempt<P> {
    match answer {
        Answer::Failed { module, name } => failed(module, name),
        Answer::Rejected { code, detail } => {
            // 1010 invalid (stale nonce, expired, cannot pay), 1011 validity unknown, 1012 banned
            // for a while, 1013 known already, 1014 another one holds the nonce, 1015 depends on
            // itself, 1016 pool full. Each can come while an earlier try is on its way.
            if !(1010..=1016).contains(code) {
                tracing::warn!(
                    code,
                    detail,
                    "TFChain answered with a code that is not mapped"
                );
            }
            Attempt::Unknown(format!("not taken, code {code}: {detail}"))
        }
        Answer::LeftPool => {
            Attempt::Unknown("it left the pool without getting into a block".to_owned())
        }
        Answer::NotConnected(reason) => Attempt::NotSent(reason.clone()),
        Answer::NoAnswer(reason) => Attempt::NoAnswer(reason.clone()),
        Answer::NotFinalized => Attempt::Unknown("it is not in a finalized block yet".to_owned()),
    }
}

fn failed<P>(module: &str, name: &str) -> Attempt<P> {
    let full = format!("{module}.{name}");
    if LOOK_AGAIN.contains(&full.as_str()) {
        return Attempt::Unknown(full);
    }
    if WITHOUT_FUNDS.contains(&full.as_str()) {
        return Attempt::NotSent(format!("the account cannot pay for it: {full}"));
    }
    if !REFUSALS.contains(&full.as_str()) {
        // In a finalized block it is definite all the same: this call was carried out and failed.
        tracing::warn!(
            error = full,
            "TFChain refused with an error that is not mapped"
        );
    }
    Attempt::Refused(Refusal::new(name, format!("TFChain refused: {full}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_has_its_meaning() {
        let failed = |error: &str| {
            let (module, name) = error.split_once('.').unwrap_or_default();
            Answer::Failed {
                module: module.to_owned(),
                name: name.to_owned(),
            }
        };
        let rejected = |code| Answer::Rejected {
            code,
            detail: String::new(),
        };
        let table = [
            (
                failed("SmartContractModule.NodeNotExists"),
                "refused NodeNotExists",
            ),
            (
                failed("SmartContractModule.TwinNotExists"),
                "refused TwinNotExists",
            ),
            (
                failed("SmartContractModule.NodeNotAvailableToDeploy"),
                "refused NodeNotAvailableToDeploy",
            ),
            (
                failed("SmartContractModule.SomethingNew"),
                "refused SomethingNew",
            ),
            (failed("TfgridModule.InvalidRelay"), "refused InvalidRelay"),
            (failed("SmartContractModule.ContractIsNotUnique"), "unknown"),
            (failed("SmartContractModule.ContractNotExists"), "unknown"),
            (failed("SmartContractModule.NameExists"), "unknown"),
            (
                failed("SmartContractModule.NameNotValid"),
                "refused NameNotValid",
            ),
            (
                failed("SmartContractModule.CannotUpdateContractInGraceState"),
                "refused CannotUpdateContractInGraceState",
            ),
            (failed("TfgridModule.TwinExists"), "unknown"),
            (failed("TfgridModule.TwinWithPubkeyExists"), "unknown"),
            (
                failed("TfgridModule.UserDidNotSignTermsAndConditions"),
                "unknown",
            ),
            (failed("Token.FundsUnavailable"), "not sent"),
            (failed("Balances.InsufficientBalance"), "not sent"),
            (rejected(1010), "unknown"),
            (rejected(1012), "unknown"),
            (rejected(1013), "unknown"),
            (rejected(1014), "unknown"),
            (rejected(1016), "unknown"),
            (rejected(-32_603), "unknown"),
            (Answer::LeftPool, "unknown"),
            (Answer::NotConnected(String::new()), "not sent"),
            (Answer::NoAnswer(String::new()), "no answer"),
            (Answer::NotFinalized, "unknown"),
        ];
        for (answer, expected) in table {
            let meant = match meaning::<()>(&answer) {
                Attempt::Landed(()) => "landed".to_owned(),
                Attempt::Refused(refusal) => format!("refused {}", refusal.code),
                Attempt::NotSent(_) => "not sent".to_owned(),
                Attempt::Unknown(_) => "unknown".to_owned(),
                Attempt::NoAnswer(_) => "no answer".to_owned(),
            };
            assert_eq!(meant, expected, "{answer:?}");
        }
    }
}
