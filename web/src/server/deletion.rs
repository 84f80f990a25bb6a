//! `POST /recordings/{id}/delete`: a recording is destroyed by hand, key first, by somebody who typed its number and said why.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use policy::Permission;
use store::{AccessEvent, Deletion, RecordingId};

use super::App;
use super::caller::Asker;
use super::form::Form;
use super::holds::{WHY_MAX, word_of};
use super::refusal::Refusal;

/// What stands where a rule of retention would.
const BY_HAND: &str = "by hand";

/// See the module's text.
pub(super) async fn delete(
    State(app): State<App>,
    asker: Asker,
    id: Result<Path<RecordingId>, PathRejection>,
    form: Form,
) -> Result<Response, Refusal> {
    let Path(id) = id.map_err(|_| Refusal::NoPage)?;
    let who = asker.clone();
    let row = app.read(move |archive| who.permitted(archive, id, Permission::Delete)).await?;
    let word = word_of(id);
    if form.text("confirm").to_lowercase() != word.to_lowercase() {
        return Err(Refusal::Wrong(format!("Type {word} to delete the recording. Nothing was deleted.")));
    }
    let keep_facts = form.text("keep") == "facts" && row.deleted.is_none();
    app.delete_by_hand(&asker, id, form.text("why").to_owned(), keep_facts).await?;
    let to = if keep_facts { format!("/recordings/{id}") } else { "/recordings".to_owned() };
    Ok(Redirect::to(&to).into_response())
}

impl App {
    /// Destroys a recording, for a reason that is kept; the trail has it before.
    pub(super) async fn delete_by_hand(
        &self,
        asker: &Asker,
        id: RecordingId,
        why: String,
        keep_facts: bool,
    ) -> Result<(), Refusal> {
        let who = asker.clone();
        let row = self.read(move |archive| who.permitted(archive, id, Permission::Delete)).await?;
        if why.is_empty() || why.len() > WHY_MAX {
            return Err(Refusal::Wrong(format!("Say why, in at most {WHY_MAX} bytes. Nothing was deleted.")));
        }
        // Told before anything is written down; the archive asks it once more.
        let stands_against = if let Some(hold) = row.legal_holds.first() {
            Some(format!("It is under the hold {}: release that first.", hold.hold))
        } else if row.facts.state == store::State::Recording {
            Some("It is being recorded.".to_owned())
        } else if keep_facts && row.deleted.is_some() {
            Some("Its audio is gone already, and what is known of it is all that is left.".to_owned())
        } else {
            None
        };
        if let Some(why) = stands_against {
            return Err(Refusal::Guarded(format!("{why} Nothing was deleted.")));
        }
        self.note(asker, AccessEvent::Deleted { id }).await?;
        let (at, who) = (self.now(), asker.caller.name().to_owned());
        let deletion = Deletion { at, who, rule: BY_HAND.to_owned(), why };
        self.read(move |archive| Ok(archive.delete(id, deletion, keep_facts)?)).await
    }
}
