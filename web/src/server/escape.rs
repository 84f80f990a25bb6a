//! How values come into pages: no text can become markup, and what cannot be seen in it is made visible.
//!
//! `askama.toml` names this for every template, and templates have no other way to write a value: a test reads them.

use std::borrow::Cow;
use std::fmt::{self, Write};

use askama::filters::Escaper;

use crate::page::Text;

/// Characters shown of one text; what is longer is cut, because a header field of 64 KiB is no number.
const TEXT_CHARS_MAX: usize = 200;

/// See the module's text.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Plain;

impl Escaper for Plain {
    fn write_escaped_str<W: Write>(&self, mut dest: W, text: &str) -> fmt::Result {
        // Lines of a note are lines of a page.
        text.split('\n').enumerate().try_for_each(|(i, line)| {
            if i > 0 {
                dest.write_char('\n')?;
            }
            write!(dest, "{}", Text(line))
        })
    }
}

/// A text of a stranger's, not too long.
pub(super) fn brief(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((cut, _)) => Cow::Owned(format!("{}…", text.get(..cut).unwrap_or_default())),
        None => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn escaped(text: &str) -> String {
        let mut out = String::new();
        Plain.write_escaped_str(&mut out, text).expect("a String takes everything");
        out
    }

    #[test]
    fn text_cannot_open_a_tag_or_leave_an_attribute_and_shows_what_is_invisible() {
        assert_eq!(
            escaped("\"><script>alert('1')</script>\u{202e}&\nb"),
            "&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;[U+202E]&amp;\nb"
        );
        assert_eq!(brief(&"ä".repeat(1_000)).chars().count(), TEXT_CHARS_MAX + 1);
        assert_eq!(brief("short"), "short");
    }

    #[test]
    fn no_template_writes_a_value_as_it_is_nor_outside_quotes() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
        let files: Vec<_> =
            std::fs::read_dir(folder).expect("templates").map(|f| f.expect("a file").path()).collect();
        assert!(!files.is_empty());
        for file in files {
            let text = std::fs::read_to_string(&file).expect("a template");
            for forbidden in ["safe", "escape", "<script>", "style=", "javascript:", " on"] {
                let is_there = match forbidden {
                    "safe" | "escape" => {
                        text.contains(&format!("|{forbidden}")) || text.contains(&format!("| {forbidden}"))
                    }
                    " on" => text.split(" on").skip(1).any(|rest| {
                        rest.split_once('=').is_some_and(|(name, _)| {
                            !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase())
                        })
                    }),
                    other => text.contains(other),
                };
                assert!(!is_there, "{}: {forbidden}", file.display());
            }
            for (place, _) in text.match_indices("={{") {
                let tag = text[..place].rsplit('<').next().unwrap_or_default();
                assert!(
                    tag.matches('"').count() % 2 == 1,
                    "{}: an attribute without quotes: {tag}",
                    file.display()
                );
            }
        }
    }
}
