//! What holds for every operation: who may call, what may go wrong, which headers an answer has.

use super::{one_of, text};
use crate::auth::rules::{self, Access, Rule};
use crate::problem::Kind;
use axum::http::Method;
use std::collections::BTreeMap;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Components, ContentBuilder, OpenApi, Ref, RefOr, Response, ResponseBuilder};

/// The document with all of it.
pub(super) fn add(mut document: OpenApi) -> OpenApi {
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in [
            (Method::GET, &mut item.get),
            (Method::POST, &mut item.post),
            (Method::PUT, &mut item.put),
            (Method::DELETE, &mut item.delete),
        ] {
            if let Some(operation) = operation {
                complete(operation, &method, path);
            }
        }
    }
    let components = document.components.get_or_insert_with(Components::new);
    components
        .schemas
        .insert("Problem".to_owned(), RefOr::T(problem_schema().into()));
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("The access token of POST /auth/login."))
        .build();
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    document
}

fn problem_schema() -> Object {
    let types: Vec<String> = Kind::ALL
        .iter()
        .map(|kind| format!("https://gridway.dev/problems/{}", kind.slug()))
        .collect();
    let types: Vec<&str> = types.iter().map(String::as_str).collect();
    let status = ObjectBuilder::new().schema_type(Type::Integer).build();
    ObjectBuilder::new()
        .description(Some(
            "What went wrong (RFC 9457), and where there is something, what to do.",
        ))
        .property("type", one_of(&types))
        .property("title", text())
        .property("status", status)
        .property("detail", text())
        .required("type")
        .required("title")
        .required("status")
        .required("detail")
        .build()
}

/// Who may call, in words; `None` when anybody may.
fn callers(access: Access) -> Option<String> {
    match access {
        Access::Probe | Access::Anyone | Access::Guest | Access::Signed => None,
        Access::SignedIn => Some("For whoever is logged in.".to_owned()),
        Access::Roles(roles) => {
            let roles: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
            Some(format!("For the roles {}.", roles.join(", ")))
        }
    }
}

/// The problems that may come, by status.
fn problems(
    operation: &Operation,
    path: &str,
    access: Access,
    command: bool,
) -> BTreeMap<u16, &'static str> {
    let mut all = BTreeMap::new();
    let counted = !matches!(access, Access::Probe | Access::Signed);
    let body = operation.request_body.is_some();
    let parameters = operation.parameters.iter().flatten().any(|p| match p {
        RefOr::T(parameter) => parameter.parameter_in != ParameterIn::Path,
        RefOr::Ref(_) => true,
    });
    for (may, status, when) in [
        (
            command,
            400,
            "The Idempotency-Key is missing or not valid, or the body is not JSON.",
        ),
        (body, 400, "The body is not JSON."),
        (
            matches!(access, Access::SignedIn | Access::Roles(_)),
            401,
            "There is no token, or it is not good any more.",
        ),
        (
            matches!(access, Access::Roles(_)),
            403,
            "None of the caller's roles may do this.",
        ),
        (path.contains('{'), 404, "The caller sees no such object."),
        (
            command,
            409,
            "The same command is being carried out, or the state does not allow it.",
        ),
        (body, 413, "The body is too large."),
        (body, 415, "The body is not application/json."),
        (
            command,
            422,
            "A field is not valid, or the Idempotency-Key stands for another command.",
        ),
        (
            body || parameters,
            422,
            "A field or a parameter is not valid.",
        ),
        (
            counted,
            429,
            "Too many requests; Retry-After says when one more is free.",
        ),
        (
            true,
            503,
            "Something that this needs does not answer for now; Retry-After says when to ask again.",
        ),
    ] {
        if may {
            all.entry(status).or_insert(when);
        }
    }
    all
}

fn complete(operation: &mut Operation, method: &Method, path: &str) {
    let access = match rules::rule(method, path) {
        Rule::Found(access) => access,
        // Nobody may, which a test rules out.
        Rule::OtherMethod | Rule::Missing => Access::Roles(&[]),
    };
    let command = rules::is_command(method, path);
    for (status, when) in problems(operation, path, access, command) {
        operation
            .responses
            .responses
            .entry(status.to_string())
            .or_insert_with(|| RefOr::T(Response::new(when)));
    }
    for (status, response) in &mut operation.responses.responses {
        let (Ok(status), RefOr::T(response)) = (status.parse::<u16>(), response) else {
            continue;
        };
        if status >= 400 && response.content.is_empty() {
            let problem = ContentBuilder::new()
                .schema(Some(RefOr::Ref(Ref::from_schema_name("Problem"))))
                .build();
            *response = ResponseBuilder::new()
                .description(response.description.clone())
                .content("application/problem+json", problem)
                .build();
        }
        for (name, what) in headers(status, access, command) {
            let header = HeaderBuilder::new()
                .schema(Some(text()))
                .description(Some(what))
                .build();
            response.headers.insert(name.to_owned(), header.into());
        }
    }
    let first = path.trim_start_matches('/').split('/').next();
    operation.tags = Some(vec![first.unwrap_or_default().to_owned()]);
    if let Some(callers) = callers(access) {
        let said = operation.description.take().unwrap_or_default();
        let all = [said.trim(), &callers].join("\n\n");
        operation.description = Some(all.trim().to_owned());
        operation.security = Some(vec![SecurityRequirement::new::<_, [&str; 0], &str>(
            "bearer",
            [],
        )]);
    }
}

fn headers(status: u16, access: Access, command: bool) -> Vec<(&'static str, &'static str)> {
    let mut all = vec![("X-Request-Id", "The request's name in our logs.")];
    if !matches!(access, Access::Probe | Access::Signed) {
        all.push(("RateLimit", "What is left of the tightest limit."));
        all.push(("RateLimit-Policy", "The limits that count this request."));
    }
    if command && status < 300 {
        all.push((
            "Idempotency-Hit",
            "`true` when the command was sent before.",
        ));
        all.push(("Location", "Address of what the command made."));
        all.push((
            "Consistency-Token",
            "For the next query, which then sees this command.",
        ));
    }
    if matches!(status, 429 | 503) {
        all.push(("Retry-After", "Seconds."));
    }
    all
}

/// An id, as the contract has it.
pub(crate) fn uuid() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::Custom("uuid".to_owned())))
        .build()
}
