//! Cursors, order and limits of lists.

use crate::problem::Problem;
use serde::Deserialize;

/// Query of a list.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ListQuery {
    cursor: Option<String>,
    order: Option<String>,
    limit: Option<String>,
    include_failed: Option<String>,
    join: Option<String>,
}

/// Where a list starts, which way it goes and how far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Records after (or, descending, before) this id.
    pub cursor: Option<i64>,
    /// Newest first.
    pub descending: bool,
    /// Most records, 1 to 200.
    pub limit: usize,
    /// Whether failed transactions are listed.
    pub include_failed: bool,
    /// Whether payments carry their transaction.
    pub join: bool,
}

impl ListQuery {
    /// A query with an order and a limit alone.
    #[must_use]
    pub const fn ordered(order: Option<String>, limit: Option<String>) -> Self {
        Self {
            cursor: None,
            order,
            limit,
            include_failed: None,
            join: None,
        }
    }

    /// Checks a query; `last` is the id that `cursor=now` stands for, `resume` a `Last-Event-ID`,
    /// which goes before the cursor.
    ///
    /// # Errors
    /// A bad-request problem that names the field.
    pub fn page(&self, last: i64, resume: Option<&str>) -> Result<Page, Problem> {
        let cursor = match resume.or(self.cursor.as_deref()) {
            None | Some("") => None,
            Some("now") => Some(last),
            Some(text) => {
                // Ids of operations in other lists are `<id>-<n>`: the number before the dash counts.
                let number = text.split('-').next().unwrap_or(text);
                let number = number.parse::<i64>().ok().filter(|n| *n >= 0);
                Some(
                    number
                        .ok_or_else(|| Problem::bad_request("cursor", "cursor: invalid value"))?,
                )
            }
        };
        let descending = match self.order.as_deref() {
            None | Some("" | "asc") => false,
            Some("desc") => true,
            Some(_) => return Err(Problem::bad_request("order", "order: invalid value")),
        };
        let limit = match self.limit.as_deref() {
            None | Some("") => 10,
            Some(text) => text
                .parse::<usize>()
                .ok()
                .filter(|n| (1..=200).contains(n))
                .ok_or_else(|| Problem::bad_request("limit", "limit: must be between 1 and 200"))?,
        };
        let include_failed = match self.include_failed.as_deref() {
            None | Some("" | "false") => false,
            Some("true") => true,
            Some(_) => return Err(Problem::bad_request("include_failed", "invalid value")),
        };
        let join = match self.join.as_deref() {
            None | Some("") => false,
            Some("transactions") => true,
            Some(_) => {
                return Err(Problem::bad_request(
                    "join",
                    "it is not one of: transactions",
                ));
            }
        };
        Ok(Page {
            cursor,
            descending,
            limit,
            include_failed,
            join,
        })
    }
}

impl Page {
    /// Picks a page of `ids`, which ascend by `id_of`; `keep` filters.
    pub fn pick<T: Copy>(
        &self,
        items: &[T],
        id_of: impl Fn(T) -> i64,
        keep: impl Fn(T) -> bool,
    ) -> Vec<T> {
        if self.descending {
            let end = self.cursor.map_or(items.len(), |cursor| {
                items.partition_point(|item| id_of(*item) < cursor)
            });
            items[..end]
                .iter()
                .rev()
                .copied()
                .filter(|item| keep(*item))
                .take(self.limit)
                .collect()
        } else {
            let start = self.cursor.map_or(0, |cursor| {
                items.partition_point(|item| id_of(*item) <= cursor)
            });
            items[start..]
                .iter()
                .copied()
                .filter(|item| keep(*item))
                .take(self.limit)
                .collect()
        }
    }

    /// The query string of the page after `cursor` in an order.
    pub fn query(&self, cursor: &str, descending: bool) -> String {
        let mut query = format!(
            "cursor={cursor}&limit={}&order={}",
            self.limit,
            if descending { "desc" } else { "asc" }
        );
        if self.include_failed {
            query.push_str("&include_failed=true");
        }
        if self.join {
            query.push_str("&join=transactions");
        }
        query
    }
}
