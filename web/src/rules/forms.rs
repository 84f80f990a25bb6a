//! Values of the rule book that forms show and change by their keys: what a section has besides its lists, and entries of lists that are nothing
//! but values. What a value may be is the book's to say; here it is what somebody has written.

/// Values of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// `[record]`.
    Record,
    /// `[pause]`.
    Pause,
    /// `[site.dial_plan]`.
    DialPlan,
    /// `[retention]`.
    Retention,
}

impl Part {
    /// All of them.
    pub const ALL: [Part; 4] = [Part::Record, Part::Pause, Part::DialPlan, Part::Retention];

    /// As forms name it.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Part::Record => "record",
            Part::Pause => "pause",
            Part::DialPlan => "dial_plan",
            Part::Retention => "retention",
        }
    }

    /// As people see it.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Part::Record => "What is recorded",
            Part::Pause => "Lengths of pauses",
            Part::DialPlan => "Dial plan",
            Part::Retention => "What rules of retention have in common",
        }
    }
}

/// A list whose entries are values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entries {
    /// `[[pause.code]]`: digits that pause and resume.
    Codes,
    /// `[[pause.window]]`: windows that pause.
    Windows,
    /// `[[retention.rule]]`: how long what is kept.
    Keeping,
}

impl Entries {
    /// All of them.
    pub const ALL: [Entries; 3] = [Entries::Codes, Entries::Windows, Entries::Keeping];

    /// As forms name it.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Entries::Codes => "code",
            Entries::Windows => "window",
            Entries::Keeping => "keep",
        }
    }

    /// One of them, as people see it.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Entries::Codes => "pair of codes",
            Entries::Windows => "window that pauses",
            Entries::Keeping => "rule of retention",
        }
    }

    /// Their order counts.
    #[must_use]
    pub const fn is_ordered(self) -> bool {
        matches!(self, Entries::Keeping)
    }
}

/// How a value is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A text.
    Text,
    /// A number.
    Number,
    /// Yes or no.
    Yes,
    /// Several words, with commas between.
    Words,
    /// One of these: key and words.
    OneOf(Vec<(String, String)>),
    /// Any of these.
    AnyOf(Vec<(String, String)>),
}

/// A value of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// As the book's text has it.
    pub key: &'static str,
    /// What it is about.
    pub label: &'static str,
    /// What may be written, and what it means when it is empty.
    pub hint: &'static str,
    /// How it is written.
    pub input: Input,
    /// What is written; several words with commas between; `yes` or nothing. Empty where the key does not stand there.
    pub written: String,
}

impl Value {
    /// Each word that is written.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        words(&self.written)
    }
}

/// Each word of several with commas between.
pub fn words(written: &str) -> impl Iterator<Item = &str> {
    written.split([',', '\n', '\r']).map(str::trim).filter(|word| !word.is_empty())
}

/// What somebody has written, by key.
pub type Written = Vec<(String, String)>;

/// An entry as forms have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What names it in its list.
    pub name: String,
    /// Its values.
    pub values: Vec<Value>,
}

/// What forms show of a book.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forms {
    /// The values of sections.
    pub parts: Vec<(Part, Vec<Value>)>,
    /// The entries of lists.
    pub entries: Vec<(Entries, Vec<Entry>)>,
    /// What a new entry of each list has.
    pub fresh: Vec<(Entries, Vec<Value>)>,
}
