//! TLS key logs on disk, read on as they grow. What their lines mean is `decode`'s business; nothing of them is logged.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use crate::failure::Failure;

/// Bytes taken at a time.
const BLOCK_BYTES: u64 = 1024 * 1024;
/// A longer line is no line of a key log.
const LINE_BYTES_MAX: usize = 4096;

/// The key logs that were named.
#[derive(Debug)]
pub(crate) struct KeyLogs(Vec<KeyLog>);

#[derive(Debug)]
struct KeyLog {
    path: PathBuf,
    file: File,
    /// Where the next line begins.
    at: u64,
}

impl KeyLogs {
    /// Opens the files, which must be there.
    pub(crate) fn open(paths: &[PathBuf]) -> Result<KeyLogs, Failure> {
        let open = |path: &PathBuf| match File::open(path) {
            Ok(file) => Ok(KeyLog { path: path.clone(), file, at: 0 }),
            Err(error) => Err(Failure::new(format!("--tls-keylog {}: {error}", path.display()))),
        };
        paths.iter().map(open).collect::<Result<_, _>>().map(KeyLogs)
    }

    /// Gives the whole lines that are new, at first perhaps none. A last line without end counts when `all_is_written`. A
    /// file that cannot be read is left out from then on.
    pub(crate) fn read_on(
        &mut self,
        all_is_written: bool,
        mut give: impl FnMut(&[u8]),
    ) -> Result<(), String> {
        let mut failure = Ok(());
        self.0.retain_mut(|log| match log.read_on(all_is_written, &mut give) {
            Ok(()) => true,
            Err(error) => {
                failure = Err(format!("--tls-keylog {}: {error}", log.path.display()));
                false
            }
        });
        failure
    }
}

impl KeyLog {
    fn read_on(&mut self, all_is_written: bool, give: &mut impl FnMut(&[u8])) -> std::io::Result<()> {
        let length = self.file.metadata()?.len();
        if length == 0 {
            // Secrets are to come: what is sealed has to wait for them.
            give(&[]);
        }
        if length < self.at {
            // Emptied, and begun anew.
            self.at = 0;
        }
        while self.at < length {
            self.file.seek(SeekFrom::Start(self.at))?;
            let mut block = Vec::new();
            (&self.file).take(BLOCK_BYTES).read_to_end(&mut block)?;
            let lines = match block.iter().rposition(|&byte| byte == b'\n') {
                Some(end) => end + 1,
                // The line is still being written.
                None if block.len() <= LINE_BYTES_MAX && !all_is_written => return Ok(()),
                None => block.len(),
            };
            give(&block[..lines]);
            self.at += lines as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_key_log_is_read_on_by_whole_lines_and_from_the_start_when_it_is_emptied() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let path = folder.path().join("keys");
        let mut file = File::create(&path).expect("a file");
        let mut logs = KeyLogs::open(std::slice::from_ref(&path)).expect("a key log");
        let mut read = || {
            let mut text = Vec::new();
            logs.read_on(false, |lines| text.extend_from_slice(lines)).expect("it can be read");
            String::from_utf8(text).expect("text")
        };
        assert_eq!(read(), "");
        file.write_all(b"one\ntwo\nthr").expect("written");
        assert_eq!(read(), "one\ntwo\n");
        assert_eq!(read(), "");
        file.write_all(b"ee\n").expect("written");
        assert_eq!(read(), "three\n");
        std::fs::write(&path, "new\n").expect("written");
        assert_eq!(read(), "new\n");
        std::fs::write(&path, "one\ntwo").expect("written");
        let mut text = Vec::new();
        KeyLogs::open(std::slice::from_ref(&path))
            .and_then(|mut logs| {
                logs.read_on(true, |lines| text.extend_from_slice(lines)).map_err(Failure::new)
            })
            .expect("it can be read");
        assert_eq!(text, b"one\ntwo");
        assert!(KeyLogs::open(&[folder.path().join("none")]).is_err());
    }
}
