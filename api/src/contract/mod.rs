//! The contract: OpenAPI 3.1, made by utoipa from the routes as they are registered, and its pages.
//!
//! A route is registered with what it takes and gives (`#[utoipa::path]`). What holds for all of
//! them is added by `common` from the rules: who may call, which problems may come, which headers
//! an answer has.

pub(crate) mod common;
pub(crate) mod pages;

use crate::state::ApiState;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{Object, ObjectBuilder, Schema, Type};
use utoipa::openapi::{InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, RefOr, Required};
use utoipa_axum::router::OpenApiRouter;

/// Routes, each with its operation.
pub(crate) type Routes = OpenApiRouter<ApiState>;

/// A text.
pub(crate) fn text() -> Object {
    Object::with_type(Type::String)
}

/// One of these texts.
pub(crate) fn one_of(texts: &[&str]) -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(texts.iter().copied()))
        .build()
}

/// A parameter of the query that may be left out.
pub(crate) fn query(name: &str, what: &str, schema: impl Into<RefOr<Schema>>) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(what))
        .schema(Some(schema))
        .build()
}

/// A header that may be left out.
pub(crate) fn header(name: &str, what: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(what))
        .schema(Some(text()))
        .build()
}

/// The document, empty but for what it is.
pub(crate) fn beginning() -> OpenApi {
    let license = LicenseBuilder::new()
        .name("Apache-2.0")
        .identifier(Some("Apache-2.0"))
        .build();
    let info = InfoBuilder::new()
        .title("Gridway")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Turns money into grid capacity. Commands answer 202 with the address of what they make and a \
             Consistency-Token; a query that carries the token is answered once it can see the command. \
             Errors are problems (RFC 9457) whose `type` never changes.",
        ))
        .license(Some(license))
        .build();
    OpenApiBuilder::new().info(info).build()
}

/// The document, as `/openapi.yaml` shows it.
#[must_use]
pub fn yaml() -> String {
    let document = common::add(crate::documented().into_openapi());
    document.to_yaml().unwrap_or_else(|error| {
        tracing::error!(%error, "the contract cannot be written");
        String::new()
    })
}

#[cfg(test)]
mod tests {
    use crate::auth::rules;
    use std::collections::BTreeSet;

    /// Every route has a rule and stands in the document, and nothing else does. A route that is
    /// registered in another way has no rule, and lets nobody in.
    #[test]
    fn the_document_has_the_routes_that_have_rules() {
        let document = crate::documented().into_openapi();
        let mut written = BTreeSet::new();
        let mut names = BTreeSet::new();
        for (path, item) in &document.paths.paths {
            for (method, operation) in [
                ("GET", &item.get),
                ("POST", &item.post),
                ("PUT", &item.put),
                ("DELETE", &item.delete),
            ] {
                let Some(operation) = operation else { continue };
                written.insert((method, path.as_str()));
                let name = operation.operation_id.as_deref().unwrap_or_default();
                assert!(names.insert(name), "{name} twice");
                let summary = operation.summary.as_deref().unwrap_or_default();
                assert!(summary.ends_with('.'), "{name}: {summary:?}");
            }
            let others = [&item.patch, &item.head, &item.options];
            assert!(
                others.iter().all(|o| o.is_none()),
                "teach this test a method of {path}"
            );
        }
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
            !kept.is_empty() && kept == super::yaml(),
            "docs/openapi.yaml is old; write it anew with `gridway openapi > docs/openapi.yaml`"
        );
    }
}
