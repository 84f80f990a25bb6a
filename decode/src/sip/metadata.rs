//! Recording metadata (RFC 7865): who takes part in a call that a session recording client sends, and whose voice each stream is.
//!
//! Read as a scan over tags and texts: elements that are not known, namespaces, comments and what does not close are stepped over. Nothing
//! is expanded but the five entities of XML and character references, so that no document can grow.

use memchr::{memchr, memmem};

use super::text;

/// Participants and streams of one document that are looked at.
pub const METADATA_ITEMS_MAX: usize = 64;
/// Bytes of a document that are read.
pub const METADATA_BYTES_MAX: usize = 64 * 1024;

/// Somebody who takes part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Participant {
    id: String,
    /// The address of record: `sip:2001@example.com`. May be empty.
    pub aor: String,
    /// The name. May be empty.
    pub name: String,
    /// Streams that the participant sends.
    sends: Vec<String>,
}

/// What a document says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Who takes part.
    pub participants: Vec<Participant>,
    /// Identifier and label of each stream.
    streams: Vec<(String, String)>,
    /// It tells what has changed alone (RFC 7866, 7.1: a partial update), and not all that is so.
    is_partial: bool,
}

impl Metadata {
    /// Takes a later document of the same session: in place of this one, or what it tells of over this one.
    pub fn update(&mut self, later: Metadata) {
        if !later.is_partial {
            *self = later;
            return;
        }
        for mut new in later.participants {
            let Some(known) = self.participants.iter_mut().find(|one| one.id == new.id) else {
                if self.participants.len() < METADATA_ITEMS_MAX {
                    self.participants.push(new);
                }
                continue;
            };
            if !new.aor.is_empty() {
                (known.aor, known.name) = (new.aor, new.name);
            }
            known.sends.append(&mut new.sends);
            known.sends.dedup();
            known.sends.truncate(METADATA_ITEMS_MAX);
        }
        for (id, label) in later.streams {
            if let Some((_, known)) = self.streams.iter_mut().find(|(known, _)| *known == id) {
                if !label.is_empty() {
                    *known = label;
                }
            } else if self.streams.len() < METADATA_ITEMS_MAX {
                self.streams.push((id, label));
            }
        }
    }

    /// Who speaks in the stream whose media line has this label (RFC 4574).
    #[must_use]
    pub fn speaker(&self, label: &str) -> Option<&Participant> {
        let (id, _) = self.streams.iter().find(|(_, other)| other == label)?;
        self.participants.iter().find(|participant| participant.sends.contains(id))
    }
}

/// Reads a document. Never fails: what cannot be read is left out.
#[must_use]
pub fn parse(document: &[u8]) -> Metadata {
    let mut rest = document.get(..METADATA_BYTES_MAX).unwrap_or(document);
    let mut metadata = Metadata::default();
    let mut place = Place::Elsewhere;
    while let Some(open) = memchr(b'<', rest) {
        let words = rest.get(..open).unwrap_or_default();
        metadata.take_text(&place, words);
        rest = rest.get(open + 1..).unwrap_or_default();
        if let Some(behind) = rest.strip_prefix(b"!--") {
            rest = memmem::find(behind, b"-->").and_then(|end| behind.get(end + 3..)).unwrap_or_default();
            continue;
        }
        let Some(close) = memchr(b'>', rest) else { break };
        let tag = rest.get(..close).unwrap_or_default();
        rest = rest.get(close + 1..).unwrap_or_default();
        place = metadata.take_tag(place, tag);
    }
    metadata
}

/// Inside what the scan is: by index.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Elsewhere,
    Mode,
    Participant(usize),
    Name(usize),
    Stream(usize),
    Label(usize),
    Association(Option<usize>),
    Send(usize),
}

impl Metadata {
    fn take_tag(&mut self, place: Place, tag: &[u8]) -> Place {
        let is_end = tag.starts_with(b"/");
        let is_empty = tag.ends_with(b"/");
        let tag = tag.strip_prefix(b"/").unwrap_or(tag);
        let tag = tag.strip_suffix(b"/").unwrap_or(tag);
        let name_len = tag.iter().position(u8::is_ascii_whitespace).unwrap_or(tag.len());
        let (name, attributes) = tag.split_at_checked(name_len).unwrap_or((tag, &[]));
        // Without its prefix.
        let name = name.rsplit(|&b| b == b':').next().unwrap_or(name);
        if is_end {
            return match (name, place) {
                (b"name", Place::Name(at)) => Place::Participant(at),
                (b"label", Place::Label(at)) => Place::Stream(at),
                (b"send", Place::Send(at)) => Place::Association(Some(at)),
                (b"participant" | b"stream" | b"participantstreamassoc" | b"datamode", _) => Place::Elsewhere,
                (_, place) => place,
            };
        }
        if is_empty && name != b"nameID" {
            return place;
        }
        match (name, place) {
            (b"participant", _) if self.participants.len() < METADATA_ITEMS_MAX => {
                let id = attribute(attributes, "participant_id");
                self.participants.push(Participant { id, ..Participant::default() });
                Place::Participant(self.participants.len() - 1)
            }
            (b"nameID", Place::Participant(at)) => {
                if let Some(participant) = self.participants.get_mut(at).filter(|one| one.aor.is_empty()) {
                    participant.aor = attribute(attributes, "aor");
                }
                Place::Participant(at)
            }
            (b"datamode", Place::Elsewhere) => Place::Mode,
            (b"name", Place::Participant(at)) => Place::Name(at),
            (b"stream", _) if self.streams.len() < METADATA_ITEMS_MAX => {
                self.streams.push((attribute(attributes, "stream_id"), String::new()));
                Place::Stream(self.streams.len() - 1)
            }
            (b"label", Place::Stream(at)) => Place::Label(at),
            (b"participantstreamassoc", _) => {
                let id = attribute(attributes, "participant_id");
                let known = self.participants.iter().position(|one| one.id == id && !id.is_empty());
                if known.is_none()
                    && self.is_partial
                    && !id.is_empty()
                    && self.participants.len() < METADATA_ITEMS_MAX
                {
                    // Of somebody whom an earlier document tells of.
                    self.participants.push(Participant { id, ..Participant::default() });
                    return Place::Association(Some(self.participants.len() - 1));
                }
                Place::Association(known)
            }
            (b"send", Place::Association(Some(at))) => Place::Send(at),
            (_, place) => place,
        }
    }

    fn take_text(&mut self, place: &Place, words: &[u8]) {
        let words = unescaped(words);
        if words.is_empty() {
            return;
        }
        match *place {
            Place::Mode => self.is_partial = words.eq_ignore_ascii_case("partial"),
            Place::Name(at) => {
                if let Some(participant) = self.participants.get_mut(at).filter(|one| one.name.is_empty()) {
                    participant.name = words;
                }
            }
            Place::Label(at) => {
                if let Some((_, label)) = self.streams.get_mut(at).filter(|(_, label)| label.is_empty()) {
                    *label = words;
                }
            }
            Place::Send(at) => {
                let sends = self.participants.get_mut(at).map(|participant| &mut participant.sends);
                if let Some(sends) = sends.filter(|sends| sends.len() < METADATA_ITEMS_MAX) {
                    sends.push(words);
                }
            }
            _ => {}
        }
    }
}

/// The value of an attribute; empty without it.
fn attribute(attributes: &[u8], name: &str) -> String {
    let mut rest = attributes;
    while let Some(equals) = memchr(b'=', rest) {
        let key = super::trim(rest.get(..equals).unwrap_or_default());
        let behind = super::trim(rest.get(equals + 1..).unwrap_or_default());
        let Some((&quote, value)) = behind.split_first() else { break };
        let Some(end) = memchr(quote, value).filter(|_| matches!(quote, b'"' | b'\'')) else { break };
        if key == name.as_bytes() {
            return unescaped(value.get(..end).unwrap_or_default());
        }
        rest = value.get(end + 1..).unwrap_or_default();
    }
    String::new()
}

/// The longest entity, `&#x10ffff;`, and a little more.
const ENTITY_BYTES_MAX: usize = 11;

/// Text without blanks around it, and with the entities of XML undone.
fn unescaped(bytes: &[u8]) -> String {
    let text = text(super::trim(bytes));
    if !text.contains('&') {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find('&') {
        let (before, entity) = rest.split_at(at);
        out.push_str(before);
        // No further: text of nothing but ampersands must not be searched from each of them to its end.
        let end = entity.bytes().take(ENTITY_BYTES_MAX).position(|byte| byte == b';');
        let word = end.and_then(|end| entity.get(1..end)).unwrap_or_default();
        let number = match word.strip_prefix("#x") {
            Some(hex) => u32::from_str_radix(hex, 16).ok(),
            None => word.strip_prefix('#').and_then(|digits| digits.parse().ok()),
        };
        let character = match word {
            "amp" => Some('&'),
            "lt" => Some('<'),
            "gt" => Some('>'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            _ => number.and_then(char::from_u32).filter(|c| !c.is_control()),
        };
        match (character, end) {
            (Some(character), Some(end)) => {
                out.push(character);
                rest = entity.get(end + 1..).unwrap_or_default();
            }
            _ => {
                out.push('&');
                rest = entity.get(1..).unwrap_or_default();
            }
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// In the shape of RFC 7865, 8: our own names.
    const DOCUMENT: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<!-- <participant participant_id="no"> -->
<rec:recording xmlns:rec='urn:ietf:params:xml:ns:recording:1'>
  <rec:datamode>complete</rec:datamode>
  <rec:session session_id="hVpd7YQgRW2nD22h7q60JQ=="><sipSessionID>ab30</sipSessionID></rec:session>
  <rec:participant participant_id="ann">
    <nameID aor="sip:2001@example.com"><name xml:lang="en">Ann &amp; &#66;ea</name></nameID>
  </rec:participant>
  <participant participant_id='bob'><nameID aor='tel:+441632960001'/></participant>
  <stream stream_id="one" session_id="h"><label>96</label></stream>
  <stream stream_id="two" session_id="h"><label> 97 </label></stream>
  <participantstreamassoc participant_id="ann"><send>one</send><recv>two</recv></participantstreamassoc>
  <participantstreamassoc participant_id="bob"><send>two</send><recv>one</recv></participantstreamassoc>
</rec:recording>"#;

    #[test]
    fn each_stream_has_its_speaker() {
        let metadata = parse(DOCUMENT.as_bytes());
        assert_eq!(metadata.participants.len(), 2);
        let ann = metadata.speaker("96").expect("a speaker");
        assert_eq!((ann.aor.as_str(), ann.name.as_str()), ("sip:2001@example.com", "Ann & Bea"));
        let bob = metadata.speaker("97").expect("a speaker");
        assert_eq!((bob.aor.as_str(), bob.name.as_str()), ("tel:+441632960001", ""));
        assert_eq!(metadata.speaker("98"), None);
    }

    #[test]
    fn a_partial_update_changes_what_it_tells_of_and_a_complete_one_everything() {
        let mut metadata = parse(DOCUMENT.as_bytes());
        let joins = "<recording><datamode> partial </datamode><participant participant_id='cy'>\
                     <nameID aor='sip:2003@example.com'><name>Cy</name></nameID></participant>\
                     <participant participant_id='bob'><nameID aor='sip:2002@example.com'/></participant>\
                     <stream stream_id='three'><label>98</label></stream>\
                     <participantstreamassoc participant_id='cy'><send>three</send></participantstreamassoc></recording>";
        metadata.update(parse(joins.as_bytes()));
        let speaker = |metadata: &Metadata, label: &str| metadata.speaker(label).map(|one| one.aor.clone());
        let numbers = ["96", "97", "98"].map(|label| speaker(&metadata, label).unwrap_or_default());
        assert_eq!(numbers, ["sip:2001@example.com", "sip:2002@example.com", "sip:2003@example.com"]);
        // Somebody known speaks in one more stream.
        let speaks = "<recording><datamode>partial</datamode><stream stream_id='four'><label>99</label></stream>\
                      <participantstreamassoc participant_id='ann'><send>four</send></participantstreamassoc></recording>";
        metadata.update(parse(speaks.as_bytes()));
        assert_eq!(speaker(&metadata, "99").as_deref(), Some("sip:2001@example.com"));
        metadata.update(parse(DOCUMENT.as_bytes()));
        assert_eq!((metadata.participants.len(), speaker(&metadata, "98")), (2, None));
    }

    #[test]
    fn a_long_or_endless_document_is_read_as_far_as_it_goes() {
        let many = "<participant participant_id='a'><nameID aor='x'>".repeat(5_000);
        assert_eq!(parse(many.as_bytes()).participants.len(), METADATA_ITEMS_MAX);
        assert_eq!(parse(b"<participant participant_id='a'").participants, []);
        assert_eq!(unescaped(b"a &lt;&bogus; &#0; & b"), "a <&bogus; &#0; & b");
    }

    proptest! {
        #[test]
        fn nothing_that_is_changed_in_it_panics(
            changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..20)
        ) {
            let mut bytes = DOCUMENT.as_bytes().to_vec();
            for (at, value) in changes {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            let _ = parse(&bytes).speaker("96");
        }
    }
}
