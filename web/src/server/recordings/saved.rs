//! Saved filters: what a search asks for, under a name (requirement rows FLT). They narrow a search besides what stands in the panel.
//!
//! `/recordings/filters` is where they are saved, shared and removed. Somebody's own are nobody else's business; a shared one is seen and
//! changed by whoever has the permission; built-in ones are everybody's, and nobody changes them.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use policy::Permission;
use store::{Query, SavedFilter};

use super::search::{Search, Wrong, label};
use crate::server::App;
use crate::server::caller::Asker;
use crate::server::escape::brief;
use crate::server::form::Form;
use crate::server::frame::{Frame, Page, page};
use crate::server::refusal::Refusal;
use crate::server::zone::Moment;

/// A filter that is always there.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::server) struct BuiltIn {
    pub(in crate::server) key: &'static str,
    pub(in crate::server) label: &'static str,
    pub(in crate::server) query: &'static str,
}

/// Those of the manuals that are about calls without a recording are on the page of calls.
pub(in crate::server) const BUILT_IN: [BuiltIn; 6] = [
    BuiltIn { key: "cut-off", label: "Cut off", query: "state=interrupted" },
    BuiltIn { key: "held", label: "Under legal hold", query: "held=yes" },
    BuiltIn { key: "no-audio", label: "Audio deleted", query: "deleted=yes" },
    BuiltIn { key: "good", label: "Four stars and more", query: "rating=4%2B" },
    BuiltIn { key: "poor", label: "Two stars and fewer", query: "rating=1-2" },
    BuiltIn { key: "unrecognized", label: "Direction not recognized", query: "direction=unknown" },
];

/// Which filter is meant, as addresses have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Named<'a> {
    Own(&'a str),
    Shared(&'a str),
    BuiltIn(&'static BuiltIn),
}

impl<'a> Named<'a> {
    /// Reads `own:NAME`, `shared:NAME` or `built-in:KEY`.
    pub(in crate::server) fn parse(written: &'a str) -> Option<Named<'a>> {
        let (kind, name) = written.split_once(':')?;
        match kind {
            "own" => Some(Named::Own(name)),
            "shared" => Some(Named::Shared(name)),
            "built-in" => BUILT_IN.iter().find(|one| one.key == name).map(Named::BuiltIn),
            _ => None,
        }
    }

    /// What people call it.
    pub(in crate::server) fn label(self) -> &'a str {
        match self {
            Named::Own(name) | Named::Shared(name) => name,
            Named::BuiltIn(one) => one.label,
        }
    }
}

/// How addresses name a filter that was saved.
pub(in crate::server) fn written(filter: &SavedFilter) -> String {
    let kind = if filter.owner.is_some() { "own" } else { "shared" };
    format!("{kind}:{}", filter.name)
}

impl Asker {
    fn may_see_shared(&self) -> bool {
        self.caller.may(Permission::ViewSharedFilters) || self.may_share()
    }

    fn may_share(&self) -> bool {
        self.caller.may(Permission::ModifySharedFilters)
    }
}

impl App {
    /// The query of a search, with what its saved filter asks for.
    pub(in crate::server) fn query(&self, asker: &Asker, search: &Search) -> Result<Query, Wrong> {
        let saved = self.saved_of(asker, search)?;
        search.query(saved.as_ref(), &asker.caller, self.now(), self.zone())
    }

    /// What the saved filter of a search asks for, where it names one.
    fn saved_of(&self, asker: &Asker, search: &Search) -> Result<Option<Search>, Wrong> {
        if search.filter.is_empty() {
            return Ok(None);
        }
        let gone = || Wrong {
            name: "filter".to_owned(),
            why: "There is no such saved filter any more. Take it away, or choose another one.".to_owned(),
        };
        self.saved(asker, &search.filter).map(Some).ok_or_else(gone)
    }

    /// What a saved filter asks for; none when it is not there, or not theirs.
    fn saved(&self, asker: &Asker, written: &str) -> Option<Search> {
        let archive = self.archive();
        let query = match Named::parse(written)? {
            Named::Own(name) => archive.saved_filter(Some(asker.caller.name()), name)?.query,
            Named::Shared(name) if asker.may_see_shared() => archive.saved_filter(None, name)?.query,
            Named::Shared(_) => return None,
            Named::BuiltIn(one) => one.query.to_owned(),
        };
        Some(Search::parse(&query))
    }

    /// The filters that somebody may use: their own first, then the shared ones.
    pub(in crate::server) fn filters_of(&self, asker: &Asker) -> Vec<SavedFilter> {
        let mut filters = self.archive().saved_filters(asker.caller.name());
        filters.retain(|filter| filter.owner.is_some() || asker.may_see_shared());
        filters
    }

    /// Saves what a search asks for under a name: of their own, or for all.
    pub(in crate::server) async fn save_filter(
        &self,
        asker: &Asker,
        name: &str,
        is_shared: bool,
        search: &Search,
    ) -> Result<SavedFilter, Refusal> {
        if is_shared {
            asker.need(Permission::ModifySharedFilters)?;
        }
        let query = self.joined(asker, search).map_err(Refusal::Wrong)?;
        let by = asker.caller.name().to_owned();
        let owner = (!is_shared).then(|| by.clone());
        let filter = SavedFilter { name: name.to_owned(), owner, query, by, at: self.now() };
        let saved = filter.clone();
        self.read(move |archive| archive.save_filter(filter).map_err(refused)).await?;
        Ok(saved)
    }

    /// Removes one of their own, or a shared one.
    pub(in crate::server) async fn remove_filter(
        &self,
        asker: &Asker,
        name: &str,
        is_shared: bool,
    ) -> Result<(), Refusal> {
        if is_shared {
            asker.need(Permission::ModifySharedFilters)?;
        }
        let (name, by, at) = (name.to_owned(), asker.caller.name().to_owned(), self.now());
        self.read(move |archive| {
            let owner = Some(by.as_str()).filter(|_| !is_shared);
            archive.remove_saved_filter(owner, &name, &by, at).map_err(|error| match error {
                store::Error::NotFound { .. } => Refusal::NoPage,
                error => refused(error),
            })
        })
        .await
    }

    /// What is asked for by a search and by the saved filter that it names, as one; or why the two cannot be one.
    fn joined(&self, asker: &Asker, search: &Search) -> Result<String, String> {
        let mut all = Search { filter: String::new(), ..search.clone() };
        let saved =
            self.saved_of(asker, search).map_err(|wrong| format!("{} Nothing was saved.", wrong.why))?;
        let both = |asked: &str| {
            format!(
                "The filter and the panel both ask for “{asked}”: take one of them away. Nothing was saved."
            )
        };
        for (field, value) in saved.iter().flat_map(|saved| &saved.fields) {
            match all.value(*field) {
                "" => all.fields.push((*field, value.clone())),
                there if there == value => {}
                _ => return Err(both(&label(*field))),
            }
        }
        if let Some(saved) = saved {
            for (asked, all, saved) in [
                ("At least", &mut all.least, saved.least),
                ("At most", &mut all.most, saved.most),
                ("Words in a note", &mut all.notes, saved.notes),
            ] {
                if !all.is_empty() && !saved.is_empty() && *all != saved {
                    return Err(both(asked));
                }
                if all.is_empty() {
                    *all = saved;
                }
            }
        }
        all.check().map_err(|wrong| format!("{}: {}. Nothing was saved.", wrong.name, wrong.why))?;
        match all.conditions() {
            none if none.is_empty() => Err(
                "A filter asks for something besides a time: a number, a tag, a length. Nothing was saved."
                    .into(),
            ),
            conditions => Ok(conditions),
        }
    }
}

/// What the store refuses is for who asked.
fn refused(error: store::Error) -> Refusal {
    match error {
        store::Error::Refused { what } => Refusal::Wrong(format!("{what}. Nothing was saved.")),
        error => error.into(),
    }
}

/// A choice of the panel.
pub(super) struct Choice {
    pub(super) value: String,
    pub(super) label: String,
    pub(super) is_chosen: bool,
}

/// The filters of the panel, under the heading of their kind.
pub(super) fn choices(app: &App, asker: &Asker, chosen: &str) -> Vec<(&'static str, Vec<Choice>)> {
    let choice = |value: String, label: &str| Choice {
        is_chosen: value == chosen,
        label: brief(label).into_owned(),
        value,
    };
    let (own, shared): (Vec<_>, Vec<_>) =
        app.filters_of(asker).into_iter().partition(|filter| filter.owner.is_some());
    let all = |filters: Vec<SavedFilter>| {
        filters.iter().map(|filter| choice(written(filter), &filter.name)).collect::<Vec<_>>()
    };
    let built_in = BUILT_IN.iter().map(|one| choice(format!("built-in:{}", one.key), one.label)).collect();
    let groups = [("Mine", all(own)), ("Shared", all(shared)), ("Built in", built_in)];
    groups.into_iter().filter(|(_, choices)| !choices.is_empty()).collect()
}

struct Line {
    name: String,
    kind: &'static str,
    asks: Vec<String>,
    href: String,
    saved: String,
    at: Option<Moment>,
    is_own: bool,
    may_remove: bool,
}

#[derive(askama::Template)]
#[template(path = "saved_filters.html")]
struct Filters {
    frame: Frame,
    lines: Vec<Line>,
    may_share: bool,
}

fn asks(query: &str) -> Vec<String> {
    Search::parse(query).chips().into_iter().map(|chip| chip.words).collect()
}

fn href(written: String) -> String {
    Search { filter: written, ..Search::default() }.address()
}

/// `GET /recordings/filters`.
pub(in crate::server) async fn filters(State(app): State<App>, asker: Asker) -> Result<Response, Refusal> {
    if !asker.sees_recordings() {
        return Err(Refusal::SeesNothing);
    }
    let line = |filter: &SavedFilter| Line {
        name: filter.name.clone(),
        kind: if filter.owner.is_some() { "Mine" } else { "Shared" },
        asks: asks(&filter.query),
        href: href(written(filter)),
        saved: filter.by.clone(),
        at: Some(app.zone().moment(filter.at)),
        is_own: filter.owner.is_some(),
        may_remove: filter.owner.is_some() || asker.may_share(),
    };
    let built_in = |one: &BuiltIn| Line {
        name: one.label.to_owned(),
        kind: "Built in",
        asks: asks(one.query),
        href: href(format!("built-in:{}", one.key)),
        saved: String::new(),
        at: None,
        is_own: false,
        may_remove: false,
    };
    let saved = app.filters_of(&asker);
    page(&Filters {
        frame: app.frame(&asker, Page::Recordings, "Saved filters"),
        lines: saved.iter().map(line).chain(BUILT_IN.iter().map(built_in)).collect(),
        may_share: asker.may_share(),
    })
}

/// `POST /recordings/filters`: a filter is saved, shared under a name of its own, or removed.
pub(in crate::server) async fn change(
    State(app): State<App>,
    asker: Asker,
    form: Form,
) -> Result<Response, Refusal> {
    if !asker.sees_recordings() {
        return Err(Refusal::SeesNothing);
    }
    let (name, is_shared) = (form.text("name"), form.text("kind") == "shared");
    match form.text("do") {
        "save" => {
            let search = Search::parse(form.text("search").split_once('?').map_or("", |(_, query)| query));
            let saved = app.save_filter(&asker, name, is_shared, &search).await?;
            // The filter says now what the panel said.
            let there = Search { range: search.range, from: search.from, to: search.to, ..Search::default() };
            let there = Search { filter: written(&saved), live: search.live, ..there };
            Ok(Redirect::to(&there.address()).into_response())
        }
        "share" => {
            let own = app.archive().saved_filter(Some(asker.caller.name()), name).ok_or(Refusal::NoPage)?;
            app.save_filter(&asker, form.text("as"), true, &Search::parse(&own.query)).await?;
            Ok(Redirect::to("/recordings/filters").into_response())
        }
        "remove" => {
            app.remove_filter(&asker, name, is_shared).await?;
            Ok(Redirect::to("/recordings/filters").into_response())
        }
        _ => Err(Refusal::WrongQuery),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_in_can_be_read_and_asks_for_something() {
        for one in &BUILT_IN {
            let search = Search::parse(one.query);
            assert_eq!(search.check(), Ok(()), "{}", one.key);
            assert_eq!(search.conditions(), one.query, "{}", one.key);
            assert_eq!(Named::parse(&format!("built-in:{}", one.key)), Some(Named::BuiltIn(one)));
        }
        assert_eq!(Named::parse("built-in:nonsense"), None);
        assert_eq!(Named::parse("own:a:b").map(Named::label), Some("a:b"));
    }
}
