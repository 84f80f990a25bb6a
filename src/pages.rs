//! Where the pages are and by what certificate: what `run` and `serve` share.
//!
//! Without a certificate of the site's own, one is made at the first start and kept in the archive's folder, so that browsers ask
//! about it once and not at every start.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;

use web::server::{Certificate, Place};

use crate::clock;
use crate::cmd::warn;
use crate::config::Settings;
use crate::failure::Failure;
use crate::secrets;

/// The folder in the archive's.
const FOLDER: &str = "pages";
const CERTIFICATE: &str = "certificate.pem";
const KEY: &str = "key.pem";

/// Where the pages are when they listen at `listen`.
///
/// # Errors
/// When a certificate is needed and cannot be read, made or kept.
pub(crate) fn place(settings: &Settings, listen: SocketAddr) -> Result<Place, Failure> {
    let section = &settings.web;
    if !section.is_secure(listen) {
        return Ok(Place::plain(listen));
    }
    let mut names = section.names.clone();
    if names.is_empty() {
        names.push(rustix::system::uname().nodename().to_string_lossy().into_owned());
    }
    let certificate = match (&section.certificate, &section.key) {
        (Some(chain), Some(key)) => given(chain, key)?,
        _ => own(&settings.archive.join(FOLDER), &names, listen)?,
    };
    tracing::info!(fingerprint = certificate.fingerprint(), "the pages' certificate");
    Ok(Place { listen, certificate: Some(certificate), names })
}

fn given(chain: &Path, key: &Path) -> Result<Certificate, Failure> {
    let read = |what, path: &Path| {
        fs::read(path).map_err(|error| Failure::config(format!("{what}: {}: {error}", path.display())))
    };
    let text = secrets::read("web.key", key)?;
    Certificate::from_pem(&read("web.certificate", chain)?, text.as_bytes())
        .map_err(|error| Failure::config(format!("web.certificate: {}: {error}", chain.display())))
}

/// The one that was made here, or a new one.
fn own(folder: &Path, names: &[String], listen: SocketAddr) -> Result<Certificate, Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::new(format!("{}: the pages' certificate: {error}", folder.display()))
    };
    let kept = (fs::read(folder.join(CERTIFICATE)), fs::read(folder.join(KEY)));
    if let (Ok(chain), Ok(key)) = &kept {
        match Certificate::from_pem(chain, key) {
            Ok(certificate) => return Ok(certificate),
            // It protects the way alone: nothing is lost with it but that browsers ask again.
            Err(error) => warn(&format!("{}: {error}; a new one is made", folder.display())),
        }
    }
    let mut named = names.to_vec();
    named.extend(["localhost".into(), "127.0.0.1".into(), "::1".into()]);
    if !listen.ip().is_unspecified() {
        named.push(listen.ip().to_string());
    }
    let (year, _, _) = clock::now().date();
    let made =
        Certificate::make(&named, i32::try_from(year).unwrap_or_default()).map_err(|error| failed(&error))?;
    fs::create_dir_all(folder).map_err(|error| failed(&error))?;
    for (name, text) in [(KEY, &made.key), (CERTIFICATE, &made.certificate)] {
        keep(folder, name, text).map_err(|error| failed(&error))?;
    }
    let certificate = Certificate::from_pem(made.certificate.as_bytes(), made.key.as_bytes())
        .map_err(|error| failed(&error))?;
    warn(&format!(
        "a certificate for the pages was made; browsers ask about it once, compare its SHA-256: {}",
        certificate.fingerprint()
    ));
    Ok(certificate)
}

/// Whole or not at all, and its owner's alone.
fn keep(folder: &Path, name: &str, text: &str) -> std::io::Result<()> {
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    new.write_all(text.as_bytes())?;
    new.as_file().sync_all()?;
    new.persist(folder.join(name))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_certificate_is_made_once_and_its_key_is_its_owner_s_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = dir.path().join(FOLDER);
        let listen = "0.0.0.0:8443".parse().expect("an address");
        let own = || own(&folder, &["recorder.lan".into()], listen).expect("a certificate").fingerprint();
        let first = own();
        assert_eq!(own(), first);
        let mode = fs::metadata(folder.join(KEY)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(folder.join(CERTIFICATE), "nonsense").expect("written");
        assert_ne!(own(), first, "a new one in place of one that cannot be used");
    }
}
