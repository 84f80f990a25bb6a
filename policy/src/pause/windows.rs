//! Rules on windows and addresses: while one matches what a client at the extension's desk shows, the recording is paused
//! (requirement rows CRC-01, CRC-05, CRC-09, GAP-13).
//!
//! A plain rule matches by prefix, without regard to case: `http://www.example.com` is any page of that site, and does not cover
//! `https://`. A regular expression matches anywhere, and with regard to case unless it begins with `(?i)`; it takes time
//! in proportion to the text, whatever stands in it.

use regex_lite::{Regex, RegexBuilder};

/// Rules in force.
pub const WINDOW_RULES_MAX: usize = 500;
/// The longest value of a rule, in bytes.
const VALUE_MAX: usize = 1_024;
/// A compiled expression may take so much, in bytes.
const REGEX_BYTES_MAX: usize = 256 * 1_024;
/// So much of a text is looked at, in bytes: a heading or an address.
const TEXT_MAX: usize = 4_096;

/// A rule.
#[derive(Clone, Debug)]
pub struct WindowRule {
    value: String,
    /// None for a plain rule.
    regex: Option<Regex>,
    active: bool,
}

impl PartialEq for WindowRule {
    fn eq(&self, other: &Self) -> bool {
        let same = |rule: &WindowRule| (rule.value.clone(), rule.regex.is_some(), rule.active);
        same(self) == same(other)
    }
}

/// The rule cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("window rule {value:?}: {problem}")]
pub struct WindowRuleError {
    value: String,
    problem: String,
}

impl WindowRule {
    /// Matches what begins so.
    ///
    /// # Errors
    /// [`WindowRuleError`] for nothing, which would match everything, and for too much.
    pub fn prefix(value: &str, active: bool) -> Result<WindowRule, WindowRuleError> {
        check(value)?;
        Ok(WindowRule { value: value.to_lowercase(), regex: None, active })
    }

    /// Matches where the regular expression does.
    ///
    /// # Errors
    /// [`WindowRuleError`].
    pub fn regex(value: &str, active: bool) -> Result<WindowRule, WindowRuleError> {
        check(value)?;
        let regex = RegexBuilder::new(value).size_limit(REGEX_BYTES_MAX).build();
        let regex = regex.map_err(|e| WindowRuleError { value: value.to_owned(), problem: e.to_string() })?;
        Ok(WindowRule { value: value.to_owned(), regex: Some(regex), active })
    }

    /// Does it match this heading, address or tab name? One that is not active never does.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let end = text.floor_char_boundary(TEXT_MAX.min(text.len()));
        let text = text.get(..end).unwrap_or_default();
        self.active
            && match &self.regex {
                Some(regex) => regex.is_match(text),
                None => text.to_lowercase().starts_with(&self.value),
            }
    }
}

fn check(value: &str) -> Result<(), WindowRuleError> {
    let error = |problem: String| Err(WindowRuleError { value: value.chars().take(40).collect(), problem });
    match value.len() {
        0 => error("there is nothing in it".into()),
        1..=VALUE_MAX => Ok(()),
        _ => error(format!("it is longer than {VALUE_MAX} bytes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_rule_is_a_prefix_whatever_the_case() {
        let rule = WindowRule::prefix("http://www.example.com/Products", true).expect("a rule");
        assert!(rule.matches("http://www.example.com/products/list"));
        assert!(!rule.matches("https://www.example.com/Products"), "another scheme");
        assert!(!rule.matches("see http://www.example.com/Products"), "not at the beginning");
    }

    #[test]
    fn a_regular_expression_minds_the_case_unless_it_says_otherwise() {
        let rule = WindowRule::regex("^https:.*paymentsite.*card", true).expect("a rule");
        assert!(rule.matches("https://a.paymentsite.example/card/1"));
        assert!(!rule.matches("https://a.PaymentSite.example/card/1"));
        let rule = WindowRule::regex("(?i)paymentsite", true).expect("a rule");
        assert!(rule.matches("https://a.PaymentSite.example/"));
    }

    #[test]
    fn one_that_is_not_active_never_matches() {
        assert!(!WindowRule::prefix("card", false).expect("a rule").matches("card"));
    }

    #[test]
    fn what_would_match_everything_or_cannot_be_read_is_refused() {
        assert!(WindowRule::prefix("", true).is_err() && WindowRule::regex("", true).is_err());
        assert!(WindowRule::regex("(", true).expect_err("no expression").to_string().contains("\"(\""));
        assert!(WindowRule::prefix(&"x".repeat(1_025), true).is_err());
        assert!(WindowRule::regex("((a{100}){100}){100}", true).is_err(), "too large");
    }

    #[test]
    fn a_long_text_is_cut_and_not_refused() {
        let rule = WindowRule::regex("^é+$", true).expect("a rule");
        assert!(rule.matches(&"é".repeat(10_000)));
    }
}
