//! `GET /openapi.json`: the document of the API (OpenAPI 3.1), made of the table of operations.
//!
//! Served without a token: it is the same on every recorder of this version, and whoever writes a program reads it first.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::operation::{Needs, Operation, Parameter, Spec};
use super::problem::{Kind, URN};
use super::schema::{of, open, text};
use super::{
    PREFIX, accounts, alerts, audit, balance, filters, holds, idempotency, passwords, people, recorder,
    recordings, retention, roles, rules, saved, stream, tokens, unrecorded, webhooks,
};
use crate::server::pages::{Alike, pages};
use crate::server::token::Right;

/// What the API is, for whoever reads the document alone.
const ABOUT: &str = "What the pages do, for programs. A token is shown as a bearer (RFC 6750); its rights are the upper limit, \
    and where an operation is done as the token's account, that account's permissions, scope and filters decide as they do for people: what it \
    may not see or do looks as what there is not. Refusals are problems (RFC 9457).";

/// The operation that gives the document itself.
pub(super) fn operations() -> Vec<Operation> {
    vec![Operation::get(["getDocument", "/openapi.json", "This document"], document).gives_as(
        200,
        "application/vnd.oai.openapi+json;version=3.1",
        json!({ "type": "object" }),
    )]
}

async fn document() -> Response {
    static TEXT: OnceLock<String> = OnceLock::new();
    let text = TEXT.get_or_init(|| whole().to_string());
    ([(header::CONTENT_TYPE, "application/vnd.oai.openapi+json;version=3.1")], text.as_str()).into_response()
}

/// The shapes that have a name.
pub(super) fn shapes() -> &'static Map<String, Value> {
    static SHAPES: OnceLock<Map<String, Value>> = OnceLock::new();
    SHAPES.get_or_init(|| {
        let problem = open([
            ("type", text("What it is: `urn:earwitness:problem:` and a name")),
            ("title", text("The status in words")),
            ("status", json!({ "type": "integer", "description": "The status" })),
            ("detail", text("What happened, and what to do")),
        ]);
        let own = [("Problem", problem)];
        let all = [
            recorder::shapes(),
            recordings::shapes(),
            unrecorded::shapes(),
            balance::shapes(),
            accounts::shapes(),
            roles::shapes(),
            audit::shapes(),
            rules::shapes(),
            people::shapes(),
            retention::shapes(),
            saved::shapes(),
            holds::shapes(),
            tokens::shapes(),
            webhooks::shapes(),
            alerts::shapes(),
            filters::shapes(),
            passwords::shapes(),
        ];
        let all = own.into_iter().chain(all.into_iter().flatten());
        all.map(|(name, shape)| (name.to_owned(), shape)).collect()
    })
}

/// The whole document.
pub(in crate::server) fn whole() -> Value {
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    let mut same: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut not_here = Map::new();
    for (method, page, alike) in pages().alike {
        match alike {
            Alike::By(names) => {
                names.iter().for_each(|name| same.entry(*name).or_default().push(format!("{method} {page}")))
            }
            Alike::Not(why) => drop(not_here.insert(format!("{method} {page}"), json!(why))),
        }
    }
    for Operation { spec, .. } in super::operations() {
        let of_path = paths.entry(spec.path).or_default();
        let pages = same.remove(spec.id).unwrap_or_default();
        of_path.insert(spec.method.as_str().to_lowercase(), operation(&spec, &pages));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "earwitness",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": PREFIX }],
        "paths": paths,
        "x-earwitness-pages-without-operation": not_here,
        "components": {
            "schemas": shapes(),
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer", "description": rights() } },
        },
    })
}

fn rights() -> String {
    let rights: Vec<String> =
        Right::ALL.iter().map(|right| format!("`{right}`: {}", right.words())).collect();
    format!(
        "A token of the page of tokens, `earwitness token` or `[[api.token]]`. Its rights: {}.",
        rights.join("; ")
    )
}

fn operation(spec: &Spec, pages: &[String]) -> Value {
    let mut told = json!({
        "operationId": spec.id,
        "summary": spec.summary,
        "description": needs(spec),
        "tags": [spec.path.split('/').nth(1).unwrap_or_default().split('.').next()],
        "security": match spec.right {
            Some(right) => json!([{ "token": [right.to_string()] }]),
            None => json!([]),
        },
        "responses": responses(spec),
        "x-earwitness-pages": pages,
    });
    let Some(fields) = told.as_object_mut() else { return told };
    let mut parameters: Vec<Value> = spec.parameters.iter().map(parameter).collect();
    if spec.adds {
        parameters.push(idempotency::parameter());
    }
    if spec.streams {
        parameters.push(stream::parameter());
    }
    if !parameters.is_empty() {
        fields.insert("parameters".to_owned(), Value::Array(parameters));
    }
    if let Some((shape, may_be_missing)) = &spec.takes {
        let body =
            json!({ "required": !may_be_missing, "content": { "application/json": { "schema": shape } } });
        fields.insert("requestBody".to_owned(), body);
    }
    told
}

/// What it takes, in words.
fn needs(spec: &Spec) -> String {
    let Some(right) = spec.right else { return "Takes no token.".to_owned() };
    match spec.needs {
        None => format!("Takes the right `{right}`."),
        Some(Needs::Account) => {
            format!(
                "Takes the right `{right}`; done as the token's account, for what its scope and filters admit."
            )
        }
        Some(Needs::Permission(permission)) => {
            format!(
                "Takes the right `{right}`, and of the token's account the permission {} (`{permission}`).",
                permission.label()
            )
        }
        Some(Needs::All(all)) => {
            let named: Vec<String> =
                all.iter().map(|permission| format!("{} (`{permission}`)", permission.label())).collect();
            format!(
                "Takes the right `{right}`, and of the token's account all of the permissions {}.",
                named.join(", ")
            )
        }
        Some(Needs::AllCalls) => {
            format!(
                "Takes the right `{right}`, and of the token's account the scope Organization without a filter that denies."
            )
        }
    }
}

fn parameter(parameter: &Parameter) -> Value {
    let Parameter { name, shape, is_path, is_required } = parameter;
    let mut shape = shape.clone();
    let about = shape.as_object_mut().and_then(|shape| shape.remove("description"));
    let place = if *is_path { "path" } else { "query" };
    let about = about.unwrap_or_default();
    json!({ "name": name, "in": place, "required": is_required, "description": about, "schema": shape })
}

fn responses(spec: &Spec) -> Map<String, Value> {
    let mut responses = Map::new();
    for gives in &spec.gives {
        let content: Map<String, Value> = gives
            .media
            .iter()
            .map(|(kind, shape)| ((*kind).to_owned(), json!({ "schema": shape })))
            .collect();
        let mut response =
            json!({ "description": if gives.media.is_empty() { "Done" } else { spec.summary } });
        if let Some(response) = response.as_object_mut()
            && !content.is_empty()
        {
            response.insert("content".to_owned(), Value::Object(content));
        }
        responses.insert(gives.status.to_string(), response);
    }
    let mut by_status: BTreeMap<u16, Vec<Kind>> = BTreeMap::new();
    for kind in &spec.problems {
        kind.statuses().iter().for_each(|status| by_status.entry(*status).or_default().push(*kind));
    }
    for (status, kinds) in by_status {
        let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
        let types: Vec<String> = names.iter().map(|name| format!("{URN}{name}")).collect();
        let shape = json!({ "allOf": [of("Problem"), { "properties": { "type": { "enum": types } } }] });
        let content = json!({ "application/problem+json": { "schema": shape } });
        responses.insert(status.to_string(), json!({ "description": names.join(", "), "content": content }));
    }
    responses
}
