//! Time-stamp requests, replies and tokens (RFC 3161), and the CMS around a token (RFC 5652): their bytes.
//!
//! Says what a token says and what it is signed over; whether the signature holds is [`super::authority`]'s.

use decode::Timestamp;

use super::der::{
    self, BIT_STRING, BOOLEAN, CONTEXT_0, CONTEXT_1, Element, Elements, GENERALIZED_TIME, INTEGER, NULL,
    OCTET_STRING, OID, SEQUENCE, SET,
};

/// The longest reply that is believed, in bytes.
pub const REPLY_MAX: usize = 64 * 1024;
/// Bytes of the number by which a reply is told to be the answer to this request.
pub(crate) const NONCE_LEN: usize = 8;
/// Certificates in a token that are looked at.
const CERTIFICATES_MAX: usize = 16;
/// The longest text that an authority gives as its reason and that is told on, in characters.
const REASON_MAX: usize = 200;

/// id-sha256, 2.16.840.1.101.3.4.2.1
pub(super) const SHA256: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];
/// id-signedData, 1.2.840.113549.1.7.2
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2];
/// id-ct-TSTInfo, 1.2.840.113549.1.9.16.1.4
pub(super) const TST_INFO: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 1, 4];

/// Asks for a stamp on these 32 bytes, with the authority's certificate in it.
pub(crate) fn request(imprint: &[u8; 32], nonce: &[u8; NONCE_LEN]) -> Vec<u8> {
    let algorithm = der::element(SEQUENCE, &[der::element(OID, SHA256), der::element(NULL, &[])].concat());
    let imprint = der::element(SEQUENCE, &[algorithm, der::element(OCTET_STRING, imprint)].concat());
    let parts =
        [der::element(INTEGER, &[1]), imprint, der::element(INTEGER, nonce), der::element(BOOLEAN, &[0xff])];
    der::element(SEQUENCE, &parts.concat())
}

/// Makes random bytes a positive INTEGER that cannot be written shorter.
pub(crate) fn nonce(mut random: [u8; NONCE_LEN]) -> [u8; NONCE_LEN] {
    random[0] = random[0] & 0x7f | 0x40;
    random
}

/// A reply around a token, as an authority sends it that grants one.
pub(crate) fn reply_of(token: &[u8]) -> Vec<u8> {
    let granted = der::element(SEQUENCE, &der::element(INTEGER, &[0]));
    der::element(SEQUENCE, &[&granted, token].concat())
}

/// The token in an authority's reply; the error says why there is none.
pub(crate) fn granted(reply: &[u8]) -> Result<&[u8], String> {
    let garbage = || "what it sent is no time-stamp reply".to_owned();
    if reply.len() > REPLY_MAX {
        return Err(format!("what it sent is longer than {REPLY_MAX} bytes"));
    }
    let mut parts = der::only(reply, SEQUENCE).ok_or_else(garbage)?.inside();
    let mut status = parts.expect(SEQUENCE).ok_or_else(garbage)?.inside();
    let code = status.expect(INTEGER).ok_or_else(garbage)?.content;
    let reason = status.expect(SEQUENCE).map(reason).unwrap_or_default();
    let failure = status.expect(BIT_STRING).map(|bits| failure(bits.content)).unwrap_or_default();
    // Granted, or granted with changes: those show in the token.
    if !matches!(code, [0 | 1]) {
        let because = [failure, &reason].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>();
        return Err(match because.is_empty() {
            true => "it refuses".into(),
            false => format!("it refuses: {}", because.join(", ")),
        });
    }
    let token = parts.expect(SEQUENCE).filter(|_| parts.is_empty()).ok_or_else(garbage)?;
    Ok(token.whole)
}

/// The words that a refusal comes with.
fn reason(texts: Element<'_>) -> String {
    let text = texts.inside().take().map(|text| String::from_utf8_lossy(text.content).into_owned());
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.unwrap_or_default().chars().take(REASON_MAX).map(plain).collect()
}

/// RFC 3161, 2.4.2.
fn failure(bits: &[u8]) -> &'static str {
    let is_set = |n: usize| bits.get(1 + n / 8).is_some_and(|byte| byte & (0x80 >> (n % 8)) != 0);
    let known = [
        (0, "it does not know the hash"),
        (2, "it does not allow this request"),
        (5, "it cannot read the request"),
        (14, "its clock is not to be had"),
        (15, "it does not know the policy"),
        (16, "it does not know an extension"),
        (17, "it has nothing to add"),
        (25, "it has failed"),
    ];
    known.iter().find(|(n, _)| is_set(*n)).map_or("", |(_, what)| what)
}

/// A token, taken apart.
#[derive(Debug)]
pub(crate) struct Token<'a> {
    /// The hash that it stamps; SHA-256.
    pub(crate) imprint: &'a [u8],
    /// The number of the request that it answers.
    pub(crate) nonce: Option<&'a [u8]>,
    /// The authority's time.
    pub(crate) at: Timestamp,
    /// What is signed by way of the attributes: the TSTInfo.
    pub(super) content: &'a [u8],
    pub(super) certificates: Vec<&'a [u8]>,
    /// The hash of the content, an OID.
    pub(super) digest: &'a [u8],
    /// The signed attributes, as they stand.
    pub(super) attributes: Element<'a>,
    pub(super) signature: &'a [u8],
}

impl<'a> Token<'a> {
    /// Takes a token apart; none when it is no time stamp over a SHA-256 hash, signed by one.
    pub(crate) fn parse(token: &'a [u8]) -> Option<Token<'a>> {
        let mut outer = der::only(token, SEQUENCE)?.inside();
        outer.expect(OID).filter(|kind| kind.content == SIGNED_DATA)?;
        let mut signed = der::only(outer.expect(CONTEXT_0)?.content, SEQUENCE)?.inside();
        signed.expect(INTEGER)?;
        signed.expect(SET)?;
        let mut wrapped = signed.expect(SEQUENCE)?.inside();
        wrapped.expect(OID).filter(|kind| kind.content == TST_INFO)?;
        let content = der::only(wrapped.expect(CONTEXT_0)?.content, OCTET_STRING)?.content;
        let mut certificates = Vec::new();
        if let Some(all) = signed.expect(CONTEXT_0) {
            let mut all = all.inside();
            while let Some(one) = all.take().filter(|_| certificates.len() < CERTIFICATES_MAX) {
                certificates.push(one.whole);
            }
        }
        signed.expect(CONTEXT_1);
        // RFC 3161, 2.4.2: no signatures but the authority's.
        let mut signer = der::only(signed.expect(SET)?.content, SEQUENCE)?.inside();
        signer.expect(INTEGER)?;
        signer.take()?;
        let digest = signer.expect(SEQUENCE)?.inside().expect(OID)?.content;
        let attributes = signer.expect(CONTEXT_0)?;
        signer.expect(SEQUENCE)?;
        let signature = signer.expect(OCTET_STRING)?.content;
        let Info { imprint, at, nonce } = info(content)?;
        Some(Token { imprint, nonce, at, content, certificates, digest, attributes, signature })
    }
}

/// What a TSTInfo says.
struct Info<'a> {
    imprint: &'a [u8],
    at: Timestamp,
    nonce: Option<&'a [u8]>,
}

fn info(content: &[u8]) -> Option<Info<'_>> {
    let mut info = der::only(content, SEQUENCE)?.inside();
    info.expect(INTEGER).filter(|version| version.content == [1])?;
    info.expect(OID)?;
    let mut imprint = info.expect(SEQUENCE)?.inside();
    imprint.expect(SEQUENCE)?.inside().expect(OID).filter(|hash| hash.content == SHA256)?;
    let imprint = imprint.expect(OCTET_STRING).filter(|hash| hash.content.len() == 32)?.content;
    info.expect(INTEGER)?;
    let at = generalized_time(info.expect(GENERALIZED_TIME)?.content)?;
    info.expect(SEQUENCE);
    info.expect(BOOLEAN);
    Some(Info { imprint, at, nonce: info.expect(INTEGER).map(|nonce| nonce.content) })
}

/// `YYYYMMDDhhmmss[.fff]Z`
fn generalized_time(text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if whole.len() != 14 || ![whole, fraction].iter().all(|part| part.bytes().all(|b| b.is_ascii_digit())) {
        return None;
    }
    let part = |range| whole.get(range);
    let (year, month, day) = (part(0..4)?, part(4..6)?, part(6..8)?);
    let (hour, minute, second) = (part(8..10)?, part(10..12)?, part(12..14)?);
    let fraction = fraction.get(..fraction.len().min(9)).filter(|digits| !digits.is_empty())?;
    format!("{year}-{month}-{day}T{hour}:{minute}:{second}.{fraction}Z").parse().ok()
}

/// The value of a signed attribute, by its OID; none when it is not there once, with one value.
pub(super) fn attribute<'a>(attributes: Element<'a>, kind: &[u8]) -> Option<Element<'a>> {
    let mut all = attributes.inside();
    let mut found = None;
    while let Some(one) = all.expect(SEQUENCE) {
        let mut one = one.inside();
        if one.expect(OID)?.content == kind {
            let mut values: Elements<'a> = one.expect(SET)?.inside();
            let value = values.take().filter(|_| values.is_empty())?;
            if found.replace(value).is_some() {
                return None;
            }
        }
    }
    found.filter(|_| all.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_fractions_and_others_refused() {
        let read = |text: &str| generalized_time(text.as_bytes()).map(|at| at.to_string());
        assert_eq!(read("20261129155500Z").as_deref(), Some("2026-11-29T15:55:00.000Z"));
        assert_eq!(read("20261129155500.25Z").as_deref(), Some("2026-11-29T15:55:00.250Z"));
        for wrong in
            ["20261329155500Z", "20261129155500", "202611291555Z", "2026112915550+Z", "20261129155500.Z", "Z"]
        {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_refusal_is_told_with_its_reason() {
        let text = der::element(SEQUENCE, &der::element(0x0c, b"not\ntoday"));
        let status = |code, rest: &[u8]| {
            let status = [&der::element(INTEGER, &[code]), rest].concat();
            der::element(SEQUENCE, &der::element(SEQUENCE, &status))
        };
        assert_eq!(granted(&status(2, &text)), Err("it refuses: not today".into()));
        let bits = der::element(BIT_STRING, &[1, 0, 2]);
        assert_eq!(granted(&status(2, &bits)), Err("it refuses: its clock is not to be had".into()));
        assert_eq!(granted(&status(0, &[])), Err("what it sent is no time-stamp reply".into()), "no token");
        assert!(granted(b"<html>").is_err() && granted(&vec![0; REPLY_MAX + 1]).is_err());
    }

    #[test]
    fn a_nonce_is_positive_and_as_short_as_it_can_be() {
        for random in [[0; NONCE_LEN], [0xff; NONCE_LEN]] {
            assert!((0x40..0x80).contains(&nonce(random)[0]));
        }
    }
}
