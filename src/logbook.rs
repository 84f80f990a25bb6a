//! The recorder's own log as far as it is remembered: the last lines, in memory, for the page of the log and the support bundle.
//!
//! Numbers and names are not logged at these levels (`CONTRIBUTING.md`); finer ones are not remembered at all. What goes to the log's stream is
//! decided by `EARWITNESS_LOG` and nothing here.

use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::sync::{Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use web::machine::{LogLine, Severity};

use crate::clock;

/// Lines that are remembered.
const LINES_MAX: usize = 2_000;
/// Bytes of a text in a line; what is longer is cut.
const TEXT_MAX: usize = 500;
/// Fields of a line.
const FIELDS_MAX: usize = 16;

/// Lines, the oldest first.
#[derive(Debug)]
pub(crate) struct Book(Mutex<VecDeque<LogLine>>);

/// What this process has logged.
pub(crate) static BOOK: Book = Book::new();

impl Book {
    const fn new() -> Book {
        Book(Mutex::new(VecDeque::new()))
    }

    /// What is remembered, the oldest first.
    pub(crate) fn lines(&self) -> Vec<LogLine> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn remember(&self, line: LogLine) {
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= LINES_MAX {
            remembered.pop_front();
        }
        remembered.push_back(line);
    }
}

/// Remembers what is logged.
pub(crate) struct Memory(pub(crate) &'static Book);

impl<S: Subscriber> Layer<S> for Memory {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let severity = match *metadata.level() {
            Level::ERROR => Severity::Error,
            Level::WARN => Severity::Warning,
            _ => Severity::Notice,
        };
        let mut seen = Seen::default();
        event.record(&mut seen);
        self.0.remember(LogLine {
            at: clock::now(),
            severity,
            part: metadata.target().split("::").next().unwrap_or_default().to_owned(),
            what: seen.message,
            fields: seen.fields,
        });
    }
}

/// The fields of an event.
#[derive(Default)]
struct Seen {
    message: String,
    fields: Vec<(&'static str, String)>,
}

/// Writes no more than fits.
struct Short<'t>(&'t mut String);

impl Write for Short<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut end = text.len().min(TEXT_MAX.saturating_sub(self.0.len()));
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.0.push_str(&text[..end]);
        if end < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

impl Seen {
    fn take(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let mut text = String::new();
        if Short(&mut text).write_fmt(value).is_err() {
            text.push('…');
        }
        if field.name() == "message" {
            self.message = text;
        } else if self.fields.len() < FIELDS_MAX {
            self.fields.push((field.name(), text));
        }
    }
}

impl Visit for Seen {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.take(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, format_args!("{value}"));
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn so_many_lines_are_remembered_cut_to_their_length_and_none_finer_than_a_notice() {
        static OWN: Book = Book::new();
        let subscriber = tracing_subscriber::registry()
            .with(Memory(&OWN).with_filter(tracing_subscriber::filter::LevelFilter::INFO));
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..LINES_MAX + 5 {
                tracing::warn!(number, "one of many");
            }
            tracing::debug!(number = "2041", "finer");
            tracing::error!(error = "é".repeat(TEXT_MAX), late_ms = 7, "the last one");
        });
        let lines = OWN.lines();
        assert_eq!(lines.len(), LINES_MAX);
        let last = lines.last().expect("a line");
        assert_eq!(
            (last.severity, last.what.as_str(), last.part.as_str()),
            (Severity::Error, "the last one", "earwitness")
        );
        assert_eq!(last.fields[1], ("late_ms", "7".to_owned()));
        assert!(last.fields[0].1.len() <= TEXT_MAX + "…".len() && last.fields[0].1.ends_with('…'));
        assert!(!lines.iter().any(|line| line.what == "finer"));
        assert_eq!(lines[0].fields, [("number", "6".to_owned())]);
    }
}
