//! `/rules/try`: what the rules in force say of one call, step by step.

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use policy::{Direction, Permission};
use store::Source;

use super::InForce;
use super::draft::{direction, word};
use super::rights::may_all;
use crate::rules::{Answer, Question};
use crate::server::App;
use crate::server::caller::Asker;
use crate::server::form::Form;
use crate::server::frame::{Frame, Page, page_with};
use crate::server::refusal::Refusal;

/// The answer names devices, inclusions and exclusions.
pub(in crate::server) const OF_ASKING: [Permission; 3] =
    [Permission::PhoneSystems, Permission::Exclusions, Permission::Inclusions];

pub(super) fn may(asker: &Asker) -> bool {
    may_all(asker, &OF_ASKING)
}

struct Step {
    rule: String,
    fact: String,
    answer: String,
}

#[derive(askama::Template)]
#[template(path = "rules_try.html")]
struct Shown {
    frame: Frame,
    extension: String,
    other: String,
    ddi: String,
    at: String,
    directions: Vec<(&'static str, bool)>,
    is_by_pbx: bool,
    wrong: String,
    answer: Option<(bool, String, Vec<Step>)>,
}

/// `GET /rules/try`.
pub(in crate::server) async fn ask(
    State(app): State<App>,
    asker: Asker,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let rules = app.rules()?.clone();
    if !may(&asker) {
        return Err(Refusal::NoPage);
    }
    let form = Form::parse(&query.unwrap_or_default());
    let text = |name: &str| form.text(name).to_owned();
    let way = if form.text("direction").is_empty() {
        Direction::Outbound
    } else {
        direction(form.text("direction"))
    };
    let at = match form.text("at") {
        "" => Some(app.now()),
        written => app.zone().read_local(written),
    };
    let source = word::<Source>("source", form.text("source")).ok().flatten().unwrap_or(Source::Mirror);
    let (mut wrong, mut answer) = (String::new(), None);
    match at {
        None => wrong = format!("{:?} is no time: write it as 2026-11-30 09:00.", form.text("at")),
        Some(at) if !form.text("extension").is_empty() => {
            let (extension, other, ddi) = (text("extension"), text("other"), text("ddi"));
            let question = Question { extension, other, direction: way, ddi, source, at };
            let told = app
                .read(move |archive| {
                    let in_force = InForce::of(archive, &*rules)?;
                    Ok(rules.ask(&in_force.text, &question)?)
                })
                .await?;
            answer = Some(shown(told));
        }
        Some(_) => {}
    }
    let status = if wrong.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let directions = [Direction::Outbound, Direction::Inbound, Direction::Internal];
    page_with(
        status,
        &Shown {
            frame: app.frame(&asker, Page::At("/rules"), "Try a call"),
            extension: text("extension"),
            other: text("other"),
            ddi: text("ddi"),
            at: text("at"),
            directions: directions.iter().map(|each| (each.key(), *each == way)).collect(),
            is_by_pbx: source == Source::RecordACall,
            wrong,
            answer,
        },
    )
}

fn shown(answer: Answer) -> (bool, String, Vec<Step>) {
    let steps = answer.steps.into_iter().map(|(rule, fact, answer)| Step { rule, fact, answer });
    (answer.is_recorded, answer.verdict, steps.collect())
}
