//! A vCon by the rules of draft-ietf-vcon-vcon-core-03 and RFC 7515, checked from its text alone.

mod common;

use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use common::*;
use decode::Party;
use decode::codec::g711::Law;
use ed25519_dalek::{Signature, VerifyingKey};
use serde_json::Value;
use sha2::{Digest, Sha512};
use store::{Direction, RecordingFacts, RecordingId, Span};
use web::{Error, Exporter, FileFormat, Selection, Shape};

fn call(place: &Place, direction: Direction) -> RecordingId {
    let voices = [Voice::g711(Party::Near, Law::Mu, &tone(8_000, 440.0)), Voice::strange(Party::Far, 3)];
    let facts = RecordingFacts {
        extension: "2001".into(),
        extension_name: Some("Ann".into()),
        outside_number: Some("+441234567890".into()),
        other_party_name: None,
        direction,
        pauses: vec![Span { start_ms: 200, end_ms: 300 }],
        ..facts(direction as u8 + 1, 1_250, "x")
    };
    record(&place.archive, facts, &voices)
}

fn vcon(place: &Place, id: RecordingId, format: FileFormat, shape: Shape) -> Value {
    let mut file = Vec::new();
    let selection = Selection { format, shape, sealed: false, without_sip: false };
    let exported =
        web::vcon::export(&place.archive, id, selection, &Exporter::new("ann", started()), &mut file)
            .expect("a vCon");
    assert_eq!(exported.bytes, file.len() as u64);
    serde_json::from_slice(&file).expect("JSON")
}

fn bytes(value: &Value) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(value.as_str().expect("text")).expect("base 64 for URLs, without padding")
}

/// Follows RFC 7515, 5.2, with the key of the certificate in `x5c`: the payload.
fn verified(signed: &Value) -> Value {
    let keys: Vec<&String> = signed.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["payload", "signatures"], "the general serialization");
    let signature = &signed["signatures"][0];
    let protected: Value = serde_json::from_slice(&bytes(&signature["protected"])).expect("JSON");
    let header = signature["header"].as_object().expect("an unprotected header");
    assert_eq!(protected["alg"], "EdDSA");
    let twice = protected.as_object().expect("an object").keys().find(|name| header.contains_key(*name));
    assert_eq!(twice, None, "names of both headers are disjoint (7.2.1)");
    // x5c is base 64 with padding, not for URLs (4.1.6). The key of 32 bytes stands behind this.
    let der = STANDARD.decode(header["x5c"][0].as_str().expect("text")).expect("base 64");
    let before = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];
    let at = der.windows(12).position(|window| window == before).expect("an Ed25519 key") + 12;
    let key = VerifyingKey::from_bytes(der[at..at + 32].try_into().expect("32 bytes")).expect("a key");
    let text = format!(
        "{}.{}",
        signature["protected"].as_str().expect("text"),
        signed["payload"].as_str().expect("text")
    );
    let sum = Signature::from_slice(&bytes(&signature["signature"])).expect("64 bytes");
    key.verify_strict(text.as_bytes(), &sum).expect("the signature holds");
    let payload: Value = serde_json::from_slice(&bytes(&signed["payload"])).expect("JSON");
    assert_eq!(payload["uuid"], header["uuid"]);
    payload
}

/// A date as RFC 8620, 1.4 writes it.
fn is_date(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    text.len() >= 20
        && text.as_bytes()[10] == b'T'
        && text.ends_with('Z')
        && !(text.contains('.') && text.ends_with("0Z"))
        && text.parse::<decode::Timestamp>().is_ok()
}

/// The draft's rules for what we use of it. Other names in these objects would need an extension.
fn assert_follows_the_draft(vcon: &Value) {
    let only = |value: &Value, names: &[&str]| {
        for name in value.as_object().expect("an object").keys() {
            assert!(names.contains(&name.as_str()), "{name} is none of {names:?}");
        }
    };
    only(vcon, &["vcon", "uuid", "created_at", "parties", "dialog", "analysis", "attachments"]);
    assert_eq!(vcon["vcon"], "0.4.0");
    let uuid = vcon["uuid"].as_str().expect("text");
    let lengths: Vec<usize> = uuid.split('-').map(str::len).collect();
    assert_eq!(lengths, [8, 4, 4, 4, 12], "{uuid}");
    assert!(uuid.as_bytes()[14] == b'8' && b"89ab".contains(&uuid.as_bytes()[19]), "version 8: {uuid}");
    assert!(is_date(&vcon["created_at"]), "{}", vcon["created_at"]);
    let parties = vcon["parties"].as_array().expect("an array");
    parties.iter().for_each(|party| only(party, &["tel", "name", "type"]));
    let is_party = |value: &Value| value.as_u64().is_some_and(|index| index < parties.len() as u64);
    for dialog in vcon["dialog"].as_array().expect("an array") {
        only(
            dialog,
            &[
                "type",
                "start",
                "duration",
                "parties",
                "originator",
                "mediatype",
                "filename",
                "body",
                "encoding",
                "content_hash",
            ],
        );
        assert_eq!(dialog["type"], "recording");
        assert!(is_date(&dialog["start"]) && dialog["duration"].is_f64(), "{dialog:#}");
        match &dialog["parties"] {
            Value::Array(list) => assert!(list.iter().all(is_party)),
            one => assert!(is_party(one)),
        }
        assert!(dialog.get("originator").is_none_or(is_party));
        assert!(["audio/x-wav", "audio/ogg"].contains(&dialog["mediatype"].as_str().expect("text")));
        assert_eq!(dialog["encoding"], "base64url");
        let hash = format!("sha512-{}", URL_SAFE_NO_PAD.encode(Sha512::digest(bytes(&dialog["body"]))));
        assert_eq!(dialog["content_hash"], hash.as_str());
    }
    assert_eq!(vcon["analysis"].as_array().map(Vec::len), Some(0));
    for attachment in vcon["attachments"].as_array().expect("an array") {
        only(
            attachment,
            &["purpose", "start", "party", "dialog", "mediatype", "filename", "body", "encoding"],
        );
        assert!(is_date(&attachment["start"]) && is_party(&attachment["party"]), "{attachment:#}");
        assert!(attachment["dialog"].as_u64().is_some_and(|dialog| dialog == 0));
        assert!(attachment["encoding"] == "json" && attachment["mediatype"] == "application/json");
    }
}

#[test]
fn a_vcon_follows_the_draft_and_holds_the_audio_of_the_wave_file() {
    let place = place();
    let id = call(&place, Direction::Inbound);
    let mut wave = Vec::new();
    web::export(&place.archive, id, FileFormat::Wav, Shape::Stereo, &mut wave).expect("a file");
    let vcon = verified(&vcon(&place, id, FileFormat::Wav, Shape::Stereo));
    assert_follows_the_draft(&vcon);
    let dialog = &vcon["dialog"][0];
    assert!(bytes(&dialog["body"]) == wave, "the same file");
    assert_eq!(dialog["duration"], 1.25);
    assert_eq!((&dialog["parties"], &dialog["originator"]), (&serde_json::json!([0, 1]), &1.into()));
    // The phone says Ann; the user that the recording counts for goes before it.
    assert_eq!(vcon["parties"][0], serde_json::json!({ "tel": "2001", "name": "x" }));
    assert_eq!(vcon["parties"][1], serde_json::json!({ "tel": "+441234567890" }));
}

#[test]
fn what_is_not_in_the_audio_is_said_with_the_proof() {
    let place = place();
    let id = call(&place, Direction::Outbound);
    let vcon = verified(&vcon(&place, id, FileFormat::Ogg, Shape::Stereo));
    assert_follows_the_draft(&vcon);
    assert!(vcon["dialog"][0].get("originator").is_none(), "the first party called");
    let body = &vcon["attachments"][0]["body"];
    assert_eq!(
        body["recording"]["left_out"],
        serde_json::json!([
            { "what": "paused", "start_ms": 200, "end_ms": 300 },
            { "what": "not-decodable", "party": "far", "codec": "BV16", "packets": 3 },
        ])
    );
    let proof: store::Proof = serde_json::from_value(body["recording"]["proof"].clone()).expect("a proof");
    let key = place.archive.signing_key().signing().expect("a key");
    assert_eq!(proof.verify(&key).map(|proven| proven.id), Ok(id));
    let near = verified(&self::vcon(&place, id, FileFormat::Wav, Shape::Near));
    assert_follows_the_draft(&near);
    assert_eq!(near["dialog"][0]["parties"], 0);
    let left_out = near["attachments"][0]["body"]["recording"]["left_out"].to_string();
    assert!(left_out.contains(r#"{"party":"far","what":"channel"}"#), "{left_out}");
}

#[test]
fn a_changed_payload_does_not_verify_and_other_audio_is_refused() {
    let place = place();
    let id = call(&place, Direction::Internal);
    let signed = vcon(&place, id, FileFormat::Wav, Shape::Mono);
    let internal = verified(&signed);
    assert!(internal["dialog"][0].get("originator").is_none(), "not known who called");
    let mut changed = signed;
    let text = changed["payload"].as_str().expect("text").to_owned();
    let other = if text.ends_with('A') { 'B' } else { 'A' };
    changed["payload"] = Value::from(format!("{}{other}", &text[..text.len() - 1]));
    assert!(std::panic::catch_unwind(|| verified(&changed)).is_err());
    let selection = Selection { format: FileFormat::Flac, ..Selection::default() };
    let refused =
        web::vcon::export(&place.archive, id, selection, &Exporter::new("ann", started()), Vec::new());
    assert!(matches!(refused, Err(Error::Unsuited { .. })));
}

#[test]
fn openssl_reads_the_certificate_and_its_signature_holds() {
    let place = place();
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("certificate.pem");
    let der = STANDARD.encode(place.archive.certificate().expect("a key"));
    let lines: Vec<&str> =
        der.as_bytes().chunks(64).map(|l| std::str::from_utf8(l).expect("ASCII")).collect();
    let pem = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"));
    std::fs::write(&path, pem).expect("written");
    let path = path.to_str().expect("UTF-8");
    let Ok(run) = Command::new("openssl").args(["verify", "-check_ss_sig", "-CAfile", path, path]).output()
    else {
        eprintln!("skipped: there is no openssl on this machine");
        return;
    };
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let run = Command::new("openssl").args(["x509", "-noout", "-subject", "-enddate", "-in", path]).output();
    let said = String::from_utf8(run.expect("ran").stdout).expect("UTF-8");
    assert!(said.contains(&format!("earwitness archive {}", place.archive.id())), "{said}");
    assert!(said.contains("9999"), "{said}");
}
