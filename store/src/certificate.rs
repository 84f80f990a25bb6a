//! The archive's signing key for tools that know keys by X.509 and JOSE: a self-signed certificate (RFC 5280, RFC 8410) and a
//! signature in the form of JWS (RFC 7515, RFC 8037).
//!
//! Both signed texts begin as no other text that the key signs: a certificate with an ASN.1 sequence, a JWS with the base 64 of
//! its header.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use decode::Timestamp;

use crate::{Archive, Error, RecordingId};

/// The protected header of our JWS.
const JWS_HEADER: &str = r#"{"alg":"EdDSA"}"#;
/// Ed25519, as an algorithm identifier: SEQUENCE { OBJECT IDENTIFIER 1.3.101.112 }.
const ED25519: [u8; 7] = [0x30, 5, 6, 3, 0x2b, 0x65, 0x70];
/// Common name: OBJECT IDENTIFIER 2.5.4.3.
const COMMON_NAME: [u8; 5] = [6, 3, 0x55, 4, 3];
/// "No well-defined expiration" (RFC 5280, 4.1.2.5).
const FOR_EVER: &[u8] = b"99991231235959Z";

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const UTF8_STRING: u8 = 0x0c;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;

/// The parts of a JWS that its payload does not bring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jws {
    /// The protected header, in base 64 for URLs.
    pub protected: String,
    /// The signature, the same.
    pub signature: String,
}

impl Archive {
    /// Signs a payload, given in base 64 for URLs, as a JWS with the algorithm EdDSA.
    ///
    /// # Errors
    /// [`Error::KeyMissing`] or [`Error::WrongKey`] without the signing key.
    pub fn sign_jws(&self, payload: &str) -> Result<Jws, Error> {
        let protected = BASE64URL.encode(JWS_HEADER);
        let text = [protected.as_str(), ".", payload].concat();
        let signature = self.shared.keys.sign_statement(text.as_bytes()).map_err(|e| e.under(self.dir()))?;
        Ok(Jws { protected, signature: BASE64URL.encode(signature) })
    }

    /// The signing key in a self-signed X.509 certificate, DER: subject `earwitness archive ID`, valid since the archive was
    /// made and without end. It says nothing that the key does not; some forms have no other place for a key.
    ///
    /// # Errors
    /// As [`Archive::sign_jws`].
    pub fn certificate(&self) -> Result<Vec<u8>, Error> {
        let public = self.shared.keys.sign_public();
        let made = self.id().parse::<RecordingId>().map_or_else(|_| Timestamp::default(), |id| id.started());
        let content = unsigned(self.id(), made, public, &self.shared.keys.signer().id());
        let signature = self.shared.keys.sign_statement(&content).map_err(|e| e.under(self.dir()))?;
        Ok(der(SEQUENCE, &[content, ED25519.to_vec(), bits(&signature)].concat()))
    }
}

/// What of a certificate is signed. Without extensions it is one of version 1.
fn unsigned(archive: &str, made: Timestamp, public: &[u8; 32], serial: &[u8; 8]) -> Vec<u8> {
    let name =
        [&COMMON_NAME[..], &der(UTF8_STRING, format!("earwitness archive {archive}").as_bytes())].concat();
    let name = der(SEQUENCE, &der(SET, &der(SEQUENCE, &name)));
    let validity = der(SEQUENCE, &[time(made), der(GENERALIZED_TIME, FOR_EVER)].concat());
    let key = der(SEQUENCE, &[ED25519.to_vec(), bits(public)].concat());
    // A one in front: the number is positive and in its shortest form whatever its bits.
    let serial = der(INTEGER, &[&[1], &serial[..]].concat());
    der(SEQUENCE, &[serial, ED25519.to_vec(), name.clone(), validity, name, key].concat())
}

/// RFC 5280, 4.1.2.5: two digits for the year until 2049.
fn time(at: Timestamp) -> Vec<u8> {
    let (year, month, day) = at.date();
    let second = at.as_millis().rem_euclid(86_400_000) / 1_000;
    let (h, m, s) = (second / 3_600, second / 60 % 60, second % 60);
    let rest = format!("{month:02}{day:02}{h:02}{m:02}{s:02}Z");
    match year {
        1950..=2049 => der(UTC_TIME, format!("{:02}{rest}", year % 100).as_bytes()),
        year => der(GENERALIZED_TIME, format!("{year:04}{rest}").as_bytes()),
    }
}

/// A BIT STRING of whole bytes.
fn bits(bytes: &[u8]) -> Vec<u8> {
    der(BIT_STRING, &[&[0], bytes].concat())
}

/// Tag, length, content; content here is always shorter than 64 KiB.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = content.len();
    let head = match len {
        0..0x80 => vec![tag, len as u8],
        0x80..0x100 => vec![tag, 0x81, len as u8],
        _ => vec![tag, 0x82, (len >> 8) as u8, len as u8],
    };
    [head, content.to_vec()].concat()
}
