//! `/rules/values` and `/rules/entry`: forms of what of the rule book is nothing but values: lengths of pauses, the dial plan, codes, windows,
//! rules of retention. What comes of them is reviewed as every other change.

use axum::extract::{RawQuery, State};
use axum::response::Response;

use super::draft::{VALUE, of_entries, of_part};
use super::{Choice, InForce};
use crate::rules::forms::{Entries, Forms, Input, Part, Value};
use crate::server::App;
use crate::server::caller::Asker;
use crate::server::form::Form;
use crate::server::frame::{Frame, Page, page};
use crate::server::refusal::Refusal;

/// A value as its form shows it.
struct Row {
    name: String,
    id: String,
    label: &'static str,
    hint: &'static str,
    /// `text`, `number`, `yes`, `one` or `any`.
    input: &'static str,
    written: String,
    choices: Vec<Choice>,
}

impl Row {
    fn of(value: Value) -> Row {
        let chosen: Vec<&str> = value.words().collect();
        let choices = |words: &[(String, String)]| {
            let choice = |(key, label): &(String, String)| Choice {
                key: key.clone(),
                label: label.clone(),
                is_chosen: chosen.contains(&key.as_str()),
            };
            words.iter().map(choice).collect()
        };
        let (input, choices) = match &value.input {
            Input::Text | Input::Words => ("text", Vec::new()),
            Input::Number => ("number", Vec::new()),
            Input::Yes => ("yes", Vec::new()),
            Input::OneOf(words) => ("one", choices(words)),
            Input::AnyOf(words) => ("any", choices(words)),
        };
        Row {
            name: format!("{VALUE}{}", value.key),
            id: format!("value-{}", value.key),
            label: value.label,
            hint: value.hint,
            input,
            written: value.written,
            choices,
        }
    }
}

#[derive(askama::Template)]
#[template(path = "rules_values.html")]
struct Shown {
    frame: Frame,
    from: u64,
    title: String,
    edit: &'static str,
    of: &'static str,
    /// Of an entry that is there.
    place: Option<usize>,
    was: String,
    rows: Vec<Row>,
    back: &'static str,
}

/// `GET /rules/values?of=`: the values of a section.
pub(in crate::server) async fn values(
    State(app): State<App>,
    asker: Asker,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    app.rules()?;
    let form = Form::parse(&query.unwrap_or_default());
    let part = Part::ALL.into_iter().find(|part| part.key() == form.text("of")).ok_or(Refusal::NoPage)?;
    asker.need(of_part(part))?;
    let (from, mut forms) = app.forms().await?;
    let place = forms.parts.iter().position(|(other, _)| *other == part).ok_or(Refusal::NoPage)?;
    let (_, values) = forms.parts.swap_remove(place);
    page(&Shown {
        frame: app.frame(&asker, Page::At("/rules"), part.title()),
        from,
        title: part.title().to_owned(),
        edit: "set-values",
        of: part.key(),
        place: None,
        was: String::new(),
        rows: values.into_iter().map(Row::of).collect(),
        back: part.key(),
    })
}

/// `GET /rules/entry?of=`: an entry of a list; `&place=` names one that is there.
pub(in crate::server) async fn entry(
    State(app): State<App>,
    asker: Asker,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    app.rules()?;
    let form = Form::parse(&query.unwrap_or_default());
    let which = Entries::ALL.into_iter().find(|which| which.key() == form.text("of"));
    let which = which.ok_or(Refusal::NoPage)?;
    asker.need(of_entries(which))?;
    let (from, forms) = app.forms().await?;
    let place: Option<usize> = match form.text("place") {
        "" => None,
        place => Some(place.parse().map_err(|_| Refusal::NoPage)?),
    };
    let (was, values) = match place {
        Some(place) => {
            let list = forms.entries.into_iter().find(|(other, _)| *other == which);
            let entry = list.and_then(|(_, list)| list.into_iter().nth(place)).ok_or(Refusal::NoPage)?;
            (entry.name, entry.values)
        }
        None => {
            let fresh = forms.fresh.into_iter().find(|(other, _)| *other == which);
            (String::new(), fresh.ok_or(Refusal::NoPage)?.1)
        }
    };
    let title = match place {
        Some(_) => format!("A {}: {was}", which.title()),
        None => format!("New {}", which.title()),
    };
    page(&Shown {
        frame: app.frame(&asker, Page::At("/rules"), title.clone()),
        from,
        title,
        edit: if place.is_some() { "set-entry" } else { "add-entry" },
        of: which.key(),
        place,
        was,
        rows: values.into_iter().map(Row::of).collect(),
        back: match which {
            Entries::Codes | Entries::Windows => Part::Pause.key(),
            Entries::Keeping => Part::Retention.key(),
        },
    })
}

impl App {
    /// The version in force, and what forms show of it.
    async fn forms(&self) -> Result<(u64, Forms), Refusal> {
        let rules = self.rules()?.clone();
        self.read(move |archive| {
            let in_force = InForce::of(archive, &*rules)?;
            Ok((in_force.version, rules.read(&in_force.text)?.forms))
        })
        .await
    }
}
