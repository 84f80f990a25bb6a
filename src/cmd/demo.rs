//! `demo`: two small offices telephone, for whoever wants to see the product before a mirror port is there.
//!
//! Nothing is played to the viewer: it is the appliance of `run`, with an archive, rules, people and accounts, in a folder that is thrown
//! away at the end. The calls come to it by HEP, as those of a SIP server would. Only who telephones is made up.

mod hep;
mod office;
mod past;

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use store::{AccountChange, AccountEdit, Archive, Password};

use self::office::{Calls, DOCTOR, OFFICES, Office, ROUND_MS};
use super::{know_site, warn};
use crate::cli;
use crate::clock;
use crate::config;
use crate::console;
use crate::failure::{Done, Failure};
use crate::live::stop_flag;

/// Who signs in: user name, role, whose calls (a unit or a person), and what that lets them do.
const ACCOUNTS: [(&str, &str, &str, &str); 3] = [
    ("supervisor", "Supervisor", "", "finds and hears all calls, listens in, pauses, tags, rates"),
    ("tess", "User", "tess", "the desk of extension 2041: own calls, and one button that pauses"),
    ("admin", "Administrator", "", "users, roles, rules, health, audit trail; hears nothing"),
];
/// The unit above all others.
const COMPANY: &str = "Alder and Finch";
/// Rounds of the past have lower numbers.
const FIRST_ROUND: usize = 1_000;
/// Letters and digits that nobody mistakes for others: 32, so that five random bits choose one.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// Runs it until it is interrupted.
///
/// # Errors
/// When the address is in use, or the appliance does not start.
pub(crate) fn run(args: &cli::Demo) -> Result<Done, Failure> {
    let free = |what: &str, error: std::io::Error| {
        Failure::new(format!("{what}: {error}; --listen 127.0.0.1:PORT puts the pages elsewhere"))
    };
    // Told before the archive is filled, and closed again: the appliance opens it itself.
    let listen = TcpListener::bind(args.listen)
        .and_then(|socket| socket.local_addr())
        .map_err(|error| free(&args.listen.to_string(), error))?;
    let agent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let appliance = free_port()?;
    let folder = tempfile::Builder::new().prefix("earwitness-demo-").tempdir()?;
    let file = folder.path().join("earwitness.toml");
    std::fs::write(&file, configuration(listen, appliance))?;
    let dir = cli::ArchiveDir { archive: Some(folder.path().join("archive")), config: Some(file) };

    // From here on Ctrl-C is waited for: the folder is removed whenever it comes.
    let stop = stop_flag()?;
    warn("recording what two small offices said in the last days …");
    let calls = Calls::read()?;
    let (found, passwords) = prepare(&dir, &calls)?;
    if stop.load(Ordering::Relaxed) {
        return Ok(Done::Interrupted);
    }
    tell(listen, found, folder.path(), &passwords)?;
    let telephones = Telephones::start(&calls, &agent, appliance)?;
    // A thread of its own: it walls itself in, and the folder has to be removed from outside.
    let run = cli::Run { tls: cli::TlsKeys::default(), dir };
    let appliance =
        std::thread::Builder::new().name("appliance".into()).spawn(move || super::run::run(&run))?;
    let done = appliance.join().map_err(|_| Failure::new("the appliance broke off"))?;
    telephones.stop();
    folder.close()?;
    done
}

/// A port of the loopback that is free for HEP at this moment, over UDP and TCP.
fn free_port() -> Result<SocketAddr, Failure> {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = socket.local_addr()?;
    UdpSocket::bind(address)?;
    Ok(address)
}

/// The appliance's configuration, as an administrator would write it.
fn configuration(listen: SocketAddr, hep: SocketAddr) -> String {
    let pbx: Vec<String> = OFFICES.into_iter().map(|office| format!("\"{}\"", office.pbx())).collect();
    let (doctor, why) = DOCTOR;
    let mut text = format!(
        "[site]\nname = \"Demo\"\nextensions = \"2000-3999\"\npbx = [{}]\n\n[capture]\nhep = [\"{hep}\"]\n\n[web]\nlisten = \
         \"{listen}\"\n\n[[record.exclude]]\ntype = \"outside_number\"\nvalue = \"{doctor}\"\ndescription = \"{why}\"\n\n\
         [[retention.rule]]\nname = \"Calls\"\naudio = \"90d\"\ndata = \"1y\"\n\n[[unit]]\nname = \"{COMPANY}\"\n",
        pbx.join(", ")
    );
    for (number, name, unit) in OFFICES.into_iter().flat_map(people) {
        // A string takes everything.
        let _ = write!(
            text,
            "\n[[unit]]\nname = \"{unit}\"\nparent = \"{COMPANY}\"\n\n[[user]]\nid = \"{}\"\nfirst_name = \"{name}\"\nunit = \
             \"{unit}\"\n[[user.device]]\nextension = \"{number}\"\n",
            name.to_lowercase(),
        );
    }
    text
}

/// Number, first name and unit of each who has a telephone there.
fn people(office: Office) -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    office.people.into_iter().filter_map(|(number, name)| {
        let (name, unit) = name.split_once(", ")?;
        Some((number, name, unit))
    })
}

/// Fills the archive and makes the accounts; gives how many recordings there are, and the passwords.
fn prepare(dir: &cli::ArchiveDir, calls: &Calls) -> Result<(usize, Vec<String>), Failure> {
    let settings = config::resolve(dir)?;
    let (archive, _) = Archive::open_or_create(&settings.archive)?;
    know_site(&archive, &settings.rules);
    let recordings = past::record(&archive, settings, calls, clock::now())?;
    past::mark(&archive, &recordings)?;
    let passwords = ACCOUNTS.map(|_| made_up()).into_iter().collect::<Result<Vec<_>, _>>()?;
    for ((name, role, person, _), password) in ACCOUNTS.into_iter().zip(&passwords) {
        let edit = AccountEdit {
            role: Some(role.into()),
            person: (!person.is_empty()).then(|| person.to_owned()),
            unit: person.is_empty().then(|| COMPANY.to_owned()),
            ..AccountEdit::default()
        };
        let password = Some(Password::new(password));
        let change = AccountChange::Add { name: name.into(), edit, password, must_change: false };
        archive.change_accounts("demo", clock::now(), change)?;
    }
    archive.close()?;
    Ok((recordings.len(), passwords))
}

/// Another one at each start: nobody can know it.
fn made_up() -> Result<String, Failure> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| Failure::new(format!("random numbers: {error}")))?;
    let letter = |byte: &u8| LETTERS.get(usize::from(byte % 32)).copied().map_or('a', char::from);
    let groups: Vec<String> = bytes.chunks(4).map(|group| group.iter().map(letter).collect()).collect();
    Ok(groups.join("-"))
}

fn tell(listen: SocketAddr, found: usize, folder: &Path, passwords: &[String]) -> Result<(), Failure> {
    let scheme = if listen.ip().is_loopback() { "http" } else { "https" };
    let mut text = format!(
        "\nTwo small offices telephone, over and over. {found} recordings are there, more come every minute.\n\n  \
         {scheme}://{listen}/\n\n",
    );
    for ((name, _, _, may), password) in ACCOUNTS.into_iter().zip(passwords) {
        let _ = writeln!(text, "  {name:<10}  {password}  {may}");
    }
    let _ = write!(
        text,
        "\nThe passwords are made up at each start. Everything is in {} and is removed at the end (Ctrl-C).\n",
        folder.display()
    );
    use std::io::Write;
    Ok(console::out().write_all(text.as_bytes())?)
}

/// The threads that telephone, one for each office.
struct Telephones {
    threads: Vec<JoinHandle<()>>,
    /// Dropped to end them.
    awake: Sender<()>,
}

impl Telephones {
    /// From now on calls go to the appliance: it may not listen yet, and misses what is said until then, as everybody does.
    fn start(calls: &Calls, agent: &UdpSocket, appliance: SocketAddr) -> Result<Telephones, Failure> {
        let (awake, asleep) = bounded(0);
        let mut threads = Vec::new();
        for (place, office) in (0..).zip(OFFICES) {
            let (calls, agent, asleep) = (calls.clone(), agent.try_clone()?, asleep.clone());
            // One telephones while the other rests.
            let begins = Instant::now() + Duration::from_millis(ROUND_MS.unsigned_abs() / 2) * place;
            let telephone = move || telephone(&calls, office, begins, &agent, appliance, &asleep);
            threads.push(std::thread::Builder::new().name("telephones".into()).spawn(telephone)?);
        }
        Ok(Telephones { threads, awake })
    }

    fn stop(self) {
        drop(self.awake);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("the telephones broke off");
            }
        }
    }
}

/// Round after round, until it is woken.
fn telephone(
    calls: &Calls,
    office: Office,
    begins: Instant,
    agent: &UdpSocket,
    appliance: SocketAddr,
    asleep: &Receiver<()>,
) {
    for round in 0_u32.. {
        let began = begins + Duration::from_millis(ROUND_MS.unsigned_abs()) * round;
        for due in calls.round(office, FIRST_ROUND + round as usize) {
            let at = began + Duration::from_millis(due.at_ms.unsigned_abs());
            // Nobody sends: a wait ends by its time, or for good.
            if asleep.recv_deadline(at).is_err_and(|error| error.is_disconnected()) {
                return;
            }
            if let Err(error) = agent.send_to(&due.packet, appliance) {
                tracing::debug!(%error, "a packet was not sent");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_right_and_each_telephone_is_somebody_s() {
        let address = "127.0.0.1:1".parse().expect("an address");
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("earwitness.toml");
        std::fs::write(&file, configuration(address, address)).expect("written");
        let dir = cli::ArchiveDir { archive: Some(folder.path().join("archive")), config: Some(file) };
        let settings = config::resolve(&dir).expect("is right");
        for (number, name, unit) in OFFICES.into_iter().flat_map(people) {
            let who = settings.rules.people.who(number, None, clock::now());
            let user = who.user.map(|user| user.name);
            assert_eq!((user.as_deref(), who.unit.as_deref()), (Some(name), Some(unit)), "{number}");
        }
        assert_eq!(OFFICES.into_iter().flat_map(people).count(), 6);
    }

    #[test]
    fn passwords_are_long_random_and_taken() {
        let (one, other) = (made_up().expect("random"), made_up().expect("random"));
        assert_ne!(one, other);
        assert_eq!(one.len(), 19);
    }
}
