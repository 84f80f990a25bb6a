//! Where in a text something stands that cannot be meant: TOML tells the place of what it cannot read, the rules only name the key.

/// Line and column, from 1, of what these words are about; none where no place is found.
pub(super) fn of(text: &str, words: &str) -> Option<(usize, usize)> {
    let (key, _) = words.split_once(':').unwrap_or((words, ""));
    let found = match key.split_once(", rule ") {
        Some((list, number)) => nth_entry(text, list, number.parse().ok()?),
        None => quoted(text, words).or_else(|| line_of_key(text, key)),
    };
    found.map(|(line, column)| (line + 1, column + 1))
}

/// The beginning of the entry of this number, from 1, of a list of tables.
fn nth_entry(text: &str, list: &str, number: usize) -> Option<(usize, usize)> {
    let heading = format!("[[{list}]]");
    let mut entries = text.lines().enumerate().filter(|(_, line)| line.trim_start().starts_with(&heading));
    let (line, written) = entries.nth(number.checked_sub(1)?)?;
    Some((line, indent(written)))
}

/// Where the first text that the words quote stands in a value.
fn quoted(text: &str, words: &str) -> Option<(usize, usize)> {
    let from = words.find('"')?;
    let len = words.get(from + 1..)?.find('"')? + 2;
    let quoted = words.get(from..from + len)?;
    let mut lines = text.lines().enumerate();
    lines.find_map(|(line, written)| {
        let at = written.find(quoted)?;
        Some((line, written.get(..at)?.chars().count()))
    })
}

/// The line that sets the last part of a key, or the heading of its section.
fn line_of_key(text: &str, key: &str) -> Option<(usize, usize)> {
    let last = key.rsplit('.').next().unwrap_or(key).trim();
    let sets = |line: &str| {
        let rest = line.trim_start().strip_prefix(last);
        rest.is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    let heads = |line: &str| line.trim().trim_matches(['[', ']']) == key;
    let find = |is_it: &dyn Fn(&str) -> bool| text.lines().enumerate().find(|(_, line)| is_it(line));
    let (line, written) = find(&sets).or_else(|| find(&heads))?;
    Some((line, indent(written)))
}

fn indent(line: &str) -> usize {
    line.chars().take_while(|c| c.is_whitespace()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_meant_is_found_by_its_entry_its_value_or_its_key() {
        let text = "[site]\nrtp_ports = [\"1-2\"]\n[[record.exclude]]\ntype = \"agent\"\n[[record.exclude]]\n\
                    type = \"agent\"\nvalue = \"1,,2\"\n  [[pause.code]]\npause = \"*x\"\n[[pause.window]]\n";
        for (words, place) in [
            ("record.exclude, rule 2: a rule on agent: an empty item", Some((5, 1))),
            ("record.exclude, rule 3: a rule on agent", None),
            ("pause.code: code \"*x\" is not of digits", Some((9, 9))),
            ("site.rtp_ports: too many", Some((2, 1))),
            ("pause.window: more than 100 rules", Some((10, 1))),
            ("site.dial_plan.area_code: say the country, too", None),
            ("", None),
        ] {
            assert_eq!(of(text, words), place, "{words}");
        }
    }
}
