//! What rules are asked with: numbers and digits from a wire, texts from a desk; and rules as an administrator writes them.
#![no_main]

use decode::Timestamp;
use libfuzzer_sys::fuzz_target;
use policy::pause::codes::{CodeProfile, Codes, Listener};
use policy::pause::windows::WindowRule;
use policy::rules::Hours;
use policy::{DialPlan, ListRule, PastCall, PastPart, RuleType, Rules, WhatIf};

fuzz_target!(|input: (&str, &str, u8, i64, Vec<(char, u16)>)| {
    let (written, value, kind, at, keyed) = input;
    let plan = DialPlan::default().in_country("GB", "01632").expect("a country");
    let _ = plan.display(&plan.clean_ddi(&plan.clean_dialled(value)));
    if let Some(e164) = plan.e164(value) {
        assert!(e164.len() <= 16);
    }
    if let Ok(hours) = Hours::new(written) {
        let _ = hours.contains(Timestamp::from_nanos(at), &jiff::tz::TimeZone::UTC);
    }
    let kind = RuleType::ALL[usize::from(kind) % RuleType::ALL.len()];
    let _ = ListRule::new(kind, written, "");
    if let Ok(part) = serde_json::from_str::<PastPart>(value) {
        let (started, outcome) = (part.facts.started, part.outcome);
        let caller = written.to_owned();
        let call = PastCall { ended: started, answered: true, outcome, caller, parts: vec![part] };
        assert!(WhatIf::new(Rules::default(), Rules::default()).handle(&call).is_some());
    }
    for rule in [WindowRule::prefix(written, true), WindowRule::regex(written, true)].into_iter().flatten() {
        let _ = rule.matches(value);
    }
    let card = CodeProfile { name: String::new(), pause: "*12".into(), resume: "*#".into() };
    let codes = Codes::new(vec![card], 3_000).expect("codes");
    let (mut listener, mut now) = (Listener::default(), 0);
    for (digit, after) in keyed {
        now += i64::from(after);
        listener.handle_digit(&codes, digit, Timestamp::from_millis(now));
        assert!(listener.held(&codes) <= 2);
    }
});
