//! Telephone numbers as they are dialled and signalled, cleaned by the site's dial plan (requirement rows DIA, TRP-35).
//!
//! Cleaning is done once a call, before a number is judged or stored. What a country's numbers look like comes from a library
//! that follows Google's libphonenumber; it is asked for display and for E.164 only, with at most `DIGITS_MAX` digits.

use phonenumber::Mode;
use phonenumber::country::Id;

/// Digits of a number that the rules of countries are asked about: E.164 allows 15, the rest are prefixes.
const DIGITS_MAX: usize = 24;
/// A received DDI of so many digits is whole, where the length of national numbers is not set.
const NATIONAL_DIGITS: usize = 10;
/// Longest extension, in digits, where nothing else is set (row DIA-04).
pub const EXTENSION_DIGITS: usize = 4;

/// How the site's numbers are dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialPlan {
    country: Option<Country>,
    area_code: String,
    ddi_prefix: String,
    /// Longest first.
    outbound_prefixes: Vec<String>,
    /// Numbers of up to so many digits are extensions.
    pub extension_digits: usize,
    /// National numbers have so many digits, area code and toll digit included.
    pub national_digits: Option<usize>,
}

/// A country whose rules for numbers are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Country(Id);

/// The dial plan cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DialPlanError {
    /// The library does not know it.
    #[error("no country {0:?}; write its two letters (ISO 3166), as GB")]
    NoCountry(String),
    /// A prefix or code with something else than digits in it.
    #[error("{0:?} holds something else than digits, * and #")]
    NoDigits(String),
}

impl Default for DialPlan {
    /// Nothing is cleaned.
    fn default() -> Self {
        DialPlan {
            country: None,
            area_code: String::new(),
            ddi_prefix: String::new(),
            outbound_prefixes: Vec::new(),
            extension_digits: EXTENSION_DIGITS,
            national_digits: None,
        }
    }
}

impl DialPlan {
    /// With the rules of the country of these two letters; `area_code` completes numbers that are dialled without one.
    ///
    /// # Errors
    /// [`DialPlanError`].
    pub fn in_country(mut self, letters: &str, area_code: &str) -> Result<DialPlan, DialPlanError> {
        let unknown = || DialPlanError::NoCountry(letters.to_owned());
        let id: Id = letters.to_ascii_uppercase().parse().map_err(|_| unknown())?;
        (self.country, self.area_code) = (Some(Country(id)), digits(area_code)?);
        Ok(self)
    }

    /// Digits that stand before a DDI which the trunk has cut short.
    ///
    /// # Errors
    /// [`DialPlanError::NoDigits`].
    pub fn with_ddi_prefix(mut self, prefix: &str) -> Result<DialPlan, DialPlanError> {
        self.ddi_prefix = digits(prefix)?;
        Ok(self)
    }

    /// What is dialled before an outside number: the digit of the outside line, codes that hide the own number.
    ///
    /// # Errors
    /// [`DialPlanError::NoDigits`].
    pub fn with_outbound_prefixes(mut self, prefixes: &[String]) -> Result<DialPlan, DialPlanError> {
        let mut all: Vec<String> = prefixes.iter().map(|prefix| digits(prefix)).collect::<Result<_, _>>()?;
        all.retain(|prefix| !prefix.is_empty());
        // The longest goes: of 8 and 8141 the shorter would leave 141.
        all.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        self.outbound_prefixes = all;
        Ok(self)
    }

    /// Is it short enough for an extension?
    #[must_use]
    pub fn is_extension(&self, number: &str) -> bool {
        (1..=self.extension_digits).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit())
    }

    /// A number that was dialled to the outside, without what was dialled before it. What would leave no more than an extension
    /// is left as it is.
    #[must_use]
    pub fn clean_dialled(&self, number: &str) -> String {
        let rest = self.outbound_prefixes.iter().find_map(|prefix| number.strip_prefix(prefix.as_str()));
        rest.filter(|rest| rest.len() > self.extension_digits).unwrap_or(number).to_owned()
    }

    /// A DDI as the world dials it: completed when the trunk sent its last digits alone.
    #[must_use]
    pub fn clean_ddi(&self, number: &str) -> String {
        let whole = self.national_digits.unwrap_or(NATIONAL_DIGITS);
        let is_short = !number.is_empty()
            && number.len() < whole
            && number.bytes().all(|b| b.is_ascii_digit())
            && !number.starts_with(self.ddi_prefix.as_str());
        if is_short { format!("{}{number}", self.ddi_prefix) } else { number.to_owned() }
    }

    /// How a DDI is completed: what stands before it, and when.
    pub(crate) fn ddi_rules(&self) -> (&str, Option<usize>) {
        (&self.ddi_prefix, self.national_digits)
    }

    /// The number in E.164, as `+441632960001`; none when the country's rules do not make one of it.
    #[must_use]
    pub fn e164(&self, number: &str) -> Option<String> {
        Some(self.parse(number)?.format().mode(Mode::E164).to_string())
    }

    /// The number as its country writes it, a foreign one with its country code; as it is when no rule fits.
    #[must_use]
    pub fn display(&self, number: &str) -> String {
        let (Some(parsed), Some(Country(own))) = (self.parse(number), self.country) else {
            return number.to_owned();
        };
        let is_own = parsed.country().id() == Some(own);
        let mode = if is_own { Mode::National } else { Mode::International };
        parsed.format().mode(mode).to_string()
    }

    fn parse(&self, number: &str) -> Option<phonenumber::PhoneNumber> {
        let Country(country) = self.country?;
        let bare: String =
            number.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '(' | ')' | '/')).collect();
        let is_plain = bare.strip_prefix('+').unwrap_or(&bare).bytes().all(|b| b.is_ascii_digit());
        if !is_plain || bare.len() > DIGITS_MAX || self.is_extension(&bare) {
            return None;
        }
        let parse = |text: &str| {
            phonenumber::parse(Some(country), text).ok().filter(phonenumber::PhoneNumber::is_valid)
        };
        let local = || {
            let is_local = !self.area_code.is_empty() && !bare.starts_with(['+', '0']);
            is_local.then(|| parse(&format!("{}{bare}", self.area_code))).flatten()
        };
        parse(&bare).or_else(local)
    }
}

fn digits(text: &str) -> Result<String, DialPlanError> {
    let text = text.trim();
    let is_dialled = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'*' | b'#'));
    if is_dialled { Ok(text.to_owned()) } else { Err(DialPlanError::NoDigits(text.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> DialPlan {
        DialPlan::default()
            .with_ddi_prefix("01617")
            .and_then(|plan| plan.with_outbound_prefixes(&["8".into(), "8141".into()]))
            .and_then(|plan| plan.in_country("gb", "01632"))
            .expect("a dial plan")
    }

    #[test]
    fn the_longest_outbound_prefix_goes_first() {
        for (dialled, clean) in [
            ("801632960001", "01632960001"),
            ("814101632960001", "01632960001"),
            ("01632960001", "01632960001"),
            ("+441632960001", "+441632960001"),
            // What is left would be no outside number.
            ("8999", "8999"),
            ("82000", "82000"),
            ("8", "8"),
        ] {
            assert_eq!(plan().clean_dialled(dialled), clean, "{dialled}");
        }
    }

    #[test]
    fn a_ddi_that_was_cut_short_is_completed() {
        assert_eq!(plan().clean_ddi("123456"), "01617123456");
        for whole in ["01617123456", "+441617123456", "4416171234", "", "sales"] {
            assert_eq!(plan().clean_ddi(whole), whole);
        }
        let six = DialPlan { national_digits: Some(6), ..plan() };
        assert_eq!(six.clean_ddi("123456"), "123456");
    }

    #[test]
    fn up_to_the_longest_extension_a_number_is_one() {
        assert!(plan().is_extension("2000") && !plan().is_extension("20000") && !plan().is_extension(""));
        assert!(!plan().is_extension("20a0"));
    }

    #[test]
    fn numbers_of_a_country_are_shown_and_searched_by_its_rules() {
        let plan = plan();
        // +44 1632 and +1 555 01xx are set aside for such use; libphonenumber has no range for the first.
        for (number, e164) in [
            ("020 7946 0018", Some("+442079460018")),
            ("+44 20 7946 0018", Some("+442079460018")),
            ("0012125550123", Some("+12125550123")),
            ("2000", None),
            ("999999999999999999999999999999", None),
            ("alice", None),
            ("", None),
        ] {
            assert_eq!(plan.e164(number).as_deref(), e164, "{number}");
        }
        assert_eq!(plan.display("+442079460018"), "020 7946 0018");
        assert_eq!(plan.display("0012125550123"), "+1 212-555-0123");
        assert_eq!(plan.display("2000"), "2000");
        let london = DialPlan::default().in_country("GB", "020").expect("a country");
        assert_eq!(london.e164("79460018").as_deref(), Some("+442079460018"), "dialled within the area");
        assert_eq!(DialPlan::default().e164("02079460018"), None, "without a country nothing is known");
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_from_a_wire_is_taken_and_no_longer_than_it_may_be(number in "[+0-9 *#()a-zé-]{0,40}") {
            let plan = plan();
            let clean = plan.clean_ddi(&plan.clean_dialled(&number));
            proptest::prop_assert!(clean.len() <= number.len() + 5);
            if let Some(e164) = plan.e164(&number) {
                proptest::prop_assert!(e164.starts_with('+') && e164.len() <= 16, "{e164}");
                proptest::prop_assert_eq!(plan.e164(&e164), Some(e164.clone()), "it is its own form");
            }
            proptest::prop_assert!(plan.display(&number).len() < 80);
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        assert!(DialPlan::default().in_country("Atlantis", "").is_err());
        assert!(DialPlan::default().with_ddi_prefix("01617-").is_err());
        assert!(DialPlan::default().with_outbound_prefixes(&["*67".into(), "9x".into()]).is_err());
    }
}
