//! The index page of an exported ZIP: one table, no script, nothing from elsewhere.
//!
//! Every text in it that came from signalling was chosen by a stranger. It is escaped, invisible characters in it are
//! made visible, and should that ever fail, the page's own policy forbids script.

use std::fmt::{self, Write as _};
use std::io::{self, Write};

use decode::Timestamp;
use store::{Direction, RecordingFacts, RecordingId, State};

use crate::dat::is_unprintable;
use crate::entries::time_of_day;
use crate::words;

/// Everything up to the first row.
const HEAD: &str = r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="script-src 'none'; object-src 'none'; frame-src 'none'; connect-src 'none'; img-src 'none'; base-uri 'none'; form-action 'none'">
<meta name="referrer" content="no-referrer">
<title>Recordings</title>
<style>
body { font: 15px/1.4 system-ui, sans-serif; margin: 2rem; color: #1b1b1b; background: #fff }
table { border-collapse: collapse }
th, td { text-align: left; vertical-align: top; padding: .35rem .8rem .35rem 0; border-bottom: 1px solid #ddd }
td.n { font-variant-numeric: tabular-nums; white-space: nowrap }
.w { color: #8a3b00; font-size: .9em }
audio { height: 2rem; width: 18rem; display: block }
</style>
</head>
<body>
<h1>Recordings</h1>
<p>Times are UTC. Left is the recorded extension, right the other side. Check the files with SHA256SUMS.</p>
<table>
<thead><tr><th>Call started</th><th>Duration</th><th>Direction</th><th>Extension</th><th>Outside number or other side</th><th>User</th><th>Business unit</th><th>Agent</th><th>Trunk</th><th>Hunt group</th><th>Account code</th><th>Tags</th><th>Listen</th></tr></thead>
<tbody>
"#;

/// Everything behind the last row.
const TAIL: &str = "</tbody>\n</table>\n</body>\n</html>\n";

/// Where a row's audio is.
pub(crate) struct Listen<'a> {
    /// File or folder in the ZIP; its name is ours and needs no escaping.
    pub(crate) link: &'a str,
    /// The capture file of its SIP, likewise.
    pub(crate) sip: Option<&'a str>,
    /// A browser can play it.
    pub(crate) playable: bool,
    /// What the listener must know.
    pub(crate) warnings: &'a [String],
}

/// Begins the page.
pub(crate) fn head(out: &mut dyn Write) -> io::Result<()> {
    out.write_all(HEAD.as_bytes())
}

/// One recording.
pub(crate) fn row(out: &mut dyn Write, facts: &RecordingFacts, listen: &Listen<'_>) -> io::Result<()> {
    let mut html = String::with_capacity(1_024);
    let other = facts.outside_number.as_deref().or(facts.other_party.as_deref());
    write_row(&mut html, facts, other, listen).map_err(io::Error::other)?;
    out.write_all(html.as_bytes())
}

fn write_row(
    html: &mut String,
    facts: &RecordingFacts,
    other: Option<&str>,
    listen: &Listen<'_>,
) -> fmt::Result {
    let direction = match facts.direction {
        Direction::Inbound => "in",
        Direction::Outbound => "out",
        Direction::Internal => "internal",
        Direction::Unknown => "",
    };
    write!(html, "<tr><td class=\"n\">{}</td>", date_and_time(facts.started))?;
    write!(html, "<td class=\"n\">{}</td>", duration(facts.duration_ms))?;
    write!(html, "<td>{direction}</td>")?;
    write!(html, "<td>{}</td>", Named(Some(&facts.extension), facts.extension_name.as_deref()))?;
    write!(html, "<td>{}</td>", Named(other, facts.other_party_name.as_deref()))?;
    write!(html, "<td>{}</td>", Named(facts.user.as_deref(), facts.user_name.as_deref()))?;
    for text in [&facts.business_unit, &facts.agent, &facts.trunk, &facts.hunt_group, &facts.account_code] {
        write!(html, "<td>{}</td>", Named(text.as_deref(), None))?;
    }
    html.push_str("<td>");
    for (field, value) in facts.fields.iter() {
        write!(html, "{}: <bdi>{}</bdi><br>", Text(&words::field(field)), Text(value))?;
    }
    for tag in &facts.tags {
        write!(html, "<bdi>{}</bdi><br>", Text(tag))?;
    }
    html.push_str("</td><td>");
    let link = listen.link;
    if listen.playable {
        write!(html, "<audio controls preload=\"none\" src=\"{link}\"></audio>")?;
    }
    write!(html, "<a href=\"{link}\">{link}</a>")?;
    if let Some(sip) = listen.sip {
        write!(html, "<br><a href=\"{sip}\">{sip}</a>")?;
    }
    if facts.state != State::Complete {
        html.push_str("<br><span class=\"w\">the recording was cut off</span>");
    }
    for warning in listen.warnings {
        write!(html, "<br><span class=\"w\">{}</span>", Text(warning))?;
    }
    html.push_str("</td></tr>\n");
    Ok(())
}

/// A recording that could not be exported.
pub(crate) fn failed(out: &mut dyn Write, id: RecordingId, why: &str) -> io::Result<()> {
    writeln!(
        out,
        "<tr><td class=\"n\">{}</td><td colspan=\"11\">{id}</td><td class=\"w\">not exported: {}</td></tr>",
        date_and_time(id.started()),
        Text(why)
    )
}

/// Ends the page.
pub(crate) fn tail(out: &mut dyn Write) -> io::Result<()> {
    out.write_all(TAIL.as_bytes())
}

/// A stranger's text: safe between tags and in quoted attributes.
pub(crate) struct Text<'a>(pub(crate) &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c if is_unprintable(c) => write!(f, "[U+{:04X}]", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// A number and the name that belongs to it, each fenced off so that its direction of writing ends with it.
struct Named<'a>(Option<&'a str>, Option<&'a str>);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(number) = self.0 {
            write!(f, "<bdi>{}</bdi>", Text(number))?;
        }
        if let Some(name) = self.1 {
            write!(f, "<br><bdi>{}</bdi>", Text(name))?;
        }
        Ok(())
    }
}

fn date_and_time(at: Timestamp) -> String {
    let ((year, month, day), (h, m, s)) = (at.date(), time_of_day(at));
    format!("{year:04}-{month:02}-{day:02} {h:02}:{m:02}:{s:02}")
}

/// Hours, minutes and seconds, rounded to the second.
fn duration(ms: u64) -> String {
    let s = ms.saturating_add(500) / 1_000;
    format!("{}:{:02}:{:02}", s / 3_600, s / 60 % 60, s % 60)
}

#[cfg(test)]
pub(crate) mod tests {
    use store::Source;

    use super::*;

    /// An inbound call of 65.4 s, with everything known.
    pub(crate) fn facts() -> RecordingFacts {
        let started: Timestamp = "2026-01-01T09:00:00.000Z".parse().expect("a time");
        let text = |text: &str| Some(text.to_owned());
        RecordingFacts {
            id: RecordingId::from_parts(started, [7; 10]),
            call: "call-1".to_owned(),
            segment: 2,
            state: State::Complete,
            source: Source::Mirror,
            extension: "1001".to_owned(),
            extension_name: text("Alice"),
            outside_number: text("+441234567890"),
            other_party: text("+441234567890"),
            other_party_name: text("Bob"),
            direction: Direction::Inbound,
            started,
            answered: Some(started.plus_millis(5_000)),
            ended: Some(started.plus_millis(65_400)),
            duration_ms: 65_400,
            ring_ms: 5_000,
            hold_ms: 0,
            talk_ms: 60_400,
            tracks: Vec::new(),
            pauses: Vec::new(),
            holds: Vec::new(),
            one_way: Vec::new(),
            dtmf: Vec::new(),
            user: text("alice"),
            user_name: text("Alice Bell"),
            business_unit: text("Claims"),
            units_above: vec!["Insurance".to_owned()],
            site: text("Leeds"),
            agent: text("4711"),
            account_code: text("55"),
            hunt_group: text("Sales"),
            trunk: text("97201"),
            ddi: text("5550100"),
            ddi_name: None,
            contact: None,
            transferred_from: None,
            tags: Vec::new(),
            fields: Default::default(),
            held: false,
            sip_call_ids: vec!["a84b4c76e66710@example.com".to_owned()],
            ties: Vec::new(),
            rule: "default".to_owned(),
            named_by: None,
            signalling: store::Signalling::Sip,
            foreign_packets: 0,
            joined_late: false,
            shares_media: false,
            known_by_end: false,
            not_held_packets: 0,
            recoded: None,
        }
    }

    fn page(facts: &RecordingFacts, listen: &Listen<'_>) -> String {
        let mut out = Vec::new();
        head(&mut out).expect("a Vec takes everything");
        row(&mut out, facts, listen).expect("a Vec takes everything");
        tail(&mut out).expect("a Vec takes everything");
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn a_row_shows_who_and_when_and_how_long() {
        let page = page(&facts(), &Listen { link: "x.wav", sip: None, playable: true, warnings: &[] });
        for text in [
            "2026-01-01 09:00:00",
            "0:01:05",
            "1001",
            "Alice",
            "Bob",
            "4711",
            "97201",
            "Sales",
            "alice",
            "Claims",
        ] {
            assert!(page.contains(text), "{text}");
        }
        assert!(page.contains(r#"<audio controls preload="none" src="x.wav">"#));
    }

    #[test]
    fn no_field_can_open_a_tag_or_leave_an_attribute_or_turn_the_text_around() {
        let attack = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>&lt;\u{202e}\u{0}\u{1b}";
        let hostile = || Some(attack.to_owned());
        let mut facts = facts();
        facts.extension = attack.to_owned();
        facts.call = attack.to_owned();
        facts.tags = vec![attack.to_owned()];
        facts.fields.set(store::CustomField::Tag2, attack);
        for field in [
            &mut facts.extension_name,
            &mut facts.outside_number,
            &mut facts.other_party,
            &mut facts.other_party_name,
            &mut facts.user,
            &mut facts.user_name,
            &mut facts.business_unit,
            &mut facts.agent,
            &mut facts.account_code,
            &mut facts.hunt_group,
            &mut facts.trunk,
            &mut facts.ddi,
        ] {
            *field = hostile();
        }
        let warnings = [attack.to_owned()];
        let page = page(&facts, &Listen { link: "x.wav", sip: None, playable: false, warnings: &warnings });
        let body = page.strip_prefix(HEAD).expect("the head stands first");
        for part in ["<script", "<img", "'"] {
            assert!(!body.contains(part), "{part} in {body}");
        }
        assert!(!body.chars().any(|c| is_unprintable(c) && c != '\n'));
        // Thirteen fields show it, and the warning.
        assert_eq!(body.matches("&lt;script&gt;").count(), 14, "{body}");
        assert!(body.contains("&amp;lt;[U+202E][U+0000][U+001B]"));
    }

    #[test]
    fn what_could_not_be_exported_is_said() {
        let mut out = Vec::new();
        failed(&mut out, facts().id, "changed <b>").expect("a Vec takes everything");
        let row = String::from_utf8(out).expect("UTF-8");
        assert!(row.contains("not exported: changed &lt;b&gt;") && row.contains("2026-01-01 09:00:00"));
    }
}
