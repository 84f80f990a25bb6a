//! `/once/{secret}`: single-use links, which fetch what somebody mailed, once and within minutes.
//!
//! A link is 128 random bits. What it means is held in memory, under the SHA-256 of them alone: neither a log nor the ledger nor a dump of this
//! table has what opens it, and none outlives the program. Programs that look into letters ask for each link in them: to ask shows a page and
//! uses nothing up, its button does. What its sender may not do any more at that moment, the link does not do.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use policy::{Caller, Permission};
use sha2::{Digest, Sha256};
use store::{AccessEvent, RecordingId};

use super::App;
use super::caller::{Asker, CONSOLE, LINK};
use super::frame::page_with;
use super::guard::{self, ONCE};
use super::refusal::Refusal;
use super::save::{As, Making};
use super::session::{Secret, Who};

/// How long a link waits to be used.
pub(super) const LASTS: Duration = Duration::from_secs(10 * 60);
/// Links that wait at the same time; who would make one more has to wait.
const LINKS_MAX: usize = 2_000;

/// What a link fetches, and on whose behalf.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) ids: Arc<[RecordingId]>,
    pub(super) kind: As,
    /// Who mailed it: by whose rights it is used.
    pub(super) sender: Who,
    /// To which address it was mailed.
    pub(super) to: String,
}

/// The links that wait.
#[derive(Debug, Default)]
pub(super) struct Links(Mutex<BTreeMap<Name, (Link, Instant)>>);

/// A link without what opens it. Looked up in no constant time: whoever does not know the secret cannot choose its digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name([u8; 32]);

impl Name {
    pub(super) fn of(secret: &str) -> Name {
        Name(Sha256::digest(secret).into())
    }

    /// Tells it from others, in the trail.
    pub(super) fn short(self) -> String {
        self.0.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Links {
    /// A new link; none where too many wait.
    pub(super) fn make(&self, link: Link, now: Instant) -> Option<Secret> {
        let mut links = self.lock(now);
        if links.len() >= LINKS_MAX {
            return None;
        }
        let secret = Secret::new();
        links.insert(Name::of(secret.text()), (link, now + LASTS));
        Some(secret)
    }

    /// What a link would fetch, and how long it still waits. That uses nothing up.
    fn look(&self, secret: &str, now: Instant) -> Option<(Link, Duration)> {
        let links = self.lock(now);
        let (link, until) = links.get(&Name::of(secret))?;
        Some((link.clone(), until.saturating_duration_since(now)))
    }

    /// Uses a link: it is nobody else's from here on.
    fn take(&self, secret: &str, now: Instant) -> Option<Taken<'_>> {
        let name = Name::of(secret);
        let (link, until) = self.lock(now).remove(&name)?;
        Some(Taken { links: self, name, until, link: Some(link) })
    }

    /// Withdraws one whose letter did not leave.
    pub(super) fn withdraw(&self, secret: &Secret) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&Name::of(secret.text()));
    }

    /// Those that still wait.
    fn lock(&self, now: Instant) -> MutexGuard<'_, BTreeMap<Name, (Link, Instant)>> {
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|_, (_, until)| now < *until);
        links
    }
}

/// A link that is being used. It waits again when nothing came of that.
struct Taken<'l> {
    links: &'l Links,
    name: Name,
    until: Instant,
    link: Option<Link>,
}

impl Taken<'_> {
    fn link(&self) -> Option<&Link> {
        self.link.as_ref()
    }

    /// It was used, or is to be used by nobody.
    fn spend(mut self) {
        self.link = None;
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if let Some(link) = self.link.take() {
            let mut links = self.links.0.lock().unwrap_or_else(PoisonError::into_inner);
            links.insert(self.name, (link, self.until));
        }
    }
}

#[derive(askama::Template)]
#[template(path = "once.html")]
struct Once {
    title: &'static str,
    host: String,
    /// None where it has expired.
    waits: Option<Waits>,
}

struct Waits {
    recordings: usize,
    kind: &'static str,
    minutes: u64,
    path: String,
}

/// Used, too old, or none that ever was: they look alike.
fn expired(app: &App) -> Result<Response, Refusal> {
    let page = Once { title: "This link has expired", host: app.reached().host(), waits: None };
    page_with(StatusCode::GONE, &page)
}

type Given = Result<Path<String>, PathRejection>;

/// `GET /once/{secret}`: a page that a person goes on from.
pub(super) async fn look(State(app): State<App>, secret: Given) -> Result<Response, Refusal> {
    let Ok(Path(secret)) = secret else { return expired(&app) };
    let Some((link, left)) = app.links().look(&secret, Instant::now()) else { return expired(&app) };
    let waits = Waits {
        recordings: link.ids.len(),
        kind: link.kind.kind().0,
        minutes: left.as_secs().div_ceil(60),
        // Found, so that it has nothing in it but digits of ours.
        path: format!("{ONCE}{secret}"),
    };
    let page = Once { title: "A recording for you", host: app.reached().host(), waits: Some(waits) };
    page_with(StatusCode::OK, &page)
}

/// `POST /once/{secret}`: fetches it.
pub(super) async fn fetch(
    State(app): State<App>,
    guard::From(peer): guard::From,
    secret: Given,
) -> Result<Response, Refusal> {
    let Ok(Path(secret)) = secret else { return expired(&app) };
    let Some(taken) = app.links().take(&secret, Instant::now()) else { return expired(&app) };
    let Some(link) = taken.link().cloned() else { return expired(&app) };
    // When too many play, the link waits as it did.
    let permit = app.playback_permit()?;
    let name = Name::of(&secret);
    let asker = app.sender(&link.sender).map(|caller| Asker {
        caller,
        who: link.sender.clone(),
        cookie: format!("{LINK}{}", name.short()).into(),
        peer,
        first: None,
    });
    let Some(asker) = asker else {
        taken.spend();
        return expired(&app);
    };
    let (who, ids) = (asker.clone(), link.ids.to_vec());
    let is_theirs = app.read(move |archive| {
        ids.iter().try_for_each(|id| who.permitted(archive, *id, Permission::Email).map(drop))
    });
    match is_theirs.await {
        Err(Refusal::NoPage) => {
            taken.spend();
            return expired(&app);
        }
        theirs => theirs?,
    }
    let (ids, kind) = (link.ids.to_vec(), link.kind);
    let noted = AccessEvent::LinkUsed {
        ids: ids.clone(),
        count: ids.len() as u64,
        to: link.to,
        format: kind.kind().0.to_owned(),
        link: name.short(),
    };
    app.note(&asker, noted).await?;
    let name = super::mailing::file_name(&app, &ids);
    let response = Making::new(&app, &asker, ids, kind).send(&app, &asker, &name, permit).await?;
    taken.spend();
    Ok(response)
}

impl App {
    /// Whoever mailed something, if they still may, with what they may at this moment.
    pub(super) fn sender(&self, who: &Who) -> Option<Caller> {
        let caller = match who {
            Who::Console => Caller::console(CONSOLE),
            Who::Account(name) => self.archive().caller(name, self.now())?,
        };
        let needed = [Permission::WebAccess, Permission::Email, Permission::Play];
        Some(caller).filter(|caller| needed.iter().all(|permission| caller.may(*permission)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> Link {
        let ids = [RecordingId::from_bytes([1; 16])].into();
        Link { ids, kind: As::Zip, sender: Who::Console, to: "ann@example.net".into() }
    }

    #[test]
    fn a_link_is_128_bits_fetches_once_and_waits_ten_minutes_at_most() {
        let (links, start) = (Links::default(), Instant::now());
        let secret = links.make(link(), start).expect("room");
        let text = secret.text();
        assert_eq!((text.len(), LASTS <= Duration::from_secs(600)), (32, true));
        assert!(!format!("{links:?}").contains(text), "it is not kept itself");
        for wrong in ["", "0", &text[1..], &text.to_uppercase().replace(|c: char| c.is_ascii_digit(), "A")] {
            assert!(links.take(wrong, start).is_none(), "{wrong}");
        }
        for _ in 0..3 {
            assert!(links.look(text, start).is_some(), "to look uses nothing up");
        }
        links.take(text, start).expect("the first").spend();
        assert!(links.take(text, start).is_none() && links.look(text, start).is_none());

        let late = links.make(link(), start).expect("room");
        let last = start + LASTS - Duration::from_millis(1);
        assert!(links.look(late.text(), last).is_some());
        assert!(links.look(late.text(), start + LASTS).is_none());
        assert!(links.take(late.text(), start + LASTS).is_none());
    }

    #[test]
    fn what_came_to_nothing_waits_again_until_its_time_is_over_and_what_was_withdrawn_does_not() {
        let (links, start) = (Links::default(), Instant::now());
        let secret = links.make(link(), start).expect("room");
        let taken = links.take(secret.text(), start).expect("there");
        assert!(links.take(secret.text(), start).is_none(), "nobody else's meanwhile");
        drop(taken);
        let (_, left) = links.look(secret.text(), start + LASTS / 2).expect("again");
        assert_eq!(left, LASTS / 2, "and no longer than before");
        links.withdraw(&secret);
        assert!(links.look(secret.text(), start).is_none());
    }

    #[test]
    fn so_many_links_wait_and_no_more_until_some_have_expired() {
        let (links, start) = (Links::default(), Instant::now());
        for _ in 0..LINKS_MAX {
            links.make(link(), start).expect("room");
        }
        assert!(links.make(link(), start).is_none());
        assert!(links.make(link(), start + LASTS).is_some());
    }
}
