//! Objects in the order in which they were made, and Stripe's way of listing them.

use crate::error::ApiError;
use crate::form::Form;
use serde_json::{Value, json};
use std::collections::HashMap;

/// What can be listed.
pub trait Row {
    /// How an error calls it: `payment_intent`.
    const KIND: &'static str;
    fn id(&self) -> &str;
    fn created(&self) -> i64;
}

/// Rows by age and by id.
#[derive(Debug)]
pub struct Table<T> {
    rows: Vec<T>,
    by_id: HashMap<String, usize>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            by_id: HashMap::new(),
        }
    }
}

impl<T: Row> Table<T> {
    pub fn push(&mut self, row: T) {
        self.by_id.insert(row.id().to_owned(), self.rows.len());
        self.rows.push(row);
    }

    /// Keeps the newest `keep` rows.
    pub fn forget_all_but(&mut self, keep: usize) {
        let gone = self.rows.len().saturating_sub(keep);
        self.rows.drain(..gone);
        self.by_id.clear();
        for (at, row) in self.rows.iter().enumerate() {
            self.by_id.insert(row.id().to_owned(), at);
        }
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.rows.iter()
    }

    pub fn get(&self, id: &str) -> Option<&T> {
        self.by_id.get(id).and_then(|at| self.rows.get(*at))
    }

    pub fn get_mut(&mut self, id: &str) -> Option<&mut T> {
        self.by_id.get(id).and_then(|at| self.rows.get_mut(*at))
    }

    /// The row that a path or a parameter names.
    pub fn find(&self, id: &str, param: &str) -> Result<&T, ApiError> {
        self.get(id)
            .ok_or_else(|| ApiError::no_such(T::KIND, id, param))
    }

    pub fn find_mut(&mut self, id: &str, param: &str) -> Result<&mut T, ApiError> {
        match self.by_id.get(id).and_then(|at| self.rows.get_mut(*at)) {
            Some(row) => Ok(row),
            None => Err(ApiError::no_such(T::KIND, id, param)),
        }
    }

    /// One page of the rows that `wanted` lets through, newest first. Takes `limit`,
    /// `starting_after`, `ending_before` and `created`, and refuses what is left in `form`.
    pub fn page(
        &self,
        url: &str,
        mut form: Form,
        wanted: impl Fn(&T) -> bool,
        render: impl Fn(&T) -> Value,
    ) -> Result<Value, ApiError> {
        let limit = form.take_int("limit")?.unwrap_or(10);
        let limit = usize::try_from(limit)
            .ok()
            .filter(|n| (1..=100).contains(n))
            .ok_or_else(|| {
                ApiError::invalid(format!(
                    "Invalid limit: {limit}; it must be between 1 and 100."
                ))
                .param("limit")
                .code("parameter_invalid_integer")
            })?;
        let created = form.take_created()?;
        let after = self.cursor(&mut form, "starting_after")?;
        let before = self.cursor(&mut form, "ending_before")?;
        if after.is_some() && before.is_some() {
            return Err(ApiError::invalid(
                "You may only specify one of these parameters: ending_before, starting_after.",
            ));
        }
        form.finish()?;
        let fits = |row: &&T| created.holds(row.created()) && wanted(row);
        let (rows, has_more) = if let Some(before) = before {
            // The ones just newer than the cursor, still newest first.
            let newer = self.rows.get(before + 1..).unwrap_or_default();
            let mut some: Vec<&T> = newer.iter().filter(fits).take(limit + 1).collect();
            let has_more = some.len() > limit;
            some.truncate(limit);
            some.reverse();
            (some, has_more)
        } else {
            let older = self
                .rows
                .get(..after.unwrap_or(self.rows.len()))
                .unwrap_or_default();
            let mut some: Vec<&T> = older.iter().rev().filter(fits).take(limit + 1).collect();
            let has_more = some.len() > limit;
            some.truncate(limit);
            (some, has_more)
        };
        let data: Vec<Value> = rows.into_iter().map(render).collect();
        Ok(json!({ "object": "list", "data": data, "has_more": has_more, "url": url }))
    }

    fn cursor(&self, form: &mut Form, name: &str) -> Result<Option<usize>, ApiError> {
        let Some(id) = form.take(name) else {
            return Ok(None);
        };
        match self.by_id.get(&id) {
            Some(at) => Ok(Some(*at)),
            None => Err(ApiError::no_such(T::KIND, &id, name).into_bad_request()),
        }
    }
}
