//! Users and units of the rule book as pages show and change them. An extension or agent is a line of words, as forms have it.

use std::fmt;
use std::str::FromStr;

use policy::Mode;

use super::Wrong;

/// A business unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitLine {
    /// Its name.
    pub name: String,
    /// The unit above it; on top when empty.
    pub parent: String,
}

/// A user, with the extensions and agents of all times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserLine {
    /// Names the user for ever.
    pub id: String,
    /// First name; may be empty.
    pub first_name: String,
    /// Last name; may be empty.
    pub last_name: String,
    /// E-mail address; may be empty.
    pub email: String,
    /// The unit; none when empty.
    pub unit: String,
    /// The calls are shown to no other user.
    pub is_hidden: bool,
    /// A recording mode of the user's own, whatever the device's; none without one.
    pub mode: Option<Mode>,
    /// Since when it counts: a date, or RFC 3339; for all calls when empty.
    pub mode_from: String,
    /// From when on the user is deleted: a date, or RFC 3339; not at all when empty.
    pub deleted: String,
    /// Extensions and agents.
    pub devices: Vec<HeldLine>,
}

impl UserLine {
    /// First and last name, or the id where there is none.
    #[must_use]
    pub fn display_name(&self) -> String {
        let names = [self.first_name.as_str(), self.last_name.as_str()];
        let names = names.into_iter().filter(|name| !name.is_empty()).collect::<Vec<_>>().join(" ");
        if names.is_empty() { self.id.clone() } else { names }
    }

    /// What lists of people are sorted by: last name, first name, id, capitals or not.
    #[must_use]
    pub fn sort_key(&self) -> [String; 3] {
        [&self.last_name, &self.first_name, &self.id].map(|text| text.to_lowercase())
    }

    /// Is the text, in small letters, in a name, id, extension, agent or mode?
    #[must_use]
    pub fn holds(&self, wanted: &str) -> bool {
        let is_in = |text: &str| text.to_lowercase().contains(wanted);
        let is_mode = |mode: Mode| is_in(mode.key()) || is_in(&mode.key().replace('_', " "));
        is_in(&self.id)
            || is_in(&self.display_name())
            || self.mode.is_some_and(is_mode)
            || self.devices.iter().any(|held| is_in(&held.number))
    }
}

/// An extension or agent that is a user's for a time: `extension 2001 secondary from 2026-01-01 until 2026-07-01`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeldLine {
    /// An agent's id, and no extension.
    pub is_agent: bool,
    /// The number.
    pub number: String,
    /// It is not the first one of its kind.
    pub is_secondary: bool,
    /// Its first moment, as written; since ever when empty.
    pub from: String,
    /// The first moment behind it, likewise; without end when empty.
    pub until: String,
}

impl fmt::Display for HeldLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HeldLine { is_agent, number, is_secondary, from, until } = self;
        write!(f, "{} {number}", if *is_agent { "agent" } else { "extension" })?;
        if *is_secondary {
            f.write_str(" secondary")?;
        }
        for (word, moment) in [("from", from), ("until", until)] {
            if !moment.is_empty() {
                write!(f, " {word} {moment}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for HeldLine {
    type Err = Wrong;

    fn from_str(line: &str) -> Result<HeldLine, Wrong> {
        let wrong = || {
            let shown: String = line.chars().take(100).collect();
            Wrong::new(format!(
                "{shown:?} is no line as \"extension 2001\" or \"agent 4711 secondary from 2026-01-01 until 2026-07-01\"."
            ))
        };
        let mut words = line.split_whitespace();
        let is_agent = match words.next() {
            Some("agent") => true,
            Some("extension") => false,
            _ => return Err(wrong()),
        };
        let number = words.next().ok_or_else(wrong)?.to_owned();
        let mut held = HeldLine { is_agent, number, ..HeldLine::default() };
        while let Some(word) = words.next() {
            let place = match word {
                "secondary" if !held.is_secondary => {
                    held.is_secondary = true;
                    continue;
                }
                "from" => &mut held.from,
                "until" => &mut held.until,
                _ => return Err(wrong()),
            };
            if !place.is_empty() {
                return Err(wrong());
            }
            words.next().ok_or_else(wrong)?.clone_into(place);
        }
        Ok(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_is_written_and_what_is_none_is_said() {
        for line in [
            "extension 2001",
            "agent 4711 secondary",
            "extension 2001 from 2026-01-01",
            "agent 7 secondary from 2026-01-01T08:00:00Z until 2026-07-01",
        ] {
            assert_eq!(line.parse::<HeldLine>().map(|held| held.to_string()), Ok(line.to_owned()));
        }
        assert_eq!("  extension   2001 until x  ".parse::<HeldLine>().map(|held| held.until), Ok("x".into()));
        for line in [
            "",
            "2001",
            "phone 2001",
            "extension",
            "extension 1 2",
            "agent 1 from",
            "agent 1 from a from b",
            "agent 1 secondary secondary",
        ] {
            assert!(line.parse::<HeldLine>().is_err(), "{line}");
        }
    }
}
