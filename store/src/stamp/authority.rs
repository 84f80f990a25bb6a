//! Is a time stamp by an authority that somebody trusts? The signature in the token (RFC 5652, 5.4), the certificate that it
//! names (RFC 5035), and the way from that to a certificate authority that the caller gives.
//!
//! Paths and signatures are judged by `rustls-webpki`. It looks at the time of the stamp, and not at lists of revoked
//! certificates: `openssl ts -verify` by hand does, when it is given some.

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert, ring};

use super::der::{Element, OCTET_STRING, OID, SEQUENCE, SET};
use super::token::{SHA256, TST_INFO, Token, attribute};

/// id-sha384 and id-sha512.
const SHA384: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2];
const SHA512: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3];
/// id-contentType, 1.2.840.113549.1.9.3
const CONTENT_TYPE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 3];
/// id-messageDigest, 1.2.840.113549.1.9.4
const MESSAGE_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 4];
/// id-aa-signingCertificate, 1.2.840.113549.1.9.16.2.12: names the certificate by its SHA-1.
const SIGNING_CERTIFICATE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 2, 12];
/// id-aa-signingCertificateV2, 1.2.840.113549.1.9.16.2.47
const SIGNING_CERTIFICATE_V2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 2, 47];
/// id-kp-timeStamping, 1.3.6.1.5.5.7.3.8: a certificate without it stamps nothing.
const TIME_STAMPING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 8];

/// Certificate authorities that are believed.
#[derive(Clone, Debug)]
pub struct Authorities(Vec<CertificateDer<'static>>);

/// How signatures may be made, in certificates and tokens.
fn algorithms() -> [&'static dyn SignatureVerificationAlgorithm; 11] {
    [
        ring::ECDSA_P256_SHA256,
        ring::ECDSA_P256_SHA384,
        ring::ECDSA_P384_SHA256,
        ring::ECDSA_P384_SHA384,
        ring::ED25519,
        ring::RSA_PKCS1_2048_8192_SHA256,
        ring::RSA_PKCS1_2048_8192_SHA384,
        ring::RSA_PKCS1_2048_8192_SHA512,
        ring::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
        ring::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
        ring::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
    ]
}

impl Authorities {
    /// Reads certificates in PEM. The error says what is wrong with the text.
    ///
    /// # Errors
    /// No certificate in it, or one that cannot be read.
    pub fn from_pem(pem: &[u8]) -> Result<Authorities, String> {
        let all = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
        let all = all.map_err(|e| format!("not PEM: {e}"))?;
        for certificate in &all {
            anchor_from_trusted_cert(certificate)
                .map_err(|e| format!("a certificate cannot be read: {e}"))?;
        }
        if all.is_empty() {
            return Err("no certificate in it (-----BEGIN CERTIFICATE-----)".into());
        }
        Ok(Authorities(all))
    }

    /// Did one of them, or one that they certified for this, sign the token when it says? The error says what does not hold.
    pub(crate) fn vouch_for(&self, token: &Token<'_>) -> Result<(), String> {
        let kind = attribute(token.attributes, CONTENT_TYPE).filter(|kind| kind.tag == OID);
        if kind.is_none_or(|kind| kind.content != TST_INFO) {
            return Err("its signature is over something else than a time stamp".into());
        }
        let digest = digest(token.digest, token.content).ok_or("it is signed by way of an unknown hash")?;
        let said = attribute(token.attributes, MESSAGE_DIGEST).filter(|said| said.tag == OCTET_STRING);
        if said.is_none_or(|said| said.content != digest) {
            return Err("its content is not what was signed".into());
        }
        let certificate = signer(token).ok_or("the certificate that signed it is not in it")?;
        let others: Vec<CertificateDer<'_>> =
            token.certificates.iter().map(|other| CertificateDer::from(*other)).collect();
        let certificate = CertificateDer::from(certificate);
        let certificate = EndEntityCert::try_from(&certificate)
            .map_err(|e| format!("the certificate that signed it cannot be read: {e}"))?;
        // As CMS has it: the attributes are hashed as the set that they are, without their place in the token.
        let mut signed = token.attributes.whole.to_vec();
        if let Some(tag) = signed.first_mut() {
            *tag = SET;
        }
        let holds = |algorithm| certificate.verify_signature(algorithm, &signed, token.signature).is_ok();
        if !algorithms().into_iter().any(holds) {
            return Err("its signature does not hold, or is of a kind that is not known here".into());
        }
        let anchors = self.0.iter().filter_map(|ca| anchor_from_trusted_cert(ca).ok());
        let anchors: Vec<TrustAnchor<'_>> = anchors.collect();
        let seconds = u64::try_from(token.at.as_nanos() / decode::time::NS_PER_S).unwrap_or_default();
        let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        let usage = KeyUsage::required(TIME_STAMPING);
        let path = certificate.verify_for_usage(&algorithms(), &anchors, &others, at, usage, None, None);
        path.map(|_| ())
            .map_err(|e| format!("its certificate is not one of the given authorities' for time stamps: {e}"))
    }
}

/// The certificate that the signature names; by its hash, so that no other one can be put in its place.
fn signer<'a>(token: &Token<'a>) -> Option<&'a [u8]> {
    let first = |value: Element<'a>| value.inside().expect(SEQUENCE)?.inside().expect(SEQUENCE);
    let mut candidates = token.certificates.iter().copied();
    if let Some(value) = attribute(token.attributes, SIGNING_CERTIFICATE_V2) {
        let mut named = first(value)?.inside();
        let hash =
            named.expect(SEQUENCE).map_or(Some(SHA256), |hash| Some(hash.inside().expect(OID)?.content))?;
        let wanted = named.expect(OCTET_STRING)?.content;
        return candidates.find(|one| digest(hash, one).is_some_and(|digest| digest == wanted));
    }
    let wanted =
        first(attribute(token.attributes, SIGNING_CERTIFICATE)?)?.inside().expect(OCTET_STRING)?.content;
    candidates.find(|one| Sha1::digest(one)[..] == *wanted)
}

fn digest(hash: &[u8], bytes: &[u8]) -> Option<Vec<u8>> {
    match hash {
        SHA256 => Some(Sha256::digest(bytes).to_vec()),
        SHA384 => Some(Sha384::digest(bytes).to_vec()),
        SHA512 => Some(Sha512::digest(bytes).to_vec()),
        _ => None,
    }
}
