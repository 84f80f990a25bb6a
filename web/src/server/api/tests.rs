//! The table, its document, and `docs/api.md` say the same.

#[path = "../../../tests/common/book.rs"]
#[allow(dead_code, unreachable_pub, reason = "the book of the tests of pages")]
mod book;
mod hostile;
mod keeping;
mod machine;
mod orders;
mod rights;
pub(in crate::server) mod site;
mod tokens;
mod uses;
mod webhooks;

use std::collections::BTreeSet;

use serde_json::Value;

use super::problem::Kind;
use super::schema::NAMED;
use super::*;
use crate::server::token::Right;

const DOCS: &str = include_str!("../../../../docs/api.md");

/// All values of this name, wherever they stand.
fn all_of<'v>(value: &'v Value, name: &str, found: &mut Vec<&'v Value>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get(name));
            members.values().for_each(|value| all_of(value, name, found));
        }
        Value::Array(items) => items.iter().for_each(|value| all_of(value, name, found)),
        _ => {}
    }
}

#[test]
fn each_operation_has_a_name_of_its_own_and_all_that_stands_in_its_path() {
    let mut names = BTreeSet::new();
    for Operation { spec, .. } in operations() {
        assert!(names.insert(spec.id), "{} twice", spec.id);
        assert!(!spec.gives.is_empty(), "{}: what does it give?", spec.id);
        let in_path: BTreeSet<&str> =
            spec.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        let told = spec.parameters.iter().filter(|parameter| parameter.is_path);
        let told: BTreeSet<&str> = told.map(|parameter| parameter.name.as_str()).collect();
        assert_eq!(told, in_path, "{}", spec.id);
    }
    assert!(names.len() > 45, "{}", names.len());
}

#[test]
fn every_shape_that_the_document_names_is_there() {
    let document = document::whole();
    let (mut named, shapes) = (Vec::new(), document::shapes());
    all_of(&document, "$ref", &mut named);
    assert!(named.len() > 100);
    for name in named {
        let name = name.as_str().and_then(|name| name.strip_prefix(NAMED)).expect("one of ours");
        assert!(shapes.contains_key(name), "{name}");
    }
}

#[test]
fn the_text_for_programmers_has_each_operation_each_right_and_each_problem() {
    for Operation { spec, .. } in operations() {
        let line = format!("`{} {PREFIX}{}`", spec.method, spec.path);
        let right = spec.right.map_or("–".to_owned(), |right| right.to_string());
        let wanted = format!("| {line} | {right} |");
        assert!(DOCS.contains(&wanted), "docs/api.md has no row {wanted}");
    }
    for kind in Kind::ALL {
        let statuses: Vec<String> = kind.statuses().iter().map(u16::to_string).collect();
        let wanted = format!("| `{}` | {} |", kind.name(), statuses.join(", "));
        assert!(DOCS.contains(&wanted), "docs/api.md has no row {wanted}");
    }
    for right in Right::ALL {
        assert!(DOCS.contains(&format!("| `{right}` |")), "docs/api.md has no right {right}");
    }
}
