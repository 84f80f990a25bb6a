//! Numbers as people of the site read and write them: shown by the rules of its country, and found however they are written.
//!
//! What is stored stays as it is; exports and the API have that. `policy::numbers` has the rules.

use std::sync::{PoisonError, RwLock};

use policy::{DialPlan, Field};
use store::RecordingFacts;

/// The site's dial plan: of the whole process, as there is one site.
static PLAN: RwLock<Option<DialPlan>> = RwLock::new(None);

/// From now on numbers are shown and found by this dial plan; as they are stored without one.
pub fn know(plan: Option<DialPlan>) {
    *PLAN.write().unwrap_or_else(PoisonError::into_inner) = plan;
}

fn by_plan<T>(ask: impl FnOnce(&DialPlan) -> T) -> Option<T> {
    PLAN.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(ask)
}

/// A number as the site's country writes it, a foreign one with its country code; as it is where no rule fits.
#[must_use]
pub fn shown(number: &str) -> String {
    by_plan(|plan| plan.display(number)).unwrap_or_else(|| number.to_owned())
}

/// Who the other party of a recording is, as pages show it: the number outside where there is one, which may be another one than was
/// signalled at the beginning.
#[must_use]
pub fn other_party(facts: &RecordingFacts) -> &str {
    facts.outside_number.as_deref().or(facts.other_party.as_deref()).unwrap_or("unknown")
}

/// A pattern for a field, with the other forms of the numbers that it names: somebody who looks for a number does not know how it was stored.
#[must_use]
pub fn searched(field: Field, written: &str) -> String {
    let is_number = matches!(field, Field::OutsideNumber | Field::OtherParty | Field::Ddi);
    let widened = is_number.then(|| by_plan(|plan| widened(plan, written))).flatten();
    widened.unwrap_or_else(|| written.to_owned())
}

fn widened(plan: &DialPlan, written: &str) -> String {
    let term = |term: &str| {
        let (not, body) = match term.trim().strip_prefix('!') {
            Some(body) => ("!", body.trim()),
            None => ("", term.trim()),
        };
        match forms(plan, body) {
            Some(forms) => forms.iter().map(|form| format!("{not}{form}")).collect::<Vec<_>>().join(","),
            None => term.to_owned(),
        }
    };
    written.split(',').map(term).collect::<Vec<_>>().join(",")
}

/// The forms that a number may be stored in: in E.164, the same without its plus, as its country dials it, and as it is written here. None for
/// what is no number of a country, and for patterns and ranges.
fn forms(plan: &DialPlan, body: &str) -> Option<Vec<String>> {
    let is_range = body.split_once('-').is_some_and(|(from, to)| {
        [from, to].iter().all(|end| !end.is_empty() && end.bytes().all(|b| b.is_ascii_digit()))
    });
    let e164 = plan.e164(body).filter(|_| !is_range)?;
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    let mut forms = vec![digits(&e164), e164];
    // A foreign number has no form of its own within the country.
    let national = plan.display(body);
    if !national.starts_with('+') {
        forms.push(digits(&national));
    }
    let bare: String = body.chars().filter(|c| c.is_ascii_digit() || *c == '+').collect();
    forms.push(bare);
    forms.sort_unstable();
    forms.dedup();
    Some(forms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> DialPlan {
        DialPlan::default().in_country("GB", "020").expect("a country")
    }

    #[test]
    fn a_number_is_found_in_each_form_that_it_may_be_stored_in() {
        let all = "+442079460018,02079460018,442079460018";
        for written in ["02079460018", "+442079460018", "020 7946 0018", "+44 20 7946 0018", " 02079460018 "]
        {
            assert_eq!(widened(&plan(), written), all, "{written}");
        }
        assert_eq!(
            widened(&plan(), "!020 7946 0018, 2000"),
            "!+442079460018,!02079460018,!442079460018, 2000"
        );
        assert_eq!(widened(&plan(), "79460018"), format!("{all},79460018"), "dialled within the area");
        assert_eq!(widened(&plan(), "0012125550123"), "+12125550123,0012125550123,12125550123");
        // Its pattern finds what is stored in either form, and what is excluded in either is.
        let found = |written: &str, stored: &str| {
            policy::Pattern::of_text(&widened(&plan(), written)).expect("a pattern").matches(stored)
        };
        for (written, stored) in [("02079460018", "+442079460018"), ("+442079460018", "02079460018")] {
            assert!(found(written, stored) && !found(&format!("!{written}"), stored));
            assert!(!found(written, "+442079460019"));
        }
    }

    #[test]
    fn patterns_ranges_extensions_and_words_stay_as_they_are() {
        for written in [
            "0207%",
            "+44_",
            "2000",
            "1000-1005",
            "020-79460018",
            "2000+",
            "anonymous",
            "",
            "!",
            "0207%,!2000",
        ] {
            assert_eq!(widened(&plan(), written), written);
        }
        assert_eq!(searched(Field::Extension, "02079460018"), "02079460018", "extensions have one form");
    }
}
