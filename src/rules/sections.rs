//! A book as people read it, section by section.

use policy::retention::Rule;
use web::rules::{
    CodeLine, DeviceLine, HeldLine, KeepLine, RuleLine, Sections, Setting, UnitLine, UserLine, WindowLine,
};

use crate::config::{
    AssignmentEntry, Book, OverloadWord, RecordedEntry, RuleEntry, UnitEntry, UserEntry, WindowKind,
};

pub(super) fn of(book: &Book) -> Sections {
    let (site, record, pause) = (&book.site, &book.record, &book.pause);
    Sections {
        extensions: site.extensions.as_ref().map(ToString::to_string).unwrap_or_default(),
        pbx: words(&site.pbx),
        rtp_ports: words(&site.rtp_ports),
        trunks: words(&site.trunks),
        exclude_internal: record.exclude_internal,
        record: record_settings(book),
        devices: record.entries.iter().map(device_line).collect(),
        phones: book
            .devices
            .iter()
            .map(|phone| {
                let address = phone.ip.map(|ip| ip.to_string()).or_else(|| phone.mac.clone());
                (phone.number.clone(), phone.name.clone(), address.unwrap_or_default())
            })
            .collect(),
        exclude: record.exclude.iter().map(rule_line).collect(),
        include: record.include.iter().map(rule_line).collect(),
        pause: pause_settings(book),
        codes: pause
            .codes
            .iter()
            .map(|code| CodeLine {
                name: code.name.clone(),
                pause: code.pause.clone(),
                resume: code.resume.clone(),
            })
            .collect(),
        windows: pause
            .windows
            .iter()
            .map(|window| WindowLine {
                kind: match window.kind {
                    WindowKind::Prefix => "begins with",
                    WindowKind::Regex => "regular expression",
                },
                value: window.value.clone(),
                is_active: window.active,
            })
            .collect(),
        dial_plan: dial_plan(book),
        retention: vec![
            setting("grace", "Tightened rules wait", book.retention.grace.to_string()),
            setting("off_max", "Time off that needs no confirmation", book.retention.off_max.to_string()),
        ],
        keeping: book.retention.rules.iter().map(keep_line).collect(),
        units: book.units.iter().map(unit_line).collect(),
        users: book.users.iter().map(user_line).collect(),
        forms: super::values::of(book),
    }
}

fn setting(key: &'static str, label: &'static str, value: String) -> Setting {
    Setting { key, label, value }
}

fn words<T: ToString>(list: &[T]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

fn yes(is_so: bool) -> String {
    if is_so { "yes" } else { "no" }.to_owned()
}

fn record_settings(book: &Book) -> Vec<Setting> {
    let record = &book.record;
    let channels = record.channels.map_or("any number".to_owned(), |channels| channels.to_string());
    let overload = match record.overload {
        OverloadWord::Refuse => "is not recorded",
        OverloadWord::TakeFromLeastImportant => "takes it from the least important one",
    };
    let plain = record.devices.as_ref().map(|numbers| numbers.to_string());
    let mut settings = vec![
        setting("channels", "Recordings at the same moment", channels),
        setting("overload", "A call that finds no channel free", overload.to_owned()),
        setting("unanswered", "Audio of unanswered calls is kept", yes(record.unanswered)),
        setting("sip", "SIP messages are kept with their call", yes(record.sip)),
        setting(
            "stream_idle_s",
            "A call without signalling is over after",
            format!("{} s", record.stream_idle_s),
        ),
    ];
    if let Some(numbers) = plain {
        settings.insert(0, setting("devices", "Recorded besides, always", numbers));
    }
    settings
}

fn pause_settings(book: &Book) -> Vec<Setting> {
    let pause = &book.pause;
    let minutes = |minutes: u32| format!("{minutes} min");
    let forgotten = if pause.forgotten_min == 0 { "never".to_owned() } else { minutes(pause.forgotten_min) };
    vec![
        setting("forgotten_min", "Reported as perhaps forgotten after", forgotten),
        setting("max_min", "Ends by itself after", pause.max_min.map_or("never".to_owned(), minutes)),
        setting("inter_digit_ms", "Longest time between two digits", format!("{} ms", pause.inter_digit_ms)),
    ]
}

fn dial_plan(book: &Book) -> Vec<Setting> {
    let plan = &book.site.dial_plan;
    let text = |text: &Option<String>| text.clone();
    let number = |number: Option<usize>| number.map(|number| number.to_string());
    let told = [
        ("country", "Country", text(&plan.country)),
        ("area_code", "Own area code", text(&plan.area_code)),
        ("ddi_prefix", "Stands before a DDI that is cut short", text(&plan.ddi_prefix)),
        (
            "outbound_prefixes",
            "Dialled before an outside number",
            Some(plan.outbound_prefixes.join(", ")).filter(|prefixes| !prefixes.is_empty()),
        ),
        ("extension_digits", "Longest extension, in digits", number(plan.extension_digits)),
        ("national_digits", "Length of a national number", number(plan.national_digits)),
    ];
    told.into_iter().filter_map(|(key, label, value)| Some(setting(key, label, value?))).collect()
}

pub(super) fn rule_line(entry: &RuleEntry) -> RuleLine {
    let RuleEntry { kind, value, description } = entry.clone();
    RuleLine { kind, value, description }
}

fn device_line(entry: &RecordedEntry) -> DeviceLine {
    DeviceLine {
        number: entry.number.to_string(),
        name: entry.name.clone(),
        ip: entry.ip.map(|ip| ip.to_string()).unwrap_or_default(),
        mac: entry.mac.clone().unwrap_or_default(),
        source: entry.source,
        mode: entry.mode,
        priority: entry.priority,
    }
}

fn unit_line(entry: &UnitEntry) -> UnitLine {
    UnitLine { name: entry.name.clone(), parent: entry.parent.clone().unwrap_or_default() }
}

fn user_line(entry: &UserEntry) -> UserLine {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let held = |entry: &AssignmentEntry| HeldLine {
        is_agent: entry.agent.is_some(),
        number: entry.agent.clone().or_else(|| entry.extension.clone()).unwrap_or_default(),
        is_secondary: entry.secondary,
        from: text(&entry.from),
        until: text(&entry.until),
    };
    UserLine {
        id: entry.id.clone(),
        first_name: entry.first_name.clone(),
        last_name: entry.last_name.clone(),
        email: entry.email.clone(),
        unit: text(&entry.unit),
        is_hidden: entry.hidden,
        mode: entry.mode,
        mode_from: text(&entry.mode_from),
        deleted: text(&entry.deleted),
        devices: entry.devices.iter().map(held).collect(),
    }
}

/// A rule of retention in words.
pub(super) fn keep_line(rule: &Rule) -> KeepLine {
    let (words, lengths) =
        (rule.to_string(), format!("{:?}: audio {}, data {}, of ", rule.name, rule.audio, rule.data));
    KeepLine {
        name: rule.name.clone(),
        of: words.strip_prefix(&lengths).unwrap_or(&words).to_owned(),
        audio: rule.audio.to_string(),
        data: rule.data.to_string(),
    }
}
