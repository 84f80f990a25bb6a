//! A place that copies of recordings are kept in: what is asked of it, and a folder as one.
//!
//! A folder is most often the mount of another machine. When that is not mounted, the folder is still there, empty, on the
//! archive's own disk: so each place holds a marker with the archive's name, and without it nothing is written there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, fadvise};
use serde::{Deserialize, Serialize};

use crate::disk::parent;
use crate::space::Space;
use crate::wave::{WRAP_AT, WRAP_LEN};

/// Says whose place it is.
pub(super) const MARKER: &str = "earwitness-location.json";
/// It is one short line.
pub(super) const MARKER_MAX: u64 = 4096;
/// Bytes read and written at a time.
pub(super) const BLOCK_LEN: usize = 256 * 1024;
/// For their owner alone: names and numbers stand in clear in a recording's header.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// Gives the next bytes of what is to be put; 0 at its end.
pub(super) type Feed<'a> = &'a mut dyn FnMut(&mut [u8]) -> io::Result<usize>;

/// What a place of copies must be able to do. Names are those of the archive's files, with `/` between.
pub(super) trait Place: Send + Sync + std::fmt::Debug {
    /// Puts `len` bytes under this name as a whole and durably, in place of what was there.
    fn put(&self, name: &str, len: u64, feed: Feed<'_>) -> io::Result<()>;
    /// Reads up to `buf.len()` bytes, fewer only at the end. What was put a moment ago comes from the place itself and not from
    /// this machine's memory of it, as far as the system allows.
    fn read_at(&self, name: &str, offset: u64, buf: &mut [u8]) -> io::Result<usize>;
    /// Length in bytes; none when there is no such copy.
    fn len(&self, name: &str) -> io::Result<Option<u64>>;
    /// Removes a copy; well when there is none.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// The marker; none when there is none.
    fn marker(&self) -> io::Result<Option<Marker>>;
    /// Puts the marker of a place that is new.
    fn put_marker(&self, marker: &Marker) -> io::Result<()>;
    /// The room there; none when it is not told.
    fn space(&self) -> Option<Space>;
    /// Can something else stand in its place from one moment to the next, as under the mount of a folder?
    fn can_vanish(&self) -> bool {
        true
    }
}

/// Whose place it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Marker {
    /// The archive's name.
    pub(super) archive: String,
    /// The name that its configuration gives the place.
    pub(super) location: String,
}

impl Marker {
    pub(super) fn parse(json: &[u8]) -> io::Result<Marker> {
        serde_json::from_slice(json)
            .map_err(|e| io::Error::new(ErrorKind::InvalidData, format!("{MARKER}: {e}")))
    }

    pub(super) fn to_json(&self) -> io::Result<Vec<u8>> {
        let mut json = serde_json::to_vec(self)?;
        json.push(b'\n');
        Ok(json)
    }
}

/// A folder, which must be there.
#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
}

impl Folder {
    pub(super) fn new(root: &Path) -> Self {
        Folder { root: root.to_owned() }
    }

    fn full(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn open(&self, name: &str) -> io::Result<Option<File>> {
        match File::open(self.full(name)) {
            Ok(file) => Ok(Some(file)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn shred(&self, name: &str) -> io::Result<()> {
        let path = self.full(name);
        // The key first: what a file system keeps of a removed file cannot be opened.
        match OpenOptions::new().write(true).open(&path) {
            Ok(file) => {
                if file.metadata()?.len() >= WRAP_AT + WRAP_LEN as u64 {
                    file.write_all_at(&[0; WRAP_LEN], WRAP_AT)?;
                    file.sync_all()?;
                }
                fs::remove_file(&path)?;
                File::open(self.full(parent(name)))?.sync_all()
            }
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
            Err(e) => Err(e),
        }
    }

    fn put_file(&self, name: &str, len: u64, feed: Feed<'_>) -> io::Result<()> {
        let (path, fresh) = (self.full(name), self.full(&format!("{name}.part")));
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(FILE_MODE).open(&fresh)?;
        let (mut block, mut at) = (vec![0; BLOCK_LEN], 0);
        let written = loop {
            match feed(&mut block) {
                // What ends too early never takes the place of something whole.
                Ok(0) if at != len => break Err(ErrorKind::UnexpectedEof.into()),
                Ok(0) => break file.sync_all(),
                Ok(read) => match file.write_all(&block[..read]) {
                    Ok(()) => at += read as u64,
                    Err(e) => break Err(e),
                },
                Err(e) => break Err(e),
            }
        };
        if let Err(e) = written {
            // On a full disk every byte counts.
            let _ = fs::remove_file(&fresh);
            return Err(e);
        }
        // A copy that is read back from this machine's memory would prove nothing.
        let _ = fadvise(&file, 0, None, Advice::DontNeed);
        fs::rename(&fresh, &path)?;
        File::open(self.full(parent(name)))?.sync_all()
    }
}

impl Place for Folder {
    fn put(&self, name: &str, len: u64, feed: Feed<'_>) -> io::Result<()> {
        let folder = self.full(parent(name));
        if !folder.is_dir() {
            // Its own root is never made: a mount that is away would become a folder on the archive's disk.
            let mut made = self.root.clone();
            for part in Path::new(parent(name)) {
                made.push(part);
                match fs::DirBuilder::new().mode(FOLDER_MODE).create(&made) {
                    Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(e),
                    _ => {}
                }
                File::open(made.parent().unwrap_or(&self.root))?.sync_all()?;
            }
        }
        self.put_file(name, len, feed)
    }

    fn read_at(&self, name: &str, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let file = File::open(self.full(name))?;
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, offset.saturating_add(done as u64)) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }

    fn len(&self, name: &str) -> io::Result<Option<u64>> {
        Ok(self.open(name)?.map(|file| file.metadata()).transpose()?.map(|meta| meta.len()))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        // What a stop in the middle of a copy has left goes too.
        self.shred(&format!("{name}.part"))?;
        self.shred(name)
    }

    fn marker(&self) -> io::Result<Option<Marker>> {
        let Some(file) = self.open(MARKER)? else {
            // Is the folder itself there?
            fs::metadata(&self.root)?;
            return Ok(None);
        };
        let len = file.metadata()?.len().min(MARKER_MAX);
        let mut json = vec![0; usize::try_from(len).unwrap_or_default()];
        file.read_exact_at(&mut json, 0)?;
        Marker::parse(&json).map(Some)
    }

    fn put_marker(&self, marker: &Marker) -> io::Result<()> {
        let json = marker.to_json()?;
        let mut rest = &json[..];
        self.put_file(MARKER, json.len() as u64, &mut |buf| io::Read::read(&mut rest, buf))
    }

    fn space(&self) -> Option<Space> {
        let stat = rustix::fs::statvfs(&self.root).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        Some(Space { free: bytes(stat.f_bavail), total: bytes(stat.f_blocks) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(place: &dyn Place, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        place.put(name, bytes.len() as u64, &mut |buf| io::Read::read(&mut rest, buf))
    }

    #[test]
    fn a_copy_is_there_as_a_whole_and_only_its_owner_reads_it() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a folder");
        let folder = Folder::new(dir.path());
        let bytes: Vec<u8> = (0..BLOCK_LEN * 2 + 7).map(|i| i as u8).collect();
        put(&folder, "recordings/2026/a.wav", &bytes).expect("put");
        assert_eq!(folder.len("recordings/2026/a.wav").expect("asked"), Some(bytes.len() as u64));
        let mut read = vec![0; bytes.len() + 10];
        assert_eq!(folder.read_at("recordings/2026/a.wav", 1, &mut read).expect("read"), bytes.len() - 1);
        assert_eq!(read[..bytes.len() - 1], bytes[1..]);
        let mode =
            |name: &str| fs::metadata(dir.path().join(name)).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode("recordings"), mode("recordings/2026/a.wav")), (0o700, 0o600));
        assert_eq!(
            fs::read_dir(dir.path().join("recordings/2026")).expect("listed").count(),
            1,
            "nothing beside it"
        );
        folder.remove("recordings/2026/a.wav").expect("removed");
        folder.remove("recordings/2026/a.wav").expect("and again");
        assert_eq!(folder.len("recordings/2026/a.wav").expect("asked"), None);
    }

    #[test]
    fn a_copy_that_cannot_be_read_to_its_end_leaves_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = Folder::new(dir.path());
        put(&folder, "a.wav", b"as it was").expect("put");
        let mut calls = 0;
        let failed = folder.put("a.wav", 20, &mut |buf| {
            calls += 1;
            buf[0] = 1;
            if calls > 1 { Err(io::Error::other("a bad sector")) } else { Ok(1) }
        });
        assert!(failed.is_err());
        assert_eq!(folder.len("a.wav").expect("asked"), Some(9));
        assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 1);
    }

    #[test]
    fn a_folder_that_is_away_is_never_made() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = Folder::new(&dir.path().join("mount"));
        assert!(folder.marker().is_err());
        assert!(put(&folder, "recordings/a.wav", b"x").is_err());
        assert!(!dir.path().join("mount").exists());
    }

    #[test]
    fn a_marker_reads_back() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = Folder::new(dir.path());
        assert_eq!(folder.marker().expect("asked"), None);
        let marker = Marker { archive: "A".into(), location: "nas".into() };
        folder.put_marker(&marker).expect("put");
        assert_eq!(folder.marker().expect("asked"), Some(marker));
        fs::write(dir.path().join(MARKER), "no JSON").expect("written");
        assert_eq!(folder.marker().expect_err("broken").kind(), ErrorKind::InvalidData);
    }
}
