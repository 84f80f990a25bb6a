//! The encrypted archive: sealed recordings, keys, journal, index, ledger, verification.
//!
//! A [`Writer`] takes cleared audio and seals it in chunks of at most 150 ms under a key that only its recording has; one
//! disk thread writes every chunk first to a journal and then to the recording's own file. Nothing is ever plaintext on
//! disk, and a crash costs at most what is not sealed yet. Files and ledger are the truth; the index can be built anew from
//! them. The layout of everything on disk is in `docs/format.md`.
//!
//! Not here: which audio may be kept (`policy`), how payload becomes sound (`decode`).
#![allow(unexpected_cfgs, reason = "cargo-fuzz builds with `--cfg fuzzing`")]

pub mod accounts;
mod archive;
mod archive_copy;
mod audit;
mod book;
mod bytes;
mod certificate;
mod check;
mod chunk;
mod closing;
#[cfg(test)]
mod crash;
mod custody;
mod disk;
mod erase;
mod error;
mod event;
mod evidence;
pub mod facts;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod id;
mod index;
mod journal;
mod keys;
mod layout;
mod ledger;
mod listen;
pub mod locations;
mod log;
mod news;
pub mod quality;
mod reader;
mod recode;
pub mod record;
mod recovery;
mod repair;
mod report;
mod restore;
mod retention;
mod saved;
mod scribe;
mod scrub;
mod seal;
mod search;
mod settle;
mod shared;
#[cfg(any(test, fuzzing))]
mod sim;
mod source;
mod space;
mod stamp;
mod trail;
mod trouble;
mod unrecorded;
mod verify;
mod wave;
mod writer;

pub use accounts::{
    Account, AccountChange, AccountEdit, Accounts, ApiToken, NewToken, NewWebhook, PASSWORD_MAX, Password,
    PasswordPolicy, ROLE_FILTERS_MAX, SignInRefused, SignedIn, Strength, TOKEN_NAME_MAX, TokenSecret,
    TotpSecret, USER_NAME_MAX, WEBHOOK_ADDRESS_MAX, WEBHOOKS_MAX, Webhook, WebhookSecret,
};
pub use archive::Archive;
pub use audit::Trusted;
pub use book::{BOOK_LEN_MAX, BOOK_WHY_MAX, BookChange, BookVersion};
pub use certificate::Jws;
pub use error::Error;
pub use event::{Event, Hold, NOTE_TEXT_MAX, Note, Reassigned, RefusedTry, STARS_MAX, What};
pub use evidence::{InLedger, Sealed, verify_sealed};
pub use facts::{
    Absence, CallRow, Counters, CustomField, CustomFields, Direction, DtmfFact, NoKey, Outcome, PastPart,
    Recoded, RecordingFacts, Signalling, Source, Span, State, Step, Tied, Track,
};
pub use id::{IdError, RecordingId};
pub use keys::manage::{KeyFileStatus, KeyStatus, Protection, new_key_pair};
pub use keys::rotation::Rotated;
pub use keys::sheet::{Sheet, SheetError};
pub use keys::signing::{PublicKeys, key_name, manifest_is_signed};
pub use keys::{Passphrase, Recipient, public_key};
pub use listen::{LISTENER_CHUNKS_MAX, LISTENERS_MAX, Live, LiveChunk, LiveEnd, LiveTap, Standing};
pub use locations::CopyStatus;
pub use locations::copies::{CopyAt, CopyLine, MovedLine};
pub use log::begin::Adopted;
pub use log::checkpoint::Checkpoint;
pub use log::proof::{Compared, Proof, Proven};
pub use news::{News, NewsLine, NewsPlace, NewsRead, NoTopic, ReaderPlace, Topic};
pub use quality::Quality;
pub use reader::{OpenChunk, Reader};
pub use recode::{ByWhom, Coded, ColdItem, ColdPlan, Replacement};
pub use record::{Mark, Record};
pub use report::{
    Cost, Created, Deletion, Finding, Problem, Rebuilt, Recovery, Row, RunRow, SignatureState, Stats, Verdict,
};
pub use restore::restore;
pub use retention::{Differs, Kept, Pruned, Retention, Take};
pub use saved::{SAVED_QUERY_MAX, SavedFilter};
pub use scrub::{ScrubFinding, Scrubbed};
pub use search::sorted::{Cursor, NoCursor, Order, OrderBy};
pub use search::{Field, Query, QueryError};
pub use space::{Space, SpaceAlert};
pub use stamp::authority::Authorities;
pub use stamp::token::REPLY_MAX;
pub use stamp::{Ask, Stamp, reply_of_token};
pub use trail::{AccessEvent, AuditFilter, NoTrailPlace, TRAIL_IDS_MAX, TRAIL_TEXT_MAX, TrailPlace};
pub use trouble::Trouble;
pub use unrecorded::{CallPlace, Unrecorded};
pub use writer::{CHUNK_BYTES_MAX, CHUNK_SPAN_FILE_MS, CHUNK_SPAN_MS, Discarded, Writer};
