//! The commented file that `config init` writes, against what is read: each key that it names is one, and each key is in it.

use super::*;

/// A section of the commented file: what stands from its header to the next one's, with the comment above it.
struct Block<'t> {
    /// As written: a list's has two brackets.
    header: &'t str,
    /// Each key with its line as a setting, in force or behind a comment sign.
    settings: Vec<(&'t str, &'t str)>,
    /// Its comments.
    prose: String,
}

impl Block<'_> {
    fn name(&self) -> &str {
        self.header.trim_matches(['[', ']'])
    }

    /// The tables above it, and its own header.
    fn headers(&self, all: &[Block<'_>]) -> String {
        let name = self.name();
        let above = name.match_indices('.').map(|(at, _)| &name[..at]);
        let table = |above: &str| match all.iter().find(|block| block.name() == above) {
            // An entry needs its own keys.
            Some(block) => block
                .settings
                .iter()
                .fold(format!("{}\n", block.header), |text, (_, line)| text + line + "\n"),
            None => format!("[{above}]\n"),
        };
        above.map(table).collect::<String>() + self.header + "\n"
    }
}

/// The key of a setting, whatever stands around its sign.
fn key_of(line: &str) -> Option<&str> {
    let (key, _) = line.split_once('=')?;
    let key = key.trim();
    (!key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'))
        .then_some(key)
}

fn blocks() -> Vec<Block<'static>> {
    let mut blocks: Vec<Block<'static>> = Vec::new();
    let mut prose = String::new();
    for line in COMMENTED.lines() {
        let bare = line.strip_prefix('#').unwrap_or(line).trim_start();
        let setting = line.strip_prefix("# ").unwrap_or(line);
        if bare.starts_with('[') && bare.ends_with(']') && !bare.contains(' ') {
            let prose = std::mem::take(&mut prose);
            blocks.push(Block { header: bare, settings: Vec::new(), prose });
        } else if let Some(key) = key_of(bare) {
            let block = blocks.last_mut().expect("a setting stands in a section");
            block.settings.push((key, setting));
            block.prose += &std::mem::take(&mut prose);
        } else {
            prose += bare;
            prose.push('\n');
        }
    }
    blocks
}

#[test]
fn the_commented_file_is_the_default() {
    assert_eq!(ConfigFile::parse(COMMENTED).expect("reads"), ConfigFile::default());
    // As a whole, with each comment sign before a setting off.
    let blocks = blocks();
    let all: String = blocks
        .iter()
        .map(|block| {
            let lines: Vec<&str> = block.settings.iter().map(|&(_, line)| line).collect();
            format!("{}\n{}\n", block.header, lines.join("\n"))
        })
        .collect();
    let all = ConfigFile::parse(&all).expect("reads");
    assert_ne!(all, ConfigFile::default());
    assert!(all.settings(None).is_ok());
}

#[test]
fn each_setting_of_the_commented_file_is_one_in_its_own_section() {
    let blocks = blocks();
    let mut seen = 0;
    for block in &blocks {
        let headers = block.headers(&blocks);
        let text = |settings: &[(&str, &str)]| {
            settings.iter().fold(headers.clone(), |text, (_, line)| text + line + "\n")
        };
        let whole = text(&block.settings);
        if let Err((line, _, message)) = ConfigFile::parse(&whole) {
            panic!("{}, line {line} of\n{whole}{message}", block.name());
        }
        for (n, (key, line)) in block.settings.iter().enumerate() {
            seen += 1;
            // By another name it is none: what is read is this key, and no comment.
            let mut other = block.settings.clone();
            let line = line.replacen(key, &format!("{key}_x"), 1);
            other[n].1 = &line;
            let (.., message) = ConfigFile::parse(&text(&other)).expect_err("is refused");
            assert!(message.contains(&format!("{key}_x")), "{}: {line}: {message}", block.name());
        }
    }
    assert!(seen > 120, "{seen} settings");
}

#[test]
fn the_commented_file_names_every_key_of_every_section_that_it_has() {
    use std::collections::BTreeSet;
    /// Names of before that are read all the same.
    const FORMER: [&str; 1] = ["filter"];
    /// What cannot stand beside the others, or is one of many alike: the section's comment names it.
    const IN_WORDS: [(&str, &[&str]); 4] = [
        ("record.device", &["ip", "mac"]),
        ("device", &["ip"]),
        (
            "retention.rule",
            &["site", "extension", "business_unit", "direction", "outcome", "source", "state"],
        ),
        ("cold", &["direction", "tag"]),
    ];
    let blocks = blocks();
    let tables: BTreeSet<&str> = blocks.iter().map(Block::name).collect();
    let named_in = |section: &str, key: &str| {
        let name = if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") };
        let own = || blocks.iter().filter(|block| block.name() == section);
        let is_set = own().any(|block| block.settings.iter().any(|&(own, _)| own == key));
        let is_above = |table: &&str| **table == name || table.starts_with(&format!("{name}."));
        let is_in_words = || {
            let listed = IN_WORDS.iter().any(|(of, keys)| *of == section && keys.contains(&key));
            let mut words =
                own().flat_map(|block| block.prose.split(|c: char| !c.is_alphanumeric() && c != '_'));
            listed && words.any(|word| word == key)
        };
        is_set || tables.iter().any(is_above) || is_in_words()
    };
    let mut sections: BTreeSet<&str> = tables.clone();
    for name in &tables {
        sections.extend(name.match_indices('.').map(|(at, _)| &name[..at]));
    }
    sections.insert("");
    let (mut seen, mut missing) = (0, Vec::new());
    for section in sections {
        // A key that is none: what is refused names those that there are.
        let headers = match blocks.iter().find(|block| block.name() == section) {
            Some(block) => block.headers(&blocks),
            None if section.is_empty() => String::new(),
            None => format!("[{section}]\n"),
        };
        let Err((_, _, message)) = ConfigFile::parse(&(headers + "\"?\" = 1\n")) else {
            panic!("{section} takes anything")
        };
        let (_, expected) = message.split_once("expected").expect("it names the keys that there are");
        let expected = expected.split('`').skip(1).step_by(2).filter(|key| !FORMER.contains(key));
        for key in expected {
            seen += 1;
            if !named_in(section, key) {
                missing.push(format!("[{section}] {key}"));
            }
        }
    }
    assert_eq!(missing, Vec::<String>::new());
    assert!(seen > 150, "{seen} keys");
}
