//! `/api/v1/recordings`: what the pages of recordings do, for programs. A token has the rights of the account that it names: its role's
//! permissions, scope and filters decide, as they do for people, and the audit trail has the account's name.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use policy::{CustomField, Permission};
use serde::Deserialize;
use serde_json::{Value, json};
use store::{Archive, Event, NOTE_TEXT_MAX, RecordingId, Row, STARS_MAX, What};

use super::{Problem, Right, read};
use crate::server::App;
use crate::server::caller::{Asker, PROGRAM};
use crate::server::guard::From;
use crate::server::recordings::search::{Search, cursor, leave_running_out};
use crate::server::refusal::Refusal;
use crate::server::save::{As, send};
use crate::server::session::Who;
use crate::words;

/// Recordings in one answer, unless fewer are asked for.
const LIMIT: usize = 200;
/// Bytes of a tag, and of a field's value.
const TEXT_MAX: usize = 200;

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/recordings", get(list))
        .route("/recordings/{id}", get(one))
        .route("/recordings/{id}/file", get(file))
        .route("/recordings/{id}/tags/{tag}", put(tag).delete(untag))
        .route("/recordings/{id}/fields/{field}", put(field))
        .route("/recordings/{id}/rating", put(rate))
        .route("/recordings/{id}/notes", post(note))
}

impl App {
    /// As whom a program asks for recordings.
    fn program(&self, headers: &HeaderMap, from: From) -> Result<Asker, Problem> {
        let token = self.token(headers, Right::Recordings)?;
        let account = token.account().ok_or(Problem::NoAccount)?;
        let caller = self.archive().caller(account, self.now());
        let caller = caller.filter(|caller| caller.may(Permission::WebAccess)).ok_or(Problem::NoAccount)?;
        let cookie = Arc::from(format!("{PROGRAM}{}", token.name()));
        Ok(Asker { caller, who: Who::Account(account.to_owned()), cookie, peer: from.0, first: None })
    }

    async fn with_row<T: Send + 'static>(
        &self,
        asker: Asker,
        id: Result<Path<RecordingId>, PathRejection>,
        permission: Option<Permission>,
        work: impl FnOnce(&Archive, Row) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Problem> {
        let Path(id) = id.map_err(|_| Problem::NoSuchRecording)?;
        let done = self.read(move |archive| {
            let row = match permission {
                Some(permission) => asker.permitted(archive, id, permission)?,
                None => asker.row(archive, id)?,
            };
            work(archive, row)
        });
        Ok(done.await?)
    }

    /// Puts an event on a recording, as the account.
    async fn put(
        &self,
        asker: Asker,
        id: Result<Path<RecordingId>, PathRejection>,
        what: impl FnOnce(RecordingId) -> What + Send + 'static,
    ) -> Result<StatusCode, Problem> {
        let (at, who) = (self.now(), asker.caller.name().to_owned());
        self.with_row(asker, id, Some(Permission::ModifyDetails), move |archive, row| {
            archive.edit(Event { at, who, what: what(row.facts.id) })?;
            // Whoever asks for it next gets it as it is now.
            Ok(archive.sync()?)
        })
        .await?;
        Ok(StatusCode::NO_CONTENT)
    }
}

/// `GET /recordings`: the search of the page's address, and `limit`. `next` is the address of what comes behind.
async fn list(
    State(app): State<App>,
    from: From,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let asker = app.program(&headers, from)?;
    let written = query.unwrap_or_default();
    let search = Search::parse(&written);
    let limit = form_urlencoded::parse(written.as_bytes()).find(|(name, _)| name == "limit");
    let limit = match limit {
        Some((_, limit)) => limit
            .parse()
            .ok()
            .filter(|n| (1..=LIMIT).contains(n))
            .ok_or_else(|| Problem::Wrong(format!("limit: 1 to {LIMIT}")))?,
        None => LIMIT,
    };
    let wrong = |wrong: crate::server::recordings::search::Wrong| {
        Problem::Wrong(format!("{}: {}", wrong.name, wrong.why))
    };
    let mut query = search.query(&asker.caller, app.now(), app.zone()).map_err(wrong)?;
    if !search.live && search.id.is_empty() {
        leave_running_out(&mut query);
    }
    let after =
        search.before.as_deref().filter(|_| search.order.is_some()).map(cursor).transpose().map_err(wrong)?;
    if let (Some(before), None) = (&search.before, search.order) {
        query.before =
            Some(before.parse().map_err(|_| Problem::Wrong("before: no place in a list".to_owned()))?);
    }
    let order = search.order;
    let (rows, next) = app
        .read(move |archive| match order {
            Some(order) => {
                let (rows, next) = archive.sorted(&query, order, after.as_ref(), limit)?;
                Ok((rows, next.map(|next| next.to_string())))
            }
            None => {
                query.limit = Some(limit + 1);
                let mut rows: Vec<Row> = archive.search(&query).collect::<Result<_, _>>()?;
                let is_more = rows.len() > limit;
                rows.truncate(limit);
                let next = rows.last().filter(|_| is_more).map(|row| row.facts.id.to_string());
                Ok((rows, next))
            }
        })
        .await?;
    let next = next.map(|next| {
        let address = search.behind(next);
        let limited = if limit == LIMIT { String::new() } else { format!("&limit={limit}") };
        format!("/api/v1{address}{limited}")
    });
    Ok(Json(json!({ "recordings": rows, "next": next })))
}

/// `GET /recordings/{id}`.
async fn one(
    State(app): State<App>,
    from: From,
    headers: HeaderMap,
    id: Result<Path<RecordingId>, PathRejection>,
) -> Result<Json<Row>, Problem> {
    let asker = app.program(&headers, from)?;
    app.with_row(asker, id, None, |_, row| Ok(row)).await.map(Json)
}

/// `GET /recordings/{id}/file?as=FORMAT`.
async fn file(
    State(app): State<App>,
    from: From,
    headers: HeaderMap,
    id: Result<Path<RecordingId>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let asker = app.program(&headers, from)?;
    let kind = As::of(&query.unwrap_or_default())
        .ok_or_else(|| Problem::Wrong("as: zip, wav, flac, ogg, gsm or vcon".to_owned()))?;
    let row = app.with_row(asker.clone(), id, Some(Permission::Save), |_, row| Ok(row)).await?;
    let id = row.facts.id;
    Ok(send(&app, &asker, vec![id], kind, &id.to_string()).await?.into_response())
}

/// `PUT /recordings/{id}/tags/{tag}`.
async fn tag(
    State(app): State<App>,
    from: From,
    headers: HeaderMap,
    Path((id, tag)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let asker = app.program(&headers, from)?;
    let tag = short("tag", &tag)?;
    app.put(asker, named(&id)?, |id| What::Tagged { id, tag }).await
}

/// `DELETE /recordings/{id}/tags/{tag}`.
async fn untag(
    State(app): State<App>,
    from: From,
    headers: HeaderMap,
    Path((id, tag)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let asker = app.program(&headers, from)?;
    let tag = short("tag", &tag)?;
    app.put(asker, named(&id)?, |id| What::Untagged { id, tag }).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldValue {
    value: String,
}

/// `PUT /recordings/{id}/fields/{field}`: one of the five, by `tag1` to `tag5` or its name.
async fn field(
    State(app): State<App>,
    from: From,
    headers: HeaderMap,
    Path((id, name)): Path<(String, String)>,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    let asker = app.program(&headers, from)?;
    let by_key = || CustomField::ALL.into_iter().find(|field| store::Field::from(*field).name() == name);
    let field = words::field_named(&name).or_else(by_key).ok_or(Problem::NoSuchPlace)?;
    let FieldValue { value } = read(&body)?;
    if value.len() > TEXT_MAX {
        return Err(Problem::Wrong(format!("value: at most {TEXT_MAX} bytes")));
    }
    app.put(asker, named(&id)?, move |id| What::FieldSet { id, field, value, before: String::new() }).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stars {
    stars: u8,
}

/// `PUT /recordings/{id}/rating`; 0 takes it back.
async fn rate(
    State(app): State<App>,
    from: From,
    headers: HeaderMap,
    id: Result<Path<RecordingId>, PathRejection>,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    let asker = app.program(&headers, from)?;
    let Stars { stars } = read(&body)?;
    if stars > STARS_MAX {
        return Err(Problem::Wrong(format!("stars: 0 to {STARS_MAX}")));
    }
    app.put(asker, id, move |id| What::Rated { id, stars, before: 0 }).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewNote {
    text: String,
    #[serde(default)]
    at_ms: Option<u64>,
}

/// `POST /recordings/{id}/notes`.
async fn note(
    State(app): State<App>,
    from: From,
    headers: HeaderMap,
    id: Result<Path<RecordingId>, PathRejection>,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    let asker = app.program(&headers, from)?;
    let NewNote { text, at_ms } = read(&body)?;
    if text.trim().is_empty() || text.len() > NOTE_TEXT_MAX {
        return Err(Problem::Wrong(format!("text: 1 to {NOTE_TEXT_MAX} bytes")));
    }
    app.put(asker, id, move |id| What::Noted { id, text, at_ms }).await
}

/// The name of a recording in an address with more than that.
fn named(id: &str) -> Result<Result<Path<RecordingId>, PathRejection>, Problem> {
    id.parse().map(|id| Ok(Path(id))).map_err(|_| Problem::NoSuchRecording)
}

fn short(what: &str, text: &str) -> Result<String, Problem> {
    let is_right = !text.is_empty()
        && text.len() <= TEXT_MAX
        && !text.contains(',')
        && !text.chars().any(char::is_control);
    if is_right {
        Ok(text.to_owned())
    } else {
        Err(Problem::Wrong(format!("{what}: 1 to {TEXT_MAX} bytes, without commas")))
    }
}
