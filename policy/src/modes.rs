//! Recording modes: what is taken and kept by itself, and what an agent or a supervisor may change (requirement rows ODM).
//!
//! A mode belongs to a recorded device. It works behind the rules: it never brings back what these exclude. The table of mode
//! and request stands in `docs/recording-modes.md`; a test here holds the two together.

pub mod orders;

use serde::{Deserialize, Serialize};

/// What happens to a device's calls by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Recorded and kept; nobody changes that.
    #[default]
    Always,
    /// Not recorded; nobody changes that.
    Never,
    /// Recorded from when it is asked for.
    OnDemand,
    /// Recorded and kept; agent and supervisor may stop it, and start it again.
    AlwaysWithStop,
    /// Recorded and kept, unless a supervisor discards it before the call ends.
    SaveByDefault,
    /// Recorded from the beginning, and destroyed at the end unless somebody has asked to keep it.
    DiscardByDefault,
}

impl Mode {
    /// Every mode, in the order of the table.
    pub const ALL: [Mode; 6] = [
        Mode::Always,
        Mode::Never,
        Mode::OnDemand,
        Mode::AlwaysWithStop,
        Mode::SaveByDefault,
        Mode::DiscardByDefault,
    ];

    /// As the configuration writes it.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Mode::Always => "always",
            Mode::Never => "never",
            Mode::OnDemand => "on_demand",
            Mode::AlwaysWithStop => "always_with_stop",
            Mode::SaveByDefault => "save_by_default",
            Mode::DiscardByDefault => "discard_by_default",
        }
    }
}

/// What is asked of a running call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// Take from now on.
    Start,
    /// Take no more.
    Stop,
    /// Take nothing for a while; the time stays.
    Pause,
    /// Go on after a pause.
    Resume,
    /// Keep it at the end.
    Keep,
    /// Destroy it at the end.
    Discard,
}

impl Ask {
    /// Every request, in the order of the table.
    pub const ALL: [Ask; 6] = [Ask::Start, Ask::Stop, Ask::Pause, Ask::Resume, Ask::Keep, Ask::Discard];

    /// One word.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Ask::Start => "start",
            Ask::Stop => "stop",
            Ask::Pause => "pause",
            Ask::Resume => "resume",
            Ask::Keep => "keep",
            Ask::Discard => "discard",
        }
    }
}

/// As whom somebody asks. Whether they may at all is the business of permissions, before it comes here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// For the own calls.
    Agent,
    /// For the calls of others.
    Supervisor,
}

impl Role {
    /// One word.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Role::Agent => "agent",
            Role::Supervisor => "supervisor",
        }
    }
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is so from now on.
    Done,
    /// It was so already; nothing has changed.
    AlreadySo,
    /// The mode does not allow it.
    Refused(&'static str),
}

/// One segment's place between a mode and the people who ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Machine {
    mode: Mode,
    taking: bool,
    keep: bool,
}

const ALWAYS: &str = "this device is always recorded, and nobody changes that";
const NEVER: &str = "this device is never recorded";
const NOT_TAKING: &str = "nothing is being recorded";
const BY_SUPERVISOR: &str = "only a supervisor may discard what is saved by default";
const NO_DISCARD: &str = "this device's recordings are kept; only recording can be stopped";

impl Machine {
    /// At the start of a segment.
    #[must_use]
    pub fn new(mode: Mode) -> Machine {
        let taking = !matches!(mode, Mode::Never | Mode::OnDemand);
        Machine { mode, taking, keep: mode != Mode::DiscardByDefault }
    }

    /// In a mode that comes in force during the segment: at its end it is kept, or destroyed, as is said here and not by the mode.
    #[must_use]
    pub fn with_kept(self, keep: bool) -> Machine {
        Machine { keep, ..self }
    }

    /// The mode.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Is audio taken now, as far as mode and requests go?
    #[must_use]
    pub fn is_taking(&self) -> bool {
        self.taking
    }

    /// Is it kept if the segment ends now?
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.keep
    }

    /// Would this change something now, if it were asked?
    #[must_use]
    pub fn offers(mut self, ask: Ask, role: Role) -> bool {
        self.handle(ask, role) == Answer::Done
    }

    /// Somebody asks. A pause is judged here and carried out elsewhere: it is open to everybody in every mode that records.
    pub fn handle(&mut self, ask: Ask, role: Role) -> Answer {
        match ask {
            Ask::Start => self.start(),
            Ask::Stop => self.stop(),
            Ask::Pause if !self.taking => Answer::Refused(NOT_TAKING),
            Ask::Pause | Ask::Resume => Answer::Done,
            Ask::Keep => self.keep(role),
            Ask::Discard => self.discard(role),
        }
    }

    fn start(&mut self) -> Answer {
        match self.mode {
            Mode::Never => Answer::Refused(NEVER),
            Mode::Always | Mode::SaveByDefault => Answer::AlreadySo,
            // Who starts what would be discarded wants it.
            Mode::DiscardByDefault => {
                let as_before = self.taking && self.keep;
                (self.taking, self.keep) = (true, true);
                changed(!as_before)
            }
            Mode::OnDemand | Mode::AlwaysWithStop => changed(!std::mem::replace(&mut self.taking, true)),
        }
    }

    fn stop(&mut self) -> Answer {
        match self.mode {
            Mode::Always | Mode::SaveByDefault => Answer::Refused(ALWAYS),
            Mode::Never => Answer::AlreadySo,
            Mode::OnDemand | Mode::AlwaysWithStop | Mode::DiscardByDefault => {
                changed(std::mem::replace(&mut self.taking, false))
            }
        }
    }

    fn keep(&mut self, role: Role) -> Answer {
        match self.mode {
            Mode::Never => Answer::Refused(NEVER),
            Mode::SaveByDefault if !self.keep && role == Role::Agent => Answer::Refused(BY_SUPERVISOR),
            _ => changed(!std::mem::replace(&mut self.keep, true)),
        }
    }

    fn discard(&mut self, role: Role) -> Answer {
        match self.mode {
            Mode::Always => Answer::Refused(ALWAYS),
            Mode::Never => Answer::AlreadySo,
            Mode::AlwaysWithStop => Answer::Refused(NO_DISCARD),
            Mode::SaveByDefault if role == Role::Agent => Answer::Refused(BY_SUPERVISOR),
            Mode::SaveByDefault | Mode::OnDemand | Mode::DiscardByDefault => {
                changed(std::mem::replace(&mut self.keep, false))
            }
        }
    }
}

fn changed(is_new: bool) -> Answer {
    if is_new { Answer::Done } else { Answer::AlreadySo }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a cell of the table says: the answer of a fresh segment, and what is taken and kept after it.
    fn cell(mode: Mode, ask: Ask, role: Role) -> String {
        let mut machine = Machine::new(mode);
        let answer = machine.handle(ask, role);
        let word = match answer {
            Answer::Refused(_) => return "refused".into(),
            Answer::AlreadySo => return "as it is".into(),
            Answer::Done => match ask {
                Ask::Pause | Ask::Resume => return ask.key().to_owned() + "s",
                _ => match (machine.taking, machine.keep) {
                    (true, true) => "takes, keeps",
                    (true, false) => "takes, discards",
                    (false, true) => "stops, keeps",
                    (false, false) => "nothing taken, discards",
                },
            },
        };
        word.into()
    }

    #[test]
    fn the_table_in_the_documentation_is_what_the_machine_does() {
        let text = include_str!("../../docs/recording-modes.md");
        let written: Vec<&str> = text.lines().filter(|line| line.starts_with("| `")).collect();
        let mut made = Vec::new();
        for mode in Mode::ALL {
            for role in [Role::Agent, Role::Supervisor] {
                let fresh = Machine::new(mode);
                let taken = if fresh.taking { "yes" } else { "no" };
                let kept = if fresh.keep { "yes" } else { "no" };
                let cells: Vec<String> = Ask::ALL.iter().map(|&ask| cell(mode, ask, role)).collect();
                let (mode, role) = (mode.key(), role.key());
                made.push(format!("| `{mode}` | {role} | {taken} | {kept} | {} |", cells.join(" | ")));
            }
        }
        assert_eq!(written, made, "the table must read:\n{}", made.join("\n"));
    }

    #[test]
    fn discard_by_default_records_and_keeps_only_on_request() {
        let mut machine = Machine::new(Mode::DiscardByDefault);
        assert!(machine.is_taking() && !machine.is_kept());
        assert_eq!(machine.handle(Ask::Start, Role::Agent), Answer::Done);
        assert!(machine.is_taking() && machine.is_kept());
        assert_eq!(machine.handle(Ask::Stop, Role::Agent), Answer::Done);
        assert!(!machine.is_taking() && machine.is_kept(), "what was asked for stays");
        assert_eq!(machine.handle(Ask::Discard, Role::Agent), Answer::Done);
        assert!(!machine.is_kept());
    }

    #[test]
    fn an_agent_does_not_undo_what_a_supervisor_discards() {
        let mut machine = Machine::new(Mode::SaveByDefault);
        assert_eq!(machine.handle(Ask::Discard, Role::Supervisor), Answer::Done);
        assert!(matches!(machine.handle(Ask::Keep, Role::Agent), Answer::Refused(_)));
        assert_eq!(machine.handle(Ask::Keep, Role::Supervisor), Answer::Done);
    }

    #[test]
    fn always_and_never_stay_what_they_are_whatever_is_asked() {
        for mode in [Mode::Always, Mode::Never] {
            let mut machine = Machine::new(mode);
            for ask in Ask::ALL.into_iter().cycle().take(60) {
                machine.handle(ask, Role::Supervisor);
                machine.handle(ask, Role::Agent);
            }
            assert_eq!(machine, Machine::new(mode));
        }
    }
}
