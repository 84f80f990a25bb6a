//! The rule book: read, checked, tried on past calls, put in force, asked. Who may have all of it may have it here, as on the page of its
//! text; what a text means is the recorder's business.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use policy::{Direction, Outcome, Permission};
use serde::Deserialize;
use serde_json::{Value, json};
use store::{Archive, BOOK_LEN_MAX, BOOK_WHY_MAX, BookChange, BookVersion, Source};

use super::operation::{Needs, Operation};
use super::paging::{address, before, cut, limit};
use super::problem::{Kind, Problem};
use super::schema::{
    count, list, maybe_moment, maybe_text, moment, object, of, one_of, open, short, text, up_to, yes,
};
use super::{moment as moment_of, read};
use crate::rules::{Difference, Question, RuleBook, RulesError, SeenExtensions, Trial, TriedCall};
use crate::server::App;
use crate::server::caller::Asker;
use crate::server::form::Form;
use crate::server::refusal::Refusal;
use crate::server::rules::{InForce, OF_ASKING, OF_BOOK, compared, since, text_of_version, words_of};
use crate::server::token::Right;

/// Versions in one answer, unless fewer are asked for.
const LIMIT: usize = 200;
/// Bytes of a body with a book: its text is escaped in it.
const BODY_MAX: usize = 1024 * 1024;
/// Characters of a number that is asked about.
const NUMBER_MAX: usize = 100;
const VERSIONS: &str = "/rules/versions";

/// An operation on all of the book.
fn whole(operation: Operation) -> Operation {
    operation.right(Right::Rules).needs(Needs::All(&OF_BOOK))
}

pub(super) fn operations() -> Vec<Operation> {
    let text_of_book = || short("The whole text", 0, BOOK_LEN_MAX);
    let given = |what: (&str, Value)| {
        object([
            what,
            ("from", count("The version that it was made from; 0 without a book")),
            ("why", short("Why: it is kept with the version", 1, BOOK_WHY_MAX)),
        ])
    };
    let ways = [Direction::Outbound, Direction::Inbound, Direction::Internal].map(Direction::key);
    let sources = [Source::Mirror, Source::RecordACall].map(Source::key);
    vec![
        whole(Operation::get(["getRuleBook", "/rules", "The rule book in force"], book)).gives(of("RuleBook")),
        whole(Operation::put(["putRuleBook", "/rules", "Puts another text in force, or an older version's"], put))
            .takes(json!({ "anyOf": [
                given(("text", text_of_book())),
                given(("restores", from_one("The version whose text comes back"))),
            ] }))
            .up_to(BODY_MAX)
            .or(&[Kind::Refused])
            .gives(of("RulesVersion")),
        whole(Operation::post(["checkRules", "/rules/check", "Whether a text could be in force"], check))
            .takes(object([("text", text_of_book())]))
            .up_to(BODY_MAX)
            .gives(object([
                ("text", maybe_text("In the one form in which it is kept; null where it is wrong")),
                ("wrong", json!({ "anyOf": [of("WrongRules"), { "type": "null" }] })),
            ])),
        whole(Operation::post(
            ["tryRules", "/rules/try", "What a text would change, and would have meant for past calls"],
            try_on,
        ))
        .takes(object([
            ("text", text_of_book()),
            ("since?", moment("Calls that began then or later; of the last 7 days unless it is said")),
            ("until?", moment("Calls that began before")),
        ]))
        .up_to(BODY_MAX)
        .or(&[Kind::Refused])
        .gives(of("Trial")),
        Operation::post(["askRules", "/rules/ask", "What the rules in force say of one call, step by step"], ask)
            .right(Right::Rules)
            .needs(Needs::All(&OF_ASKING))
            .takes(object([
                ("extension", short("The recorded device's number", 1, NUMBER_MAX)),
                ("other?", short("The other side's, as it would be signalled", 0, NUMBER_MAX)),
                ("direction?", one_of("Which way it goes; outbound unless it is said", ways)),
                ("ddi?", short("The number that was dialled from outside", 0, NUMBER_MAX)),
                ("source?", one_of("How its audio comes; mirror unless it is said", sources)),
                ("at?", moment("When it begins; now unless it is said")),
            ]))
            .gives(object([
                ("recorded", yes("It is recorded, as far as its mode goes")),
                ("verdict", text("What is decided, in words")),
                ("steps", list(object([
                    ("rule", text("What was asked")),
                    ("fact", text("Of what")),
                    ("answer", text("What came of it")),
                ]))),
            ])),
        Operation::get(["listPortPresets", "/rules/presets", "Ports of well-known telephone systems"], presets)
            .right(Right::Rules)
            .needs(Needs::Permission(Permission::PhoneSystems))
            .gives(object([("presets", list(open([
                ("name", text("Its short name")),
                ("of", text("Of what it is")),
                ("ranges", list(text("Ports"))),
            ])))])),
        Operation::get(
            ["listExtensions", "/rules/extensions", "The extensions that calls have shown, and whether they are listed"],
            extensions,
        )
        .right(Right::Rules)
        .needs(Needs::Permission(Permission::PhoneSystems))
        .query("since", text("Of calls that began then or later; of the last 7 days unless it is said"))
        .gives(object([
            ("extensions", list(open([
                ("extension", text("Its number")),
                ("calls", maybe_count("Calls with audio that it took part in; null for who may not see all calls, as the next two")),
                ("recorded", maybe_count("Of these, recorded ones")),
                ("last", maybe_moment("When the last of them began")),
                ("ip", list(text("Where its phone was seen"))),
                ("mac", list(text("Its Ethernet address, where no router stood between"))),
                ("entry", maybe_text("The entry of recorded devices that names it")),
                ("listed", yes("It is recorded as the list stands, whatever other rules say")),
            ]))),
            ("left_out", count("Parts of calls by extensions that were too many to be told")),
        ])),
        whole(Operation::get(["listRuleVersions", VERSIONS, "Who changed the rule book when and why"], versions))
            .query("limit", up_to("Versions in one answer", 1, LIMIT as u64))
            .query("before", text("Where the page begins, as `next` has it"))
            .gives(object([
                ("versions", list(of("RulesVersion"))),
                ("next", maybe_text("The address of what comes behind; null at the end")),
            ])),
        whole(Operation::get(
            ["getRuleVersion", "/rules/versions/{version}", "A version, and what it differs in from another"],
            version,
        ))
        .path("version", from_one("Its number"))
        .query("with", count("The version that it is compared with; the one before unless it is said, 0 is nothing at all"))
        .gives(open([
            ("version", of("RulesVersion")),
            ("text", text("The whole text")),
            ("with", count("The version that it is compared with")),
            ("differences", json!({ "type": ["array", "null"], "items": of("Difference"), "description": "null where one of the two cannot be read" })),
        ])),
    ]
}

fn from_one(about: &str) -> Value {
    json!({ "type": "integer", "minimum": 1, "description": about })
}

fn maybe_count(about: &str) -> Value {
    json!({ "type": ["integer", "null"], "minimum": 0, "description": about })
}

pub(super) fn shapes() -> Vec<(&'static str, Value)> {
    let outcome = |about| one_of(about, Outcome::ALL.map(Outcome::key));
    vec![
        (
            "RuleBook",
            open([
                ("version", count("Its number; 0 without a book: the configuration decides then")),
                ("text", text("The whole text")),
                ("who", maybe_text("Who put it in force")),
                ("why", maybe_text("Why")),
                ("at", maybe_moment("When")),
                ("restores", maybe_count("The version whose text it brings back")),
            ]),
        ),
        (
            "RulesVersion",
            open([
                ("version", count("Its number, from 1")),
                ("who", text("Who put it in force")),
                ("why", text("Why")),
                ("at", moment("When")),
                ("restores", maybe_count("The version whose text it brings back")),
                ("sha256", text("Of its text, in hexadecimal")),
            ]),
        ),
        (
            "WrongRules",
            open([
                ("line", maybe_count("The line, from 1; null where no place is to blame")),
                ("column", maybe_count("The column, from 1")),
                ("what", text("What is wrong")),
            ]),
        ),
        (
            "Difference",
            open([
                ("section", text("Of the book, as `record.device`")),
                ("keys", list(text("A key that differs"))),
                ("line", text("In words, after `+`, `-` or `~`")),
            ]),
        ),
        (
            "Trial",
            open([
                ("text", text("In the one form in which it would be kept")),
                ("version", count("The version in force that it was compared with")),
                ("differences", list(of("Difference"))),
                ("calls", count("Calls in the range")),
                ("not_judged", count("Of these, calls that no rule was asked about")),
                (
                    "not_known",
                    list(open([
                        ("what", text("What cannot be told of calls")),
                        ("count", count("Of how many, with another outcome or not")),
                    ])),
                ),
                ("changed", count("Calls with another outcome")),
                (
                    "turns",
                    list(open([
                        ("was", outcome("What it was")),
                        ("would", outcome("What it would be")),
                        ("count", count("How many")),
                    ])),
                ),
                ("list", list(of("TriedCall"))),
                ("more", count("Calls with another outcome that are not listed")),
                ("due_then", count("What retention would have due that is kept now")),
                ("kept_then", count("What is due now and would be kept")),
                ("due_otherwise", count("What is due under both, and differs in how much goes")),
            ]),
        ),
        (
            "TriedCall",
            open([
                ("call", text("The call")),
                ("started", moment("When it began")),
                ("from", text("Who called")),
                ("to", text("Who was called")),
                ("was", outcome("What became of it")),
                ("was_reason", text("Why")),
                ("would", outcome("What would have become of it")),
                ("would_reason", text("Why")),
                ("by_channels", yes("The number of channels alone makes the difference, which is simulated")),
                ("not_known", list(text("What cannot be told of it: by the rest it would be so"))),
                ("recordings", list(text("A recording of it"))),
            ]),
        ),
    ]
}

impl From<RulesError> for Problem {
    fn from(error: RulesError) -> Problem {
        match error {
            RulesError::Wrong(wrong) => Problem::Wrong(words_of(&wrong)),
            RulesError::Store(store::Error::Refused { what }) => Problem::Refused(what),
            error => Refusal::from(error).into(),
        }
    }
}

/// Where nobody knows what rules mean, and of what there is not, nothing is at the address.
pub(super) fn nowhere(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::NoPage => Problem::Nothing(Kind::NoSuchPlace),
        refusal => refusal.into(),
    }
}

impl App {
    /// Works with the rules, on a thread that may wait.
    pub(super) async fn with_rules<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Archive, &dyn RuleBook) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let rules = Arc::clone(self.rules().map_err(nowhere)?);
        self.read(move |archive| Ok(work(archive, &*rules))).await?
    }
}

pub(super) fn told(version: &BookVersion) -> Value {
    let BookVersion { version, at, who, why, restores, sha256, .. } = version;
    json!({ "version": version, "at": at, "who": who, "why": why, "restores": restores, "sha256": sha256 })
}

fn told_difference(difference: &Difference) -> Value {
    let Difference { section, keys, line } = difference;
    json!({ "section": section, "keys": keys, "line": line })
}

/// `GET /rules`.
async fn book(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let InForce { version, text, book } =
        app.with_rules(|archive, rules| Ok(InForce::of(archive, rules)?)).await?;
    let book = book.as_ref();
    Ok(Json(json!({
        "version": version, "text": text, "who": book.map(|book| &book.who), "why": book.map(|book| &book.why),
        "at": book.map(|book| book.at), "restores": book.and_then(|book| book.restores),
    })))
}

#[derive(Deserialize)]
struct Text {
    text: String,
}

/// `POST /rules/check`.
async fn check(State(app): State<App>, body: Bytes) -> Result<Json<Value>, Problem> {
    let Text { text } = read(&body)?;
    let checked = app.with_rules(move |_, rules| Ok(rules.check(&text))).await?;
    Ok(Json(match checked {
        Ok(text) => json!({ "text": text, "wrong": null }),
        Err(RulesError::Wrong(wrong)) => {
            let (line, column) = wrong.place.unzip();
            json!({ "text": null, "wrong": { "line": line, "column": column, "what": wrong.what } })
        }
        Err(error) => return Err(error.into()),
    }))
}

#[derive(Deserialize)]
struct Tried {
    text: String,
    #[serde(default)]
    since: String,
    #[serde(default)]
    until: String,
}

/// `POST /rules/try`.
async fn try_on(State(app): State<App>, asker: Asker, body: Bytes) -> Result<Json<Value>, Problem> {
    let Tried { text, since: begin, until } = read(&body)?;
    let begin = moment_of(&app, "since", &begin)?.unwrap_or_else(|| since(app.now()));
    let until = moment_of(&app, "until", &until)?;
    app.with_rules(move |archive, rules| {
        let in_force = InForce::of(archive, rules)?;
        let text = rules.check(&text)?;
        // A book that cannot be read any more can be replaced all the same.
        let differences = match rules.compare(&in_force.text, &text) {
            Err(RulesError::Wrong(_)) => rules.compare("", &text)?,
            compared => compared?,
        };
        if !asker.sees_all_calls() {
            // Its figures tell of calls, whoever they are of.
            let why = "what it would have made of past calls is for who may see all calls";
            return Err(Problem::Refused(why.to_owned()));
        }
        let trial = rules.try_on(archive, &text, begin, until)?;
        Ok(Json(told_trial(&text, in_force.version, &differences, &trial)))
    })
    .await
}

fn told_trial(text: &str, version: u64, differences: &[Difference], trial: &Trial) -> Value {
    let list: Vec<Value> = trial.list.iter().map(told_call).collect();
    let turn = |(was, would, count): &(Outcome, Outcome, u64)| json!({ "was": was.key(), "would": would.key(), "count": count });
    json!({
        "text": text, "version": version, "differences": differences.iter().map(told_difference).collect::<Vec<_>>(),
        "calls": trial.calls, "not_judged": trial.not_judged, "changed": trial.changed(),
        "not_known": trial.not_known.iter().map(|(what, count)| json!({ "what": what, "count": count })).collect::<Vec<_>>(),
        "turns": trial.turns.iter().map(turn).collect::<Vec<_>>(),
        "more": trial.changed().saturating_sub(list.len() as u64), "list": list,
        "due_then": trial.due_then, "kept_then": trial.kept_then, "due_otherwise": trial.due_otherwise,
    })
}

fn told_call(call: &TriedCall) -> Value {
    json!({
        "call": call.call, "started": call.started, "from": call.from, "to": call.to, "was": call.was.key(),
        "was_reason": call.was_reason, "would": call.would.key(), "would_reason": call.would_reason,
        "by_channels": call.by_channels, "not_known": call.not_known, "recordings": call.recordings,
    })
}

#[derive(Deserialize)]
struct Given {
    /// Else the text of the version that comes back.
    text: Option<String>,
    restores: Option<u64>,
    from: u64,
    why: String,
}

/// `PUT /rules`: refused when another version is in force meanwhile.
async fn put(State(app): State<App>, asker: Asker, body: Bytes) -> Result<Json<Value>, Problem> {
    let Given { text, restores, from, why } = read(&body)?;
    let why = reason(&why)?;
    let (at, who) = (app.now(), asker.caller.name().to_owned());
    app.with_rules(move |archive, rules| {
        let in_force = archive.book_version()?;
        if in_force != from {
            return Err(Problem::Refused(format!(
                "it was made from version {from}, and version {in_force} is in force: nothing was changed"
            )));
        }
        let text = match (text, restores) {
            (Some(text), _) => text,
            (None, Some(version)) => text_of_version(archive, version)?,
            (None, None) => return Err(Problem::Wrong("the body: text is missing".to_owned())),
        };
        let text = rules.check(&text)?;
        // The archive looks once more which version is in force.
        let new = rules.put(archive, BookChange { from, at, who, why, restores, text })?;
        Ok(Json(told(&new)))
    })
    .await
}

/// Why the book changes: it is kept with the version.
pub(super) fn reason(why: &str) -> Result<String, Problem> {
    let why = why.trim();
    if why.is_empty() || why.len() > BOOK_WHY_MAX {
        return Err(Problem::Wrong(format!("why: 1 to {BOOK_WHY_MAX} bytes")));
    }
    Ok(why.to_owned())
}

/// `GET /rules/extensions`.
async fn extensions(
    State(app): State<App>,
    asker: Asker,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let form = Form::parse(&query.unwrap_or_default());
    let since = moment_of(&app, "since", form.text("since"))?;
    let since = since.unwrap_or_else(|| app.now().plus_millis(-7 * 86_400_000));
    let SeenExtensions { list, left_out } = app.seen_extensions(since).await.map_err(nowhere)?;
    let has_figures = asker.sees_all_calls();
    let figure = |count: u64| has_figures.then_some(count);
    let told = list.iter().map(|seen| {
        json!({
            "extension": seen.extension, "calls": figure(seen.calls), "recorded": figure(seen.recorded),
            "last": seen.last.filter(|_| has_figures), "ip": seen.ip, "mac": seen.mac, "entry": seen.entry,
            "listed": seen.listed,
        })
    });
    Ok(Json(json!({ "extensions": told.collect::<Vec<_>>(), "left_out": left_out })))
}

/// `GET /rules/versions`.
async fn versions(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Json<Value>, Problem> {
    let form = Form::parse(&query.unwrap_or_default());
    let (limit, before) = (limit(&form, LIMIT), before::<u64>(&form)?.unwrap_or(u64::MAX));
    let all = app.with_rules(|archive, _| Ok(archive.book_versions()?)).await?;
    let older = all.iter().rev().filter(|version| version.version < before);
    let mut found: Vec<&BookVersion> = older.take(limit + 1).collect();
    let is_more = cut(&mut found, limit);
    let next =
        found.last().filter(|_| is_more).map(|last| address(VERSIONS, &form, &last.version.to_string()));
    Ok(Json(json!({ "versions": found.into_iter().map(told).collect::<Vec<_>>(), "next": next })))
}

/// `GET /rules/versions/{version}`.
async fn version(
    State(app): State<App>,
    Path(number): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let missing = || Problem::Nothing(Kind::NoSuchPlace);
    let number: u64 = number.parse().map_err(|_| missing())?;
    let form = Form::parse(&query.unwrap_or_default());
    let with = form.text("with").parse().unwrap_or(number.saturating_sub(1));
    app.with_rules(move |archive, rules| {
        let (all, compared) = compared(archive, rules, number, with).map_err(nowhere)?;
        let differences = match compared {
            Ok(differences) => Some(differences.iter().map(told_difference).collect::<Vec<_>>()),
            Err(RulesError::Wrong(_)) => None,
            Err(error) => return Err(error.into()),
        };
        let shown = all.iter().find(|version| version.version == number).ok_or_else(missing)?;
        Ok(Json(
            json!({ "version": told(shown), "text": shown.text, "with": with, "differences": differences }),
        ))
    })
    .await
}

#[derive(Deserialize)]
struct Asked {
    extension: String,
    #[serde(default)]
    other: String,
    direction: Option<Direction>,
    #[serde(default)]
    ddi: String,
    source: Option<Source>,
    #[serde(default)]
    at: String,
}

/// `POST /rules/ask`.
async fn ask(State(app): State<App>, body: Bytes) -> Result<Json<Value>, Problem> {
    let Asked { extension, other, direction, ddi, source, at } = read(&body)?;
    let at = moment_of(&app, "at", &at)?.unwrap_or_else(|| app.now());
    let (direction, source) = (direction.unwrap_or(Direction::Outbound), source.unwrap_or(Source::Mirror));
    let question = Question { extension, other, direction, ddi, source, at };
    let answer = app
        .with_rules(move |archive, rules| {
            let in_force = InForce::of(archive, rules)?;
            Ok(rules.ask(&in_force.text, &question)?)
        })
        .await?;
    let steps = answer.steps.into_iter();
    let steps = steps.map(|(rule, fact, answer)| json!({ "rule": rule, "fact": fact, "answer": answer }));
    Ok(Json(json!({
        "recorded": answer.is_recorded, "verdict": answer.verdict, "steps": steps.collect::<Vec<_>>(),
    })))
}

/// `GET /rules/presets`.
async fn presets(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let presets = app.rules().map_err(nowhere)?.presets().into_iter();
    let presets =
        presets.map(|preset| json!({ "name": preset.name, "of": preset.of, "ranges": preset.ranges }));
    Ok(Json(json!({ "presets": presets.collect::<Vec<_>>() })))
}
