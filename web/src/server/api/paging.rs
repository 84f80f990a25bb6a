//! Lists in pages: `limit`, `before`, and the address of what comes behind.

use std::str::FromStr;

use form_urlencoded::Serializer;

use super::PREFIX;
use super::problem::Problem;
use crate::server::form::Form;

/// Keeps `limit` entries of a list that has one more if there is more: is there?
pub(super) fn cut<T>(entries: &mut Vec<T>, limit: usize) -> bool {
    let is_more = entries.len() > limit;
    entries.truncate(limit);
    is_more
}

/// How many are asked for; the table has judged it.
pub(super) fn limit(form: &Form, most: usize) -> usize {
    form.text("limit").parse().unwrap_or(most).clamp(1, most)
}

/// Where the page begins.
pub(super) fn before<T: FromStr>(form: &Form) -> Result<Option<T>, Problem> {
    match form.text("before") {
        "" => Ok(None),
        place => {
            place.parse().map(Some).map_err(|_| Problem::Wrong("before: no place in this list".to_owned()))
        }
    }
}

/// The same question, from another place on.
pub(super) fn address(path: &str, form: &Form, before: &str) -> String {
    let mut written = Serializer::new(String::new());
    for (name, value) in form.iter().filter(|(name, value)| *name != "before" && !value.is_empty()) {
        written.append_pair(name, value);
    }
    written.append_pair("before", before);
    format!("{PREFIX}{path}?{}", written.finish())
}
