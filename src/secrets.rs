//! Secrets in files: read once, for their owner alone, and never logged.
//!
//! `credential:NAME` in place of a path is the file NAME in the folder that `CREDENTIALS_DIRECTORY` names: what systemd hands to a
//! service (systemd.exec, `LoadCredential=`).

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::failure::Failure;

/// Bytes of a file with a secret; a longer one is none.
const SECRET_MAX: u64 = 16 * 1024;

/// What stands before the name of a credential.
const CREDENTIAL: &str = "credential:";
/// The variable in which systemd names their folder.
const FOLDER: &str = "CREDENTIALS_DIRECTORY";

/// A file with a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SecretFile {
    pub(crate) path: PathBuf,
    /// Systemd lets nobody else at it, whatever its permissions look like: they may show the mask of an access list.
    is_credential: bool,
}

/// The file that a setting means; `what` tells which setting.
///
/// # Errors
/// For a credential where systemd hands none over, or of a name with a slash in it.
pub(crate) fn locate(what: &str, written: &Path) -> Result<SecretFile, Failure> {
    locate_in(std::env::var_os(FOLDER).as_deref(), written)
        .map_err(|why| Failure::config(format!("{what}: {}: {why}", written.display())))
}

fn locate_in(folder: Option<&OsStr>, written: &Path) -> Result<SecretFile, String> {
    let Some(name) = written.to_str().and_then(|text| text.strip_prefix(CREDENTIAL)) else {
        return Ok(SecretFile { path: written.to_owned(), is_credential: false });
    };
    if name.contains(['/', '\0']) || matches!(name, "" | "." | "..") {
        return Err("the name of a credential has no slash in it, and is not empty".into());
    }
    let folder = folder.filter(|folder| !folder.is_empty()).ok_or_else(|| {
        format!("{FOLDER} is not set; under systemd, LoadCredential={name}:FILE in the unit sets it")
    })?;
    Ok(SecretFile { path: Path::new(folder).join(name), is_credential: true })
}

/// The text of a file without the line end that editors leave. `what` tells whose it is.
///
/// # Errors
/// When it cannot be read, others can read it, it is empty, or no text.
pub(crate) fn read(what: &str, path: &Path) -> Result<Zeroizing<String>, Failure> {
    let SecretFile { path, is_credential } = &locate(what, path)?;
    let wrong = |why: &dyn std::fmt::Display| Failure::config(format!("{what}: {}: {why}", path.display()));
    let file = std::fs::File::open(path).map_err(|error| wrong(&error))?;
    let metadata = file.metadata().map_err(|error| wrong(&error))?;
    if !is_credential && !is_private(&metadata) {
        return Err(wrong(&"others can read it: chmod 600 (or, of root and with our own group, 640)"));
    }
    let mut text = Zeroizing::new(String::new());
    file.take(SECRET_MAX).read_to_string(&mut text).map_err(|error| wrong(&error))?;
    let length = text.trim_ascii_end().len();
    text.truncate(length);
    if text.is_empty() { Err(wrong(&"it is empty")) } else { Ok(text) }
}

/// Is it for its owner alone, or root's and for the group that we run as?
fn is_private(metadata: &std::fs::Metadata) -> bool {
    let mode = metadata.permissions().mode();
    let is_ours = metadata.uid() == 0 && metadata.gid() == rustix::process::getegid().as_raw();
    mode & 0o077 == 0 || (is_ours && mode & 0o037 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_its_owners_alone_and_has_no_line_end() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("token");
        let mode =
            |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("ours");
        std::fs::write(&path, "open sesame\r\n").expect("written");
        mode(0o644);
        let told = read("api.token", &path).expect_err("others can read it").to_string();
        assert!(told.contains("chmod 600") && !told.contains("sesame"), "{told}");
        mode(0o600);
        assert_eq!(*read("api.token", &path).expect("a secret"), "open sesame");
        std::fs::write(&path, "\n").expect("written");
        assert!(read("api.token", &path).expect_err("nothing in it").to_string().contains("empty"));
    }

    #[test]
    fn a_credential_is_a_file_of_the_folder_that_systemd_names() {
        let folder = OsStr::new("/run/credentials/earwitness.service");
        let at = |written: &str| locate_in(Some(folder), Path::new(written));
        let file = |path: &str, is_credential| Ok(SecretFile { path: path.into(), is_credential });
        assert_eq!(at("credential:hep"), file("/run/credentials/earwitness.service/hep", true));
        for plain in ["/etc/earwitness/hep.key", "hep.key"] {
            assert_eq!(at(plain), file(plain, false));
        }
        for out in ["credential:", "credential:..", "credential:../shadow", "credential:/etc/shadow"] {
            assert!(at(out).is_err_and(|why| why.contains("no slash")), "{out}");
        }
        let outside = locate_in(None, Path::new("credential:hep")).expect_err("there is no folder");
        assert!(outside.contains("LoadCredential=hep"), "{outside}");
    }
}
