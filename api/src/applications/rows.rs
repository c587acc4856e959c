//! Applications as they stand in Postgres: the row that decides.

use super::requirements::{DocumentKind, Personal};
use super::rules::{Stage, Standing};
use chrono::{DateTime, Utc};
use events::applications::{NodeOffer, WalletNetwork};
use events::ids::{ApplicationId, EventId, UserId};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, PgExecutor, PgPool, Row};
use uuid::Uuid;

/// An application.
#[derive(Debug, Clone)]
pub(super) struct Application {
    pub id: ApplicationId,
    pub applicant: UserId,
    pub stage: Stage,
    pub revision: i32,
    pub offer: NodeOffer,
    pub personal: Personal,
    pub decided_by: Option<UserId>,
    pub reason: Option<String>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// A document, without its bytes.
#[derive(Debug, Clone)]
pub(super) struct Document {
    pub kind: DocumentKind,
    pub content_type: String,
    pub size_bytes: i32,
    pub sha256: String,
    pub attached_at: DateTime<Utc>,
}

fn unknown(column: &str, found: &str) -> sqlx::Error {
    sqlx::Error::ColumnDecode {
        index: column.to_owned(),
        source: format!("unknown value {found:?}").into(),
    }
}

const fn network(network: WalletNetwork) -> &'static str {
    match network {
        WalletNetwork::Stellar => "stellar",
        WalletNetwork::Tfchain => "tfchain",
    }
}

impl FromRow<'_, PgRow> for Application {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let (stage, wallet): (String, String) =
            (row.try_get("stage")?, row.try_get("wallet_network")?);
        let wallet_network = [WalletNetwork::Stellar, WalletNetwork::Tfchain]
            .into_iter()
            .find(|known| network(*known) == wallet)
            .ok_or_else(|| unknown("wallet_network", &wallet))?;
        Ok(Self {
            id: ApplicationId::from_uuid(row.try_get("id")?),
            applicant: UserId::from_uuid(row.try_get("applicant_id")?),
            stage: Stage::parse(&stage).ok_or_else(|| unknown("stage", &stage))?,
            revision: row.try_get("revision")?,
            offer: NodeOffer {
                farm_name: row.try_get("farm_name")?,
                country: row.try_get("country")?,
                city: row.try_get("city")?,
                wallet_network,
                wallet: row.try_get("wallet")?,
                cpu_cores: row.try_get("cpu_cores")?,
                memory_gib: row.try_get("memory_gib")?,
                ssd_gib: row.try_get("ssd_gib")?,
                hdd_gib: row.try_get("hdd_gib")?,
                uplink_mbps: row.try_get("uplink_mbps")?,
                public_ipv4_count: row.try_get("public_ipv4_count")?,
            },
            personal: Personal {
                street_address: row.try_get("street_address")?,
                contact_name: row.try_get("contact_name")?,
                contact_email: row.try_get("contact_email")?,
            },
            decided_by: row
                .try_get::<Option<Uuid>, _>("decided_by")?
                .map(UserId::from_uuid),
            reason: row.try_get("reason")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
        })
    }
}

impl FromRow<'_, PgRow> for Document {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let kind: String = row.try_get("kind")?;
        Ok(Self {
            kind: DocumentKind::parse(&kind).ok_or_else(|| unknown("kind", &kind))?,
            content_type: row.try_get("content_type")?,
            size_bytes: row.try_get("size_bytes")?,
            sha256: row.try_get("sha256")?,
            attached_at: row.try_get("attached_at")?,
        })
    }
}

impl Application {
    /// What the rules are told.
    pub fn standing(&self, documents: &[Document]) -> Standing {
        Standing {
            applicant: self.applicant,
            stage: self.stage,
            revision: self.revision,
            documents: documents.iter().map(|document| document.kind).collect(),
        }
    }
}

pub(super) async fn get(
    pool: &PgPool,
    id: ApplicationId,
) -> Result<Option<Application>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM applications WHERE id = $1")
        .bind(id.uuid())
        .fetch_optional(pool)
        .await
}

/// The application, locked until the transaction ends: of several who change it at once, one does
/// after the other.
pub(super) async fn lock(
    tx: &mut PgConnection,
    id: ApplicationId,
) -> Result<Option<Application>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM applications WHERE id = $1 FOR UPDATE")
        .bind(id.uuid())
        .fetch_optional(tx)
        .await
}

pub(super) async fn documents(
    db: impl PgExecutor<'_>,
    id: ApplicationId,
) -> Result<Vec<Document>, sqlx::Error> {
    sqlx::query_as(
        "SELECT kind, content_type, size_bytes, sha256, attached_at
           FROM application_documents WHERE application_id = $1 ORDER BY kind",
    )
    .bind(id.uuid())
    .fetch_all(db)
    .await
}

/// Type and bytes of a document.
pub(super) async fn content(
    pool: &PgPool,
    id: ApplicationId,
    kind: DocumentKind,
) -> Result<Option<(String, Vec<u8>)>, sqlx::Error> {
    sqlx::query_as(
        "SELECT content_type, content FROM application_documents WHERE application_id = $1 AND kind = $2",
    )
    .bind(id.uuid())
    .bind(kind.as_str())
    .fetch_optional(pool)
    .await
}

/// Attaches a document, in the place of one of the same kind.
pub(super) async fn attach(
    tx: &mut PgConnection,
    id: ApplicationId,
    document: &Document,
    content: &[u8],
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO application_documents
             (application_id, kind, content_type, size_bytes, sha256, content, attached_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (application_id, kind) DO UPDATE SET
             (content_type, size_bytes, sha256, content, attached_at) =
             (EXCLUDED.content_type, EXCLUDED.size_bytes, EXCLUDED.sha256, EXCLUDED.content, EXCLUDED.attached_at)",
    )
    .bind(id.uuid())
    .bind(document.kind.as_str())
    .bind(&document.content_type)
    .bind(document.size_bytes)
    .bind(&document.sha256)
    .bind(content)
    .bind(document.attached_at)
    .execute(tx)
    .await
    .map(|_| ())
}

/// Forgets the documents of an application.
pub(super) async fn drop_documents(
    tx: &mut PgConnection,
    id: ApplicationId,
) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM application_documents WHERE application_id = $1")
        .bind(id.uuid())
        .execute(tx)
        .await
        .map(|_| ())
}

/// Writes the application, new or changed.
pub(super) async fn save(tx: &mut PgConnection, a: &Application) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO applications
             (id, applicant_id, stage, revision, farm_name, country, city, wallet_network, wallet,
              cpu_cores, memory_gib, ssd_gib, hdd_gib, uplink_mbps, public_ipv4_count,
              street_address, contact_name, contact_email, decided_by, reason, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
                 $19, $20, $21, $22)
         ON CONFLICT (id) DO UPDATE SET
             (stage, revision, farm_name, country, city, wallet_network, wallet, cpu_cores,
              memory_gib, ssd_gib, hdd_gib, uplink_mbps, public_ipv4_count, street_address,
              contact_name, contact_email, decided_by, reason, updated_at) =
             (EXCLUDED.stage, EXCLUDED.revision, EXCLUDED.farm_name, EXCLUDED.country,
              EXCLUDED.city, EXCLUDED.wallet_network, EXCLUDED.wallet, EXCLUDED.cpu_cores,
              EXCLUDED.memory_gib, EXCLUDED.ssd_gib, EXCLUDED.hdd_gib, EXCLUDED.uplink_mbps,
              EXCLUDED.public_ipv4_count, EXCLUDED.street_address, EXCLUDED.contact_name,
              EXCLUDED.contact_email, EXCLUDED.decided_by, EXCLUDED.reason, EXCLUDED.updated_at)",
    )
    .bind(a.id.uuid())
    .bind(a.applicant.uuid())
    .bind(a.stage.as_str())
    .bind(a.revision)
    .bind(&a.offer.farm_name)
    .bind(&a.offer.country)
    .bind(&a.offer.city)
    .bind(network(a.offer.wallet_network))
    .bind(&a.offer.wallet)
    .bind(a.offer.cpu_cores)
    .bind(a.offer.memory_gib)
    .bind(a.offer.ssd_gib)
    .bind(a.offer.hdd_gib)
    .bind(a.offer.uplink_mbps)
    .bind(a.offer.public_ipv4_count)
    .bind(&a.personal.street_address)
    .bind(&a.personal.contact_name)
    .bind(&a.personal.contact_email)
    .bind(a.decided_by.map(|user| user.uuid()))
    .bind(&a.reason)
    .bind(a.created_at)
    .bind(a.updated_at)
    .execute(tx)
    .await
    .map(|_| ())
}

/// Which application a command of this id has changed, and what the command said.
pub(super) async fn step(
    tx: &mut PgConnection,
    event: EventId,
) -> Result<Option<(Uuid, Vec<u8>)>, sqlx::Error> {
    sqlx::query_as("SELECT application_id, fingerprint FROM application_steps WHERE event_id = $1")
        .bind(event.uuid())
        .fetch_optional(tx)
        .await
}

pub(super) async fn keep_step(
    tx: &mut PgConnection,
    event: EventId,
    id: ApplicationId,
    fingerprint: &[u8],
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO application_steps (event_id, application_id, fingerprint) VALUES ($1, $2, $3)",
    )
    .bind(event.uuid())
    .bind(id.uuid())
    .bind(fingerprint)
    .execute(tx)
    .await
    .map(|_| ())
}

/// The event of the latest command that an application has taken.
pub(super) async fn last_step(
    pool: &PgPool,
    id: ApplicationId,
) -> Result<Option<Uuid>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT event_id FROM application_steps WHERE application_id = $1 ORDER BY seq DESC LIMIT 1",
    )
    .bind(id.uuid())
    .fetch_optional(pool)
    .await
}

/// One after the other, all commands that make applications of this person.
pub(super) async fn lock_applicant(tx: &mut PgConnection, user: UserId) -> Result<(), sqlx::Error> {
    named_lock(tx, &format!("applicant {user}")).await
}

async fn named_lock(tx: &mut PgConnection, name: &str) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))")
        .bind(name)
        .execute(tx)
        .await
        .map(|_| ())
}

/// Whether another person's farm has this name; locked against whoever asks for it at once.
pub(super) async fn is_anothers_farm(
    tx: &mut PgConnection,
    user: UserId,
    farm: &str,
) -> Result<bool, sqlx::Error> {
    named_lock(tx, &format!("farm {}", farm.to_ascii_lowercase())).await?;
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM applications
          WHERE lower(farm_name) = lower($1) AND applicant_id <> $2
            AND stage IN ('submitted', 'changes_requested', 'approved'))",
    )
    .bind(farm)
    .bind(user.uuid())
    .fetch_one(tx)
    .await
}

/// How many applications of a person are open.
pub(super) async fn open_of(tx: &mut PgConnection, user: UserId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT count(*) FROM applications
          WHERE applicant_id = $1 AND stage IN ('submitted', 'changes_requested')",
    )
    .bind(user.uuid())
    .fetch_one(tx)
    .await
}

/// Which applications.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    pub owner: Option<UserId>,
    pub applicant: Option<UserId>,
    pub stage: Option<Stage>,
    pub country: Option<String>,
}

/// The latest first, those after a row that the caller has seen.
pub(super) async fn list(
    pool: &PgPool,
    wanted: &Wanted,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Application>, sqlx::Error> {
    sqlx::query_as(
        "SELECT * FROM applications
          WHERE ($1::uuid IS NULL OR applicant_id = $1)
            AND ($2::uuid IS NULL OR applicant_id = $2)
            AND ($3::text IS NULL OR stage = $3)
            AND ($4::text IS NULL OR country = $4)
            AND ($5::uuid IS NULL OR (created_at, id) < (SELECT created_at, id FROM applications WHERE id = $5))
          ORDER BY created_at DESC, id DESC LIMIT $6",
    )
    .bind(wanted.owner.map(|user| user.uuid()))
    .bind(wanted.applicant.map(|user| user.uuid()))
    .bind(wanted.stage.map(Stage::as_str))
    .bind(&wanted.country)
    .bind(after)
    .bind(limit)
    .fetch_all(pool)
    .await
}
