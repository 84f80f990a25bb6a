//! A recording as a signed vCon: the IETF's container for conversations (draft-ietf-vcon-vcon-core-03, syntax 0.4.0).
//!
//! One dialog of type `recording` with its audio inline, the parties, and one attachment that says where it is from and what is
//! not in it. Signed as a JWS in the general JSON serialization with the archive's key. No analysis; the call's SIP is
//! not attached: the draft has no place for it. The whole file is in memory while it is made, some four times its audio.

use std::collections::BTreeMap;
use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD as BASE64URL};
use decode::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256, Sha512};
use store::{Archive, Direction, RecordingFacts, RecordingId};

use crate::bundle::Selection;
use crate::error::Error;
use crate::export::{Counted, Export, Exported, FileFormat, Shape};
use crate::manifest::{self, Exporter, Item};
use crate::words;

/// Longest audio that is put inline, in bytes: 35 min of two channels as WAV at 8 kHz, two hours as Opus.
pub const AUDIO_MAX: usize = 64 << 20;
/// The syntax that the draft defines.
const VERSION: &str = "0.4.0";
/// Places in the array of parties.
const NEAR: u32 = 0;
const FAR: u32 = 1;
const RECORDER: u32 = 2;

/// The signed form (draft, section 5.1; RFC 7515, 7.2.1).
#[derive(Serialize)]
struct Signed<'a> {
    payload: &'a str,
    signatures: [Signature; 1],
}

#[derive(Serialize)]
struct Signature {
    header: Value,
    protected: String,
    signature: String,
}

/// Writes one recording as a signed vCon; the audio is WAVE or Ogg Opus.
///
/// # Errors
/// What [`Export::prepare`] and [`Export::write`] say; [`Error::Unsuited`] for another form of audio; [`Error::Inline`] when it
/// is longer than [`AUDIO_MAX`]; [`store::Error::KeyMissing`] without the signing key.
pub fn export<W: Write>(
    archive: &Archive,
    id: RecordingId,
    selection: Selection,
    exporter: &Exporter,
    mut out: W,
) -> Result<Exported, Error> {
    let Selection { format, shape, .. } = selection;
    let mediatype = match format {
        FileFormat::Wav => "audio/x-wav",
        FileFormat::Ogg => "audio/ogg",
        FileFormat::Gsm | FileFormat::Flac | FileFormat::Raw => {
            return Err(Error::Unsuited { format, shape, instead: "wav or ogg" });
        }
    };
    let export = Export::prepare(archive, id)?;
    let mut audio = Capped { bytes: Vec::new(), full: false };
    let written = export.write(format, shape, &mut audio);
    if audio.full {
        return Err(Error::Inline { limit: AUDIO_MAX >> 20 });
    }
    let mut exported = written?;
    let facts = export.facts();
    let uuid = uuid(archive, id, exporter.at);
    let dialog = dialog(facts, &exported, shape, mediatype, &audio.bytes);
    drop(audio);
    let container = json!({
        "vcon": VERSION,
        "uuid": uuid,
        "created_at": date(exporter.at),
        "parties": [
            party(Some(&facts.extension), facts.user_name.as_deref().or(facts.extension_name.as_deref())),
            party(other(facts), facts.other_party_name.as_deref()),
            { "name": format!("earwitness archive {}", archive.id()), "type": "bot" },
        ],
        "dialog": [dialog],
        "analysis": [],
        "attachments": [provenance(archive, facts, &exported, shape, exporter)?],
    });
    let text = serde_json::to_vec(&container).map_err(io::Error::from)?;
    drop(container);
    let payload = BASE64URL.encode(&text);
    drop(text);
    let jws = archive.sign_jws(&payload)?;
    let header = json!({ "x5c": [BASE64.encode(archive.certificate()?)], "uuid": uuid });
    let signature = Signature { header, protected: jws.protected, signature: jws.signature };
    let signed = Signed { payload: &payload, signatures: [signature] };
    let mut counted = Counted { out: &mut out, bytes: 0 };
    serde_json::to_writer(&mut counted, &signed).map_err(io::Error::from)?;
    counted.write_all(b"\n")?;
    exported.bytes = counted.bytes;
    out.flush()?;
    Ok(exported)
}

fn other(facts: &RecordingFacts) -> Option<&String> {
    facts.outside_number.as_ref().or(facts.other_party.as_ref())
}

/// The dialog: the audio, inline.
fn dialog(facts: &RecordingFacts, exported: &Exported, shape: Shape, mediatype: &str, audio: &[u8]) -> Value {
    let parties = match shape {
        // One index for each channel; of a mix, all that are in it.
        Shape::Stereo | Shape::Mono => json!([NEAR, FAR]),
        Shape::Near => json!(NEAR),
        Shape::Far => json!(FAR),
    };
    let first = if shape == Shape::Far { FAR } else { NEAR };
    let caller = match facts.direction {
        Direction::Inbound => Some(FAR),
        Direction::Outbound => Some(NEAR),
        Direction::Internal | Direction::Unknown => None,
    };
    let extension = if mediatype == "audio/ogg" { "ogg" } else { "wav" };
    let mut dialog = json!({
        "type": "recording",
        "start": date(facts.started),
        "duration": exported.duration_ms as f64 / 1_000.0,
        "parties": parties,
        "mediatype": mediatype,
        "filename": format!("{}.{extension}", facts.id),
        "encoding": "base64url",
        "body": BASE64URL.encode(audio),
        "content_hash": format!("sha512-{}", BASE64URL.encode(Sha512::digest(audio))),
    });
    // Said only where the first party is not the one who called.
    if let Some(caller) = caller.filter(|&caller| caller != first) {
        dialog["originator"] = json!(caller);
    }
    dialog
}

/// The attachment: which recording of which archive, its proof, and what is not in the audio.
fn provenance(
    archive: &Archive,
    facts: &RecordingFacts,
    exported: &Exported,
    shape: Shape,
    exporter: &Exporter,
) -> Result<Value, Error> {
    let mut item = Item::new(exported, Vec::new(), None);
    if let Some(line) = archive.in_ledger(&[facts.id])?.remove(&facts.id) {
        item.signed = Some(line.signed);
        item.proof = line.proof;
    }
    let body = json!({
        "format": manifest::FORMAT,
        "archive": archive.id(),
        "public_keys": archive.signing_key(),
        "exported": exporter,
        "channels": shape,
        "caller_known": !matches!(facts.direction, Direction::Internal | Direction::Unknown),
        "recording": item,
        "facts": facts,
        "field_names": facts.fields.iter().map(|(field, _)| (field.key(), words::field(field))).collect::<BTreeMap<_, _>>(),
    });
    Ok(json!({
        "purpose": "provenance: the recording, the proof that the archive's ledger names it, and what is not in the audio",
        "start": date(exporter.at),
        "party": RECORDER,
        "dialog": 0,
        "mediatype": "application/json",
        "filename": format!("{}.json", facts.id),
        "encoding": "json",
        "body": body,
    }))
}

/// A party by its number, where it is one, and its name.
fn party(number: Option<&String>, name: Option<&str>) -> Value {
    let mut party = json!({});
    let number = number.map(String::as_str).filter(|number| !number.is_empty());
    let is_number = |text: &str| {
        text.strip_prefix('+').unwrap_or(text).chars().all(|c| c.is_ascii_digit() || "*#".contains(c))
    };
    match number {
        Some(number) if is_number(number) => party["tel"] = json!(number),
        // A user without a host is no SIP address: it is told as a name, if there is no better one.
        Some(user) => party["name"] = json!(user),
        None => {}
    }
    if let Some(name) = name.filter(|name| !name.is_empty()) {
        party["name"] = json!(name);
    }
    party
}

/// A time as the draft writes it (RFC 8620, 1.4): a fraction only when it is not zero.
fn date(at: Timestamp) -> String {
    let text = at.to_string();
    match text.strip_suffix('Z') {
        Some(bare) if bare.contains('.') => {
            format!("{}Z", bare.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => text,
    }
}

/// A UUID of version 8 (RFC 9562, 5.8): the time of the export, then a hash of archive, recording and time. The draft's own
/// version-8 form takes a host's name, and an archive has none.
fn uuid(archive: &Archive, id: RecordingId, at: Timestamp) -> String {
    let text = format!("earwitness vcon {} {id} {}", archive.id(), at.as_nanos());
    let hash: [u8; 32] = Sha256::digest(text).into();
    let [.., m5, m4, m3, m2, m1, m0] = at.as_millis().to_be_bytes();
    let [h0, h1, h2, rest @ ..] = hash;
    let node: String = rest.iter().take(7).map(|byte| format!("{byte:02x}")).collect();
    let (sequence, node) =
        (format!("{:02x}{}", 0x80 | h2 & 0x3f, node.get(..2).unwrap_or("00")), node.get(2..));
    format!(
        "{m5:02x}{m4:02x}{m3:02x}{m2:02x}-{m1:02x}{m0:02x}-8{:01x}{h1:02x}-{sequence}-{}",
        h0 & 0xf,
        node.unwrap_or("000000000000")
    )
}

/// Takes no more than [`AUDIO_MAX`].
struct Capped {
    bytes: Vec<u8>,
    full: bool,
}

impl Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > AUDIO_MAX {
            self.full = true;
            return Err(io::Error::other("the audio is too long to be put inline"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
