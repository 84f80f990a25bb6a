//! The certificate of the pages: one that somebody gives, or one that is made here and that browsers ask about once.
//!
//! Bytes in, bytes out: where they are kept is somebody else's.

use std::fmt;
use std::sync::Arc;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};

/// For so long is one good that is made here: what browsers take of certificates of no authority, and an appliance's life.
const YEARS: i32 = 10;

/// A certificate with its key.
pub struct Certificate {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// What was made.
#[derive(Clone, PartialEq, Eq)]
pub struct Made {
    /// The certificate, PEM.
    pub certificate: String,
    /// Its private key, PEM: for its owner alone.
    pub key: String,
}

impl fmt::Debug for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Made").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// Why a certificate does not serve.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// There is none in the file.
    #[error("no certificate in it: a PEM file with BEGIN CERTIFICATE is needed, the pages' own first")]
    NoCertificate,
    /// There is no key in the file.
    #[error("no private key in it: a PEM file with BEGIN PRIVATE KEY, without a passphrase, is needed")]
    NoKey,
    /// TLS does not take them.
    #[error("certificate and key do not go together, or cannot be used: {0}")]
    Unsuited(String),
    /// It could not be made.
    #[error("a certificate could not be made: {0}")]
    NotMade(String),
}

impl Certificate {
    /// From PEM: a chain that begins with the pages' own, and its key.
    ///
    /// # Errors
    /// [`CertificateError`], but for `NotMade`.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Certificate, CertificateError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or(CertificateError::NoCertificate)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| CertificateError::NoKey)?;
        let certificate = Certificate { chain, key };
        certificate.config()?;
        Ok(certificate)
    }

    /// One for these names and addresses, signed by itself; `year` is the present one.
    ///
    /// # Errors
    /// [`CertificateError::NotMade`].
    pub fn make(names: &[String], year: i32) -> Result<Made, CertificateError> {
        let not_made = |error: rcgen::Error| CertificateError::NotMade(error.to_string());
        let mut params = CertificateParams::new(names).map_err(not_made)?;
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, names.first().map_or("earwitness", String::as_str));
        name.push(DnType::OrganizationName, "earwitness");
        params.distinguished_name = name;
        // The clock of a new machine may be behind.
        params.not_before = rcgen::date_time_ymd(year.saturating_sub(1), 1, 1);
        params.not_after = rcgen::date_time_ymd(year.saturating_add(YEARS), 12, 31);
        params.use_authority_key_identifier_extension = false;
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(not_made)?;
        let certificate = params.self_signed(&key).map_err(not_made)?;
        Ok(Made { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    /// What browsers show of it: SHA-256 of the pages' own, in hexadecimal with colons.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let digest = self.chain.first().map(Sha256::digest).unwrap_or_default();
        digest.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
    }

    pub(super) fn config(&self) -> Result<Arc<ServerConfig>, CertificateError> {
        let unsuited = |error: rustls::Error| CertificateError::Unsuited(error.to_string());
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(unsuited)?
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .map_err(unsuited)?;
        Ok(Arc::new(config))
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("fingerprint", &self.fingerprint()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_taken_and_shows_no_key() {
        let made = Certificate::make(&["recorder.lan".into(), "192.0.2.7".into()], 2026).expect("made");
        let taken = Certificate::from_pem(made.certificate.as_bytes(), made.key.as_bytes()).expect("right");
        assert_eq!(taken.fingerprint().len(), 95);
        assert!(!format!("{made:?}{taken:?}").contains("PRIVATE"));
    }

    #[test]
    fn files_without_or_of_another_are_refused() {
        let one = Certificate::make(&["a.lan".into()], 2026).expect("made");
        let two = Certificate::make(&["b.lan".into()], 2026).expect("made");
        let take = |chain: &str, key: &str| Certificate::from_pem(chain.as_bytes(), key.as_bytes()).map(drop);
        assert_eq!(take("", &one.key), Err(CertificateError::NoCertificate));
        assert_eq!(take(&one.certificate, ""), Err(CertificateError::NoKey));
        assert_eq!(take(&one.certificate, &one.certificate), Err(CertificateError::NoKey));
        assert!(matches!(take(&one.certificate, &two.key), Err(CertificateError::Unsuited(_))));
    }
}
