//! Pages of lists: `limit`, `starting_after`, and for whoever sees everything `scope=all`.

use crate::auth::Reader;
use crate::contract::{common, one_of, query, text};
use crate::problem::{Kind, Problem};
use crate::state::ApiState;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use events::ids::UserId;
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};
use uuid::Uuid;

/// Rows of a page, unless asked otherwise.
const USUAL: i64 = 50;
/// Rows of a page at most.
const MOST: i64 = 100;

/// What names a row of a list.
pub(crate) trait Cursor: Sized {
    /// As answers show it; `None` for another text.
    fn read(text: &str) -> Option<Self>;
    /// Its kind, as the contract has it.
    fn schema() -> Object;
}

impl Cursor for Uuid {
    fn read(text: &str) -> Option<Self> {
        // Hyphenated only.
        Self::try_parse(text).ok().filter(|_| text.len() == 36)
    }

    fn schema() -> Object {
        common::uuid()
    }
}

/// Horizon's id of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OperationId(pub String);

impl Cursor for OperationId {
    fn read(text: &str) -> Option<Self> {
        let digits = text.bytes().all(|b| b.is_ascii_digit()) && (1..=19).contains(&text.len());
        digits.then(|| Self(text.to_owned()))
    }

    fn schema() -> Object {
        let mut schema = text();
        schema.pattern = Some("^[0-9]{1,19}$".to_owned());
        schema
    }
}

/// Which page of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Page<C = Uuid> {
    /// Rows, 1 to 100.
    pub limit: i64,
    /// The last row of the page before.
    pub after: Option<C>,
    /// Whose rows; everybody's without one.
    pub owner: Option<UserId>,
}

/// Parameters of one list alone, by name.
pub(crate) type Further = Vec<(&'static str, String)>;

impl<C: Cursor> Page<C> {
    /// Cuts the row off that was read beyond the page, to see whether there is one.
    pub(crate) fn cut<T>(&self, rows: &mut Vec<T>) -> bool {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        more
    }

    /// The row after which the page begins is not one that the caller sees.
    pub(crate) fn no_such_row() -> Problem {
        Problem::field(
            "starting_after",
            "this is not the id of a row of the list; take the last one of the page before",
        )
    }

    fn parse(query: &str, reader: &Reader) -> Result<Self, Problem> {
        Self::parse_with(query, reader, &[]).map(|(page, _)| page)
    }

    /// The page of a list that takes further parameters, with those that the query has.
    pub(crate) fn parse_with(
        query: &str,
        reader: &Reader,
        further: &[&'static str],
    ) -> Result<(Self, Further), Problem> {
        let mut more = Vec::new();
        let mut page = Self {
            limit: USUAL,
            after: None,
            owner: Some(reader.user),
        };
        let mut seen: Vec<String> = Vec::new();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            if seen.iter().any(|s| *s == name) {
                return Err(Problem::field(&name, "given twice"));
            }
            match &*name {
                "limit" => {
                    page.limit = value
                        .parse()
                        .ok()
                        .filter(|limit| (1..=MOST).contains(limit))
                        .ok_or_else(|| Problem::field("limit", "a number from 1 to 100"))?;
                }
                "starting_after" => {
                    page.after = Some(C::read(&value).ok_or_else(Self::no_such_row)?);
                }
                "scope" => match &*value {
                    "own" => {}
                    "all" if reader.sees_all() => page.owner = None,
                    "all" => {
                        return Err(Problem::new(
                            Kind::Forbidden,
                            "none of your roles sees what is not yours",
                        ));
                    }
                    _ => return Err(Problem::field("scope", "own or all")),
                },
                other => {
                    let Some(known) = further.iter().find(|known| **known == other) else {
                        let all = [&["limit", "starting_after", "scope"], further].concat();
                        let detail = format!("this list takes {}", all.join(", "));
                        return Err(Problem::field(&name, detail));
                    };
                    more.push((*known, value.into_owned()));
                }
            }
            seen.push(name.into_owned());
        }
        Ok((page, more))
    }
}

impl<C: Cursor> FromRequestParts<ApiState> for Page<C> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let reader = Reader::from_request_parts(parts, state).await?;
        Self::parse(parts.uri.query().unwrap_or_default(), &reader)
    }
}

impl<C: Cursor> IntoParams for Page<C> {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let limit = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(1))
            .maximum(Some(MOST))
            .build();
        vec![
            query(
                "limit",
                "Rows of the page; 50 unless asked otherwise.",
                limit,
            ),
            query(
                "starting_after",
                "The last row of the page before.",
                C::schema(),
            ),
            query(
                "scope",
                "`all`: everybody's, for operators, admins and auditors.",
                one_of(&["own", "all"]),
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::auth::rules::Role;

    fn reader(role: Role) -> Reader {
        Reader::new(UserId::derive(&["anna"]), vec![role])
    }

    #[test]
    fn a_query_names_a_page() {
        let anna = reader(Role::User);
        let id = "6f9619ff-8b86-5011-b42d-00c04fc964ff";
        let page = Page::<Uuid>::parse(&format!("limit=2&starting_after={id}"), &anna).unwrap();
        assert_eq!((page.limit, page.after), (2, Some(id.parse().unwrap())));
        assert_eq!(page.owner, Some(anna.user));
        assert_eq!(Page::<Uuid>::parse("", &anna).unwrap().limit, USUAL);
        let all = Page::<Uuid>::parse("scope=all", &reader(Role::Auditor)).unwrap();
        assert_eq!(all.owner, None);
        for bad in [
            "limit=0",
            "limit=101",
            "limit=x",
            "limit=1&limit=2",
            "limit=",
            "starting_after=17",
            "starting_after=",
            "scope=ours",
            "offset=3",
            "scope=all",
        ] {
            assert!(Page::<Uuid>::parse(bad, &anna).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_page_knows_whether_more_follow() {
        let page = Page::<Uuid>::parse("limit=2", &reader(Role::User)).unwrap();
        let mut rows = vec![1, 2, 3];
        assert!(page.cut(&mut rows));
        assert_eq!(rows, [1, 2]);
        assert!(!page.cut(&mut rows));
    }
}
