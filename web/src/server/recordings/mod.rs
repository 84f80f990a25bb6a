//! `/recordings`: find, choose, and go on to one of them. Everything that the page shows is in its address.

pub(super) mod columns;
pub(super) mod saved;
pub(super) mod search;
pub(super) mod units;
mod unrecorded;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use policy::Permission;
use std::borrow::Cow;
use store::{Archive, Field, RecordingId, Row, State as Progress};

use self::columns::{Cell, Column, short_length};
use self::search::{Search, Wrong, cursor, label, leave_running_out};
use super::App;
use super::assign;
use super::caller::Asker;
use super::escape::brief;
use super::frame::{Frame, Page, page_with};
use super::refusal::Refusal;
use super::session::Who;
use super::zone::Range;
use crate::numbers;
use crate::words;

/// Recordings on one page.
const ROWS: usize = 200;
/// Running ones that are shown above them.
const RUNNING_MAX: usize = 500;
/// The cookie that has the columns that somebody has chosen.
const COLUMNS: &str = "earwitness-columns";
/// Fields with an input of their own in the panel; others come by an address and are kept.
const PANEL: [Field; 8] = [
    Field::OtherParty,
    Field::Extension,
    Field::Ddi,
    Field::Agent,
    Field::User,
    Field::HuntGroup,
    Field::AccountCode,
    Field::BusinessUnit,
];

/// One call of the list, with the segments that may be seen of it.
struct Call {
    /// Of several segments; none for one.
    aggregate: Option<Aggregate>,
    rows: Vec<Line>,
}

/// What stands above the segments of a call.
struct Aggregate {
    call: String,
    cells: Vec<Cell>,
    label: String,
}

/// One recording of the list.
struct Line {
    id: RecordingId,
    /// For who cannot see the row: which one it is.
    label: String,
    title: String,
    cells: Vec<Cell>,
    is_running: bool,
    is_gone: bool,
}

struct Heading {
    label: Cow<'static, str>,
    is_figure: bool,
    /// Sorts by it.
    href: Option<String>,
    /// `ascending` or `descending`, where the list is sorted by it.
    sorted: &'static str,
}

struct Preset {
    label: &'static str,
    href: String,
    is_current: bool,
}

/// An input of the panel.
struct Input {
    name: &'static str,
    label: Cow<'static, str>,
    value: String,
    error: String,
}

/// A column that can be chosen.
struct Choice {
    key: &'static str,
    label: Cow<'static, str>,
    is_chosen: bool,
    /// Which one it is, from 1.
    place: usize,
}

#[derive(askama::Template)]
#[template(path = "recordings.html")]
struct List {
    frame: Frame,
    search: Search,
    presets: Vec<Preset>,
    chips: Vec<search::Chip>,
    /// Saved filters under the heading of their kind.
    filters: Vec<(&'static str, Vec<saved::Choice>)>,
    /// What is asked for can be saved, and for all.
    may_save_filter: bool,
    may_share_filter: bool,
    inputs: Vec<Input>,
    /// The tree of business units, as far as they may see calls of them.
    units: Vec<units::Node>,
    tags: Vec<Input>,
    /// What the address asks for besides, to be kept.
    kept: Vec<(&'static str, String)>,
    errors: Vec<Wrong>,
    headings: Vec<Heading>,
    choices: Vec<Choice>,
    calls: Vec<Call>,
    /// What stands in place of the recordings.
    unrecorded: Option<unrecorded::Listed>,
    /// The addresses of recordings and of calls without one.
    of_recordings: String,
    of_unrecorded: String,
    shown: usize,
    sums: Option<String>,
    more: Option<String>,
    clear: String,
    address: String,
    may_play: bool,
    may_save: bool,
    may_change: bool,
    /// Recordings can be given to other users: to whom.
    may_give: bool,
    users: Vec<assign::Choice>,
    may_hold: bool,
    may_mail: bool,
    width: usize,
    why_nothing: &'static str,
}

impl List {
    /// What is off with an input of this name; empty when nothing is.
    fn error(&self, name: &str) -> &str {
        self.errors.iter().find(|wrong| wrong.name == name).map_or("", |wrong| &wrong.why)
    }

    /// What a column is called, for screens where columns become lines.
    fn label(&self, place: &usize) -> &str {
        self.headings.get(*place).map_or("", |heading| &*heading.label)
    }

    fn direction(&self) -> &str {
        self.search.value(Field::Direction)
    }

    fn rating(&self) -> &str {
        self.search.value(Field::Rating)
    }

    fn has_tags(&self) -> bool {
        !self.rating().is_empty()
            || !self.search.notes.is_empty()
            || self.tags.iter().any(|input| !input.value.is_empty())
    }
}

/// What the archive gave for a search.
#[derive(Default)]
struct Found {
    running: Vec<Row>,
    rows: Vec<Row>,
    /// What there is in place of rows.
    unrecorded: Option<unrecorded::Listed>,
    /// Where the next page begins.
    next: Option<String>,
    sums: Option<String>,
}

/// `GET /recordings`.
pub(super) async fn recordings(
    State(app): State<App>,
    asker: Asker,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    if !asker.sees_recordings() {
        return Err(Refusal::SeesNothing);
    }
    let Some(query) = query.filter(|query| !query.is_empty()) else {
        // The last search is remembered.
        let last = app.last_search(asker.caller.name()).unwrap_or_else(|| Search::default().address());
        return Ok(Redirect::to(&last).into_response());
    };
    let search = Search::parse(&query);
    let found = match search.unrecorded {
        true => unrecorded::find(&app, &asker, &search).await?,
        false => find(&app, &asker, &search).await?,
    };
    let (found, error) = match found {
        Ok(found) => (found, None),
        Err(wrong) => (Found::default(), Some(wrong)),
    };
    app.remember_search(asker.caller.name(), Search { before: None, ..search.clone() }.address());
    let columns = columns::chosen(cookie(&headers, COLUMNS));
    let list = list(&app, &asker, search, found, error, &columns);
    let status = if list.errors.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    page_with(status, &list)
}

/// `GET /`: the first page that somebody may open.
pub(super) async fn start(State(app): State<App>, asker: Asker) -> Redirect {
    if asker.who == Who::Console && app.wants_set_up() {
        return Redirect::to("/set-up");
    }
    let frame = app.frame(&asker, Page::Other, "");
    Redirect::to(frame.links.first().map_or("/me", |link| link.href))
}

async fn find(app: &App, asker: &Asker, search: &Search) -> Result<Result<Found, Wrong>, Refusal> {
    let mut query = match app.query(asker, search) {
        Ok(query) => query,
        Err(wrong) => return Ok(Err(wrong)),
    };
    let after = match (&search.before, search.order) {
        (None, _) => None,
        (Some(before), Some(_)) => match cursor(before) {
            Ok(cursor) => Some(cursor),
            Err(wrong) => return Ok(Err(wrong)),
        },
        (Some(before), None) => match before.parse::<RecordingId>() {
            Ok(id) => {
                query.before = Some(id);
                None
            }
            Err(error) => return Ok(Err(Wrong { name: "before".into(), why: error.to_string() })),
        },
    };
    let search = search.clone();
    app.read(move |archive| {
        let mut found = Found::default();
        if let Some(row) = named(archive, &search.id, &query)? {
            found.rows.push(row);
            return Ok(Ok(found));
        }
        let asks_for_states = !search.value(Field::State).is_empty();
        if search.live && search.before.is_none() && search.id.is_empty() {
            // Whatever was asked for, a running call does not drop out of sight because it began earlier (TRP-24).
            let mut running = query.clone();
            (running.since, running.until, running.limit) = (None, None, Some(RUNNING_MAX));
            let is_running = running.filter(Field::State, words::state(Progress::Recording)).is_ok();
            if is_running {
                found.running = archive.search(&running).collect::<Result<_, _>>()?;
            }
        }
        if !asks_for_states && search.id.is_empty() {
            leave_running_out(&mut query);
        }
        match search.order {
            None => {
                query.limit = Some(ROWS + 1);
                found.rows = archive.search(&query).collect::<Result<_, _>>()?;
                if found.rows.len() > ROWS {
                    found.rows.truncate(ROWS);
                    found.next = found.rows.last().map(|row| row.facts.id.to_string());
                }
            }
            Some(order) => {
                let (rows, next) = archive.sorted(&query, order, after.as_ref(), ROWS)?;
                (found.rows, found.next) = (rows, next.map(|next| next.to_string()));
            }
        }
        // Sums look through the whole search: not through the whole archive for each page of it.
        if search.before.is_none() && (found.next.is_none() || search.range != Range::All) {
            (query.limit, query.before) = (None, None);
            let stats = archive.stats(&query)?;
            let (n, length) = (stats.recordings, short_length(stats.audio_ms));
            found.sums = Some(format!("{n} recording{}, {length} of audio", if n == 1 { "" } else { "s" }));
        }
        Ok(Ok(found))
    })
    .await
}

/// The recording that a name or its beginning means, if it means one.
fn named(archive: &Archive, name: &str, query: &store::Query) -> Result<Option<Row>, Refusal> {
    if name.len() < 4 {
        return Ok(None);
    }
    let Ok(id) = archive.resolve(name) else { return Ok(None) };
    let row = archive.row(id)?;
    Ok(Some(row).filter(|row| query.seen_by.as_ref().is_none_or(|caller| caller.admits(row))))
}

fn list(
    app: &App,
    asker: &Asker,
    search: Search,
    found: Found,
    error: Option<Wrong>,
    columns: &[Column],
) -> List {
    let caller = &asker.caller;
    let unrecorded = found.unrecorded;
    let may_give = caller.may(Permission::ModifyDetails) && !app.archive().people().is_empty();
    let shown = found.rows.len().saturating_add(found.running.len());
    let is_sorted = search.order.is_some();
    let mut calls = calls(app, found.running, columns, false);
    calls.extend(self::calls(app, found.rows, columns, !is_sorted));
    let input = |field: Field| Input {
        name: field.name(),
        label: label(field),
        value: search.value(field).to_owned(),
        error: error
            .as_ref()
            .filter(|wrong| wrong.name == field.name())
            .map_or(String::new(), |wrong| wrong.why.clone()),
    };
    let tags: Vec<Field> = [Field::Tag].into_iter().chain(words::named_fields().map(Field::from)).collect();
    let others = search.fields.iter().filter(|(field, _)| {
        !PANEL.contains(field) && !tags.contains(field) && !matches!(field, Field::Direction | Field::Rating)
    });
    let preset = |range: Range| Preset {
        label: range.label(),
        href: search.with_range(range),
        is_current: search.range == range,
    };
    let heading = |column: &Column| Heading {
        label: column.label(),
        is_figure: column.is_figure(),
        href: column.order().map(|by| search.sorted_by(by)),
        sorted: match column.order() {
            Some(by) if by == search.order().by => {
                if search.order().descending {
                    "descending"
                } else {
                    "ascending"
                }
            }
            _ => "",
        },
    };
    List {
        frame: app.frame(asker, Page::Recordings, "Recordings"),
        presets: Range::ALL.into_iter().filter(|range| *range != Range::Custom).map(preset).collect(),
        chips: search.chips(),
        filters: saved::choices(app, asker, &search.filter),
        may_save_filter: error.is_none() && !search.conditions().is_empty(),
        may_share_filter: caller.may(Permission::ModifySharedFilters),
        inputs: PANEL.map(input).into_iter().collect(),
        units: units::tree(app.archive(), asker, &search),
        tags: tags.iter().copied().map(input).collect(),
        kept: others.map(|(field, value)| (field.name(), value.clone())).collect(),
        headings: columns.iter().map(heading).collect(),
        choices: columns
            .iter()
            .copied()
            .chain(Column::all().filter(|column| !columns.contains(column)))
            .zip(1..)
            .map(|(column, place)| Choice {
                key: column.key(),
                label: column.label(),
                is_chosen: columns.contains(&column),
                place,
            })
            .collect(),
        calls,
        unrecorded,
        of_recordings: search.of_unrecorded(false),
        of_unrecorded: search.of_unrecorded(true),
        shown,
        sums: found.sums,
        more: found.next.map(|next| search.behind(next)),
        clear: Search { range: search.range, unrecorded: search.unrecorded, ..Search::default() }.address(),
        address: search.address(),
        may_play: caller.may(Permission::Play),
        may_save: caller.may(Permission::Save),
        may_change: caller.may(Permission::ModifyDetails),
        may_give,
        users: if may_give { assign::choices(app.archive(), asker, app.now()) } else { Vec::new() },
        may_hold: caller.may(Permission::Holds),
        may_mail: app.may_mail(asker),
        width: columns.len() + 3,
        why_nothing: if search.before.is_some() {
            "There are no more."
        } else if search.unrecorded {
            "No call without a recording that you may see matches. Take a filter away, or look further back."
        } else if search.range == Range::Minutes15 && search.fields.is_empty() {
            "No call ended up recorded in the last 15 minutes. “Today” and “All” look further back."
        } else {
            "Nothing that you may see matches. Take a filter away, or look further back."
        },
        errors: error.into_iter().collect(),
        search,
    }
}

/// Rows, those of one call together: in the order of names segments of a call stand near each other.
fn calls(app: &App, rows: Vec<Row>, columns: &[Column], together: bool) -> Vec<Call> {
    let mut groups: Vec<Vec<Row>> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for row in rows {
        let place = *places.entry(row.facts.call.clone()).or_insert(groups.len());
        match groups.get_mut(place).filter(|_| together) {
            Some(group) => group.push(row),
            None => groups.push(vec![row]),
        }
    }
    groups.into_iter().map(|group| call(app, group, columns)).collect()
}

fn call(app: &App, mut rows: Vec<Row>, columns: &[Column]) -> Call {
    rows.sort_by_key(|row| (row.facts.segment, row.facts.id));
    let aggregate = rows.first().filter(|_| rows.len() > 1).map(|first| {
        let length = rows.iter().fold(0_u64, |sum, row| sum.saturating_add(row.facts.duration_ms));
        let cell = |column: &Column| match column {
            // The call's own; of the segments' only what holds for all.
            Column::Extension => Cell::Text(format!("{} segments", rows.len())),
            Column::Duration => Cell::Number(short_length(length)),
            Column::Started
            | Column::Direction
            | Column::OtherParty
            | Column::Ddi
            | Column::Trunk
            | Column::Site => column.cell(first, app.zone()),
            _ => Cell::Nothing,
        };
        Aggregate {
            call: first.facts.call.clone(),
            cells: columns.iter().map(cell).collect(),
            label: format!("the call of {}", app.zone().moment(first.facts.started).short),
        }
    });
    Call { aggregate, rows: rows.iter().map(|row| line(app, row, columns)).collect() }
}

fn line(app: &App, row: &Row, columns: &[Column]) -> Line {
    let facts = &row.facts;
    Line {
        id: facts.id,
        label: format!("{}, {}", brief(&facts.extension), app.zone().moment(facts.started).short),
        title: title(row),
        cells: columns.iter().map(|column| column.cell(row, app.zone())).collect(),
        is_running: facts.state == Progress::Recording,
        is_gone: row.deleted.is_some(),
    }
}

/// A recording in few words: who with whom.
pub(super) fn title(row: &Row) -> String {
    let facts = &row.facts;
    let extension = words::named(&facts.extension, facts.extension_name.as_deref());
    let other = words::named(&numbers::shown(numbers::other_party(facts)), facts.other_party_name.as_deref());
    format!("{}, {}", brief(&extension), brief(&other))
}

/// The value of a cookie.
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let fields = headers.get_all(header::COOKIE).iter().filter_map(|field| field.to_str().ok());
    let mut pairs = fields.flat_map(|field| field.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find_map(|(given, value)| (given == name).then_some(value))
}

/// `POST /recordings/columns`: kept in a cookie of theirs, since it is nobody else's business.
pub(super) async fn choose_columns(_: Asker, body: String) -> Result<Response, Refusal> {
    let (mut back, mut is_reset, mut chosen) = (Search::default().address(), false, Vec::new());
    let mut places = std::collections::HashMap::new();
    for (name, value) in form_urlencoded::parse(body.as_bytes()) {
        match &*name {
            "column" => chosen.extend(Column::all().map(Column::key).find(|key| *key == value)),
            "back" => back = Search::parse(value.split_once('?').map_or("", |(_, query)| query)).address(),
            "do" => is_reset = value == "reset",
            // Which one a column is to be. They come in the order in which they stand now.
            name => {
                let key = name.strip_prefix("place-").filter(|_| places.len() < 100);
                let was = places.len() + 1;
                places.extend(key.map(|key| (key.to_owned(), columns::place(value.trim(), was))));
            }
        }
    }
    let mut keys: Vec<&str> = chosen;
    // One without a place stays behind.
    keys.sort_by_key(|key| places.get(*key).copied().unwrap_or(usize::MAX));
    let age = if is_reset || keys.is_empty() { 0 } else { 365 * 24 * 60 * 60 };
    let field =
        format!("{COLUMNS}={}; Path=/recordings; Max-Age={age}; HttpOnly; SameSite=Strict", keys.join("."));
    let field = HeaderValue::try_from(field).map_err(|_| Refusal::WrongQuery)?;
    let mut response = Redirect::to(&back).into_response();
    response.headers_mut().insert(header::SET_COOKIE, field);
    Ok(response)
}

/// What is done with several recordings at once.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Selected {
    pub(super) what: String,
    pub(super) ids: Vec<RecordingId>,
    pub(super) calls: Vec<String>,
}

impl Selected {
    /// Reads a form; what is no name is passed over.
    pub(super) fn parse(body: &str) -> Selected {
        let mut selected = Selected { what: String::new(), ids: Vec::new(), calls: Vec::new() };
        for (name, value) in form_urlencoded::parse(body.as_bytes()) {
            match &*name {
                "do" => selected.what = value.into_owned(),
                "id" => selected.ids.extend(value.parse::<RecordingId>()),
                "call" => selected.calls.push(value.into_owned()),
                _ => {}
            }
        }
        selected
    }
}

impl App {
    /// The names of the recordings that a search means, for whoever may do this with them; at most `limit`.
    pub(super) async fn meant(
        &self,
        asker: &Asker,
        search: &Search,
        limit: usize,
    ) -> Result<Vec<RecordingId>, Refusal> {
        let mut query = self.query(asker, search).map_err(|_| Refusal::WrongQuery)?;
        leave_running_out(&mut query);
        query.limit = Some(limit);
        let id = search.id.clone();
        self.read(move |archive| {
            if let Some(row) = named(archive, &id, &query)? {
                return Ok(vec![row.facts.id]);
            }
            Ok(archive.find(&query).collect::<Result<_, _>>()?)
        })
        .await
    }
}
