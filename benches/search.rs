//! How long lists and filters take over an index of a million recordings, each against its limit.
//!
//! `cargo bench --bench search` (options: `-- --recordings N --runs N`). The index is made by its own write path, of rows that have
//! no files: a year of office hours on 400 extensions with their users, trunks, tags and outside numbers, in which few numbers come
//! often. Queries run in a process of their own, so that its memory is theirs; each run asks for another extension, month
//! or page. A page is 50 whole rows in the caller's hands; all names are what an export by filter takes. At the end a recorder with
//! this index, a million lines of the balance sheet and a thousand calls that run is killed, and the archive opened again.

mod million;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use decode::{Party, Timestamp};
use policy::Caller;
use policy::access::{Permissions, Scope, Standing};
use store::{Archive, Field, Mark, Query, RecordingFacts, RecordingId};

use million::{
    DAY_MS, DAYS, EXTENSIONS, Rng, YEAR_MS, build, calls, measure, memory_mb, option, row, unrecorded_calls,
};

/// Rows of a page.
const PAGE: usize = 50;
/// Calls that run when the recorder is killed.
const RUNNING: u64 = 1_000;

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let (recordings, runs) = (option("--recordings", 1_000_000), option("--runs", 20));
    let dir_of = |name: &str| words.iter().position(|word| word == name).map(|at| Path::new(&words[at + 1]));
    if let Some(dir) = dir_of("--ask") {
        return ask(dir, recordings, runs);
    }
    if let Some(dir) = dir_of("--hold") {
        return hold(dir);
    }
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a scratch folder");
    let dir = scratch.path().join("archive");
    build(&dir, recordings);
    let program = std::env::current_exe().expect("this program");
    let numbers = ["--recordings".to_owned(), recordings.to_string(), "--runs".to_owned(), runs.to_string()];
    let status = Command::new(&program).arg("--ask").arg(&dir).args(numbers).status().expect("it runs");
    assert!(status.success(), "the queries ended with {status}");
    let archive = Archive::open(&dir).expect("the archive");
    calls(&archive, recordings);
    archive.close().expect("closed");
    for _ in 0..runs.min(5) {
        reopen(&program, &dir);
    }
    unrecorded(&scratch.path().join("unrecorded"), option("--unrecorded", 100_000), runs);
}

/// Lists of calls without a recording, of which there are so many in one month.
fn unrecorded(dir: &Path, count: u64, runs: u64) {
    let (archive, _) = Archive::open_or_create(dir).expect("an archive");
    let begun = Instant::now();
    unrecorded_calls(&archive, count);
    archive.sync().expect("a disk");
    println!("wrote {count} calls without a recording in {:.1} s", begun.elapsed().as_secs_f64());
    archive.close().expect("closed");
    std::fs::remove_dir_all(dir.join("index")).expect("removed");
    let archive = Archive::open(dir).expect("the archive");
    println!("{:<44} {:>8} {:>9} {:>9} {:>9}", "", "rows", "p50 ms", "p95 ms", "limit ms");
    let mut rng = Rng(7);
    let mut page = |name: &str, limit, runs, make: &dyn Fn(&mut Query, &mut Rng)| {
        measure(name, limit, runs, || {
            let mut query = Query::default();
            make(&mut query, &mut rng);
            let begun = Instant::now();
            let (calls, _) = archive.unrecorded(&query, None, None, PAGE).expect("searched");
            (calls.len(), begun.elapsed())
        });
    };
    let extension = |q: &mut Query, rng: &mut Rng| {
        let extension = (2000 + rng.below(EXTENSIONS)).to_string();
        q.filter(Field::Extension, &extension).expect("a pattern");
    };
    let own = |q: &mut Query, rng: &mut Rng| {
        let person = Some((2000 + rng.below(EXTENSIONS)).to_string());
        let standing = Standing { person, ..Standing::default() };
        q.seen_by = Some(Caller::new("bench", Permissions::all(), Scope::Own, vec![], standing));
    };
    page("not recorded: the first page ever", None, 1, &|_, _| {});
    page("not recorded: first page by time", Some(50), runs, &|_, _| {});
    page("not recorded: page of an extension", Some(100), runs, &extension);
    page("not recorded: page of one's own", Some(100), runs, &own);
    page("not recorded: nothing matches", Some(100), runs, &|q, _| {
        q.filter(Field::Extension, "9999").expect("a pattern");
    });
    measure("not recorded: page behind a place", Some(50), runs, || {
        let since = Timestamp::from_millis(YEAR_MS + rng.below(30) as i64 * DAY_MS);
        let mut query = Query::default();
        query.until = Some(since);
        let (calls, _) = archive.unrecorded(&query, None, None, 1).expect("searched");
        let place = calls.first().map(|call| call.place);
        let begun = Instant::now();
        let (calls, _) = archive.unrecorded(&Query::default(), None, place, PAGE).expect("searched");
        (calls.len(), begun.elapsed())
    });
    measure("not recorded: sums", Some(100), runs, || {
        let begun = Instant::now();
        let sums = archive.unrecorded_outcomes(&Query::default()).expect("summed up");
        (sums.values().sum::<u64>() as usize, begun.elapsed())
    });
    archive.close().expect("closed");
}

/// Kills a recorder, and says how long the next one takes to be ready.
fn reopen(program: &Path, dir: &Path) {
    let mut child =
        Command::new(program).arg("--hold").arg(dir).stdout(Stdio::piped()).spawn().expect("it runs");
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().expect("piped")).read_line(&mut line).expect("a line");
    assert_eq!(line, "they run\n");
    child.kill().expect("killed");
    child.wait().expect("gone");
    let begun = Instant::now();
    let archive = Archive::open(dir).expect("the archive");
    let took = begun.elapsed();
    let ended = archive.recovered().interrupted.len();
    assert_eq!(ended as u64, RUNNING, "each ends as interrupted");
    println!("opened after a kill with {ended} recordings open in {:.2} s (limit 2 s)", took.as_secs_f64());
    archive.close().expect("closed");
}

/// A recorder with calls, until it is killed.
fn hold(dir: &Path) {
    let archive = Archive::open(dir).expect("the archive");
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let now = Timestamp::from_millis(since.as_millis() as i64);
    let open = (0..RUNNING).map(|n| {
        let started = now.plus_millis(n as i64);
        let facts =
            RecordingFacts { id: RecordingId::new(started), started, ended: None, ..row(n, RUNNING).facts };
        let mut writer = archive.create(facts).expect("begun");
        writer.mark(started, &Mark::Hold { by: Party::Near }).expect("kept");
        writer
    });
    let _open: Vec<_> = open.collect();
    archive.sync().expect("a disk");
    println!("they run");
    loop {
        std::thread::park();
    }
}

fn ask(dir: &Path, recordings: u64, runs: u64) {
    let begun = Instant::now();
    let archive = Archive::open(dir).expect("the archive");
    println!("opened in {:.2} s, RSS {:.0} MB", begun.elapsed().as_secs_f64(), memory_mb("VmRSS:"));
    let mut rng = Rng(7);
    let field =
        |query: &mut Query, field: Field, pattern: &str| query.filter(field, pattern).expect("a pattern");
    let row_of = |rng: &mut Rng| row(rng.below(recordings), recordings).facts;
    // A month that begins on any day.
    let month = |query: &mut Query, rng: &mut Rng| {
        let since = YEAR_MS + rng.below(DAYS as u64 - 31) as i64 * DAY_MS;
        query.since = Some(Timestamp::from_millis(since));
        query.until = Some(Timestamp::from_millis(since + 31 * DAY_MS));
    };
    let extension = |rng: &mut Rng| (2000 + rng.below(EXTENSIONS)).to_string();
    type Make<'a> = &'a dyn Fn(&mut Query, &mut Rng);
    let pages: [(&str, Make<'_>); 3] = [
        ("first page by time", &|_, _| {}),
        ("next page by cursor", &|q, rng| q.before = Some(row_of(rng).id)),
        ("first page of an extension", &|q, rng| field(q, Field::Extension, &extension(rng))),
    ];
    let filters: [(&str, Make<'_>); 10] = [
        ("extension, a month", &|q, rng| {
            month(q, rng);
            field(q, Field::Extension, &extension(rng));
        }),
        ("wildcard 2_%7,!2007, a month", &|q, rng| {
            month(q, rng);
            field(q, Field::Extension, "2_%7,!2007");
        }),
        ("number holds 4711, a month", &|q, rng| {
            month(q, rng);
            field(q, Field::OtherParty, "%4711%");
        }),
        ("tag, a month", &|q, rng| {
            month(q, rng);
            field(q, Field::Tag, "claim");
        }),
        ("user, a month", &|q, rng| {
            month(q, rng);
            field(q, Field::User, &row_of(rng).user.unwrap_or_default());
        }),
        ("interrupted and inbound, a month", &|q, rng| {
            month(q, rng);
            field(q, Field::State, "interrupted");
            field(q, Field::Direction, "inbound");
        }),
        ("everything, a month", &|q, rng| month(q, rng)),
        ("logical call", &|q, rng| q.call(&row_of(rng).call).expect("a call")),
        ("SIP Call-ID, the year", &|q, rng| q.call(&row_of(rng).sip_call_ids[0]).expect("a call")),
        ("nothing matches, the year", &|q, _| field(q, Field::Extension, "9999")),
    ];
    println!("{:<44} {:>8} {:>9} {:>9} {:>9}", "", "rows", "p50 ms", "p95 ms", "limit ms");
    let mut page = |name: &str, limit, make: Make<'_>| {
        measure(name, Some(limit), runs, || {
            let mut query = Query::default();
            make(&mut query, &mut rng);
            query.limit = Some(PAGE);
            let begun = Instant::now();
            (archive.search(&query).inspect(|row| assert!(row.is_ok())).count(), begun.elapsed())
        });
    };
    pages.iter().for_each(|(name, make)| page(name, 50, *make));
    filters.iter().for_each(|(name, make)| page(&format!("{name}: a page"), 300, *make));
    for (name, make) in filters {
        measure(&format!("{name}: all names"), Some(300), runs, || {
            let mut query = Query::default();
            make(&mut query, &mut rng);
            let begun = Instant::now();
            (archive.find(&query).inspect(|id| assert!(id.is_ok())).count(), begun.elapsed())
        });
    }
    measure("beginning of an id", Some(50), runs, || {
        let id = row_of(&mut rng).id;
        let begun = Instant::now();
        assert_eq!(archive.resolve(&id.to_string()[..16]).expect("one"), id);
        (1, begun.elapsed())
    });
    measure("sums over a month", Some(300), runs, || {
        let mut query = Query::default();
        month(&mut query, &mut rng);
        let begun = Instant::now();
        (archive.stats(&query).expect("summed").recordings as usize, begun.elapsed())
    });
    measure("sums over everything", None, runs.min(5), || {
        let begun = Instant::now();
        (archive.stats(&Query::default()).expect("summed").recordings as usize, begun.elapsed())
    });
    measure("everything, a month: all rows", None, runs.min(3), || {
        let mut query = Query::default();
        month(&mut query, &mut rng);
        let begun = Instant::now();
        (archive.search(&query).inspect(|row| assert!(row.is_ok())).count(), begun.elapsed())
    });
    println!("RSS {:.0} MB, peak {:.0} MB (limit 300)", memory_mb("VmRSS:"), memory_mb("VmHWM:"));
}
