//! Read model `node_applications`: who applies, and how far each application is. From topic
//! `node-applications`.

use crate::batch::{AnyEvent, Entry};
use crate::db;
use chrono::{DateTime, Utc};
use events::applications::{NodeApplicationEvent, NodeOffer};
use events::ids::{ApplicationId, UserId};
use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, PgPool, Row};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// An application, as the log tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeApplication {
    /// Which.
    pub id: ApplicationId,
    /// Who applies.
    pub applicant_id: UserId,
    /// `submitted`, `changes_requested`, `approved`, `rejected` or `withdrawn`.
    pub status: String,
    /// What the application says is counted.
    pub revision: i32,
    /// The farm that the node is to belong to.
    pub farm_name: String,
    /// ISO 3166-1 alpha-2.
    pub country: String,
    /// City.
    pub city: String,
    /// The operator who decided last.
    pub decided_by: Option<UserId>,
    /// Time of the latest event.
    pub updated_at: DateTime<Utc>,
    /// Offset of the latest event in the application's partition.
    pub version: i64,
}

impl FromRow<'_, PgRow> for NodeApplication {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: ApplicationId::from_uuid(row.try_get("id")?),
            applicant_id: UserId::from_uuid(row.try_get("applicant_id")?),
            status: row.try_get("status")?,
            revision: row.try_get("revision")?,
            farm_name: row.try_get("farm_name")?,
            country: row.try_get("country")?,
            city: row.try_get("city")?,
            decided_by: row
                .try_get::<Option<Uuid>, _>("decided_by")?
                .map(UserId::from_uuid),
            updated_at: row.try_get("updated_at")?,
            version: row.try_get("version")?,
        })
    }
}

/// The application, or `None` when the log has none of that id.
///
/// # Errors
/// When Postgres does not answer.
pub async fn get(pool: &PgPool, id: ApplicationId) -> Result<Option<NodeApplication>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM node_applications WHERE id = $1")
        .bind(id.uuid())
        .fetch_optional(pool)
        .await
}

/// What an event says of its application.
struct Said<'a> {
    id: ApplicationId,
    applicant: UserId,
    revision: i32,
    /// `None`: the stage stays.
    status: Option<&'static str>,
    offer: Option<&'a NodeOffer>,
    by: Option<UserId>,
}

/// `None` for what says nothing of an application.
fn said(event: &NodeApplicationEvent) -> Option<Said<'_>> {
    let of = |id, applicant, revision, status| Said {
        id,
        applicant,
        revision,
        status,
        offer: None,
        by: None,
    };
    Some(match event {
        NodeApplicationEvent::NodeApplicationSubmitted(e) => Said {
            offer: Some(&e.offer),
            ..of(
                e.application_id,
                e.applicant_id,
                e.revision,
                Some("submitted"),
            )
        },
        NodeApplicationEvent::NodeApplicationResubmitted(e) => Said {
            offer: Some(&e.offer),
            ..of(
                e.application_id,
                e.applicant_id,
                e.revision,
                Some("submitted"),
            )
        },
        NodeApplicationEvent::NodeApplicationDocumentAttached(e) => {
            of(e.application_id, e.applicant_id, e.revision, None)
        }
        NodeApplicationEvent::NodeApplicationChangesRequested(e) => Said {
            by: Some(e.by),
            ..of(
                e.application_id,
                e.applicant_id,
                e.revision,
                Some("changes_requested"),
            )
        },
        NodeApplicationEvent::NodeApplicationApproved(e) => Said {
            by: Some(e.by),
            ..of(
                e.application_id,
                e.applicant_id,
                e.revision,
                Some("approved"),
            )
        },
        NodeApplicationEvent::NodeApplicationRejected(e) => Said {
            by: Some(e.by),
            ..of(
                e.application_id,
                e.applicant_id,
                e.revision,
                Some("rejected"),
            )
        },
        NodeApplicationEvent::NodeApplicationWithdrawn(e) => of(
            e.application_id,
            e.applicant_id,
            e.revision,
            Some("withdrawn"),
        ),
        NodeApplicationEvent::DeadLetterReleased(_) => return None,
    })
}

/// The row after an event. Of an application whose submission is not in the log there is no row.
fn fold(
    row: Option<NodeApplication>,
    said: &Said<'_>,
    updated_at: DateTime<Utc>,
    version: i64,
) -> Option<NodeApplication> {
    let mut row = match (row, said.offer) {
        (Some(row), _) => row,
        (None, None) => return None,
        (None, Some(offer)) => NodeApplication {
            id: said.id,
            applicant_id: said.applicant,
            status: String::new(),
            revision: said.revision,
            farm_name: offer.farm_name.clone(),
            country: offer.country.clone(),
            city: offer.city.clone(),
            decided_by: None,
            updated_at,
            version,
        },
    };
    if let Some(status) = said.status {
        status.clone_into(&mut row.status);
    }
    if let Some(offer) = said.offer {
        row.farm_name.clone_from(&offer.farm_name);
        row.country.clone_from(&offer.country);
        row.city.clone_from(&offer.city);
    }
    row.decided_by = said.by.or(row.decided_by);
    row.revision = said.revision;
    row.updated_at = updated_at;
    row.version = version;
    Some(row)
}

/// Folds the fresh entries; gives the ids of the applications that changed.
pub(crate) async fn apply(
    tx: &mut PgConnection,
    fresh: &[&Entry],
) -> Result<BTreeSet<Uuid>, sqlx::Error> {
    let entries: Vec<(&Entry, Said<'_>)> = fresh
        .iter()
        .filter_map(|entry| {
            let AnyEvent::Application(event) = &entry.event else {
                return None;
            };
            said(event).map(|said| (*entry, said))
        })
        .collect();
    if entries.is_empty() {
        return Ok(BTreeSet::new());
    }
    let ids: BTreeSet<Uuid> = entries.iter().map(|(_, said)| said.id.uuid()).collect();
    let mut rows: BTreeMap<Uuid, NodeApplication> =
        sqlx::query_as::<_, NodeApplication>("SELECT * FROM node_applications WHERE id = ANY($1)")
            .bind(ids.iter().copied().collect::<Vec<_>>())
            .fetch_all(&mut *tx)
            .await?
            .into_iter()
            .map(|row| (row.id.uuid(), row))
            .collect();
    for (entry, said) in &entries {
        let id = said.id.uuid();
        let time = entry.envelope.time.to_datetime().unwrap_or_default();
        if let Some(row) = fold(rows.remove(&id), said, time, entry.place.offset) {
            rows.insert(id, row);
        }
    }
    let changed: Vec<NodeApplication> = rows.into_values().collect();
    sqlx::query(
        "INSERT INTO node_applications SELECT * FROM jsonb_populate_recordset(NULL::node_applications, $1)
         ON CONFLICT (id) DO UPDATE SET
            (status, revision, farm_name, country, city, decided_by, updated_at, version) =
            (EXCLUDED.status, EXCLUDED.revision, EXCLUDED.farm_name, EXCLUDED.country,
             EXCLUDED.city, EXCLUDED.decided_by, EXCLUDED.updated_at, EXCLUDED.version)",
    )
    .bind(db::rows(&changed)?)
    .execute(tx)
    .await?;
    Ok(changed.iter().map(|row| row.id.uuid()).collect())
}
