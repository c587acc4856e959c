//! The contract: OpenAPI 3.1, made from the routes as they are registered, and its pages.
//!
//! A route is registered together with what it takes and gives ([`Routes::add`]). What holds for
//! all of them is added from [`rules`]: who may call, which headers a command takes, which problems
//! may come. Written by hand because the crates that derive it change the features of half of the
//! dependencies.

mod document;
pub(crate) mod pages;
pub(crate) mod schema;
mod yaml;

use crate::state::ApiState;
use axum::Router;
use axum::routing::MethodRouter;
use serde_json::{Value, json};

/// What one route takes and gives.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    id: &'static str,
    summary: &'static str,
    description: &'static str,
    parameters: Vec<Value>,
    body: Option<Value>,
    answers: Vec<(u16, &'static str, Option<(&'static str, Value)>)>,
}

impl Operation {
    const fn new(
        method: &'static str,
        path: &'static str,
        id: &'static str,
        summary: &'static str,
    ) -> Self {
        Self {
            method,
            path,
            id,
            summary,
            description: "",
            parameters: Vec::new(),
            body: None,
            answers: Vec::new(),
        }
    }

    /// A query; `id` is the operation's name.
    pub(crate) const fn get(path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self::new("GET", path, id, summary)
    }

    /// A command, or what becomes one.
    pub(crate) const fn post(path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self::new("POST", path, id, summary)
    }

    /// More to know.
    pub(crate) const fn note(mut self, description: &'static str) -> Self {
        self.description = description;
        self
    }

    /// What it is sent.
    pub(crate) fn takes(mut self, schema: Value) -> Self {
        self.body = Some(schema);
        self
    }

    /// What it answers, as JSON.
    pub(crate) fn gives(self, status: u16, when: &'static str, schema: Value) -> Self {
        self.gives_as(status, when, "application/json", schema)
    }

    /// What it answers, in another form.
    pub(crate) fn gives_as(
        mut self,
        status: u16,
        when: &'static str,
        kind: &'static str,
        schema: Value,
    ) -> Self {
        self.answers.push((status, when, Some((kind, schema))));
        self
    }

    /// An answer without a body, or a problem of its own.
    pub(crate) fn or(mut self, status: u16, when: &'static str) -> Self {
        self.answers.push((status, when, None));
        self
    }

    /// A parameter of the query.
    pub(crate) fn query(self, name: &str, what: &str, schema: Value) -> Self {
        self.parameter("query", name, what, schema)
    }

    /// A header.
    pub(crate) fn header(self, name: &str, what: &str) -> Self {
        self.parameter("header", name, what, json!({ "type": "string" }))
    }

    /// The id in the path.
    pub(crate) fn of(self, what: &str) -> Self {
        self.parameter("path", "id", what, schema::uuid())
    }

    /// That it is a list, with its pages.
    pub(crate) fn pages(self) -> Self {
        self.query(
            "limit",
            "Rows of the page; 50 unless asked otherwise.",
            json!({ "type": "integer", "minimum": 1, "maximum": 100 }),
        )
        .query(
            "starting_after",
            "The last row of the page before.",
            schema::uuid(),
        )
        .query(
            "scope",
            "`all`: everybody's, for operators, admins and auditors.",
            schema::one_of(&["own", "all"]),
        )
    }

    /// That it waits for a Consistency-Token.
    pub(crate) fn catches_up(self) -> Self {
        self.header(
            "Consistency-Token",
            "As a command gave it: the answer waits until it sees that command.",
        )
    }

    /// That it can wait for an outcome.
    pub(crate) fn waits(self) -> Self {
        self.header(
            "Prefer",
            "`wait=N`: answers when there is an outcome, N seconds later at most.",
        )
    }

    fn parameter(mut self, place: &str, name: &str, what: &str, schema: Value) -> Self {
        self.parameters.push(json!({
            "name": name,
            "in": place,
            "required": place == "path",
            "description": what,
            "schema": schema,
        }));
        self
    }
}

/// Routes, each with its operation.
pub(crate) struct Routes {
    pub(crate) router: Router<ApiState>,
    pub(crate) operations: Vec<Operation>,
}

impl Routes {
    /// None.
    pub(crate) fn new() -> Self {
        Self {
            router: Router::new(),
            operations: Vec::new(),
        }
    }

    /// Adds a route.
    pub(crate) fn add(mut self, operation: Operation, handler: MethodRouter<ApiState>) -> Self {
        self.router = self.router.route(operation.path, handler);
        self.operations.push(operation);
        self
    }

    /// Adds those of another file.
    pub(crate) fn merge(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.operations.extend(other.operations);
        self
    }
}

/// The document, as `/openapi.yaml` shows it.
#[must_use]
pub fn yaml() -> String {
    yaml::write(&document::of(&crate::documented().operations))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::rules;
    use std::collections::BTreeSet;

    /// Every route has a rule and stands in the document, and nothing else does. A route that is
    /// registered in another way has no rule, and lets nobody in.
    #[test]
    fn the_document_has_the_routes_that_have_rules() {
        let written: BTreeSet<(&str, &str)> = crate::documented()
            .operations
            .iter()
            .map(|operation| (operation.method, operation.path))
            .collect();
        let ruled: BTreeSet<(&str, &str)> = rules::routes()
            .filter(|(_, path, _)| !rules::PAGES.contains(path))
            .map(|(method, path, _)| (method, path))
            .collect();
        assert_eq!(written, ruled);
    }

    #[test]
    fn the_checked_in_document_is_the_one_that_is_served() {
        let kept = std::fs::read_to_string("../docs/openapi.yaml").unwrap_or_default();
        assert!(
            kept == yaml(),
            "docs/openapi.yaml is old; write it anew with `gridway openapi > docs/openapi.yaml`"
        );
    }

    #[test]
    fn every_operation_has_a_name_of_its_own() {
        let mut names = BTreeSet::new();
        for operation in crate::documented().operations {
            assert!(names.insert(operation.id), "{} twice", operation.id);
            assert!(operation.summary.ends_with('.'), "{}", operation.id);
        }
    }
}
