//! The command line: its words, its help, its examples.

pub(crate) mod accounts;
pub(crate) mod marks;
pub(crate) mod people;
pub(crate) mod token;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

mod key;
mod record;
mod rule;

pub(crate) use key::{Key, KeyCommand};
pub(crate) use record::{Demo, Interfaces, Record, Replay, Run, TlsKeys};
pub(crate) use rule::{
    Change, Device, DeviceCommand, DeviceSettings, ListCommand, PbxCommand, PortsCommand, Replacement, Rule,
    RuleCommand,
};

/// Records telephone calls from a mirror port or from capture files into an encrypted, signed archive.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, arg_required_else_help = true, max_term_width = 100)]
#[command(
    after_help = "First steps:\n  earwitness demo                        see what it does, without a PBX\n  earwitness record -r capture.pcap      record the calls in a capture\n  \
    earwitness archive list                see what was recorded\n  \
    earwitness archive export ID -o a.wav  listen to one\n  earwitness archive verify              prove that nothing was changed\n  \
    earwitness serve                       listen in the browser\n\n\
    EARWITNESS_LOG=debug tells more on stderr. One process at a time has an archive open; beside `earwitness run`, other\n\
    commands are done by it."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The appliance: record from network adapters until stopped, with pages, API and metrics
    #[command(
        after_help = "Example:\n  earwitness config init /etc/earwitness.toml    then name adapters in [capture]\n  \
        earwitness run -c /etc/earwitness.toml\n\n\
        Needs CAP_NET_RAW for adapters. Prints a link that lets one browser in, once. SIGTERM or Ctrl-C closes the recordings\n\
        and ends it."
    )]
    Run(Run),
    /// Record the calls of capture files or network adapters into an archive
    #[command(
        after_help = "Examples:\n  earwitness record -r monday.pcapng tuesday.pcap.gz -a /srv/calls\n  \
        tcpdump -i eth1 -w - | earwitness record -r -\n  earwitness record -i eth1 -a /srv/calls 'not port 22'\n  \
        earwitness record -i eth1 --hep 192.0.2.5:9060 --hep-from 192.0.2.10\n\n\
        Files may be pcap or pcapng, plain or gzip; several are read in time order. At the end the calls are finished and\n\
        the balance sheet is printed: every call that was seen, and what became of it."
    )]
    Record(Record),
    /// Print what the decoder sees in capture files: calls, media, events, oddities
    #[command(after_help = "Example:\n  earwitness replay capture.pcap")]
    Replay(Replay),
    /// List the network adapters of this machine, and what each hears
    #[command(
        after_help = "Examples:\n  earwitness interfaces\n  earwitness interfaces --watch 30 -i eth1\n  \
        earwitness interfaces --read mirror.pcap\n\n\
        --watch tells what SIP and RTP comes in, and what is wrong with the mirror, if anything is; it records nothing."
    )]
    Interfaces(Interfaces),
    /// Look at, export, verify and mend an archive
    Archive(Archive),
    /// List every call that was seen, recorded or not, and why
    #[command(
        after_help = "Examples:\n  earwitness calls --since today\n  earwitness calls --summary --json"
    )]
    Calls(Calls),
    /// Listen in the browser: pages over an archive, without a recorder
    #[command(
        after_help = "Example:\n  earwitness serve -a demo/archive\n\nPrints a link that lets one browser in, once. Runs until \
        Ctrl-C. While it runs, no other command can open the archive."
    )]
    Serve(Serve),
    /// Look around: two small offices telephone, in an archive that is thrown away
    #[command(
        after_help = "Example:\n  earwitness demo\n\nPrints where the pages are and who can sign in. Recordings of the last days are there, calls go on while it\n\
        runs. Ctrl-C ends it and removes everything."
    )]
    Demo(Demo),
    /// Users, whose which extension and agent was when, and the accounts that can sign in
    User(people::User),
    /// Roles, profiles and access filters: what accounts may see and do
    Role(accounts::Role),
    /// Tokens of programs that use the API
    Token(token::Token),
    /// Business units
    Unit(people::Unit),
    /// The rule book: what is recorded and for how long, in versions; try a change on past calls
    Rule(Rule),
    /// The recorded devices, and the extensions that were seen
    Device(Device),
    /// What somebody who helps needs to know, as a ZIP: no call, no number, no name, no key
    #[command(
        after_help = "Example:\n  earwitness support-bundle -c /etc/earwitness.toml -o support.zip\n\n\
        Beside a running appliance it has the last lines of its log, its lights and figures, too. Look through it before you send it."
    )]
    SupportBundle(SupportBundle),
    /// Check, show or write a configuration file
    Config(Config),
    /// Write manual pages and completions into a folder, for packages
    #[command(hide = true)]
    Manual {
        /// The folder, which must be there
        folder: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Json {
    /// One JSON object per line instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

/// Where the archive is.
#[derive(Clone, Debug, Args)]
pub(crate) struct ArchiveDir {
    /// Folder of the archive [default: $EARWITNESS_ARCHIVE, the configuration's, or ./earwitness-archive]
    #[arg(short = 'a', long = "archive", value_name = "DIR")]
    pub(crate) archive: Option<PathBuf>,
    /// Configuration file
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// Where a support bundle goes.
#[derive(Debug, Args)]
pub(crate) struct SupportBundle {
    /// File to write
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) dir: ArchiveDir,
}

#[derive(Debug, Args)]
pub(crate) struct Archive {
    #[command(subcommand)]
    pub(crate) command: ArchiveCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ArchiveCommand {
    /// List recordings, newest first
    #[command(after_help = "Examples:\n  earwitness archive list --since -15m\n  \
        earwitness archive list --filter 'extension=1000-1005,!1003,18%5' --json")]
    List {
        #[command(flatten)]
        dir: ArchiveDir,
        #[command(flatten)]
        filters: Filters,
        #[command(flatten)]
        json: Json,
    },
    /// Show everything about one recording
    #[command(
        after_help = "Examples:\n  earwitness archive show 01KB2Y   (the beginning of an id is enough)\n  \
        earwitness archive show 01KB2Y --sip   (who sent what to whom, as a ladder)"
    )]
    Show {
        /// The recording, or the beginning of its id
        id: String,
        /// The call's SIP messages: as a ladder alone, or in the JSON
        #[arg(long)]
        sip: bool,
        #[command(flatten)]
        dir: ArchiveDir,
        #[command(flatten)]
        json: Json,
    },
    /// Decrypt recordings into audio files
    #[command(after_help = "Examples:\n  earwitness archive export 01KB2Y -o call.wav --dat\n  \
        earwitness archive export 01KB2Y -o - --channels near | aplay\n  \
        earwitness archive export --extension 2001 --since today -o today.zip\n  \
        earwitness archive export 01KB2Y --format vcon --body ogg -o call.vcon\n  \
        earwitness archive export 01KB2Y --format pcap -o - | tshark -r -   (the call's SIP)\n  \
        earwitness archive export 01KB2Y 01KB2Z --sealed -o case.zip   (proves itself: archive verify --bundle)")]
    Export(Export),
    /// Make recordings of audio files: WAV as it is, MP3, FLAC, Ogg Vorbis, M4A
    #[command(after_help = "Examples:\n  earwitness archive import old.wav --dat old.dat\n  \
        earwitness archive import *.wav --extension 2001   (a .dat file beside each is read)\n  \
        earwitness archive import call.mp3 --meta call.json\n\n\
        Left becomes the extension, right the other side. A-law, mu-law and GSM are kept byte for byte.")]
    Import(Import),
    /// Prove that recordings are what was recorded, and that none is missing
    #[command(after_help = "Examples:\n  earwitness archive verify && echo nothing was changed\n  \
        earwitness archive verify --bundle case.zip --public-key public.json   (needs no archive)\n\n\
        Needs the archive's public keys only. Exit code 5: something is changed or missing, and was named.")]
    Verify {
        /// Recordings, or the beginnings of their ids; all, and the ledger, when none is named
        id: Vec<String>,
        /// Hold the archive against a checkpoint that was kept elsewhere, once for each; those in the folders that
        /// the configuration names for checkpoints are used without it
        #[arg(long, value_name = "FILE", conflicts_with = "id")]
        checkpoint: Vec<PathBuf>,
        /// The public key that must have signed everything: a copy of keys/public.json
        #[arg(long, value_name = "FILE", conflicts_with = "id")]
        public_key: Option<PathBuf>,
        /// Certificates (PEM) of those who may have signed the ledger's time stamps
        #[arg(long, value_name = "FILE", conflicts_with_all = ["id", "bundle"])]
        tsa_ca: Option<PathBuf>,
        /// Verify an exported ZIP instead of an archive
        #[arg(long, value_name = "FILE.zip", conflicts_with = "id")]
        bundle: Option<PathBuf>,
        #[command(flatten)]
        dir: ArchiveDir,
        #[command(flatten)]
        json: Json,
    },
    /// Print the signed state of the ledger, to be kept elsewhere: it proves later that nothing was taken back
    #[command(after_help = "Examples:\n  earwitness archive checkpoint -o /mnt/worm/today.checkpoint\n  \
        earwitness archive checkpoint --stamp -c earwitness.toml -o /mnt/worm/today.checkpoint   (and today.tsr)")]
    Checkpoint {
        /// File to write; the standard output without it
        #[arg(short = 'o', long = "output", value_name = "FILE")]
        output: Option<PathBuf>,
        /// Have the time-stamp authority of the configuration stamp it now; its reply goes beside FILE, as .tsr
        #[arg(long)]
        stamp: bool,
        #[command(flatten)]
        dir: ArchiveDir,
    },
    /// Copy what is due to the archive locations, and remove the originals that may go
    #[command(after_help = "Example:\n  earwitness archive copy -c /etc/earwitness.toml --wait-s 3600")]
    Copy {
        /// Seconds to wait at most; what is missing then is copied the next time
        #[arg(long, value_name = "SECONDS", default_value_t = 86_400)]
        wait_s: u64,
        #[command(flatten)]
        dir: ArchiveDir,
        #[command(flatten)]
        json: Json,
    },
    /// How the archive locations do: copies, what is missing, room
    #[command(after_help = "Example:\n  earwitness archive locations -c /etc/earwitness.toml")]
    Locations {
        #[command(flatten)]
        dir: ArchiveDir,
        #[command(flatten)]
        json: Json,
    },
    /// Who did what to the archive and its recordings, oldest first
    #[command(after_help = "Example:\n  earwitness archive log --since -7d")]
    Log(Log),
    /// Put a tag on recordings, or take it off; fill one of the five fields
    #[command(after_help = "Examples:\n  earwitness archive tag 01KB2Y --tag complaint\n  \
        earwitness archive tag 01KB2Y --field 2 AB-1271\n  \
        earwitness archive tag 01KB2Y -c earwitness.toml --field Claim ''   (empties it; names stand in [tags])")]
    Tag(marks::Tag),
    /// Rate a recording with 1 to 5 stars
    #[command(after_help = "Example:\n  earwitness archive rate 01KB2Y 4")]
    Rate(marks::Rate),
    /// Add a note to recordings, or list their notes
    #[command(
        after_help = "Examples:\n  earwitness archive note 01KB2Y --text 'asks for the contract' --at 1:01.5\n  \
        earwitness archive note 01KB2Y      lists its notes"
    )]
    Note(marks::Note),
    /// Put recordings under a legal hold: nothing deletes them until every hold is released
    #[command(
        after_help = "Example:\n  earwitness archive hold 01KB2Y --name 'case 26-114' --why 'letter of 3 March'"
    )]
    Hold {
        #[command(flatten)]
        edit: Edit,
        /// The hold's name; a recording can be under several
        #[arg(long, default_value = "hold")]
        name: String,
        /// Why
        #[arg(long)]
        why: String,
    },
    /// Release recordings from a legal hold
    #[command(
        after_help = "Example:\n  earwitness archive release 01KB2Y --name 'case 26-114' --why 'closed'"
    )]
    Release {
        #[command(flatten)]
        edit: Edit,
        /// The hold's name
        #[arg(long, default_value = "hold")]
        name: String,
        /// Why
        #[arg(long)]
        why: String,
    },
    /// Delete the audio of recordings for ever: the key first, then the file; a signed receipt stays
    #[command(
        after_help = "Example:\n  earwitness archive delete 01KB2Y --why 'request under art. 17 GDPR' --yes\n\n\
        Without --yes it shows what would go. What is under a hold stays: exit code 13."
    )]
    Delete {
        #[command(flatten)]
        edit: Edit,
        /// Why
        #[arg(long)]
        why: String,
        /// Keep what is known of the call: it stays in lists, without audio
        #[arg(long)]
        keep_facts: bool,
        /// Do it
        #[arg(long)]
        yes: bool,
    },
    /// Delete what is due by the rules of retention: the key first, then the file; a signed receipt stays
    #[command(
        after_help = "Examples:\n  earwitness archive prune -c earwitness.toml          what would go, and why\n  \
        earwitness archive prune -c earwitness.toml --yes    it goes\n\n\
        The rules stand in the rule book, or in the configuration ([[retention.rule]], docs/retention.md). A tightened rule waits 24 hours. Exit code 13: \
        refused by the guard or because the clock is in doubt."
    )]
    Prune(Prune),
    /// Re-encode old recordings so that they take less room, by the rule in the configuration
    #[command(
        after_help = "Examples:\n  earwitness archive recode -c earwitness.toml          what would be re-encoded\n  \
        earwitness archive recode -c earwitness.toml --yes    it is\n\n\
        The rule stands in the configuration ([cold], docs/cold.md). Held recordings, and what cannot be decoded here, stay as they are. \
        Exit code 5: some recordings are not what was sealed, and were not touched; 13: refused because the clock is in doubt."
    )]
    Recode(Recode),
    /// Look for what is wrong with the archive's own files
    #[command(after_help = "Examples:\n  earwitness archive check --cost index      seconds\n  \
        earwitness archive check --repair          a look at each recording\n  \
        earwitness archive check --cost bytes      reads everything, as `archive verify` does")]
    Check {
        /// How much is read
        #[arg(long, value_enum, default_value_t)]
        cost: CheckCost,
        /// Mend what can be mended
        #[arg(long)]
        repair: bool,
        #[command(flatten)]
        dir: ArchiveDir,
        #[command(flatten)]
        json: Json,
    },
    /// Make an archive of a backup, or try whether that would work
    #[command(
        after_help = "Examples:\n  earwitness archive restore --from /mnt/backup/calls -a /srv/calls\n  \
        earwitness archive restore --from /mnt/backup/calls --verify     a drill: nothing stays\n\n\
        Never writes over an archive. The drill needs room for a copy in $TMPDIR. docs/backup.md says what to back up, and how.\n\
        Exit codes: 0 everything is there; 3 something is not in the backup; 5 something in it was changed."
    )]
    Restore(Restore),
    /// Make the index anew from the recordings
    #[command(after_help = "Example:\n  earwitness archive rebuild -a /srv/calls")]
    Rebuild {
        #[command(flatten)]
        dir: ArchiveDir,
        #[command(flatten)]
        json: Json,
    },
    /// Who can open the archive: rotate keys, escrow, passphrase, recovery sheet
    Key(Key),
    /// Count what is there
    #[command(after_help = "Examples:\n  earwitness archive stats --json\n  \
        earwitness archive stats --since 2026-01-01 --until 2026-02-01 --extension 2000-2099")]
    Stats {
        #[command(flatten)]
        dir: ArchiveDir,
        #[command(flatten)]
        filters: Filters,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The backup: a copy of an archive's folder
    #[arg(long, value_name = "DIR")]
    pub(crate) from: PathBuf,
    /// The new archive's folder; must not be there, or be empty
    #[arg(short = 'a', long = "archive", value_name = "DIR", required_unless_present = "verify")]
    pub(crate) archive: Option<PathBuf>,
    /// Verify everything; without -a it is a drill, in a temporary folder that is removed
    #[arg(long)]
    pub(crate) verify: bool,
    /// A checkpoint that was kept elsewhere, once for each: says what the backup lacks
    #[arg(long, value_name = "FILE")]
    pub(crate) checkpoint: Vec<PathBuf>,
    /// The public key that must have signed everything: a copy of keys/public.json
    #[arg(long, value_name = "FILE")]
    pub(crate) public_key: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// Which recordings are changed.
#[derive(Debug, Args)]
pub(crate) struct Edit {
    /// Recordings, or the beginnings of their ids
    #[arg(required = true)]
    pub(crate) id: Vec<String>,
    #[command(flatten)]
    pub(crate) dir: ArchiveDir,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// Do it
    #[arg(long)]
    pub(crate) yes: bool,
    /// Also when it is more than half of the recordings, their bytes or the call data
    #[arg(long)]
    pub(crate) more_than_half: bool,
    /// Say that the clock of this machine is right, after a jump has frozen deletion
    #[arg(long)]
    pub(crate) confirm_clock: bool,
    #[command(flatten)]
    pub(crate) dir: ArchiveDir,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct Recode {
    /// Do it
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) dir: ArchiveDir,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct Log {
    /// Done at or after: RFC 3339, a date, -15m, -2h, -7d, today, yesterday
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) since: Option<String>,
    #[command(flatten)]
    pub(crate) dir: ArchiveDir,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Recordings, or the beginnings of their ids, or filters; --format zip without either takes all. Several make a ZIP
    pub(crate) id: Vec<String>,
    /// Where to write; `-` is the standard output. An existing file is replaced
    #[arg(short = 'o', long = "output", value_name = "PATH")]
    pub(crate) output: PathBuf,
    /// What to write
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: ExportFormat,
    /// Which channels; gsm holds one channel and is mono unless a party is named
    #[arg(long, value_enum)]
    pub(crate) channels: Option<Channels>,
    /// Write a DAT file beside the audio: who and when, a key and its value a line. A ZIP holds them without it
    #[arg(long)]
    pub(crate) dat: bool,
    /// How a vCon holds the audio
    #[arg(long, value_enum, default_value_t)]
    pub(crate) body: VconBody,
    /// Put the sealed files into the ZIP too: whoever has the archive's key can open them again
    #[arg(long)]
    pub(crate) sealed: bool,
    #[command(flatten)]
    pub(crate) filters: Filters,
    #[command(flatten)]
    pub(crate) dir: ArchiveDir,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// Audio files
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// What the file is about: one JSON object as `archive list --json` prints it
    #[arg(long, value_name = "FILE.json", conflicts_with = "dat")]
    pub(crate) meta: Option<PathBuf>,
    /// What the file is about: a DAT file, a key and its value a line; one beside the file is read without it
    #[arg(long, value_name = "FILE.dat")]
    pub(crate) dat: Option<PathBuf>,
    /// Whose call it was, where nothing else says so
    #[arg(long, value_name = "NUMBER")]
    pub(crate) extension: Option<String>,
    #[command(flatten)]
    pub(crate) dir: ArchiveDir,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    #[default]
    /// 16-bit PCM
    Wav,
    /// GSM 06.10 in WAV
    Gsm,
    /// Opus in Ogg
    Ogg,
    /// FLAC
    Flac,
    /// The payload as received, as a ZIP
    Raw,
    /// WAV files in a ZIP with an index page
    Zip,
    /// A signed vCon of one recording (IETF draft)
    Vcon,
    /// The call's SIP messages as a capture file (pcapng)
    Pcap,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum CheckCost {
    /// Folders, keys, the ledger against the index; no recording is opened
    Index,
    /// Also the head and the foot of each recording
    #[default]
    Headers,
    /// Also every byte: hashes, signatures, the whole ledger
    Bytes,
}

impl From<CheckCost> for store::Cost {
    fn from(cost: CheckCost) -> Self {
        match cost {
            CheckCost::Index => store::Cost::Index,
            CheckCost::Headers => store::Cost::Headers,
            CheckCost::Bytes => store::Cost::Bytes,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum VconBody {
    /// 16-bit PCM
    #[default]
    Wav,
    /// Opus in Ogg
    Ogg,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Channels {
    Stereo,
    Mono,
    Near,
    Far,
}

impl Filters {
    /// Does it choose nothing?
    pub(crate) fn is_empty(&self) -> bool {
        let one = [
            &self.since,
            &self.until,
            &self.extension,
            &self.number,
            &self.user,
            &self.unit,
            &self.direction,
            &self.state,
            &self.call,
        ];
        one.iter().all(|filter| filter.is_none()) && self.filter.is_empty() && self.limit.is_none()
    }
}

/// Which recordings or calls.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Filters")]
pub(crate) struct Filters {
    /// Started at or after: RFC 3339, a date, -15m, -2h, -7d, today, yesterday
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) since: Option<String>,
    /// Started before
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) until: Option<String>,
    /// Recorded extension: 1000-1005,!1003,18%5,2000+
    #[arg(long, value_name = "PATTERN")]
    pub(crate) extension: Option<String>,
    /// Number of the other side, in the same grammar
    #[arg(long, value_name = "PATTERN")]
    pub(crate) number: Option<String>,
    /// User, by id or name
    #[arg(long, value_name = "PATTERN")]
    pub(crate) user: Option<String>,
    /// Business unit, or one above it
    #[arg(long, value_name = "PATTERN")]
    pub(crate) unit: Option<String>,
    /// inbound, outbound, internal or unknown (a call without signalling)
    #[arg(long)]
    pub(crate) direction: Option<String>,
    /// complete, interrupted or recording
    #[arg(long)]
    pub(crate) state: Option<String>,
    /// The logical call or the beginning of its id, or a SIP Call-ID
    #[arg(long, value_name = "ID")]
    pub(crate) call: Option<String>,
    /// FIELD=PATTERN for any field, as often as needed: tag=claim%, held=yes, trunk=!7 (docs/search.md)
    #[arg(long, value_name = "FIELD=PATTERN")]
    pub(crate) filter: Vec<String>,
    /// At most so many
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct Calls {
    #[command(flatten)]
    pub(crate) dir: ArchiveDir,
    /// The sums alone: how many calls were seen and what became of them
    #[arg(long, conflicts_with_all = ["limit", "number", "outcome"])]
    pub(crate) summary: bool,
    /// How a call was judged, step by step: rule, fact, verdict; so far, where it runs. A call's id or its beginning, or a SIP Call-ID
    #[arg(long, value_name = "CALL", conflicts_with_all = ["summary", "limit", "number", "outcome", "since", "until"])]
    pub(crate) why: Option<String>,
    /// Started at or after: RFC 3339, a date, -15m, -2h, -7d, today, yesterday
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) since: Option<String>,
    /// Started before
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) until: Option<String>,
    /// Calling or called number, in the grammar of `archive list`
    #[arg(long, value_name = "PATTERN")]
    pub(crate) number: Option<String>,
    /// Only calls with this outcome, as `not_answered`
    #[arg(long)]
    pub(crate) outcome: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) dir: ArchiveDir,
    /// Address and port to listen on; anywhere but on this machine's own (loopback) addresses pages are served over HTTPS
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8480")]
    pub(crate) listen: SocketAddr,
}

#[derive(Debug, Args)]
pub(crate) struct Config {
    #[command(subcommand)]
    pub(crate) command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Say whether a file is right, or which line is not
    Check {
        /// The file
        file: PathBuf,
    },
    /// Print the settings that a file results in, defaults included
    Show {
        /// The file; the defaults alone without it
        file: Option<PathBuf>,
    },
    /// Write a commented file with every setting at its default
    Init {
        /// The file to write; it must not exist
        file: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
