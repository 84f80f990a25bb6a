//! TLS of the endpoint's connections (RFC 3261, 26.3; RFC 5630): rustls with ring, TLS 1.2 and 1.3.
//!
//! Who connects is shown our certificate; whether it may speak is decided by its address. Where we connect, the peer's certificate must be
//! one of an authority that is known, for its address; it is shown ours when it asks.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

use super::SIP_UNSENT_BYTES_MAX;

/// Where TLS is taken, and with which certificate.
#[derive(Clone)]
pub struct EndpointTls {
    /// Address and port.
    pub listen: SocketAddr,
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl fmt::Debug for EndpointTls {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointTls").field("listen", &self.listen).finish_non_exhaustive()
    }
}

impl EndpointTls {
    /// From a certificate with those above it, and its key, both as PEM; `authorities` are certificates as DER.
    ///
    /// # Errors
    ///
    /// What is wrong with them, in words.
    pub fn new(
        listen: SocketAddr,
        certificate: &[u8],
        key: &[u8],
        authorities: &[Vec<u8>],
    ) -> Result<EndpointTls, String> {
        let chain = certificates(certificate)?;
        if chain.is_empty() {
            return Err("there is no certificate (PEM) in the certificate's file".into());
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| {
            "there is no private key (PEM, without a passphrase) in the key's file".to_owned()
        })?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let unsuited = |error: rustls::Error| format!("certificate and key: {error}");
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(unsuited)?
            .with_no_client_auth()
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(unsuited)?;
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(authorities.iter().map(|der| CertificateDer::from(der.clone())));
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unsuited)?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(unsuited)?;
        Ok(EndpointTls { listen, server: Arc::new(server), client: Arc::new(client) })
    }

    /// The certificates of a PEM file, as DER.
    ///
    /// # Errors
    ///
    /// When there are none, or one cannot be read.
    pub fn authorities(pem: &[u8]) -> Result<Vec<Vec<u8>>, String> {
        let found = certificates(pem)?;
        if found.is_empty() {
            return Err("there is no certificate (PEM) in it".into());
        }
        Ok(found.iter().map(|one| one.to_vec()).collect())
    }

    pub(super) fn accept(&self) -> io::Result<Box<rustls::Connection>> {
        let mut connection = ServerConnection::new(Arc::clone(&self.server)).map_err(io::Error::other)?;
        connection.set_buffer_limit(Some(SIP_UNSENT_BYTES_MAX));
        Ok(Box::new(connection.into()))
    }

    pub(super) fn connect(&self, peer: IpAddr) -> io::Result<Box<rustls::Connection>> {
        let name = ServerName::IpAddress(peer.into());
        let mut connection =
            ClientConnection::new(Arc::clone(&self.client), name).map_err(io::Error::other)?;
        connection.set_buffer_limit(Some(SIP_UNSENT_BYTES_MAX));
        Ok(Box::new(connection.into()))
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| "a certificate (PEM) cannot be read".to_owned())
}
