//! The connection to Postgres.

use serde_json::Value;
use sqlx::Connection;
use sqlx::migrate::MigrateError;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use std::str::FromStr;
use std::time::Duration;

/// A connection that was idle for longer may have gone with its server, which needs longer than
/// this to come back.
pub const TRUSTED: Duration = Duration::from_millis(50);

/// A pool on the database at `url` that connects when first used. A statement takes at most 30 s,
/// and a transaction whose process was stopped is rolled back by the server after 10 s, so that
/// a frozen process cannot hold up the one that takes over.
///
/// # Errors
/// When the URL is not one of Postgres. An unreachable database shows at the first statement.
pub fn connect(url: &str, max_connections: u32) -> Result<PgPool, sqlx::Error> {
    let options = PgConnectOptions::from_str(url)?.options([
        ("statement_timeout", "30s"),
        ("idle_in_transaction_session_timeout", "10s"),
    ]);
    Ok(pool_options(max_connections).connect_lazy_with(options))
}

/// How a pool of so many connections keeps them. One that was used a moment ago is not asked
/// whether it still works before each statement: that would be as long a way as the statement's.
#[must_use]
pub fn pool_options(max_connections: u32) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(Duration::from_secs(5))
        .test_before_acquire(false)
        .before_acquire(|connection, about| {
            Box::pin(async move {
                if about.idle_for > TRUSTED {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
}

/// Brings the tables of the read models up to date; does nothing when they are.
///
/// # Errors
/// When Postgres does not answer or a migration differs from the one applied.
pub async fn migrate(pool: &PgPool) -> Result<(), MigrateError> {
    let mut migrator = sqlx::migrate!();
    // Other crates keep tables in the same database, with migrations of their own.
    migrator.dangerous_set_table_name("_projections_migrations");
    migrator.run(pool).await
}

/// Rows as a JSON array for `jsonb_populate_recordset`, which turns one parameter into as many
/// typed rows as a batch has. Postgres holds no zero character, in text or in JSON; a vendor's
/// text may, so it becomes U+FFFD.
pub(crate) fn rows<T: serde::Serialize>(rows: &[T]) -> Result<Value, sqlx::Error> {
    let mut value = serde_json::to_value(rows).map_err(|e| sqlx::Error::Encode(Box::new(e)))?;
    clean(&mut value);
    Ok(value)
}

fn clean(value: &mut Value) {
    match value {
        Value::String(text) => clean_text(text),
        Value::Array(items) => items.iter_mut().for_each(clean),
        Value::Object(fields) => fields.values_mut().for_each(clean),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

pub(crate) fn clean_text(text: &mut String) {
    if text.contains('\0') {
        *text = text.replace('\0', "\u{fffd}");
    }
}

/// Whether the database refused the content of a statement (classes 22 and 23), rather than being
/// in trouble itself. Only such an error says something about a record.
pub(crate) fn refuses_content(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(e) => e
            .code()
            .is_some_and(|code| code.starts_with("22") || code.starts_with("23")),
        sqlx::Error::Encode(_) => true,
        _ => false,
    }
}

/// An error of decoding a column's text.
pub(crate) fn unreadable(column: &str, found: &str) -> sqlx::Error {
    sqlx::Error::ColumnDecode {
        index: column.to_owned(),
        source: format!("unknown value {found:?}").into(),
    }
}

/// A non-negative number that the database holds as `bigint`.
pub(crate) fn small(column: &str, value: i64) -> Result<u32, sqlx::Error> {
    u32::try_from(value).map_err(|_| unreadable(column, &value.to_string()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::json;

    #[test]
    fn zero_characters_become_replacement_characters_at_any_depth() {
        let cleaned = rows(&[json!({"a": "x\u{0}y", "b": [{"c": "\u{0}"}], "d": 1})]).unwrap();
        assert_eq!(
            cleaned,
            json!([{"a": "x\u{fffd}y", "b": [{"c": "\u{fffd}"}], "d": 1}])
        );
    }
}
