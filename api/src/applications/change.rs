//! What changes an application: under the lock of its row, by the rules, with the event that tells
//! of it in the same transaction.

use super::requirements::{Apply, MOST_OPEN, Personal};
use super::rows::{self, Application, Document};
use super::rules::{self, Command as Wish, Refusal, Stage};
use crate::auth::accounts;
use crate::auth::rules::Role;
use crate::idempotency::{Fingerprint, Key};
use crate::outbox;
use crate::problem::{Kind, Problem};
use crate::state::ApiState;
use axum::body::Bytes;
use events::applications::{
    NodeApplicationApproved, NodeApplicationChangesRequested, NodeApplicationDocumentAttached,
    NodeApplicationEvent, NodeApplicationRejected, NodeApplicationResubmitted,
    NodeApplicationSubmitted, NodeApplicationWithdrawn, NodeOffer,
};
use events::ids::{ApplicationId, EventId, UserId};
use events::time::Timestamp;
use serde::Serialize;

/// A change with what it brings.
pub(super) enum Change {
    Attach(Box<Document>, Bytes),
    Resubmit(Box<(NodeOffer, Personal)>),
    Withdraw,
    RequestChanges(i32, String),
    Approve(i32),
    Reject(i32, String),
}

impl Change {
    const fn wish(&self) -> Wish {
        match self {
            Self::Attach(document, _) => Wish::Attach(document.kind),
            Self::Resubmit(_) => Wish::Resubmit,
            Self::Withdraw => Wish::Withdraw,
            Self::RequestChanges(revision, _) => Wish::RequestChanges(*revision),
            Self::Approve(revision) => Wish::Approve(*revision),
            Self::Reject(revision, _) => Wish::Reject(*revision),
        }
    }
}

/// Whose command it is.
pub(super) struct Asked<'a> {
    by: UserId,
    key: &'a Key,
    fingerprint: Fingerprint,
}

impl<'a> Asked<'a> {
    /// The command of `by` under this key: its route and content.
    ///
    /// # Errors
    /// When the content cannot be written as JSON.
    pub fn of<T: Serialize>(
        by: UserId,
        key: &'a Key,
        route: &'static str,
        content: &T,
    ) -> Result<Self, Problem> {
        let fingerprint = Fingerprint::of(route, content)?;
        Ok(Self {
            by,
            key,
            fingerprint,
        })
    }

    fn event_id(&self) -> EventId {
        self.key.event_id(self.by)
    }

    /// Whether this command was taken before; a key that stands for another one is refused.
    async fn again(&self, tx: &mut sqlx::PgConnection) -> Result<bool, Problem> {
        match rows::step(tx, self.event_id()).await? {
            None => Ok(false),
            Some((_, said)) if said == self.fingerprint.bytes() => Ok(true),
            Some(_) => Err(Problem::new(
                Kind::IdempotencyKeyReused,
                "this Idempotency-Key was used for a command with another content; take a new one",
            )),
        }
    }
}

pub(super) fn missing() -> Problem {
    Problem::new(Kind::NotFound, "you see no application with this id")
}

fn refused(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::NotTheirs => missing(),
        Refusal::Own => Problem::new(
            Kind::OwnApplication,
            "nobody decides on an application of their own; another operator has to",
        ),
        Refusal::Stage(stage) => Problem::new(
            Kind::ApplicationDecided,
            format!("the application is {}: it does not wait for this", stage.as_str()),
        )
        .with("status_of_application", stage.as_str()),
        Refusal::Revision(revision) => Problem::new(
            Kind::ApplicationChanged,
            format!("the application says something else by now: read revision {revision} and decide on that"),
        )
        .with("revision", revision),
        Refusal::Missing(kinds) => {
            let kinds: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
            Problem::new(
                Kind::DocumentsMissing,
                format!("these documents are asked for and not there: {}", kinds.join(", ")),
            )
            .with("documents", kinds)
        }
    }
}

/// Makes an application. Gives its id, and whether the command had come before.
pub(super) async fn submit(
    state: &ApiState,
    asked: &Asked<'_>,
    apply: &Apply,
) -> Result<(ApplicationId, bool), Problem> {
    let (offer, personal) = apply.checked(state)?;
    let applicant = asked.by;
    let id = ApplicationId::derive(&[&applicant.to_string(), asked.key.as_str()]);
    let now = state.now();
    let mut tx = state.pool.begin().await?;
    rows::lock_applicant(&mut tx, applicant).await?;
    if asked.again(&mut tx).await? {
        return Ok((id, true));
    }
    if rows::open_of(&mut tx, applicant).await? >= MOST_OPEN {
        return Err(Problem::new(
            Kind::TooManyApplications,
            format!(
                "you have {MOST_OPEN} applications that are not decided yet; wait, or withdraw one"
            ),
        ));
    }
    free_farm(&mut tx, applicant, &offer.farm_name).await?;
    let at = now.to_datetime().unwrap_or_default();
    let standing = rules::Standing::new(applicant);
    let application = Application {
        id,
        applicant,
        stage: standing.stage,
        revision: standing.revision,
        offer: offer.clone(),
        personal,
        decided_by: None,
        reason: None,
        created_at: at,
        updated_at: at,
    };
    let event = NodeApplicationSubmitted {
        application_id: id,
        applicant_id: applicant,
        revision: standing.revision,
        offer,
        submitted_at: now,
    };
    write(&mut tx, asked, &application, event.into(), now).await?;
    tx.commit().await?;
    state.outbox.notify_one();
    Ok((id, false))
}

async fn free_farm(
    tx: &mut sqlx::PgConnection,
    applicant: UserId,
    farm: &str,
) -> Result<(), Problem> {
    if rows::is_anothers_farm(tx, applicant, farm).await? {
        return Err(Problem::new(
            Kind::FarmTaken,
            "a farm of this name is another person's; take another name",
        )
        .with("field", "farm_name"));
    }
    Ok(())
}

/// Changes an application as the rules allow. Gives whether the command had come before.
pub(super) async fn change(
    state: &ApiState,
    asked: &Asked<'_>,
    id: ApplicationId,
    change: Change,
) -> Result<bool, Problem> {
    let now = state.now();
    let mut tx = state.pool.begin().await?;
    let mut application = rows::lock(&mut tx, id).await?.ok_or_else(missing)?;
    if asked.again(&mut tx).await? {
        return Ok(true);
    }
    let documents = rows::documents(&mut *tx, id).await?;
    let standing = application.standing(&documents);
    let after = rules::decide(&standing, change.wish(), asked.by).map_err(refused)?;
    (application.stage, application.revision) = (after.stage, after.revision);
    application.updated_at = now.to_datetime().unwrap_or_default();
    let (applicant_id, revision) = (application.applicant, after.revision);
    let (application_id, by) = (id, asked.by);
    let event: NodeApplicationEvent = match change {
        Change::Attach(document, content) => {
            rows::attach(&mut tx, id, &document, &content).await?;
            NodeApplicationDocumentAttached {
                application_id,
                applicant_id,
                revision,
                kind: document.kind.as_str().to_owned(),
                content_type: document.content_type,
                size_bytes: document.size_bytes,
                sha256: document.sha256,
                attached_at: now,
            }
            .into()
        }
        Change::Resubmit(offered) => {
            let (offer, personal) = *offered;
            free_farm(&mut tx, applicant_id, &offer.farm_name).await?;
            (application.offer, application.personal) = (offer.clone(), personal);
            NodeApplicationResubmitted {
                application_id,
                applicant_id,
                revision,
                offer,
                resubmitted_at: now,
            }
            .into()
        }
        Change::Withdraw => {
            // Nobody will look at them any more.
            rows::drop_documents(&mut tx, id).await?;
            NodeApplicationWithdrawn {
                application_id,
                applicant_id,
                revision,
                withdrawn_at: now,
            }
            .into()
        }
        Change::RequestChanges(_, reason) => {
            decided(&mut application, by, Some(&reason));
            NodeApplicationChangesRequested {
                application_id,
                applicant_id,
                revision,
                by,
                reason,
                requested_at: now,
            }
            .into()
        }
        Change::Approve(_) => {
            decided(&mut application, by, None);
            // In the transaction of the approval, which happens once: so does this.
            accounts::grant_within(
                &mut tx,
                applicant_id,
                Role::NodeOperator,
                &by.to_string(),
                now,
            )
            .await?;
            NodeApplicationApproved {
                application_id,
                applicant_id,
                revision,
                by,
                approved_at: now,
            }
            .into()
        }
        Change::Reject(_, reason) => {
            decided(&mut application, by, Some(&reason));
            NodeApplicationRejected {
                application_id,
                applicant_id,
                revision,
                by,
                reason,
                rejected_at: now,
            }
            .into()
        }
    };
    write(&mut tx, asked, &application, event, now).await?;
    tx.commit().await?;
    state.outbox.notify_one();
    Ok(false)
}

fn decided(application: &mut Application, by: UserId, reason: Option<&str>) {
    application.decided_by = Some(by);
    application.reason = reason.map(ToOwned::to_owned);
}

async fn write(
    tx: &mut sqlx::PgConnection,
    asked: &Asked<'_>,
    application: &Application,
    event: NodeApplicationEvent,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let id = asked.event_id();
    rows::save(tx, application).await?;
    rows::keep_step(tx, id, application.id, asked.fingerprint.bytes()).await?;
    outbox::put(tx, id, &application.id.to_string(), &event, now).await
}

/// The stage as the contract names it.
pub(super) fn stages() -> utoipa::openapi::schema::Object {
    crate::contract::one_of(&Stage::ALL.map(Stage::as_str))
}
