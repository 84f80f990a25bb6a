//! The manuals' grammar for number fields (requirement rows FSC): `1000-1005,!1003,1040,18%5,2000+`.
//!
//! Terms are separated by commas. A value matches when any positive term does (or when there is none) and no term behind `!`
//! does. `%` stands for any run of characters, `_` for one. Between digits, `a-b` is a range with both ends; `a+` is a and
//! above; `a-` is a and below. A value that is no number is in no range. There is no escape character.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest pattern that is read, in characters.
const LENGTH_MAX: usize = 4096;

/// A parsed pattern; prints as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    text: String,
    positive: Vec<Term>,
    negative: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Term {
    Range { from: u64, to: u64 },
    Text(Vec<char>),
}

/// The pattern cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{term:?} {problem}; write for example 1000-1005,!1003,18%5,2000+")]
pub struct PatternError {
    term: String,
    problem: &'static str,
}

impl Pattern {
    /// Does the value match?
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        let positive = self.positive.is_empty() || self.positive.iter().any(|term| term.matches(value));
        positive && !self.negative.iter().any(|term| term.matches(value))
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let error = |term: &str, problem| PatternError { term: term.chars().take(40).collect(), problem };
        if text.len() > LENGTH_MAX {
            return Err(error(text, "is too long"));
        }
        let mut pattern = Pattern { text: text.to_owned(), positive: Vec::new(), negative: Vec::new() };
        for written in text.split(',').map(str::trim) {
            let (list, body) = match written.strip_prefix('!') {
                Some(body) => (&mut pattern.negative, body.trim()),
                None => (&mut pattern.positive, written),
            };
            if body.is_empty() {
                return Err(error(text, "has an empty term"));
            }
            list.push(Term::parse(body).map_err(|problem| error(body, problem))?);
        }
        Ok(pattern)
    }
}

impl Term {
    fn parse(body: &str) -> Result<Term, &'static str> {
        let number = |digits: &str| -> Option<Result<u64, &'static str>> {
            let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            is_number.then(|| digits.parse().map_err(|_| "holds a number that is too large for a range"))
        };
        if let Some(from) = body.strip_suffix('+').and_then(number) {
            return Ok(Term::Range { from: from?, to: u64::MAX });
        }
        if let Some(to) = body.strip_suffix('-').and_then(number) {
            return Ok(Term::Range { from: 0, to: to? });
        }
        if let Some((Some(from), Some(to))) =
            body.split_once('-').map(|(from, to)| (number(from), number(to)))
        {
            let (from, to) = (from?, to?);
            return if from <= to {
                Ok(Term::Range { from, to })
            } else {
                Err("is a range that runs backwards")
            };
        }
        Ok(Term::Text(body.chars().collect()))
    }

    fn matches(&self, value: &str) -> bool {
        match self {
            Term::Range { from, to } => {
                let is_number = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
                is_number && value.parse::<u64>().is_ok_and(|n| (*from..=*to).contains(&n))
            }
            Term::Text(pattern) => wildcard(pattern, &value.chars().collect::<Vec<_>>()),
        }
    }
}

/// `%` and `_` as in SQL LIKE. Goes back to the last `%` only, so that it is never worse than length times length.
fn wildcard(pattern: &[char], value: &[char]) -> bool {
    let (mut p, mut v) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while v < value.len() {
        match pattern.get(p) {
            Some('%') => {
                p += 1;
                retry = Some((p, v));
            }
            Some('_') => (p, v) = (p + 1, v + 1),
            Some(c) if value.get(v) == Some(c) => (p, v) = (p + 1, v + 1),
            _ => match &mut retry {
                Some((after, from)) => {
                    *from += 1;
                    (p, v) = (*after, *from);
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|&c| c == '%')
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for Pattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        text.parse()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pattern(text: &str) -> Pattern {
        text.parse().expect("a pattern")
    }

    #[test]
    fn the_manuals_worked_example_matches_what_they_say() {
        let pattern = pattern("1000-1005,!1003,1040,18%5,2000+");
        for yes in ["1000", "1001", "1002", "1004", "1005", "1040", "1865", "185", "18995", "2000", "900000"]
        {
            assert!(pattern.matches(yes), "{yes}");
        }
        for no in ["1003", "1006", "999", "1041", "1866", "", "1999", "abc"] {
            assert!(!pattern.matches(no), "{no}");
        }
    }

    #[test]
    fn only_exclusions_mean_everything_else() {
        assert!(pattern("!1003").matches("1004") && !pattern("!1003").matches("1003"));
    }

    #[test]
    fn wildcards_and_open_ranges_work() {
        assert!(pattern("09%").matches("0999") && !pattern("09%").matches("1099"));
        assert!(pattern("10_1").matches("1091") && !pattern("10_1").matches("10911"));
        assert!(pattern("200-").matches("7") && !pattern("200-").matches("201"));
        assert!(pattern("+441632%").matches("+441632960000"));
    }

    #[test]
    fn a_bad_pattern_says_which_term_and_why() {
        let error = "1001,2003-1005".parse::<Pattern>().expect_err("backwards").to_string();
        assert!(error.contains("2003-1005") && error.contains("backwards"), "{error}");
        assert!(
            "1,,2".parse::<Pattern>().is_err()
                && "".parse::<Pattern>().is_err()
                && "!".parse::<Pattern>().is_err()
        );
    }

    proptest! {
        #[test]
        fn wildcards_agree_with_the_obvious_recursion(pattern in "[ab%_]{0,8}", value in "[ab]{0,8}") {
            fn slow(p: &[char], v: &[char]) -> bool {
                match (p.split_first(), v.split_first()) {
                    (None, None) => true,
                    (None, Some(_)) => false,
                    (Some(('%', rest)), None) => slow(rest, v),
                    (Some(('%', rest)), Some((_, tail))) => slow(rest, v) || slow(p, tail),
                    (Some((c, rest)), Some((d, tail))) => (*c == '_' || c == d) && slow(rest, tail),
                    (Some(_), None) => false,
                }
            }
            let (p, v): (Vec<char>, Vec<char>) = (pattern.chars().collect(), value.chars().collect());
            prop_assert_eq!(wildcard(&p, &v), slow(&p, &v));
        }
    }
}
