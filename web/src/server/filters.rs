//! Access filters on `/roles`: what is granted or denied beside a scope. Everything is checked and written down by `store`; what a filter would
//! have meant is counted before it is in force.

use axum::extract::State;
use axum::response::Response;
use policy::access::{AccessFilter, FilterMode, Lengths};
use policy::{Field, Permission};
use store::{AccountChange, Accounts, Archive, Query};

use super::App;
use super::caller::Asker;
use super::form::Form;
use super::refusal::Refusal;

/// Recordings that a filter is tried on, the newest ones.
const TRIED_ON: usize = 1_000;

/// A filter as the page lists it.
pub(super) struct FilterLine {
    pub(super) name: String,
    pub(super) mode: &'static str,
    pub(super) conditions: Vec<String>,
    pub(super) lengths: String,
    /// The roles that have it.
    pub(super) roles: Vec<String>,
    /// As the form takes it.
    pub(super) written: String,
    pub(super) min_s: String,
    pub(super) max_s: String,
}

/// What stands in the form of a filter, and what came of a try.
#[derive(Default)]
pub(super) struct FilterDraft {
    pub(super) name: String,
    pub(super) is_grant: bool,
    pub(super) written: String,
    pub(super) min_s: String,
    pub(super) max_s: String,
    /// It is one that is there, and to be another.
    pub(super) is_there: bool,
    /// What it would have meant.
    pub(super) tried: String,
}

/// What a filter matches of what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tried {
    /// Recordings that were looked at.
    pub(super) looked: u64,
    /// Those that it matches.
    pub(super) matched: u64,
}

/// The filters, as they are listed.
pub(super) fn lines(accounts: &Accounts) -> Vec<FilterLine> {
    let line = |filter: &AccessFilter| {
        let has = |role: &&policy::access::Role| {
            role.filters.iter().any(|name| name.to_lowercase() == filter.name().to_lowercase())
        };
        let roles = accounts.roles().iter().filter(has).map(|role| role.name.clone()).collect();
        let conditions: Vec<String> =
            filter.conditions().iter().map(|(field, pattern)| format!("{field}={pattern}")).collect();
        let seconds =
            |pick: fn(Lengths) -> u64| filter.lengths().map_or(String::new(), |l| pick(l).to_string());
        FilterLine {
            name: filter.name().to_owned(),
            mode: filter.mode().key(),
            written: conditions.join("\n"),
            conditions,
            lengths: filter
                .lengths()
                .map_or(String::new(), |Lengths { min_s, max_s }| format!("{min_s} to {max_s} s long")),
            roles,
            min_s: seconds(|lengths| lengths.min_s),
            max_s: seconds(|lengths| lengths.max_s),
        }
    };
    accounts.filters().iter().map(line).collect()
}

/// A condition as people write it.
pub(super) fn condition(written: &str) -> Result<(Field, String), String> {
    let (field, pattern) = written.split_once('=').ok_or_else(|| {
        let shown: String = written.chars().take(60).collect();
        format!("{shown:?} is no condition: write a field and a pattern, as extension=1000-1005")
    })?;
    Ok((field.trim().parse::<Field>().map_err(|error| error.to_string())?, pattern.trim().to_owned()))
}

/// A filter of these conditions.
pub(super) fn filter(
    name: &str,
    mode: FilterMode,
    conditions: &[(Field, String)],
    lengths: Option<Lengths>,
) -> Result<AccessFilter, String> {
    let conditions: Vec<(Field, &str)> =
        conditions.iter().map(|(field, pattern)| (*field, pattern.as_str())).collect();
    AccessFilter::new(name, mode, &conditions, lengths).map_err(|error| error.to_string())
}

/// The filter that a form describes.
fn asked(form: &Form) -> Result<AccessFilter, String> {
    let mode = form.text("mode").parse::<FilterMode>().map_err(|error| error.to_string())?;
    let written = form.text("conditions");
    let conditions = written.lines().map(str::trim).filter(|line| !line.is_empty()).map(condition);
    let conditions = conditions.collect::<Result<Vec<_>, _>>()?;
    let seconds = |name: &str| match form.text(name) {
        "" => Ok(None),
        text => text.parse::<u64>().map(Some).map_err(|_| format!("{text:?} is no number of seconds")),
    };
    let lengths = match (seconds("min_s")?, seconds("max_s")?) {
        (Some(min_s), Some(max_s)) => Some(Lengths { min_s, max_s }),
        (None, None) => None,
        _ => return Err("a shortest and a longest length go together: fill both, or none".to_owned()),
    };
    filter(form.text("name"), mode, &conditions, lengths)
}

/// What a filter matches of the newest recordings.
pub(super) fn try_on(archive: &Archive, filter: &AccessFilter) -> Result<Tried, store::Error> {
    let mut query = Query::default();
    query.limit = Some(TRIED_ON);
    archive.search(&query).try_fold(Tried { looked: 0, matched: 0 }, |tried, row| {
        let matched = u64::from(filter.matches(&row?));
        Ok(Tried { looked: tried.looked + 1, matched: tried.matched + matched })
    })
}

impl App {
    /// What a filter would have meant. Told to who may see all calls alone.
    ///
    /// # Errors
    /// [`Refusal::Declined`] for everybody else.
    pub(super) async fn try_filter(&self, asker: &Asker, filter: AccessFilter) -> Result<Tried, Refusal> {
        if !asker.sees_all_calls() {
            return Err(Refusal::Declined(
                "What a filter matches is counted for who may see all calls: the scope Organization, and no filter that denies."
                    .to_owned(),
            ));
        }
        self.read(move |archive| Ok(try_on(archive, &filter)?)).await
    }
}

/// `POST /roles/filters`: one is tried, put or removed.
pub(super) async fn change(State(app): State<App>, asker: Asker, form: Form) -> Result<Response, Refusal> {
    asker.need(Permission::Security)?;
    let mut draft = FilterDraft {
        name: form.text("name").to_owned(),
        is_grant: form.text("mode") == "grant",
        written: form.text("conditions").replace('\r', ""),
        min_s: form.text("min_s").to_owned(),
        max_s: form.text("max_s").to_owned(),
        is_there: form.text("was") == "there",
        tried: String::new(),
    };
    let change = match form.text("do") {
        "remove" => AccountChange::RemoveFilter { name: form.raw("name").to_owned() },
        what @ ("try" | "put") => {
            let filter = match asked(&form) {
                Ok(filter) => filter,
                Err(why) => {
                    return app.roles_with(&asker, "", Some(format!("{why}. Nothing was changed.")), draft);
                }
            };
            if what == "try" {
                let verb = if draft.is_grant { "show" } else { "hide" };
                draft.tried = match app.try_filter(&asker, filter).await {
                    Ok(Tried { looked, matched }) => format!(
                        "It would {verb} {matched} of the last {looked} recordings, for whoever has a role with it."
                    ),
                    Err(Refusal::Declined(why)) => why,
                    Err(error) => return Err(error),
                };
                return app.roles_with(&asker, "", None, draft);
            }
            let accounts = app.archive().accounts();
            let is_same = |other: &&AccessFilter| other.name().to_lowercase() == filter.name().to_lowercase();
            if let Some(there) = accounts.filters().iter().find(is_same).filter(|_| !draft.is_there) {
                let why = format!(
                    "There is an access filter {:?} already: take another name, or change that one. Nothing was changed.",
                    there.name()
                );
                return app.roles_with(&asker, "", Some(why), draft);
            }
            AccountChange::PutFilter(filter)
        }
        _ => return Err(Refusal::WrongQuery),
    };
    match app.change(&asker, change).await? {
        Ok(()) => {
            let said = "Saved. A filter counts for the roles that have it, from everybody’s next click.";
            app.roles_with(&asker, said, None, FilterDraft::default())
        }
        Err(why) => app.roles_with(&asker, "", Some(why), draft),
    }
}
