//! The manuals' grammar for filter fields (requirement rows FSC): `1000-1005,!1003,1040,18%5,2000+`.
//!
//! Terms are separated by commas. A value matches when any positive term does (or when there is none) and no term behind `!`
//! does. `%` stands for any run of characters, `_` for one. In fields that hold numbers (extension, agent, trunk, hunt group)
//! `a-b` is a range with both ends; `a+` is a and above; `a-` is a and below; a value that is no number is in no range. In
//! fields that hold text `+` and `-` stand for themselves. There is no escape character. `docs/search.md` has examples.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest pattern that is read, in bytes.
const LENGTH_MAX: usize = 4096;
/// Most of a term that an error repeats, in characters.
const QUOTED_MAX: usize = 40;

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
    Range {
        from: u64,
        to: u64,
    },
    /// Without wildcards.
    Literal(String),
    Wildcard(String),
}

/// What a pattern is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Text,
}

/// The pattern cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("character {position}, {term:?}: {problem}; write for example {example}")]
pub struct PatternError {
    /// Where the term begins, in characters from 1.
    position: usize,
    term: String,
    problem: String,
    example: &'static str,
}

impl Pattern {
    /// Reads a pattern for a field that holds text, in which there are no ranges: `+49%` and `12-34` stand for themselves.
    /// [`FromStr`] reads one for a field that holds numbers.
    ///
    /// # Errors
    /// [`PatternError`] for a term with nothing in it, and for a pattern of more than 4096 bytes.
    pub fn of_text(text: &str) -> Result<Pattern, PatternError> {
        Pattern::parse(text, Kind::Text)
    }

    /// A pattern for a value of a field that holds text, as it is written. What would mean something in a pattern is any one character:
    /// there is no escape character.
    #[must_use]
    pub fn written_for(value: &str) -> String {
        let special = |(place, c): (usize, char)| match c {
            ',' | '%' => '_',
            '!' if place == 0 => '_',
            c => c,
        };
        value.chars().enumerate().map(special).collect()
    }

    /// Does the value match?
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        let positive = self.positive.is_empty() || self.positive.iter().any(|term| term.matches(value));
        positive && !self.negative.iter().any(|term| term.matches(value))
    }

    /// Does a list of values match: any of them a positive term, and none of them an excluded one? An empty list counts as
    /// one empty value.
    #[must_use]
    pub fn matches_any<'v>(&self, values: impl Iterator<Item = &'v str> + Clone) -> bool {
        if values.clone().next().is_none() {
            return self.matches("");
        }
        let any = |terms: &[Term]| values.clone().any(|value| terms.iter().any(|term| term.matches(value)));
        (self.positive.is_empty() || any(&self.positive)) && !any(&self.negative)
    }

    fn parse(text: &str, kind: Kind) -> Result<Pattern, PatternError> {
        let example = match kind {
            Kind::Number => "1000-1005,!1003,18%5,2000+",
            Kind::Text => "0163296%,!01632960999",
        };
        let error = |position, term: &str, problem: String| PatternError {
            position,
            term: term.chars().take(QUOTED_MAX).collect(),
            problem,
            example,
        };
        if text.len() > LENGTH_MAX {
            return Err(error(1, text, format!("the pattern is longer than {LENGTH_MAX} bytes")));
        }
        let mut pattern = Pattern { text: text.to_owned(), positive: Vec::new(), negative: Vec::new() };
        let mut at = 1;
        for between in text.split(',') {
            let written = between.trim();
            let position = at + between.chars().take_while(|c| c.is_whitespace()).count();
            at += between.chars().count() + 1;
            let (list, body) = match written.strip_prefix('!') {
                Some(body) => (&mut pattern.negative, body.trim()),
                None => (&mut pattern.positive, written),
            };
            if body.is_empty() {
                return Err(error(position, written, "there is nothing in this term".into()));
            }
            list.push(Term::parse(body, kind).map_err(|problem| error(position, written, problem))?);
        }
        Ok(pattern)
    }
}

/// Reads a pattern for a field that holds numbers.
impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        Pattern::parse(text, Kind::Number)
    }
}

impl Term {
    fn parse(body: &str, kind: Kind) -> Result<Term, String> {
        if kind == Kind::Number
            && let Some(range) = range(body)?
        {
            return Ok(range);
        }
        let text = body.to_owned();
        Ok(if text.contains(['%', '_']) { Term::Wildcard(text) } else { Term::Literal(text) })
    }

    fn matches(&self, value: &str) -> bool {
        match self {
            // More digits than a number here can have are still a number, and a large one.
            Term::Range { from, to } => {
                is_number(value) && (*from..=*to).contains(&value.parse().unwrap_or(u64::MAX))
            }
            Term::Literal(text) => text == value,
            Term::Wildcard(pattern) => wildcard(pattern, value),
        }
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// `a-b`, `a+` or `a-`; none for what is no range.
fn range(body: &str) -> Result<Option<Term>, String> {
    let number = |digits: &str| -> Option<Result<u64, String>> {
        let digits = digits.trim();
        is_number(digits).then(|| digits.parse().map_err(|_| "the number is too large for a range".into()))
    };
    if let Some(from) = body.strip_suffix('+').and_then(number) {
        return Ok(Some(Term::Range { from: from?, to: u64::MAX }));
    }
    if let Some(to) = body.strip_suffix('-').and_then(number) {
        return Ok(Some(Term::Range { from: 0, to: to? }));
    }
    let Some((Some(from), Some(to))) = body.split_once('-').map(|(from, to)| (number(from), number(to)))
    else {
        return Ok(None);
    };
    let (from, to) = (from?, to?);
    if from > to {
        return Err(format!("the range runs backwards ({to}-{from} is meant?)"));
    }
    Ok(Some(Term::Range { from, to }))
}

/// `%` and `_` as in SQL LIKE. Goes back to the last `%` only, so that it is never worse than length times length.
fn wildcard(pattern: &str, value: &str) -> bool {
    let (mut pattern, mut value) = (pattern.chars(), value.chars());
    let mut retry = None;
    loop {
        let mut behind = pattern.clone();
        let wanted = behind.next();
        if wanted == Some('%') {
            pattern = behind;
            retry = Some((pattern.clone(), value.clone()));
            continue;
        }
        let Some(c) = value.next() else {
            return wanted.is_none();
        };
        if wanted == Some('_') || wanted == Some(c) {
            pattern = behind;
            continue;
        }
        let Some((after, from)) = &mut retry else {
            return false;
        };
        from.next();
        (pattern, value) = (after.clone(), from.clone());
    }
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

    #[test]
    fn an_error_says_at_which_character() {
        let error = |text: &str| text.parse::<Pattern>().expect_err("refused").to_string();
        assert!(
            error("é001, 2003-1005")
                .starts_with("character 7, \"2003-1005\": the range runs backwards (1005-2003")
        );
        assert!(error("1,,2").starts_with("character 3, \"\": there is nothing"));
        assert!(error("1, !").starts_with("character 4, \"!\": there is nothing"));
        assert!(error("99999999999999999999+").contains("too large"));
    }

    #[test]
    fn in_a_field_of_text_plus_and_minus_stand_for_themselves() {
        let text = |text: &str| Pattern::of_text(text).expect("a pattern");
        assert!(text("12-34").matches("12-34") && !text("12-34").matches("20"));
        assert!(text("2003-1005,5+").matches("5+") && !text("5+").matches("6"));
        assert!(text("!09%").matches("1099") && !text("!09%").matches("0999"));
    }

    #[test]
    fn a_value_can_be_written_as_a_pattern_that_it_matches() {
        for value in ["Claims", "R&D, 50%", "!urgent", "a_b", "12-34"] {
            let written = Pattern::written_for(value);
            let pattern = Pattern::of_text(&written).expect("a pattern");
            assert!(pattern.matches(value) && !pattern.matches("") && !pattern.matches("Motor"), "{written}");
        }
        assert_eq!(Pattern::written_for("Sales"), "Sales");
    }

    #[test]
    fn a_number_of_many_digits_is_above_any_range() {
        assert!(pattern("2000+").matches("99999999999999999999999999"));
        assert!(!pattern("2000-").matches("99999999999999999999999999"));
        assert!(pattern("1000 - 1005").matches("1003"), "spaces do not matter");
    }

    #[test]
    fn of_a_list_any_may_match_and_none_may_be_excluded() {
        let pattern = Pattern::of_text("claim%,!%closed").expect("a pattern");
        let any = |values: &[&str]| pattern.matches_any(values.iter().copied());
        assert!(any(&["vip", "claim 7"]) && !any(&["vip"]) && !any(&["claim 7", "closed"]) && !any(&[]));
        let untagged = Pattern::of_text("!_%").expect("a pattern");
        assert!(untagged.matches_any([].into_iter()) && !untagged.matches_any(["x"].into_iter()));
    }

    proptest! {
        #[test]
        fn wildcards_agree_with_the_obvious_recursion(pattern in "[aé%_]{0,8}", value in "[aé]{0,8}") {
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
            prop_assert_eq!(wildcard(&pattern, &value), slow(&p, &v));
        }
    }
}
