//! Doors for the fuzzer into what reads bytes that anybody may have written. Compiled for it alone (`--cfg fuzzing`).

use std::sync::Arc;

use decode::Timestamp;

use crate::disk::Disk;
use crate::journal::{self, JOURNAL_DIR, Replayed};
use crate::layout::Layout;
use crate::record::Content;
use crate::search::{Reach, blocks, record::View};
use crate::sim::SimDisk;
use crate::stamp::authority::Authorities;
use crate::stamp::token::{Token, granted};
use crate::wave::RECORDINGS_DIR;
use crate::{Field, Query, RecordingId};

/// Takes the bytes for a recording's file: header, frames, footer, as far as they go without a key.
pub fn file(bytes: &[u8]) {
    let disk = disk_with(RECORDINGS_DIR, "recordings/a.wav", bytes);
    if let Ok(layout) = Layout::read(&*disk, "recordings/a.wav") {
        let walk = layout.walk(&*disk).expect("a disk in memory reads");
        assert!(walk.end <= bytes.len() as u64);
        let hash = layout.hash_to(&*disk, walk.end);
        assert!(hash.is_ok());
    }
}

/// Takes the bytes for the content of an opened chunk.
pub fn records(bytes: &[u8]) {
    let content = Content::parse(bytes, Timestamp::from_millis(0));
    let errors = content.records().filter(Result::is_err).count();
    assert!(errors <= 1);
}

/// Takes the bytes for a journal that a crash left.
pub fn replay(bytes: &[u8]) {
    let disk = disk_with(JOURNAL_DIR, &journal::path_of(1), bytes);
    let _ = journal::replay(&*disk, 1, &mut Replayed::default());
}

/// Takes the bytes for a search record and for a block of them, and text for what is asked for.
pub fn search(bytes: &[u8], field: u8, written: &str) {
    let mut query = Query::default();
    let field = Field::ALL[usize::from(field) % Field::ALL.len()];
    let _ = query.filter(field, written);
    let _ = query.call(written);
    let id = RecordingId::from_bytes([7; 16]);
    let record = View::parse(id, bytes).map(|view| query.admits(&view));
    let in_block = blocks::records(bytes).flatten().filter_map(|(id, record)| View::parse(id, record));
    let _ = (record, in_block.filter(|view| query.admits(view)).count(), query.names(Reach::default()));
    let _ = blocks::rewrite(bytes, &[(id, None)]);
}

/// Takes the bytes for a document of accounts, for one of saved filters, for the end of a file of events, and text for a place in the audit trail.
pub fn accounts(bytes: &[u8], written: &str) {
    let disk = disk_with("", crate::accounts::ACCOUNTS, bytes);
    drop(crate::accounts::Kept::open(&*disk));
    drop(crate::saved::Saved::open(&*disk_with("", crate::saved::SAVED_FILTERS, bytes)));
    crate::trail::fuzz(disk_with("", "events", bytes), "events");
    if let Ok(place) = written.parse::<crate::TrailPlace>() {
        assert_eq!(place.to_string().parse(), Ok(place));
    }
    let secret: Result<crate::TotpSecret, _> = serde_json::from_value(written.into());
    let _ = secret.map(|secret| secret.uri(written, written));
}

/// Takes the bytes for an authority's reply, and for a token that stands in the ledger.
pub fn time_stamp(bytes: &[u8]) {
    use base64::Engine;
    const NOTE: &str = include_str!("../tests/data/stamp/note.checkpoint");
    let by = Authorities::from_pem(include_bytes!("../tests/data/stamp/ca.pem")).expect("a certificate");
    if let Ok(token) = granted(bytes) {
        assert!(token.len() < bytes.len());
    }
    let encoded = base64::engine::general_purpose::STANDARD.encode(bytes);
    let _ = crate::stamp::check(NOTE, &encoded, Some(&by));
    // Also where the imprint is another one.
    let _ = Token::parse(bytes).map(|token| by.vouch_for(&token));
}

fn disk_with(folder: &str, path: &str, bytes: &[u8]) -> Arc<SimDisk> {
    let disk = SimDisk::new();
    disk.create_dir(folder).and_then(|()| disk.write_at(path, 0, bytes)).expect("a disk in memory takes all");
    disk
}
