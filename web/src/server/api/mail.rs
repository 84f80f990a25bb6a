//! `/recordings/email`: recordings are sent by mail, as the form of the page does.

use std::collections::BTreeSet;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use policy::Permission;
use serde::Deserialize;
use serde_json::{Value, json};
use store::RecordingId;

use super::operation::{Needs, Operation};
use super::problem::{Kind, Problem};
use super::read;
use super::schema::{list, list_up_to, object, one_of, short, text};
use crate::server::App;
use crate::server::caller::Asker;
use crate::server::mailing::{ADDRESSEES_MAX, How, Mailing, RECORDINGS_MAX, SUBJECT_MAX, Sent, TEXT_MAX};
use crate::server::save::As;
use crate::server::token::Right;

/// Characters of an address.
const ADDRESS_MAX: usize = 254;

pub(super) fn operations() -> Vec<Operation> {
    let words = [
        "emailRecordings",
        "/recordings/email",
        "Sends recordings by mail: as a single-use link, a file, or lasting links",
    ];
    vec![
        Operation::post(words, send)
            .right(Right::Recordings)
            .needs(Needs::Permission(Permission::Email))
            .hides(Kind::NoSuchRecording)
            .takes(object([
                ("ids", list_up_to(text("A recording"), 1, RECORDINGS_MAX)),
                ("to", list_up_to(short("An address", 1, ADDRESS_MAX), 1, ADDRESSEES_MAX)),
                ("subject", short("What it is about, on one line", 1, SUBJECT_MAX)),
                ("text?", short("What the letter says above the facts of the calls", 0, TEXT_MAX)),
                (
                    "how",
                    one_of(
                        "How they are handed over; a link and an attachment take Play recorded calls, too",
                        How::ALL.map(How::key),
                    ),
                ),
                ("as?", one_of("As what; WAV unless it is said, and several always as ZIP", As::WORDS)),
            ]))
            .adds()
            .gives(object([
                ("sent", list(text("An address whose letter the mail server took"))),
                (
                    "not_sent",
                    list(object([("to", text("An address")), ("why", text("Why its letter was not taken"))])),
                ),
            ])),
    ]
}

#[derive(Deserialize)]
struct Asked {
    ids: Vec<String>,
    to: Vec<String>,
    subject: String,
    #[serde(default)]
    text: String,
    how: String,
    #[serde(rename = "as")]
    kind: Option<String>,
}

/// `POST /recordings/email`.
async fn send(State(app): State<App>, asker: Asker, body: Bytes) -> Result<Json<Value>, Problem> {
    let Asked { ids, to, subject, text, how, kind } = read(&body)?;
    // Each once, however often it is named.
    let ids: Result<BTreeSet<RecordingId>, _> = ids.iter().map(|id| id.parse()).collect();
    let mailing = Mailing {
        ids: ids.map_err(|_| Problem::Nothing(Kind::NoSuchRecording))?.into_iter().collect(),
        to,
        subject,
        text,
        // The table has seen to it that they are some of these.
        how: How::named(&how).ok_or_else(|| Problem::Wrong("how: no such way".to_owned()))?,
        kind: kind.as_deref().and_then(As::named),
    };
    let Sent { sent, not_sent } = app.send_mail(&asker, mailing).await?;
    let sent: Vec<String> = sent.iter().map(ToString::to_string).collect();
    let not_sent: Vec<Value> =
        not_sent.iter().map(|(to, why)| json!({ "to": to.as_str(), "why": why })).collect();
    Ok(Json(json!({ "sent": sent, "not_sent": not_sent })))
}
