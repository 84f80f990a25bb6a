//! Secrets in files: read once, for their owner alone, and never logged.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use zeroize::Zeroizing;

use crate::failure::Failure;

/// Bytes of a file with a secret; a longer one is none.
const SECRET_MAX: u64 = 16 * 1024;

/// The text of a file without the line end that editors leave. `what` tells whose it is.
///
/// # Errors
/// When it cannot be read, others can read it, it is empty, or no text.
pub(crate) fn read(what: &str, path: &Path) -> Result<Zeroizing<String>, Failure> {
    let wrong = |why: &dyn std::fmt::Display| Failure::config(format!("{what}: {}: {why}", path.display()));
    let file = std::fs::File::open(path).map_err(|error| wrong(&error))?;
    let mode = file.metadata().map_err(|error| wrong(&error))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(wrong(&"others can read it: chmod 600"));
    }
    let mut text = Zeroizing::new(String::new());
    file.take(SECRET_MAX).read_to_string(&mut text).map_err(|error| wrong(&error))?;
    let length = text.trim_ascii_end().len();
    text.truncate(length);
    if text.is_empty() { Err(wrong(&"it is empty")) } else { Ok(text) }
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
        mode(0o640);
        let told = read("api.token", &path).expect_err("others can read it").to_string();
        assert!(told.contains("chmod 600") && !told.contains("sesame"), "{told}");
        mode(0o600);
        assert_eq!(*read("api.token", &path).expect("a secret"), "open sesame");
        std::fs::write(&path, "\n").expect("written");
        assert!(read("api.token", &path).expect_err("nothing in it").to_string().contains("empty"));
    }
}
