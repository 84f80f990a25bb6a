//! HTML in which a stranger's text cannot become markup.
//!
//! Markup comes only from literals of this program (`&'static str`); everything else goes through [`Html::text`], which
//! escapes. That is held by the types: a text from a SIP message does not live long enough to be taken for markup.

use std::fmt::{Display, Write as _};

use crate::page::Text;

/// Characters shown of one text; what is longer is cut, because a header field of 64 KiB is no number.
const TEXT_CHARS_MAX: usize = 200;

/// A page, or a part of one.
#[derive(Debug, Default)]
pub(super) struct Html(String);

impl Html {
    /// Adds markup.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Html {
        self.0.push_str(markup);
        self
    }

    /// Adds text, safe between tags and in quoted attributes, and not too long.
    pub(super) fn text(&mut self, text: impl Display) -> &mut Html {
        let mut text = text.to_string();
        if let Some((cut, _)) = text.char_indices().nth(TEXT_CHARS_MAX) {
            text.truncate(cut);
            text.push('…');
        }
        self.escaped(&text)
    }

    /// Adds text as [`Html::text`] does, at its full length and with what stands in backticks as code: for sentences of
    /// ours.
    pub(super) fn sentence(&mut self, text: impl AsRef<str>) -> &mut Html {
        for (i, part) in text.as_ref().split('`').enumerate() {
            let is_code = i % 2 == 1;
            self.raw(if is_code { "<code>" } else { "" }).escaped(part).raw(if is_code {
                "</code>"
            } else {
                ""
            });
        }
        self
    }

    fn escaped(&mut self, text: &str) -> &mut Html {
        // A String takes everything.
        let _ = write!(self.0, "{}", Text(text));
        self
    }

    /// Adds text whose direction of writing ends with it: what a stranger wrote right to left turns nothing else round.
    pub(super) fn isolated(&mut self, text: impl Display) -> &mut Html {
        self.raw("<bdi>").text(text).raw("</bdi>")
    }

    /// Adds `<td>` with text; `label` is its column's name, for narrow screens where columns become lines.
    pub(super) fn cell(&mut self, label: &'static str, text: impl Display) -> &mut Html {
        self.raw("<td data-label=\"").raw(label).raw("\">").isolated(text).raw("</td>")
    }

    /// Adds a name and its value to a `<dl>`.
    pub(super) fn fact(&mut self, name: &'static str, value: impl Display) -> &mut Html {
        self.raw("<dt>").raw(name).raw("</dt><dd>").isolated(value).raw("</dd>")
    }

    /// The text of it.
    pub(super) fn into_string(self) -> String {
        self.0
    }
}

/// Who sees the page: with the links to the others, or without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// Somebody who was let in.
    Inside,
    /// Somebody who was not: no links, and no style sheet, which would not be given either.
    Outside,
}

/// A whole page around `body`.
pub(super) fn page(frame: Frame, title: impl Display, body: &Html) -> String {
    let mut html = Html::default();
    html.raw("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n")
        .raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n")
        .raw("<meta name=\"color-scheme\" content=\"light dark\">\n<title>")
        .text(title)
        .raw(" · earwitness</title>\n");
    if frame == Frame::Inside {
        html.raw("<link rel=\"stylesheet\" href=\"/style.css\">\n</head>\n<body>\n")
            .raw("<header><span class=\"brand\">earwitness</span><nav><a href=\"/\">Recordings</a>")
            .raw("<a href=\"/calls\">Calls</a></nav><span class=\"zone\">times are UTC</span></header>\n");
    } else {
        html.raw("</head>\n<body>\n");
    }
    html.raw("<main>\n");
    html.0.push_str(&body.0);
    html.raw("</main>\n</body>\n</html>\n");
    html.into_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_open_a_tag_or_leave_an_attribute_or_grow_without_end() {
        let mut html = Html::default();
        html.cell("Name", "\"><script>alert('1')</script>\u{202e}&").text("x".repeat(100_000));
        let html = html.into_string();
        assert!(
            html.starts_with("<td data-label=\"Name\"><bdi>&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;[U+202E]&amp;</bdi></td>xx"),
            "{html}"
        );
        assert!(html.len() < 500 && html.ends_with("x…"));
    }

    #[test]
    fn backticks_in_a_sentence_make_code_that_is_always_closed() {
        for (text, expected) in [
            ("say `a <b>` twice", "say <code>a &lt;b&gt;</code> twice"),
            ("open `end", "open <code>end</code>"),
            ("``", "<code></code>"),
        ] {
            let mut html = Html::default();
            html.sentence(text);
            assert_eq!(html.into_string(), expected);
        }
    }
}
