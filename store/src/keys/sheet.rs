//! The recovery sheet: the private archive key and the public part of the signing key, on paper, to be typed in again.
//!
//! Eight lines of four groups and a checksum. Typing may lose spaces and case and take O for 0 or l for 1; a line that is
//! mistyped is named, so that nobody searches eight of them.

use std::fmt::Write;
use std::path::Path;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::files::{self, PublicFile, Recipient, SEALED_KEY, UNWRAP_KEY, UNWRAP_KEY_NEXT};
use super::manage::KeyLine;
use super::rotation::Rotation;
use super::wrapping::{Private, key_id};
use super::{KEYS_DIR, PUBLIC_KEYS, SEALED_KEY_NEXT};
use crate::Error;
use crate::archive::Archive;
use crate::bytes::hex;
use crate::disk::Disk;

/// Bytes of a key on one line.
const LINE_LEN: usize = 8;
/// Hexadecimal digits of a line: the bytes and two of their checksum.
const DIGITS: usize = 2 * (LINE_LEN + 2);
/// Lines of a key of 32 bytes.
const LINES: usize = 4;
/// First words of what is summed.
const SUM_PREFIX: &[u8] = b"earwitness sheet v1\0";
/// Why a sheet cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SheetError {
    /// The digits of this line are not those that were printed.
    #[error("line {line} is mistyped: compare it with the sheet, digit by digit")]
    Mistyped {
        /// `K1` to `K4`, `S1` to `S4`.
        line: String,
    },
    /// This line has too few or too many digits, or something that is no digit.
    #[error("line {line} has {found} digits where {DIGITS} belong")]
    Length {
        /// `K1` to `K4`, `S1` to `S4`.
        line: String,
        /// Digits found.
        found: usize,
    },
    /// This line is not there.
    #[error("line {line} is missing")]
    Missing {
        /// `K1` to `K4`, `S1` to `S4`.
        line: String,
    },
    /// This line is there twice, and not the same.
    #[error("line {line} is there twice, and not the same")]
    Twice {
        /// `K1` to `K4`, `S1` to `S4`.
        line: String,
    },
}

/// What a recovery sheet holds. Its `Debug` is blank, the key wiped when dropped.
pub struct Sheet {
    private: Zeroizing<[u8; 32]>,
    sign_public: [u8; 32],
}

impl std::fmt::Debug for Sheet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sheet")
    }
}

fn checksum(label: &str, bytes: &[u8]) -> [u8; 2] {
    let digest: [u8; 32] =
        Sha256::new().chain_update(SUM_PREFIX).chain_update(label).chain_update(bytes).finalize().into();
    [digest[0], digest[1]]
}

/// The printed lines of one key.
fn print(text: &mut String, letter: char, key: &[u8; 32]) {
    for (i, bytes) in key.chunks(LINE_LEN).enumerate() {
        let label = format!("{letter}{}", i + 1);
        text.push_str(&format!("    {label} "));
        for (i, byte) in bytes.iter().enumerate() {
            // Into the text and nowhere else: it is wiped in the end.
            let space = if i % 2 == 0 { " " } else { "" };
            let _ = write!(text, "{space}{byte:02X}");
        }
        text.push_str(&format!("   {}\n", hex(&checksum(&label, bytes)).to_uppercase()));
    }
}

/// A typed character as the digit that was meant.
fn digit(c: char) -> char {
    match c {
        'O' | 'o' => '0',
        'I' | 'i' | 'L' | 'l' => '1',
        c => c.to_ascii_lowercase(),
    }
}

/// The label of a typed line, and its digits; none for a line of prose.
fn split(line: &str) -> Option<(String, Zeroizing<String>)> {
    let mut typed = line.chars().filter(|c| !c.is_whitespace());
    let letter = typed.next()?.to_ascii_uppercase();
    let second = typed.next()?;
    let number = digit(second);
    if !matches!(letter, 'K' | 'S') || !('1'..='4').contains(&number) {
        return None;
    }
    let digits: String = typed.filter(|c| !matches!(c, ':' | '.' | '-' | '_')).map(digit).collect();
    let digits = Zeroizing::new(digits);
    // "Signing" begins like a line whose 1 was typed as an i.
    let prose = number != second && !digits.chars().all(|c| c.is_ascii_hexdigit());
    (!prose).then(|| (format!("{letter}{number}"), digits))
}

/// The bytes of a line whose sum is right.
fn line_bytes(label: &str, digits: &str) -> Result<Zeroizing<[u8; LINE_LEN]>, SheetError> {
    let nibbles: Option<Vec<u8>> = digits.chars().map(|c| c.to_digit(16).map(|n| n as u8)).collect();
    let nibbles =
        Zeroizing::new(nibbles.filter(|n| n.len() == DIGITS).ok_or_else(|| SheetError::Length {
            line: label.into(),
            found: digits.chars().filter(char::is_ascii_hexdigit).count(),
        })?);
    let mut all = Zeroizing::new([0; LINE_LEN + 2]);
    for (byte, pair) in all.iter_mut().zip(nibbles.chunks(2)) {
        *byte = pair.iter().fold(0, |byte, nibble| byte << 4 | nibble);
    }
    let (bytes, sum) = all.split_at(LINE_LEN);
    if checksum(label, bytes) != sum {
        return Err(SheetError::Mistyped { line: label.into() });
    }
    let mut line = Zeroizing::new([0; LINE_LEN]);
    line.copy_from_slice(bytes);
    Ok(line)
}

impl Sheet {
    /// Reads what was typed. Lines that do not begin with `K1` to `K4` or `S1` to `S4` are prose.
    ///
    /// # Errors
    /// [`SheetError`], with the line.
    pub fn parse(text: &str) -> Result<Sheet, SheetError> {
        let mut lines = std::collections::BTreeMap::new();
        for (label, digits) in text.lines().filter_map(split) {
            let bytes = line_bytes(&label, &digits)?;
            if lines.get(&label).is_some_and(|other| *other != bytes) {
                return Err(SheetError::Twice { line: label });
            }
            lines.insert(label, bytes);
        }
        let key = |letter: char| {
            let mut key = Zeroizing::new([0; 32]);
            for i in 0..LINES {
                let label = format!("{letter}{}", i + 1);
                let bytes = lines.get(&label).ok_or(SheetError::Missing { line: label })?;
                key[i * LINE_LEN..(i + 1) * LINE_LEN].copy_from_slice(&bytes[..]);
            }
            Ok(key)
        };
        Ok(Sheet { private: key('K')?, sign_public: *key('S')? })
    }

    /// The sheet as it is printed.
    #[must_use]
    pub fn to_text(&self, archive: &str) -> Zeroizing<String> {
        let private = Private::new(&self.private);
        let mut text = String::with_capacity(4096);
        text.push_str(&format!(
            "EARWITNESS RECOVERY SHEET\n\n\
             Archive      {archive}\n\
             Archive key  {}   opens the recordings\n\
             Signing key  {}   proves that they are unchanged (public part)\n\n\
             Whoever has this sheet and a copy of the archive can hear everything in it. Keep it in a safe,\n\
             apart from the backups; after `archive key rotate` print a new one and destroy this one.\n\n\
             Private archive key:\n\n",
            hex(&private.id),
            hex(&key_id(&self.sign_public)),
        ));
        print(&mut text, 'K', &self.private);
        text.push_str("\nSigning key, public part:\n\n");
        print(&mut text, 'S', &self.sign_public);
        text.push_str(
            "\nTo put the key back: type the eight lines into a file, or scan them, and run\n\n\
             \u{20}   earwitness archive key restore FILE -a ARCHIVE\n\n\
             Spaces and case do not matter. The last group of a line is its checksum: a line that is\n\
             mistyped is named.\n",
        );
        Zeroizing::new(text)
    }
}

/// Is that the line of this label, with or without the label?
fn is_line_of(sheet: &str, label: &str, typed: &str) -> bool {
    let printed = sheet.lines().filter_map(split).find(|(of, _)| of == label);
    let with_label = Zeroizing::new(format!("{label} {typed}"));
    let read = split(typed).filter(|(of, digits)| of == label && digits.len() == DIGITS);
    let read = read.or_else(|| split(&with_label));
    printed.zip(read).is_some_and(|((_, printed), (_, read))| *printed == *read)
}

impl Archive {
    /// The recovery sheet of the private key that is here.
    ///
    /// # Errors
    /// [`Error::KeyMissing`], [`Error::KeyLocked`].
    pub fn recovery_sheet(&self) -> Result<Zeroizing<String>, Error> {
        let (keys, root) = (&self.shared.keys, &self.shared.root);
        let private = keys.private().map_err(|e| e.under(root))?;
        let private = Zeroizing::new(private.secret.to_bytes());
        let sheet = Sheet { private, sign_public: *keys.sign_public() };
        Ok(sheet.to_text(&root.display().to_string()))
    }

    /// Whether somebody has typed the line of this label (`K1` to `K4`, `S1` to `S4`) as it stands on the sheet, with or without
    /// the label: then it is on paper.
    ///
    /// # Errors
    /// As [`Archive::recovery_sheet`].
    pub fn is_line_of_sheet(&self, label: &str, typed: &str) -> Result<bool, Error> {
        Ok(is_line_of(&self.recovery_sheet()?, label, typed))
    }

    /// Puts the private key of a sheet into an archive that lacks it, or whose passphrase nobody knows. When even the
    /// public keys are gone, those of the sheet are written. Gives the key's id.
    ///
    /// # Errors
    /// [`Error::WrongKey`] when the sheet is another archive's or was printed before a rotation; [`Error::Locked`],
    /// [`Error::Missing`].
    pub fn restore_key(dir: &Path, sheet: &Sheet) -> Result<String, Error> {
        let id = {
            let (disk, _lock) = Archive::lock_folder(dir)?;
            restore(&disk, sheet).map_err(|e| e.under(dir))?
        };
        let archive = Archive::open(dir)?;
        archive.append_key_line(&KeyLine::new("restored", &id))?;
        archive.close()?;
        Ok(id)
    }
}

fn restore(disk: &dyn Disk, sheet: &Sheet) -> Result<String, Error> {
    let private = Private::new(&sheet.private);
    let (public, archive) = match PublicFile::read(disk) {
        Err(Error::KeyMissing { .. }) => {
            disk.create_dir(KEYS_DIR).map_err(|e| Error::io(KEYS_DIR, e))?;
            let public = PublicFile::new(&private.public, &sheet.sign_public, Vec::new());
            public.write(disk)?;
            (public, (private.id, private.public))
        }
        read => read?,
    };
    let rotation = Rotation::read(disk)?;
    let archive = rotation.as_ref().map_or(archive, Rotation::to).0;
    let wrong = |needed: &str, found: &str| {
        let (needed, found) = (needed.to_owned(), found.to_owned());
        Error::WrongKey { what: PUBLIC_KEYS.into(), needed, found, path: "the sheet".into() }
    };
    let of_recipient = public.recipients.iter().filter_map(Recipient::public).any(|(id, _)| id == private.id);
    if private.id != archive && !of_recipient {
        return Err(wrong(&hex(&archive), &hex(&private.id)));
    }
    let sign_public = super::month::array::<32>(&public.ed25519).unwrap_or_default();
    if !of_recipient && sign_public != sheet.sign_public {
        return Err(wrong(&hex(&key_id(&sign_public)), &hex(&key_id(&sheet.sign_public))));
    }
    if rotation.is_some() && private.id != archive {
        let what = "a recipient's key while a rotation of keys is under way: end that first (`archive key rotate --yes`)";
        return Err(Error::Refused { what: what.into() });
    }
    if rotation.is_some() {
        // The waiting key's place is its own until the rotation has ended.
        let line = files::private_line(&sheet.private);
        disk.replace(UNWRAP_KEY_NEXT, line.as_bytes(), true).map_err(|e| Error::io(UNWRAP_KEY_NEXT, e))?;
        return Ok(hex(&private.id));
    }
    files::put_secret(disk, UNWRAP_KEY, UNWRAP_KEY_NEXT, files::private_line(&sheet.private).as_bytes())?;
    for sealed in [SEALED_KEY, SEALED_KEY_NEXT] {
        files::shred(disk, sealed)?;
    }
    Ok(hex(&private.id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sheet(seed: u8) -> Sheet {
        let key = std::array::from_fn(|i| (i as u8).wrapping_mul(37).wrapping_add(seed));
        Sheet { private: Zeroizing::new(key), sign_public: key.map(|b| !b) }
    }

    fn same(a: &Sheet, b: &Sheet) -> bool {
        (&a.private, a.sign_public) == (&b.private, b.sign_public)
    }

    #[test]
    fn a_sheet_reads_back_also_without_spaces_and_in_any_case() {
        let printed = sheet(3).to_text("/srv/calls");
        let lower = printed.to_lowercase();
        let dense: String = printed.lines().map(|line| line.replace(' ', "") + "\r\n").collect();
        let typed = printed.replace('0', "O").replace("K1", "k1:").replace('1', "l");
        for text in [printed.as_str(), &lower, &dense, &typed] {
            assert!(same(&Sheet::parse(text).expect("read"), &sheet(3)), "{text}");
        }
    }

    #[test]
    fn a_line_is_known_as_typed_with_its_label_or_without_and_no_other_line_is() {
        let printed = sheet(5).to_text("a");
        let line = printed.lines().find(|line| line.trim_start().starts_with("K3")).expect("printed").trim();
        let bare = line.strip_prefix("K3").expect("its label");
        for typed in [line, bare, &line.to_lowercase(), &bare.replace(' ', ""), &bare.replace('0', "O")] {
            assert!(is_line_of(&printed, "K3", typed), "{typed}");
        }
        let other = printed.lines().find(|line| line.trim_start().starts_with("K2")).expect("printed");
        for typed in ["", "K3", other, &line[..line.len() - 1], &format!("{line}0"), "Private archive key:"] {
            assert!(!is_line_of(&printed, "K3", typed), "{typed}");
        }
    }

    #[test]
    fn a_mistyped_line_is_named() {
        let printed = sheet(9).to_text("a");
        let lines: Vec<&str> = printed.lines().collect();
        for (i, line) in lines.iter().enumerate().filter(|(_, line)| split(line).is_some()) {
            let label = split(line).expect("a label").0;
            let place = line.rfind(|c: char| c.is_ascii_hexdigit()).expect("a digit");
            for at in [9, 14, 20, place] {
                let old = line.as_bytes()[at];
                if !old.is_ascii_hexdigit() {
                    continue;
                }
                let new = if old == b'7' { "8" } else { "7" };
                let mut changed: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
                changed[i].replace_range(at..=at, new);
                let error = Sheet::parse(&changed.join("\n")).expect_err("mistyped");
                assert_eq!(error, SheetError::Mistyped { line: label.clone() });
            }
            let mut cut: Vec<&str> = lines.clone();
            cut.remove(i);
            let error = Sheet::parse(&cut.join("\n")).expect_err("missing");
            assert_eq!(error, SheetError::Missing { line: label });
        }
    }

    #[test]
    fn lines_in_each_others_place_are_refused() {
        let printed = sheet(1).to_text("a");
        let swapped = printed.replace("K1", "x").replace("K2", "K1").replace(" x ", " K2 ");
        assert!(matches!(Sheet::parse(&swapped), Err(SheetError::Mistyped { .. })));
        let other = sheet(2).to_text("a");
        assert!(matches!(Sheet::parse(&format!("{}{}", *printed, *other)), Err(SheetError::Twice { .. })));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic_and_never_as_another_key(
            at: prop::sample::Index, with in "\\PC{0,3}", cut: prop::sample::Index,
        ) {
            let printed = sheet(5).to_text("a");
            let at = at.index(printed.len());
            let mut text = printed.to_string();
            text.replace_range(at..(at + 1).min(printed.len()), &with);
            if let Ok(read) = Sheet::parse(&text) {
                prop_assert!(same(&read, &sheet(5)));
            }
            let end = (0..=cut.index(text.len() + 1)).rev().find(|&i| text.is_char_boundary(i));
            text.truncate(end.unwrap_or_default());
            if let Ok(read) = Sheet::parse(&text) {
                prop_assert!(same(&read, &sheet(5)));
            }
        }

        #[test]
        fn noise_is_no_sheet(text in "([KSks][1-4][ 0-9a-fA-F]{0,30}\n){0,10}") {
            prop_assert!(Sheet::parse(&text).is_err());
        }
    }
}
