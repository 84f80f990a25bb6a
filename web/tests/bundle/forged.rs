//! ZIPs that one reader takes for a genuine bundle and another unpacks something else from: each is refused.

use std::io::{Cursor, Read, Write};

use store::Trusted;
use web::evidence;
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

use super::{Bundle, bundle, only_problem};
use crate::common::unzip;

/// A file as it lies in a ZIP.
#[derive(Clone)]
struct Packed {
    name: String,
    method: u16,
    crc: u32,
    bytes: u32,
    data: Vec<u8>,
    local_extra: Vec<u8>,
    central_extra: Vec<u8>,
    /// What the header says of the length of `data`; the data's own.
    says: Option<u32>,
}

fn packed(zip: &[u8]) -> Vec<Packed> {
    let mut zip = zip::ZipArchive::new(Cursor::new(zip)).expect("a ZIP");
    (0..zip.len())
        .map(|index| {
            let mut file = zip.by_index_raw(index).expect("a file");
            let mut data = Vec::new();
            file.read_to_end(&mut data).expect("in memory");
            Packed {
                name: file.name().expect("ASCII").into_owned(),
                method: if file.compression() == CompressionMethod::Stored { 0 } else { 8 },
                crc: file.crc32(),
                bytes: file.size() as u32,
                data,
                local_extra: Vec::new(),
                central_extra: Vec::new(),
                says: None,
            }
        })
        .collect()
}

impl Packed {
    fn len(&self) -> u32 {
        self.says.unwrap_or(self.data.len() as u32)
    }

    fn fields(&self, sums: [u32; 3], extra: &[u8]) -> Vec<u8> {
        let mut out = vec![20, 0, 8, 0];
        out.extend(self.method.to_le_bytes());
        out.extend([0, 0, 0x21, 0]);
        sums.iter().for_each(|sum| out.extend(sum.to_le_bytes()));
        out.extend((self.name.len() as u16).to_le_bytes());
        out.extend((extra.len() as u16).to_le_bytes());
        out
    }

    fn descriptor(&self) -> Vec<u8> {
        let sums = [self.crc, self.len(), self.bytes];
        [&b"PK\x07\x08"[..], &sums.map(u32::to_le_bytes).concat()].concat()
    }

    /// Header, data and descriptor, as they are streamed.
    fn local(&self) -> Vec<u8> {
        let fields = self.fields([0; 3], &self.local_extra);
        let name = self.name.as_bytes();
        [b"PK\x03\x04", &fields[..], name, &self.local_extra, &self.data, &self.descriptor()].concat()
    }

    fn central(&self, at: u32) -> Vec<u8> {
        let fields = self.fields([self.crc, self.len(), self.bytes], &self.central_extra);
        let more = [&[0; 6][..], &(0o100_644_u32 << 16).to_le_bytes(), &at.to_le_bytes()].concat();
        let name = self.name.as_bytes();
        [b"PK\x01\x02\x14\x03", &fields[..], &more, name, &self.central_extra].concat()
    }
}

/// A ZIP of these files; `hidden` are entries of the directory that its end record does not count.
fn zip(files: &[Packed], hidden: &[Vec<u8>]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for file in files {
        directory.extend(file.central(out.len() as u32));
        out.extend(file.local());
    }
    directory.extend(hidden.concat());
    let start = out.len() as u32;
    out.extend(&directory);
    let count = (files.len() as u16).to_le_bytes();
    out.extend([b"PK\x05\x06\0\0\0\0", &count[..], &count].concat());
    out.extend([directory.len() as u32, start].map(u32::to_le_bytes).concat());
    out.extend([0, 0]);
    out
}

/// Silence in place of the first recording.
fn forged_audio(files: &[Packed]) -> Packed {
    let audio = files.iter().find(|file| file.name.ends_with(".wav")).expect("audio");
    let data = vec![0; audio.bytes as usize];
    let mut crc = flate2::Crc::new();
    crc.update(&data);
    Packed { method: 0, crc: crc.sum(), data, ..audio.clone() }
}

/// What is said of it, with the key from elsewhere and with the one that came along.
fn refusal(bundle: &Bundle, zip: &[u8], what: &str) -> String {
    let own = evidence::verify(Cursor::new(zip), &Trusted::default()).expect("no file is needed");
    assert!(!own.holds(), "{what}");
    let report = bundle.verify(zip.to_vec());
    assert!(!report.holds(), "{what}");
    only_problem(&report).1.to_owned()
}

#[test]
fn the_files_of_a_bundle_put_together_by_hand_hold() {
    let bundle = bundle(true);
    let report = bundle.verify(zip(&packed(&bundle.zip), &[]));
    assert!(report.holds() && report.members == 10, "{:?}", report.problems);
}

#[test]
fn a_directory_that_goes_on_behind_its_count_is_refused() {
    let bundle = bundle(false);
    let files = packed(&bundle.zip);
    // A reader that goes by the directory's length has one file more, or the first one under another name.
    let alias = Packed { name: "other.wav".into(), ..files[0].clone() };
    let hidden = zip(&files, &[alias.central(0)]);
    assert_eq!(unzip(&hidden).len(), files.len(), "others see what was exported");
    assert_eq!(
        refusal(&bundle, &hidden, "an entry"),
        "its directory goes on behind the files that it counts"
    );
    assert!(refusal(&bundle, &zip(&files, &[vec![0]]), "a byte").contains("goes on"));
    // The end record counts one file more, or has another place or length, than the directory.
    let end = bundle.zip.len() - 22;
    for (at, step) in [(8, 1_u8), (10, 1), (12, 1), (16, 1), (12, 255), (16, 255), (4, 1), (6, 1)] {
        let mut changed = bundle.zip.clone();
        changed[end + at] = changed[end + at].wrapping_add(step);
        refusal(&bundle, &changed, &format!("byte {at} of the end record"));
    }
}

#[test]
fn what_lies_behind_compressed_data_is_refused() {
    let bundle = bundle(true);
    let files = packed(&bundle.zip);
    let forged = forged_audio(&files);
    for place in 0..files.len() {
        let mut slack = files.clone();
        let end = [slack[place].descriptor(), forged.local()].concat();
        slack[place].data.extend(end);
        let name = &files[place].name;
        let what = refusal(&bundle, &zip(&slack, &[]), name);
        if files[place].method == 0 {
            assert!(what.contains("none of an export"), "{name}: {what}");
        } else {
            assert!(what.contains("behind its compressed data"), "{name}: {what}");
        }
        let mut slack = files.clone();
        slack[place].data.push(0);
        refusal(&bundle, &zip(&slack, &[]), name);
    }
    // Both at once: the directory's uncounted entry points into what lies there.
    let mut both = files.clone();
    let last = both.last_mut().expect("files");
    last.data.extend(last.descriptor());
    let host: usize = both.iter().map(|file| file.local().len()).sum::<usize>() - 16;
    both.last_mut().expect("files").data.extend(forged.local());
    let both = zip(&both, &[forged.central(host as u32)]);
    assert_eq!(both[host..host + 4], *b"PK\x03\x04", "the entry points to the forged file");
    assert_eq!(unzip(&both), unzip(&bundle.zip), "others see what was exported");
    refusal(&bundle, &both, "both");
}

#[test]
fn data_that_end_early_or_have_another_checksum_are_refused() {
    let bundle = bundle(false);
    let files = packed(&bundle.zip);
    for place in 0..files.len() {
        let name = files[place].name.clone();
        let changed = |change: &dyn Fn(&mut Packed)| {
            let mut files = files.clone();
            change(&mut files[place]);
            zip(&files, &[])
        };
        refusal(&bundle, &changed(&|file| file.data.truncate(file.data.len() - 1)), &name);
        refusal(&bundle, &changed(&|file| file.crc ^= 1), &name);
        refusal(&bundle, &changed(&|file| file.bytes += 1), &name);
        refusal(&bundle, &changed(&|file| file.bytes -= 1), &name);
        refusal(&bundle, &changed(&|file| file.says = Some(file.len() - 1)), &name);
        refusal(&bundle, &changed(&|file| file.says = Some(file.len() + 1)), &name);
        refusal(&bundle, &changed(&|file| file.says = Some(u32::MAX)), &name);
    }
}

#[test]
fn fields_that_no_export_writes_are_refused() {
    let bundle = bundle(false);
    let files = packed(&bundle.zip);
    // Another name for those who read it (Info-ZIP's Unicode path), a time, lengths of 64 bits where they fit in 32.
    let name = [b"\x75\x70\x0e\0\x01\0\0\0\0", &b"other.wav"[..]].concat();
    for extra in [name, b"UT\x05\0\x01\0\0\0\0".to_vec(), b"\x01\0\x08\0\0\0\0\0\0\0\0\0".to_vec(), vec![0]] {
        let mut local = files.clone();
        local[0].local_extra = extra.clone();
        refusal(&bundle, &zip(&local, &[]), "in the file's header");
        let mut central = files.clone();
        central[0].central_extra = extra;
        refusal(&bundle, &zip(&central, &[]), "in the directory");
    }
}

#[test]
fn a_zip_of_64_bits_is_read_to_the_end_of_its_directory() {
    let bundle = bundle(false);
    let mut zip = zip::ZipWriter::new_stream(Vec::new());
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for number in 0..65_536 {
        zip.start_file(number.to_string(), options).expect("a file");
    }
    let mut zip = zip.finish().expect("a ZIP").into_inner();
    assert_eq!(
        refusal(&bundle, &zip, "no manifest"),
        "it is missing",
        "and nothing is wrong with the ZIP itself"
    );
    let record = zip.len() - 22 - 20 - 56;
    assert_eq!(zip[record..record + 4], *b"PK\x06\x06");
    for at in [24, 32, 40, 48, 56 + 8] {
        zip[record + at] ^= 1;
        assert_ne!(refusal(&bundle, &zip, "changed"), "it is missing", "byte {at}");
        zip[record + at] ^= 1;
    }
}

#[test]
fn an_unsigned_manifest_is_not_looked_into() {
    let bundle = bundle(false);
    let mut files = unzip(&bundle.zip);
    let place = files.iter().position(|file| file.0 == "manifest.json").expect("there");
    // What follows the key is no manifest: parsing it would say so instead.
    let keys = serde_json::to_string(&bundle.place.archive.signing_key()).expect("JSON");
    let text = format!(
        r#"{{"format":"earwitness manifest v1","public_keys":{keys},"recordings":5,"members":[{{}}]}}"#
    );
    for text in [text.as_str(), "no JSON at all"] {
        files[place].1 = text.into();
        let report = bundle.verify(super::zip_of(&files));
        assert!(only_problem(&report).1.contains("signed by another key"), "{report:?}");
    }
    files[place].1 = text.into_bytes();
    let own = evidence::verify(Cursor::new(super::zip_of(&files)), &Trusted::default()).expect("no file");
    assert!(only_problem(&own).1.contains("signed by another key"), "{own:?}");
    let mut long = zip::ZipWriter::new(Cursor::new(Vec::new()));
    long.start_file("manifest.json", SimpleFileOptions::default()).expect("a file");
    long.write_all(&vec![b' '; evidence::MANIFEST_MAX as usize + 1]).expect("room");
    let long = long.finish().expect("a ZIP").into_inner();
    assert_eq!(refusal(&bundle, &long, "too long"), "it is too long");
}
