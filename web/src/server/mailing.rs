//! Recordings by mail: the form, who may send what to how many, and what became of it.
//!
//! A letter goes to one addressee, so that each has a link of their own and nobody is told who else got one. That it is sent stands in the audit trail
//! before it leaves. Letters are the program's to bring to a server (`crate::mail`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use policy::Permission;
use store::{AccessEvent, Archive, RecordingFacts, RecordingId, Row, State as Progress};
use tokio::sync::Semaphore;

use super::App;
use super::caller::Asker;
use super::escape::brief;
use super::form::Form;
use super::frame::{Frame, Page, page_with};
use super::guard::ONCE;
use super::letter::Contents;
use super::once::{self, Link, Name};
use super::programs::own_account;
use super::recordings::columns::short_length;
use super::recordings::title;
use super::refusal::Refusal;
use super::save::{As, Making};
use super::session::Secret;
use super::zone::Moment;
use crate::mail::{Address, Attachment, Letter, NotTaken, Post};

/// Recordings of one letter.
pub(super) const RECORDINGS_MAX: usize = 100;
/// Addressees of one mailing.
pub(super) const ADDRESSEES_MAX: usize = 20;
/// Addressees that one account writes to within an hour.
const ADDRESSEES_AN_HOUR: usize = 100;
const AN_HOUR: Duration = Duration::from_secs(60 * 60);
/// Characters of a subject.
pub(super) const SUBJECT_MAX: usize = 200;
/// Characters of what somebody writes.
pub(super) const TEXT_MAX: usize = 10_000;
/// Bytes of an attached file. On its way it is a third longer, and many servers take no letter of more than 20 MB.
const ATTACHMENT_MAX: usize = 10_000_000;
/// Mailings at the same time: files of each are held in memory.
const AT_ONCE_MAX: usize = 2;

/// How recordings are handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// By a link that fetches them once, within minutes, and takes no account.
    Link,
    /// With the letter.
    Attachment,
    /// By the addresses of their pages, for whoever may open these.
    LastingLink,
}

impl How {
    pub(super) const ALL: [How; 3] = [How::Link, How::Attachment, How::LastingLink];

    /// As forms, programs and the trail have it.
    pub(super) const fn key(self) -> &'static str {
        match self {
            How::Link => "link",
            How::Attachment => "attachment",
            How::LastingLink => "lasting-link",
        }
    }

    pub(super) fn named(key: &str) -> Option<How> {
        How::ALL.into_iter().find(|how| how.key() == key)
    }

    /// Whoever gets it hears the recordings, whatever account they have.
    const fn hands_over(self) -> bool {
        matches!(self, How::Link | How::Attachment)
    }
}

/// What somebody wants sent, as they wrote it.
#[derive(Clone, Debug)]
pub(super) struct Mailing {
    pub(super) ids: Vec<RecordingId>,
    pub(super) to: Vec<String>,
    pub(super) subject: String,
    pub(super) text: String,
    pub(super) how: How,
    /// As what; as fits their number without it.
    pub(super) kind: Option<As>,
}

/// What became of it.
#[derive(Debug, Default)]
pub(super) struct Sent {
    pub(super) sent: Vec<Address>,
    /// Whose letter was not taken, and why.
    pub(super) not_sent: Vec<(Address, String)>,
}

/// What keeps anybody from sending too much.
#[derive(Debug)]
pub(super) struct Sending {
    /// When each account wrote to somebody, within the last hour.
    written: Mutex<BTreeMap<String, VecDeque<Instant>>>,
    at_once: Arc<Semaphore>,
}

impl Default for Sending {
    fn default() -> Sending {
        Sending { written: Mutex::default(), at_once: Arc::new(Semaphore::new(AT_ONCE_MAX)) }
    }
}

impl Sending {
    /// Has an account write to so many more.
    ///
    /// # Errors
    /// After which time it may.
    fn write_to(&self, account: &str, addressees: usize, now: Instant) -> Result<(), Duration> {
        let mut all = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let is_old = |at: &Instant| now.saturating_duration_since(*at) >= AN_HOUR;
        // Accounts that have not written for an hour leave nothing behind.
        all.retain(|_, written| written.back().is_some_and(|at| !is_old(at)));
        let written = all.entry(account.to_owned()).or_default();
        while written.front().is_some_and(is_old) {
            written.pop_front();
        }
        let surplus = (written.len() + addressees).saturating_sub(ADDRESSEES_AN_HOUR);
        match surplus.checked_sub(1).and_then(|last| written.get(last)) {
            Some(at) => Err(AN_HOUR.saturating_sub(now.saturating_duration_since(*at))),
            None => {
                written.extend(std::iter::repeat_n(now, addressees));
                Ok(())
            }
        }
    }
}

/// The addresses that somebody wrote, each once.
fn addresses(written: &[String]) -> Result<Vec<Address>, Refusal> {
    let (mut all, mut seen) = (Vec::new(), BTreeSet::new());
    for text in written {
        let address = text.parse::<Address>().map_err(|error| {
            Refusal::Wrong(format!("To: {} is no address: {error}. Nothing was sent.", brief(text)))
        })?;
        if seen.insert(address.as_str().to_lowercase()) {
            all.push(address);
        }
    }
    match all.len() {
        0 => Err(Refusal::Wrong("To: name at least one address. Nothing was sent.".to_owned())),
        n if n > ADDRESSEES_MAX => {
            Err(Refusal::Wrong(format!("To: at most {ADDRESSEES_MAX} addresses at once. Nothing was sent.")))
        }
        _ => Ok(all),
    }
}

/// What is sent when all of it is as it must be.
struct Checked {
    to: Vec<Address>,
    subject: String,
    text: String,
    how: How,
    kind: As,
}

fn checked(mailing: Mailing) -> Result<Checked, Refusal> {
    let Mailing { ids, to, subject, text, how, kind } = mailing;
    let to = addresses(&to)?;
    let subject = subject.trim().to_owned();
    if subject.is_empty() || subject.chars().count() > SUBJECT_MAX || subject.chars().any(char::is_control) {
        return Err(Refusal::Wrong(format!(
            "Subject: one line of 1 to {SUBJECT_MAX} characters. Nothing was sent."
        )));
    }
    if text.chars().count() > TEXT_MAX {
        return Err(Refusal::Wrong(format!("Text: at most {TEXT_MAX} characters. Nothing was sent.")));
    }
    let kind = match (kind, ids.len()) {
        (kind, 1) => kind.or_else(|| As::named("wav")).unwrap_or(As::Zip),
        (None | Some(As::Zip), _) => As::Zip,
        (Some(_), _) => return Err(Refusal::Wrong("Several recordings are sent as one ZIP.".to_owned())),
    };
    Ok(Checked { to, subject, text, how, kind })
}

/// What a file of these is called, without its end.
pub(super) fn file_name(app: &App, ids: &[RecordingId]) -> String {
    match ids {
        [id] => id.to_string(),
        _ => format!("recordings-{}", app.zone().zoned(app.now()).strftime("%Y%m%d-%H%M%S")),
    }
}

/// The rows of recordings that somebody may send so. What one may not looks as what there is not.
fn sendable(archive: &Archive, asker: &Asker, ids: &[RecordingId], how: How) -> Result<Vec<Row>, Refusal> {
    if how.hands_over() {
        // Whoever gets the file hears it: nobody sends themselves what they may not hear.
        asker.need(Permission::Play)?;
    }
    let permitted = |id: &RecordingId| asker.permitted(archive, *id, Permission::Email);
    let rows: Vec<Row> = ids.iter().map(permitted).collect::<Result<_, _>>()?;
    for row in &rows {
        let id = row.facts.id;
        if row.facts.state == Progress::Recording {
            return Err(Refusal::Declined(format!("{id} still runs: it can be sent when it has ended.")));
        }
        if row.deleted.is_some() {
            return Err(Refusal::Declined(format!(
                "The audio of {id} was deleted: there is nothing to send."
            )));
        }
    }
    Ok(rows)
}

impl App {
    /// The mail server that recordings go out by.
    ///
    /// # Errors
    /// [`Refusal::Declined`] where there is none.
    fn post(&self) -> Result<Arc<dyn Post>, Refusal> {
        let none = || {
            Refusal::Declined(
                "No mail server is set up: `[alarms.mail]` in the configuration names one.".to_owned(),
            )
        };
        self.0.mail.clone().filter(|post| post.is_open()).ok_or_else(none)
    }

    /// Can this person send anything?
    pub(super) fn may_mail(&self, asker: &Asker) -> bool {
        asker.caller.may(Permission::Email) && self.post().is_ok()
    }

    /// Sends recordings. Goes on to its end even when whoever asked does not wait for it.
    ///
    /// # Errors
    /// When nothing was sent: why.
    pub(super) async fn send_mail(&self, asker: &Asker, mailing: Mailing) -> Result<Sent, Refusal> {
        if !(1..=RECORDINGS_MAX).contains(&mailing.ids.len()) {
            asker.need(Permission::Email)?;
            return Err(Refusal::Wrong(format!("Pick 1 to {RECORDINGS_MAX} recordings to send.")));
        }
        // What one may not see comes before what a form has wrong.
        let (who, ids, how) = (asker.clone(), mailing.ids.clone(), mailing.how);
        let rows = self.read(move |archive| sendable(archive, &who, &ids, how)).await?;
        let ids = mailing.ids.clone();
        let mail = checked(mailing)?;
        let post = self.post()?;
        let at_once = Arc::clone(&self.0.sending.at_once).try_acquire_owned();
        let permit = at_once.map_err(|_| {
            Refusal::Declined("Other letters are on their way: try again in a moment.".to_owned())
        })?;
        let playback = mail.how.hands_over().then(|| self.playback_permit()).transpose()?;
        let (app, asker) = (self.clone(), asker.clone());
        let facts: Vec<RecordingFacts> = rows.into_iter().map(|row| row.facts).collect();
        let sent = self.read(move |archive| {
            let _permit = permit;
            let attachment = app.file_for(archive, &asker, &mail, &ids)?;
            drop(playback);
            app.count_addressees(&asker, mail.to.len())?;
            Ok(app.write_to_all(archive, &asker, &Mail { mail, ids, facts, attachment }, &*post))
        });
        let sent = sent.await?;
        match (sent.sent.is_empty(), sent.not_sent.first()) {
            (true, Some((_, why))) => {
                Err(Refusal::Declined(format!("Nothing was sent: {}.", why.trim_end_matches('.'))))
            }
            _ => Ok(sent),
        }
    }

    /// Makes the file that is attached; of one that a link is to fetch, looks whether it can be made.
    fn file_for(
        &self,
        archive: &Archive,
        asker: &Asker,
        mail: &Checked,
        ids: &[RecordingId],
    ) -> Result<Option<Attachment>, Refusal> {
        let making = Making::new(self, asker, ids.to_vec(), mail.kind);
        match mail.how {
            How::LastingLink => Ok(None),
            How::Link => making.check(archive).map(|()| None),
            How::Attachment => {
                let bytes = making.whole(archive, ATTACHMENT_MAX)?.ok_or_else(|| {
                    Refusal::Declined(format!(
                        "The file has more than {} MB, which many mail servers do not take: send a link, or Opus in place of WAV. \
                         Nothing was sent.",
                        ATTACHMENT_MAX / 1_000_000
                    ))
                })?;
                let (ending, media_type) = mail.kind.kind();
                let name = format!("{}.{ending}", file_name(self, ids));
                Ok(Some(Attachment { name, media_type, bytes: bytes.into() }))
            }
        }
    }

    fn count_addressees(&self, asker: &Asker, addressees: usize) -> Result<(), Refusal> {
        let written = self.0.sending.write_to(asker.caller.name(), addressees, Instant::now());
        written.map_err(|wait| {
            let minutes = wait.as_secs().div_ceil(60);
            Refusal::Declined(format!(
                "An account writes to {ADDRESSEES_AN_HOUR} addresses an hour at most: go on in {minutes} minutes. Nothing was sent."
            ))
        })
    }

    /// Writes to each addressee.
    fn write_to_all(&self, archive: &Archive, asker: &Asker, mail: &Mail, post: &dyn Post) -> Sent {
        let mut sent = Sent::default();
        let mut addressees = mail.mail.to.iter();
        for address in addressees.by_ref() {
            match self.write_to(archive, asker, mail, address, post) {
                Ok(()) => sent.sent.push(address.clone()),
                Err(NotTaken { why, of_server }) => {
                    tracing::error!(error = why, "a letter with recordings was not sent");
                    sent.not_sent.push((address.clone(), why));
                    if of_server {
                        break;
                    }
                }
            }
        }
        let untried = "not tried, for the same reason";
        sent.not_sent.extend(addressees.map(|address| (address.clone(), untried.to_owned())));
        sent
    }

    /// Writes to one of them: a line of the trail before the letter, and one more when it is not taken.
    fn write_to(
        &self,
        archive: &Archive,
        asker: &Asker,
        mail: &Mail,
        to: &Address,
        post: &dyn Post,
    ) -> Result<(), NotTaken> {
        let Mail { mail: Checked { how, kind, .. }, ids, .. } = mail;
        let (count, how) = (ids.len() as u64, *how);
        let link = self.link_for(asker, mail, to)?;
        let letter = self.letter(asker, mail, to, link.as_ref());
        let note = |access| archive.note_access(asker.caller.name(), Some(asker.peer), self.now(), access);
        let noted = note(AccessEvent::Mailed {
            ids: ids.clone(),
            count,
            to: to.to_string(),
            how: how.key().to_owned(),
            format: if how.hands_over() { kind.kind().0 } else { "" }.to_owned(),
            link: link.as_ref().map_or(String::new(), |link| Name::of(link.text()).short()),
        });
        // What cannot be written down is not done, and the next one could not be either.
        let not_noted = |error| NotTaken { why: Refusal::from(error).words(), of_server: true };
        let Err(error) = noted.map_err(not_noted).and_then(|()| post.send(&letter)) else { return Ok(()) };
        if let Some(link) = &link {
            self.links().withdraw(link);
        }
        let noted = note(AccessEvent::NotMailed {
            ids: ids.clone(),
            count,
            to: to.to_string(),
            how: how.key().to_owned(),
            why: error.why.clone(),
        });
        if let Err(error) = noted {
            tracing::error!(%error, "that a letter was not sent is not in the audit trail");
        }
        Err(error)
    }

    fn link_for(&self, asker: &Asker, mail: &Mail, to: &Address) -> Result<Option<Secret>, NotTaken> {
        if mail.mail.how != How::Link {
            return Ok(None);
        }
        let ids = mail.ids.as_slice().into();
        let link = Link { ids, kind: mail.mail.kind, sender: asker.who.clone(), to: to.to_string() };
        let full = || NotTaken {
            why: "too many links wait to be used, try again in ten minutes".to_owned(),
            of_server: true,
        };
        self.links().make(link, Instant::now()).map(Some).ok_or_else(full)
    }

    fn letter(&self, asker: &Asker, mail: &Mail, to: &Address, link: Option<&Secret>) -> Letter {
        let Mail { mail, facts, attachment, .. } = mail;
        let accounts = self.archive().accounts();
        let reply_to = accounts.account(own_account(asker)).and_then(|account| account.email.parse().ok());
        let path = link.map(|link| format!("{ONCE}{}", link.text()));
        let (website, host) = (self.reached().website(), self.reached().host());
        let contents = Contents {
            zone: self.zone(),
            website: &website,
            host: &host,
            who: asker.caller.name(),
            text: &mail.text,
            how: mail.how,
            minutes: once::LASTS.as_secs() / 60,
        };
        Letter {
            to: to.clone(),
            reply_to,
            subject: mail.subject.clone(),
            text: contents.letter(facts, path.as_deref()),
            attachment: attachment.clone(),
        }
    }
}

/// All that the letters of a mailing have in common.
struct Mail {
    mail: Checked,
    ids: Vec<RecordingId>,
    facts: Vec<RecordingFacts>,
    attachment: Option<Attachment>,
}

struct Line {
    id: RecordingId,
    title: String,
    started: Moment,
    length: String,
}

struct Way {
    key: &'static str,
    label: &'static str,
    hint: String,
    is_chosen: bool,
}

#[derive(askama::Template)]
#[template(path = "mail.html")]
struct MailPage {
    frame: Frame,
    wrong: Option<String>,
    /// What was sent, once it was.
    sent: Option<Sent>,
    lines: Vec<Line>,
    back: String,
    to: String,
    subject: String,
    text: String,
    ways: Vec<Way>,
    /// Forms of a file; none where several make one ZIP.
    kinds: Vec<(&'static str, &'static str, bool)>,
    website: String,
    to_max: usize,
    subject_max: usize,
    text_max: usize,
}

impl App {
    /// The form for recordings that were picked, with nothing in it yet.
    pub(super) async fn begin_mail(&self, asker: Asker, ids: Vec<RecordingId>) -> Result<Response, Refusal> {
        asker.need(Permission::Email)?;
        if !(1..=RECORDINGS_MAX).contains(&ids.len()) {
            return Err(Refusal::Wrong(format!("Pick 1 to {RECORDINGS_MAX} recordings to send.")));
        }
        let who = asker.clone();
        let rows = self.read(move |archive| sendable(archive, &who, &ids, How::LastingLink)).await?;
        self.post()?;
        self.mail_page(&asker, &rows, &Form::parse(""), None, None)
    }

    fn mail_page(
        &self,
        asker: &Asker,
        rows: &[Row],
        form: &Form,
        wrong: Option<String>,
        sent: Option<Sent>,
    ) -> Result<Response, Refusal> {
        let is_fresh = form.text("do").is_empty();
        let may_hand_over = asker.caller.may(Permission::Play);
        let chosen =
            How::named(form.text("how")).unwrap_or(if may_hand_over { How::Link } else { How::LastingLink });
        let way = |how: How| {
            let (label, hint) = match how {
                How::Link => (
                    "A single-use link",
                    format!(
                        "Each addressee gets one that fetches the file without an account, once and within {} minutes",
                        once::LASTS.as_secs() / 60
                    ),
                ),
                How::Attachment => (
                    "An attachment",
                    format!(
                        "Up to {} MB. What is attached is not encrypted any more: every server on the way can hear it",
                        ATTACHMENT_MAX / 1_000_000
                    ),
                ),
                How::LastingLink => (
                    "A lasting link",
                    "To the recording’s page, for whoever signs in and may see it then".to_owned(),
                ),
            };
            Way { key: how.key(), label, hint, is_chosen: how == chosen }
        };
        let kinds = [
            ("wav", "WAV, stereo"),
            ("ogg", "Opus, small"),
            ("flac", "FLAC, stereo"),
            ("zip", "ZIP with proofs"),
        ];
        let is_kind = |key: &str| if is_fresh { key == "wav" } else { key == form.text("as") };
        let line = |row: &Row| Line {
            id: row.facts.id,
            title: title(row),
            started: self.zone().moment(row.facts.started),
            length: short_length(row.facts.duration_ms),
        };
        let subject = match rows {
            _ if !is_fresh => form.text("subject").to_owned(),
            [row] => {
                format!("Recording of {}", self.zone().zoned(row.facts.started).strftime("%Y-%m-%d %H:%M"))
            }
            rows => format!("{} recordings", rows.len()),
        };
        let back = match rows {
            [row] => format!("/recordings/{}", row.facts.id),
            _ => self.last_search(asker.caller.name()).unwrap_or_else(|| "/recordings".to_owned()),
        };
        let status = if wrong.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
        page_with(
            status,
            &MailPage {
                frame: self.frame(asker, Page::Recordings, "Email recordings"),
                wrong,
                sent,
                lines: rows.iter().map(line).collect(),
                back,
                to: form.text("to").replace('\r', ""),
                subject,
                text: form.raw("text").replace('\r', ""),
                ways: How::ALL
                    .into_iter()
                    .filter(|how| may_hand_over || !how.hands_over())
                    .map(way)
                    .collect(),
                kinds: match rows.len() {
                    1 => kinds.map(|(key, label)| (key, label, is_kind(key))).into(),
                    _ => Vec::new(),
                },
                website: self.reached().website(),
                to_max: ADDRESSEES_MAX,
                subject_max: SUBJECT_MAX,
                text_max: TEXT_MAX,
            },
        )
    }
}

/// `GET /recordings/{id}/email`.
pub(super) async fn form_of(
    State(app): State<App>,
    asker: Asker,
    id: Result<Path<RecordingId>, PathRejection>,
) -> Result<Response, Refusal> {
    let Path(id) = id.map_err(|_| Refusal::NoPage)?;
    app.begin_mail(asker, vec![id]).await
}

/// `POST /recordings/email`: what the form has.
pub(super) async fn send(State(app): State<App>, asker: Asker, form: Form) -> Result<Response, Refusal> {
    asker.need(Permission::Email)?;
    let ids: BTreeSet<RecordingId> = form.all("id").filter_map(|id| id.parse().ok()).collect();
    let ids: Vec<RecordingId> = ids.into_iter().collect();
    let separators = [',', ';', ' ', '\n', '\r', '\t'];
    let to = form.text("to").split(separators).filter(|text| !text.is_empty()).map(str::to_owned);
    let mailing = Mailing {
        ids: ids.clone(),
        to: to.collect(),
        subject: form.text("subject").to_owned(),
        text: form.raw("text").to_owned(),
        how: How::named(form.text("how")).ok_or(Refusal::WrongQuery)?,
        kind: match form.text("as") {
            "" => None,
            word => Some(As::named(word).ok_or(Refusal::WrongQuery)?),
        },
    };
    let (wrong, sent) = match app.send_mail(&asker, mailing).await {
        Ok(sent) => (None, Some(sent)),
        Err(Refusal::Wrong(why) | Refusal::Declined(why)) => (Some(why), None),
        Err(refusal) => return Err(refusal),
    };
    let who = asker.clone();
    let rows = app.read(move |archive| {
        ids.iter().map(|id| who.permitted(archive, *id, Permission::Email)).collect::<Result<Vec<_>, _>>()
    });
    app.mail_page(&asker, &rows.await?, &form, wrong, sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_writes_to_so_many_in_an_hour_and_to_more_when_it_is_over() {
        let (sending, start) = (Sending::default(), Instant::now());
        let minutes = |n: u64| Duration::from_secs(n * 60);
        for n in 0..5 {
            assert_eq!(sending.write_to("ann", ADDRESSEES_MAX, start + minutes(n)), Ok(()));
        }
        let later = start + minutes(10);
        assert_eq!(sending.write_to("ann", 1, later), Err(minutes(50)));
        assert_eq!(sending.write_to("ann", 21, later), Err(minutes(51)), "the first twenty are not enough");
        assert_eq!(sending.write_to("bob", 1, later), Ok(()), "others are not held up");
        assert_eq!(sending.write_to("ann", 20, start + AN_HOUR), Ok(()));
        assert_eq!(
            sending.write_to("ann", 1, start + AN_HOUR),
            Err(minutes(1)),
            "what was refused is not counted"
        );
        assert_eq!(sending.write_to("eve", 1, start + 3 * AN_HOUR), Ok(()));
        assert_eq!(sending.written.lock().expect("no panic").len(), 1, "who writes no more is forgotten");
    }

    #[test]
    fn addresses_are_told_apart_without_regard_to_capitals_and_a_wrong_one_stops_all() {
        let read = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            addresses(&texts)
                .map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>())
                .map_err(|why| why.words())
        };
        assert_eq!(
            read(&["ann@example.net", "ANN@example.net", "bob@example.net"]),
            Ok(vec!["ann@example.net".to_owned(), "bob@example.net".to_owned()])
        );
        assert!(read(&[]).is_err());
        assert!(read(&["ann@example.net", "bob"]).is_err_and(|why| why.contains("bob is no address")));
        let many: Vec<String> = (0..=ADDRESSEES_MAX).map(|n| format!("a{n}@example.net")).collect();
        assert!(addresses(&many).is_err());
    }
}
