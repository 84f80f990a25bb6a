//! `[pause]`: how long a pause may be, which digits pause and resume, which windows pause.

use policy::Rules;
use policy::pause::codes::{CodeProfile, Codes, INTER_DIGIT_MS};
use policy::pause::windows::{WINDOW_RULES_MAX, WindowRule};
use policy::pause::{FORGOTTEN_MS, PauseLimits};
use serde::{Deserialize, Serialize};

use super::Wrong;

const MS_PER_MIN: i64 = 60_000;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PauseSection {
    /// Minutes after which a pause is reported as perhaps forgotten; 0 for never. Default 10.
    pub(crate) forgotten_min: u32,
    /// Minutes after which a pause ends by itself; never when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_min: Option<u32>,
    /// The longest time between two digits of a code, in milliseconds. Default 3000.
    pub(crate) inter_digit_ms: u32,
    /// Digits that pause and resume when they are keyed at the recorded extension.
    #[serde(rename = "code", skip_serializing_if = "Vec::is_empty")]
    pub(crate) codes: Vec<CodeEntry>,
    /// What pauses while a client at the extension's desk shows it.
    #[serde(rename = "window", skip_serializing_if = "Vec::is_empty")]
    pub(crate) windows: Vec<WindowEntry>,
}

/// A pair of codes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CodeEntry {
    /// Stands in the pause's events.
    pub(crate) name: String,
    /// Pauses.
    pub(crate) pause: String,
    /// Resumes.
    pub(crate) resume: String,
}

/// A rule on headings, addresses and tab names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WindowEntry {
    /// How the value is meant.
    #[serde(rename = "type")]
    pub(crate) kind: WindowKind,
    /// What it matches.
    pub(crate) value: String,
    /// It counts. Default true.
    #[serde(default = "yes")]
    pub(crate) active: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WindowKind {
    /// By its beginning, without regard to case.
    Prefix,
    /// By a regular expression.
    Regex,
}

fn yes() -> bool {
    true
}

impl Default for PauseSection {
    fn default() -> Self {
        PauseSection {
            forgotten_min: (FORGOTTEN_MS / MS_PER_MIN) as u32,
            max_min: None,
            inter_digit_ms: INTER_DIGIT_MS as u32,
            codes: Vec::new(),
            windows: Vec::new(),
        }
    }
}

impl PauseSection {
    /// Puts what follows from it into the rules.
    pub(super) fn resolve(self, rules: &mut Rules) -> Result<(), Wrong> {
        let minutes = |minutes: u32| i64::from(minutes) * MS_PER_MIN;
        if self.max_min == Some(0) {
            return Err(Wrong("pause.max_min: a pause of 0 minutes is none; leave it out".into()));
        }
        rules.pauses = PauseLimits {
            resume_ms: self.max_min.map(minutes),
            forgotten_ms: Some(self.forgotten_min).filter(|&min| min > 0).map(minutes),
        };
        let profile = |CodeEntry { name, pause, resume }| CodeProfile { name, pause, resume };
        let profiles = self.codes.into_iter().map(profile).collect();
        rules.codes = Codes::new(profiles, i64::from(self.inter_digit_ms))
            .map_err(|error| Wrong(format!("pause.code: {error}")))?;
        if self.windows.len() > WINDOW_RULES_MAX {
            return Err(Wrong(format!("pause.window: more than {WINDOW_RULES_MAX} rules")));
        }
        let rule = |entry: WindowEntry| match entry.kind {
            WindowKind::Prefix => WindowRule::prefix(&entry.value, entry.active),
            WindowKind::Regex => WindowRule::regex(&entry.value, entry.active),
        };
        let windows: Result<Vec<WindowRule>, _> = self.windows.into_iter().map(rule).collect();
        rules.windows = windows.map_err(|error| Wrong(format!("pause.window: {error}")))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::rules;
    use super::*;

    #[test]
    fn pauses_are_read() {
        let rules = rules(
            "[pause]\nforgotten_min = 0\nmax_min = 15\n\
             [[pause.code]]\nname = \"card\"\npause = \"*123\"\nresume = \"*321\"\n\
             [[pause.window]]\ntype = \"regex\"\nvalue = \"^https:.*card\"\n\
             [[pause.window]]\ntype = \"prefix\"\nvalue = \"https://pay\"\nactive = false\n",
        )
        .expect("rules");
        assert_eq!(rules.pauses, PauseLimits { resume_ms: Some(900_000), forgotten_ms: None });
        assert!(rules.codes.is_any() && rules.windows[0].matches("https://x/card"));
        assert!(!rules.windows[1].matches("https://pay"));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_place() {
        for (text, why) in [
            ("[pause]\nmax_min = 0\n", "pause.max_min"),
            ("[pause]\ninter_digit_ms = 0\n", "pause.code: between two digits"),
            ("[[pause.code]]\nname = \"x\"\npause = \"*1\"\nresume = \"*1\"\n", "stands there twice"),
            ("[[pause.code]]\nname = \"x\"\npause = \"*x\"\nresume = \"*1\"\n", "pause.code: code \"*x\""),
            ("[[pause.window]]\ntype = \"regex\"\nvalue = \"(\"\n", "pause.window: window rule \"(\""),
            ("[[pause.window]]\ntype = \"glob\"\nvalue = \"x\"\n", "glob"),
        ] {
            let told = rules(text).expect_err(text);
            assert!(told.contains(why), "{text}: {told}");
        }
    }
}
