//! What late reports do to recordings, and to no others.

use std::path::Path;

use capture::{FrameSource, MergedFiles};
use decode::tracker::Devices;
use policy::{ListRule, RuleType};
use xtask::load::{Direction, Scenario};
use xtask::pcap::Container;

use super::*;
use crate::recorder::Recorder;

/// An archive with one recorded call of extension 2000, and what its row says.
struct Bench {
    archive: Archive,
    facts: RecordingFacts,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        let dir = tempfile::tempdir().expect("a folder");
        let archive = Archive::open_or_create(&dir.path().join("archive")).expect("made").0;
        record(&archive, &dir.path().join("call.pcap"));
        let facts = archive.rows().next().expect("one").expect("a row").facts;
        Bench { archive, facts, _dir: dir }
    }

    /// Adds a recording that differs by this; gives its id.
    fn add(&self, differ: impl FnOnce(&mut RecordingFacts)) -> RecordingId {
        let mut facts = self.facts.clone();
        facts.id = RecordingId::new(facts.started);
        differ(&mut facts);
        self.archive.create(facts.clone()).and_then(|writer| writer.finish(facts)).expect("written")
    }

    fn row(&self, id: RecordingId) -> Row {
        self.archive.sync().expect("what was said is in the index");
        self.archive.row(id).expect("listed")
    }

    /// Carries a report out that was said in the middle of the call; gives what came of it.
    fn amend(&self, rules: &Rules, word: Word) -> Amended {
        let (mut done, at) = (Amended::default(), self.facts.started.plus_millis(500));
        let late = Late { report: Report { at, who: "pbx".into(), word }, calls: Vec::new() };
        amend(&self.archive, rules, &late, &mut done).expect("read");
        done
    }
}

/// Records a call of extension 2000, of a capture that is made as `file`.
pub(crate) fn record(archive: &Archive, file: &Path) {
    let scenario =
        Scenario { calls: 1, talk_ms: 1_000, direction: Direction::Outbound, ..Scenario::default() };
    scenario.write(std::fs::File::create(file).expect("a file"), Container::Pcap).expect("a capture");
    let mut recorder = Recorder::new(archive, Rules::default(), None, Devices::default());
    let mut source = MergedFiles::open(&[file.to_owned()]).expect("opens");
    while source.advance().expect("read") {
        recorder.handle_frame(&source.frame().expect("a frame"));
    }
    recorder.finish(capture::Counters::default()).failure.into_result().expect("written");
    archive.sync().expect("written");
}

fn of_call(call_id: &str, facts: Vec<Fact>) -> Word {
    Word::Facts(Whose::CallId { call_id: call_id.into(), extension: None }, facts)
}

fn of_extension(facts: Vec<Fact>) -> Word {
    Word::Facts(Whose::Extension("2000".into()), facts)
}

fn tag() -> Fact {
    Fact::Tag("vip".into())
}

fn excluding(code: &str) -> Rules {
    let rule = ListRule::new(RuleType::AccountCode, code, "").expect("a rule");
    Rules { exclude: vec![rule], ..Rules::default() }
}

#[test]
fn a_call_id_that_begins_like_the_name_of_a_call_here_means_no_recording() {
    let bench = Bench::new();
    let (id, call) = (bench.facts.id, bench.facts.call.clone());
    for call_id in [&call[..2], &call[..6], &call[..]] {
        let done = bench.amend(&excluding("77"), of_call(call_id, vec![Fact::AccountCode("77".into())]));
        assert_eq!(done, Amended { unclaimed: 1, ..Amended::default() }, "{call_id}");
    }
    assert_eq!((bench.row(id).facts.account_code, bench.row(id).deleted), (None, None));
    let own = bench.facts.sip_call_ids[0].clone();
    assert_eq!(bench.amend(&Rules::default(), of_call(&own, vec![tag()])).learned, 1);
}

#[test]
fn a_late_agent_leaves_a_named_unit_and_one_said_again_leaves_everything() {
    let bench = Bench::new();
    let id = bench.add(|facts| {
        facts.started = facts.started.plus_millis(1);
        facts.agent = Some("1021".into());
        (facts.user, facts.user_name) = (Some("ann".into()), Some("Ann Bee".into()));
        (facts.business_unit, facts.units_above) = (Some("Trading".into()), vec!["Bank".into()]);
    });
    let who = |id| {
        let facts = bench.row(id).facts;
        (facts.agent, facts.user, facts.business_unit, facts.units_above)
    };
    let before = who(id);
    let agent = |agent: &str| of_extension(vec![Fact::Agent(agent.into())]);
    assert_eq!(bench.amend(&Rules::default(), agent("1021")), Amended::default());
    assert_eq!(who(id), before);
    let unit = of_extension(vec![Fact::BusinessUnit("Trading".into())]);
    assert_eq!(bench.amend(&Rules::default(), unit), Amended::default());
    assert_eq!(who(id), before);
    assert_eq!(bench.amend(&Rules::default(), agent("1022")).learned, 1);
    assert_eq!(who(id), (Some("1022".into()), None, before.2, before.3));
}

#[test]
fn an_exclusion_that_was_not_carried_out_is_carried_out_when_it_is_said_again() {
    let bench = Bench::new();
    let id = bench.facts.id;
    let code = || of_extension(vec![Fact::AccountCode("77".into())]);
    // The recorder was stopped between what it keeps and what it destroys.
    assert_eq!(bench.amend(&Rules::default(), code()).learned, 1);
    let other = bench.amend(&excluding("77"), of_extension(vec![tag()]));
    assert_eq!((other.learned, other.excluded), (1, 0), "a tag excludes nothing");
    assert_eq!(bench.amend(&excluding("77"), code()).excluded, 1);
    assert!(bench.row(id).deleted.is_some());
    assert_eq!(bench.amend(&excluding("77"), code()).unclaimed, 1);
}

#[test]
fn what_was_recorded_against_the_rules_of_today_is_not_destroyed_by_what_it_was_made_with() {
    let bench = Bench::new();
    let id = bench.add(|facts| {
        facts.started = facts.started.plus_millis(1);
        facts.account_code = Some("77".into());
    });
    let code = of_extension(vec![Fact::AccountCode("77".into()), tag()]);
    let done = bench.amend(&excluding("77"), code);
    assert_eq!((done.learned, done.excluded, bench.row(id).deleted), (1, 0, None));
}

#[test]
fn a_late_agent_is_the_one_of_the_leg_that_the_call_id_names() {
    let bench = Bench::new();
    let other = bench.add(|facts| facts.sip_call_ids = vec!["other".into()]);
    let facts = vec![Fact::Agent("1021".into()), tag()];
    assert_eq!(bench.amend(&Rules::default(), of_call("other", facts)).learned, 2);
    let of = |id| {
        let facts = bench.row(id).facts;
        (facts.agent, facts.tags)
    };
    let tags = vec!["vip".to_owned()];
    assert_eq!(of(other), (Some("1021".into()), tags.clone()));
    assert_eq!(of(bench.facts.id), (None, tags));
}

#[test]
fn a_late_call_record_is_about_the_call_whose_number_it_has_and_not_about_the_one_begun_last() {
    let bench = Bench::new();
    let id = bench.add(|facts| {
        facts.started = facts.started.plus_millis(1);
        (facts.outside_number, facts.other_party) = (Some("07700900123".into()), Some("07700900123".into()));
        (facts.call, facts.sip_call_ids) = ("another".into(), vec!["another".into()]);
    });
    let of = |number: Option<String>| {
        let number = number.expect("a number").trim_start_matches('0').to_owned();
        let alike = Alike { call: "42".into(), number, direction: policy::Direction::Outbound };
        Word::Facts(Whose::Recorded { extension: "2000".into(), alike }, vec![tag()])
    };
    let tagged = |id| bench.row(id).facts.tags.len();
    assert_eq!(bench.amend(&Rules::default(), of(bench.facts.outside_number.clone())).learned, 1);
    assert_eq!((tagged(bench.facts.id), tagged(id)), (1, 0));
    assert_eq!(bench.amend(&Rules::default(), of(Some("07700900123".into()))).learned, 1);
    assert_eq!((tagged(bench.facts.id), tagged(id)), (1, 1));
}

#[test]
fn a_late_report_is_not_about_audio_that_somebody_brought_in() {
    let bench = Bench::new();
    let id = bench.add(|facts| {
        facts.source = Source::Import;
        facts.extension = "2001".into();
        (facts.call, facts.sip_call_ids) = ("brought in".into(), vec!["brought in".into()]);
    });
    let code = || vec![Fact::AccountCode("77".into())];
    let by_extension = Word::Facts(Whose::Extension("2001".into()), code());
    for word in [of_call("brought in", code()), by_extension] {
        assert_eq!(bench.amend(&excluding("77"), word).unclaimed, 1);
    }
    assert_eq!((bench.row(id).facts.account_code, bench.row(id).deleted), (None, None));
}

#[test]
fn a_report_that_finds_no_room_is_counted_and_refused_and_those_that_wait_go_on_waiting() {
    let (reports, taken) = bounded(WAITING_MAX);
    let rules = Arc::new(Mutex::new(Arc::new(Rules::default())));
    let late = LateReports { reports, dropped: Arc::new(AtomicU64::new(0)), rules };
    let mut gate = Gate::new(Rules::default());
    let at = Timestamp::from_millis;
    let report = |ms| Report { at: at(ms), who: "pbx".into(), word: of_extension(vec![tag()]) };
    let said_at = 100_000;
    assert!(gate.handle_report(report(said_at), at(said_at)).waits);
    let old = Late { report: report(0), calls: Vec::new() };
    (0..WAITING_MAX).for_each(|_| late.send(old.clone()));
    assert_eq!(late.dropped.load(Ordering::Relaxed), 0);
    tell_room(Some(&late), &mut gate);
    let told = gate.handle_report(report(0), at(said_at));
    let refused = told.refused.expect("no room").to_string();
    assert!(!told.waits && refused.starts_with("busy: "), "{refused}");
    assert!(matches!(gate.poll_action(), Some(policy::Action::Late(_))));
    late.send(old);
    assert_eq!(late.dropped.load(Ordering::Relaxed), 1);
    gate.handle_timeout(at(said_at + 60_000));
    assert_eq!(gate.poll_action(), None);
    drop(taken.recv());
    tell_room(Some(&late), &mut gate);
    gate.handle_timeout(at(said_at + 60_000));
    assert!(matches!(gate.poll_action(), Some(policy::Action::Late(_))));
}
