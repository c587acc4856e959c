//! Offers of nodes: what operators decided to the applicant, what waits for them to operators.

use super::{to_operators, to_person};
use crate::kinds::figure;
use events::applications::{NodeApplicationEvent, NodeOffer};
use events::envelope::Record;
use pipeline::{Decision, Policy, Timer};

/// The policy `application-notices`.
#[derive(Debug, Clone, Copy, Default)]
pub struct ApplicationNotices;

/// The farm of the offer that stands; its decisions do not repeat it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Farm(String);

fn offered(event: &NodeApplicationEvent) -> Option<&NodeOffer> {
    match event {
        NodeApplicationEvent::NodeApplicationSubmitted(e) => Some(&e.offer),
        NodeApplicationEvent::NodeApplicationResubmitted(e) => Some(&e.offer),
        NodeApplicationEvent::NodeApplicationDocumentAttached(_)
        | NodeApplicationEvent::NodeApplicationChangesRequested(_)
        | NodeApplicationEvent::NodeApplicationApproved(_)
        | NodeApplicationEvent::NodeApplicationRejected(_)
        | NodeApplicationEvent::NodeApplicationWithdrawn(_)
        | NodeApplicationEvent::DeadLetterReleased(_) => None,
    }
}

impl Policy for ApplicationNotices {
    const NAME: &'static str = "application-notices";
    type Event = NodeApplicationEvent;
    type State = Farm;

    fn evolve(&self, state: Farm, record: &Record<NodeApplicationEvent>) -> Farm {
        offered(&record.event).map_or(state, |offer| Farm(offer.farm_name.clone()))
    }

    fn decide(
        &self,
        farm: &Farm,
        record: &Record<NodeApplicationEvent>,
    ) -> Decision<NodeApplicationEvent> {
        let of = |id| vec![figure("application_id", id), figure("farm", &farm.0)];
        let waits = |id, offer: &NodeOffer, revision: i32| {
            let figures = vec![
                figure("application_id", id),
                figure("farm", &offer.farm_name),
                figure("country", &offer.country),
                figure("revision", revision),
            ];
            to_operators(record, "node_application_waits", figures)
        };
        let told = match &record.event {
            NodeApplicationEvent::NodeApplicationSubmitted(e) => {
                waits(e.application_id, &e.offer, e.revision)
            }
            NodeApplicationEvent::NodeApplicationResubmitted(e) => {
                waits(e.application_id, &e.offer, e.revision)
            }
            NodeApplicationEvent::NodeApplicationChangesRequested(e) => {
                let mut figures = of(e.application_id);
                figures.push(figure("reason", &e.reason));
                let kind = "node_application_changes_requested";
                to_person(record, e.applicant_id, kind, figures)
            }
            NodeApplicationEvent::NodeApplicationApproved(e) => {
                let figures = of(e.application_id);
                to_person(record, e.applicant_id, "node_application_approved", figures)
            }
            NodeApplicationEvent::NodeApplicationRejected(e) => {
                let mut figures = of(e.application_id);
                figures.push(figure("reason", &e.reason));
                to_person(record, e.applicant_id, "node_application_rejected", figures)
            }
            NodeApplicationEvent::NodeApplicationDocumentAttached(_)
            | NodeApplicationEvent::NodeApplicationWithdrawn(_)
            | NodeApplicationEvent::DeadLetterReleased(_) => return Decision::nothing(),
        };
        Decision::nothing().forward(told)
    }

    fn timers(&self, _: &Farm) -> Vec<Timer> {
        Vec::new()
    }

    fn timer_fired(&self, _: &str, _: &Timer) -> Option<NodeApplicationEvent> {
        None
    }
}
