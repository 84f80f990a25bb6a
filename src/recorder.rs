//! The recording path: frame → call → verdict → recording.
//!
//! One thread walks it: the tracker tells what happens, the gate says what is kept, writers seal it. Only here do the
//! cores and the archive meet.

mod failure;
mod walk;

use std::collections::BTreeMap;

use decode::ports::Ports;
use decode::time::NS_PER_MS;
use decode::tracker::{Devices, Event, NamedBy, Tracker};
use decode::{Frame, Side, Timestamp};
use policy::gate::{Carried, DesksFull, Reply, Request, Told};
use policy::modes::orders::{EndedOrder, Order, OrdersFull, Whose};
use policy::{Gate, Outcome, RecordingKey, Rules, Who, modes};
use store::{Archive, CallRow, Counters, Mark, RecordingFacts, RecordingId, RunRow, Writer};
use web::live::{LiveCall, LiveOrder, LiveWho, Status};

use crate::carried::Luggage;
use crate::config::{Machine, Ruling};
use crate::facts::{self, Keyed, with_known};
use crate::late::{self, LateReports};
use crate::smdr::Logger;
use failure::Failure;
use walk::{Apart, Expected, Walk};

/// A call goes on in another recording at most this often, in capture time.
const GO_ON_AGAIN_MS: i64 = 30_000;

/// How often chunks of silent calls are looked for, in capture time: with the span of a chunk less than a fifth of a second.
const STALE_CHECK_MS: i64 = 50;
/// The same where the calls come from a file that can be read again.
const STALE_CHECK_FILE_MS: i64 = 200;
/// How often the run's counters are kept in the journal, in capture time.
const COUNT_MS: i64 = 1_000;
/// While an adapter is away, calls are marked this often, and for so long: completeness is told by the second.
const OUTAGE_MARK_MS: i64 = 500;
const OUTAGE_MARKS_MAX: u32 = 1_200;
/// Keyed digits listed per recording; all of them are in the sealed chunks.
const KEYED_MAX: usize = 1_000;

/// Frames that are foreseen at a time. More would push out of the nearest caches what the first ones need.
pub(crate) const FORESEEN_MAX: usize = 16;

/// A recording that runs. Laid out as written: what each packet touches stands together.
#[repr(C, align(64))]
struct Open {
    /// It takes no more, although its call goes on.
    has_ended: bool,
    /// It goes on with a call whose recording had ended, from here.
    from: Option<Timestamp>,
    near: Side,
    key: RecordingKey,
    writer: Writer,
    keyed: Vec<Keyed>,
}

impl Open {
    /// Writes, unless the recording has come to its end early: it has reached the largest size of a file, or the disk takes no
    /// more. The others go on.
    fn write(&mut self, failure: &mut Failure, write: impl FnOnce(&mut Writer) -> Result<(), store::Error>) {
        if self.has_ended {
            return;
        }
        if let Err(error) = write(&mut self.writer) {
            self.has_ended = true;
            tracing::debug!(recording = %self.writer.id(), %error, "the recording ends before its call");
            failure.note(error);
        }
    }
}

/// The recordings that run, each at its key's slot: a packet's writer is found without a search.
#[derive(Default)]
struct OpenRecordings(Vec<Option<Box<Open>>>);

impl OpenRecordings {
    fn insert(&mut self, key: RecordingKey, open: Open) {
        let slot = key.slot();
        if self.0.len() <= slot {
            self.0.resize_with(slot + 1, || None);
        }
        if let Some(place) = self.0.get_mut(slot) {
            *place = Some(Box::new(open));
        }
    }

    fn get(&self, key: RecordingKey) -> Option<&Open> {
        self.0.get(key.slot())?.as_deref()
    }

    fn get_mut(&mut self, key: RecordingKey) -> Option<&mut Open> {
        self.0.get_mut(key.slot())?.as_deref_mut()
    }

    fn remove(&mut self, key: RecordingKey) -> Option<Open> {
        self.0.get_mut(key.slot())?.take().map(|open| *open)
    }

    fn iter(&self) -> impl Iterator<Item = (RecordingKey, &Open)> {
        self.0.iter().flatten().map(|open| (open.key, &**open))
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut Open> {
        self.0.iter_mut().filter_map(Option::as_deref_mut)
    }
}

/// What came of a run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Calls by outcome.
    pub(crate) outcomes: BTreeMap<Outcome, u64>,
    /// Everything else that was counted.
    pub(crate) counters: Counters,
    /// Oddities by kind.
    pub(crate) oddities: BTreeMap<&'static str, u64>,
    /// The recordings made.
    pub(crate) recordings: Vec<RecordingId>,
    /// What could not be written.
    pub(crate) failure: Failure,
}

/// Frames in, recordings out.
pub(crate) struct Recorder<'a> {
    archive: &'a Archive,
    tracker: Tracker,
    gate: Gate,
    open: OpenRecordings,
    expected: Expected,
    apart: Apart,
    report: Report,
    started: Option<Timestamp>,
    now: Timestamp,
    next_stale_check: Timestamp,
    stale_check_ms: i64,
    next_count: Timestamp,
    /// Adapters that are away, when their calls are marked next, and how often yet.
    outages: u32,
    next_outage_mark: Timestamp,
    outage_marks_left: u32,
    /// What the capture has counted, as last told.
    capture: capture::Counters,
    /// Who sees to reports about calls that are over.
    late: Option<LateReports>,
    /// Who tells call loggers of it.
    logger: Option<Logger>,
    following: Option<Following>,
    /// Where it goes what outlives the program.
    luggage: Option<Luggage>,
}

/// The rule book that is followed while it records.
struct Following {
    machine: Machine,
    /// The version that is in force here, 0 before there is one.
    version: u64,
}

impl<'a> Recorder<'a> {
    /// Into `archive`, by `rules`; legs are also tied by these header fields, when they are given, and these devices are known
    /// without signalling.
    pub(crate) fn new(
        archive: &'a Archive,
        rules: Rules,
        call_headers: Option<&[String]>,
        devices: Devices,
    ) -> Self {
        let mut tracker = Tracker::new();
        tracker.know_devices(devices);
        Recorder {
            archive,
            tracker: match call_headers {
                Some(names) => tracker.with_call_headers(names),
                None => tracker,
            },
            gate: Gate::new(rules),
            open: OpenRecordings::default(),
            expected: Expected::default(),
            apart: Apart::default(),
            report: Report::default(),
            started: None,
            now: Timestamp::MIN,
            next_stale_check: Timestamp::MIN,
            stale_check_ms: STALE_CHECK_MS,
            next_count: Timestamp::MIN,
            outages: 0,
            next_outage_mark: Timestamp::MIN,
            outage_marks_left: 0,
            capture: capture::Counters::default(),
            late: None,
            logger: None,
            following: None,
            luggage: None,
        }
    }

    /// What comes from this source is what PBXs send the recorder itself; the recorded extension is looked for in this order.
    pub(crate) fn conferenced(mut self, source: u16, order: Vec<NamedBy>) -> Self {
        self.tracker.know_conference(source, order);
        self
    }

    /// Call loggers are told of trunk calls, recorded or not.
    pub(crate) fn with_logger(mut self, logger: Logger) -> Self {
        self.logger = Some(logger);
        self
    }

    /// Reports about calls that are over go this way.
    pub(crate) fn with_late_reports(mut self, late: LateReports) -> Self {
        self.late = Some(late);
        self
    }

    /// It carries on with what the last program has left at `now`, and leaves the same for the next one.
    pub(crate) fn carrying_on(mut self, carried: Carried, luggage: Luggage, now: Timestamp) -> Self {
        self.gate.carry_on(carried, now);
        self.luggage = Some(luggage);
        self
    }

    /// A version of the archive's rule book that comes after this one is applied to what runs, within a look for stale chunks.
    pub(crate) fn following_book(mut self, machine: Machine, version: u64) -> Self {
        self.following = Some(Following { machine, version });
        self
    }

    /// The SIP messages of recorded calls are kept with them, or not.
    pub(crate) fn keeping_sip(mut self, kept: bool) -> Self {
        self.tracker = self.tracker.with_trace(kept);
        self
    }

    /// Audio is looked for on these ports alone.
    pub(crate) fn on_ports(mut self, ports: Ports) -> Self {
        self.tracker.use_ports(ports);
        self
    }

    /// The frames come from files that can be read again: a crash may cost more of what was read, and less is spent on it.
    pub(crate) fn reading_files(mut self) -> Self {
        self.archive.record_files();
        self.stale_check_ms = STALE_CHECK_FILE_MS;
        self
    }

    /// Fetches what these frames will touch when their turn comes, step by step for all of them: see `decode::tracker::foresight`. At most
    /// [`FORESEEN_MAX`].
    #[inline]
    pub(crate) fn foresee(&self, frames: &[Frame<'_>]) {
        let mut places = [None; FORESEEN_MAX];
        for (place, frame) in places.iter_mut().zip(frames) {
            *place = self.tracker.foresee(frame);
        }
        let legs = places.map(|place| place.and_then(|place| self.tracker.fetch_source(place)));
        let recordings = legs.map(|leg| {
            let (leg, side) = leg?;
            self.tracker.fetch_leg(leg, side);
            self.gate.foresee(leg)
        });
        for recording in recordings.into_iter().flatten() {
            if let Some(open) = self.open.get(recording) {
                std::hint::black_box(open.has_ended);
                open.writer.fetch();
            }
        }
    }

    /// Takes the next frame.
    pub(crate) fn handle_frame(&mut self, frame: &Frame<'_>) {
        self.tracker.handle_frame(frame);
        self.now = self.tracker.now().unwrap_or(frame.at);
        self.started.get_or_insert(self.now);
        self.drain();
        self.seal_stale();
    }

    /// Time passes without frames: `now` by the capture's clock.
    pub(crate) fn handle_timeout(&mut self, now: Timestamp) {
        self.tracker.handle_timeout(now);
        self.now = self.tracker.now().unwrap_or(now);
        self.drain();
        self.seal_stale();
    }

    /// Takes lines of a TLS key log.
    pub(crate) fn add_tls_secrets(&mut self, lines: &[u8]) {
        let added = self.tracker.add_tls_secrets(lines);
        tracing::debug!(added, "TLS secrets read");
        self.drain();
    }

    /// A time of the machine's clock, as the recorder counts it.
    pub(crate) fn on_its_clock(&self, wall: Timestamp) -> Timestamp {
        self.tracker.on_its_clock(wall)
    }

    /// Somebody asks something about running calls, from `at` on.
    pub(crate) fn handle_request(&mut self, request: &Request, at: Timestamp) -> Reply {
        let reply = self.gate.handle_request(request, at);
        self.perform();
        reply
    }

    /// Another system says something of a call, or of who sits where. `at` is when that came.
    pub(crate) fn handle_report(&mut self, mut report: policy::feed::Report, at: Timestamp) -> Told {
        report.at = self.on_its_clock(report.at);
        late::tell_room(self.late.as_ref(), &mut self.gate);
        if let Some(logger) = &mut self.logger
            && let Some(group) = report.hunt_group()
        {
            for leg in self.gate.legs_of(&report) {
                logger.handle_queue(leg, group, at);
            }
        }
        let told = self.gate.handle_report(report, at);
        self.perform();
        told
    }

    /// Puts an order in force.
    pub(crate) fn order(&mut self, whose: Whose, order: Order) -> Result<(), OrdersFull> {
        let at = order.at;
        let given = self.gate.handle_order(whose, order, at);
        self.perform();
        given
    }

    /// Takes an order back; says whether there was one.
    pub(crate) fn withdraw(&mut self, whose: &Whose, by: &str, at: Timestamp) -> bool {
        let was_there = self.gate.handle_withdrawal(whose, by, at);
        self.perform();
        was_there
    }

    /// A client says what is shown at an extension's desk now.
    pub(crate) fn windows(
        &mut self,
        client: &str,
        extension: &str,
        texts: &[String],
        at: Timestamp,
    ) -> Result<(), DesksFull> {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let taken = self.gate.handle_windows(client, extension, &texts, at);
        self.perform();
        taken
    }

    /// A client is gone.
    pub(crate) fn client_gone(&mut self, client: &str) {
        self.gate.handle_client_gone(client);
    }

    /// The standing orders in force, and behind them those that have ended, the latest first; each with whose calls these are now.
    pub(crate) fn orders(&self, now: Timestamp) -> Vec<LiveOrder> {
        let orders = self.gate.orders();
        let live = |whose: &Whose, order: &Order, end| {
            let (extension, agent) = self.gate.stands_at(whose);
            let rules = self.gate.rules();
            let Who { user, unit, units_above } = rules.people.who(&extension, agent.as_deref(), now);
            let (user, user_name) = user.map(|user| (user.id, user.name)).unzip();
            let site = rules.site.name.clone();
            let who = LiveWho { user, user_name, business_unit: unit, units_above, site };
            LiveOrder { whose: whose.clone(), order: order.clone(), extension, agent, who, end }
        };
        let standing = orders.iter().map(|(whose, order)| live(whose, order, None));
        let ended = orders
            .ended()
            .map(|EndedOrder { whose, order, how, at }| live(whose, order, Some((how.to_string(), *at))));
        standing.chain(ended).collect()
    }

    /// What it is doing, but for the ways in, which it does not know.
    pub(crate) fn status(&self, now: Timestamp) -> Status {
        let mut calls: Vec<LiveCall> =
            self.open.iter().map(|(key, open)| live_call(&self.gate, key, open.writer.facts())).collect();
        calls.sort_by_key(|call| (call.started, call.recording));
        let unrecorded = self.gate.unrecorded().map(|plan| {
            let facts = facts::at_start(plan);
            LiveCall { recording: None, ..live_call(&self.gate, plan.recording, &facts) }
        });
        let mut waiting: Vec<LiveCall> = unrecorded.collect();
        waiting.sort_by(|a, b| (a.started, &a.call, &a.extension).cmp(&(b.started, &b.call, &b.extension)));
        Status {
            at: Some(now),
            since: self.started,
            calls,
            waiting,
            orders: self.orders(now),
            speaking: self.gate.speaking_unrecorded().map(str::to_owned).collect(),
            outcomes: self.report.outcomes.iter().map(|(outcome, &n)| (outcome.key(), n)).collect(),
            counters: self.counters(),
            ports: Vec::new(),
            facts: Vec::new(),
            record_a_call: None,
            channels_in_use: self.gate.channels_in_use() as u64,
            channels: self.gate.channels().map(|channels| channels as u64),
            failure: self.report.failure.now.clone(),
        }
    }

    /// The lines of a call's legs that run: how they were judged so far.
    pub(crate) fn running_rows(&self, call: &str) -> Vec<CallRow> {
        let named = self.expected.iter().filter(|(_, row)| row.is_named(call));
        let line = |(&leg, row): (&u64, &CallRow)| facts::still_running(row.clone(), self.gate.steps_of(leg));
        named.map(line).collect()
    }

    /// Calls whose recordings ended before them go on in another one, as soon as the archive takes it: the disk was full, or a file had
    /// reached its largest size.
    pub(crate) fn go_on(&mut self) {
        for open in self.open.iter_mut().filter(|open| open.has_ended) {
            // Room that comes and goes makes no heap of short recordings.
            if open.from.is_some_and(|from| self.now.nanos_since(from) < GO_ON_AGAIN_MS * NS_PER_MS) {
                continue;
            }
            // One that is paused begins when it goes on.
            if self.gate.state_of(open.key).is_none_or(|state| state.left_out_since.is_some()) {
                continue;
            }
            let facts = facts::of_the_rest(open.writer.facts().clone(), self.now);
            let writer = match self.archive.create(facts) {
                Ok(writer) => writer,
                Err(store::Error::Full { .. }) => return,
                Err(error) => return self.report.failure.note(error),
            };
            let (id, before) = (writer.id(), open.writer.id());
            tracing::info!(recording = %id, %before, "the call goes on in another recording");
            // The former one is let go, so it ends at what there is of it.
            drop(std::mem::replace(&mut open.writer, writer));
            let leg = open.key.leg().serial();
            self.apart.entry(leg).or_default().earlier.push(before);
            if let Some(row) = self.expected.get_mut(&leg) {
                row.recordings.push(id);
                self.report.failure.check(self.archive.expect_call(leg, row));
            }
            (open.from, open.has_ended) = (Some(self.now), false);
            open.keyed.clear();
            self.report.failure.is_over();
        }
    }

    /// The capture has lost frames since the last call of this; `capture` is what it has counted in all.
    pub(crate) fn note_drops(&mut self, frames: u64, capture: capture::Counters) {
        self.capture = capture;
        self.tracker.note_drops(self.now);
        let now = self.now;
        for open in self.open.iter_mut() {
            open.write(&mut self.report.failure, |writer| writer.mark(now, &Mark::CaptureDrops { frames }));
        }
    }

    /// An adapter is away from now on, or is back: what is missing meanwhile was lost here, not on the network. How many frames is not
    /// known, and whose: each second of it is marked in every call, as one of which at least a frame was lost.
    pub(crate) fn note_outage(&mut self, begins: bool) {
        self.outages = if begins { self.outages + 1 } else { self.outages.saturating_sub(1) };
        self.next_outage_mark = Timestamp::MIN;
        self.outage_marks_left = OUTAGE_MARKS_MAX;
        self.mark_outage(true);
    }

    fn mark_outage(&mut self, is_edge: bool) {
        if !is_edge && (self.outages == 0 || self.now < self.next_outage_mark || self.outage_marks_left == 0)
        {
            return;
        }
        self.outage_marks_left = self.outage_marks_left.saturating_sub(1);
        self.next_outage_mark = self.now.plus_millis(OUTAGE_MARK_MS);
        self.note_drops(1, self.capture);
    }

    /// The input is over: ends every call, enters the run into the ledger and says what came of it.
    pub(crate) fn finish(mut self, capture: capture::Counters) -> Report {
        // Calls end for this program here, and perhaps for nobody else: their pauses are left for the next one.
        self.leave_luggage();
        self.luggage = None;
        self.tracker.finish();
        self.drain();
        self.capture = capture;
        self.report.counters = self.counters();
        if let Some(run) = self.run() {
            self.report.failure.check(self.archive.append_run(&run));
        }
        self.report.failure.check(self.archive.sync());
        self.report
    }

    /// What was counted so far.
    fn counters(&self) -> Counters {
        let counts = self.tracker.counts();
        Counters {
            unannounced_rtp: counts.unannounced_rtp,
            copied_rtp: counts.copied_rtp,
            outside_rtp: counts.outside_rtp,
            outside_unannounced_rtp: counts.outside_unannounced_rtp,
            sip_messages: counts.sip_messages,
            rtp_packets: counts.rtp_packets,
            packets_seen: counts.frames,
            packets_dropped_kernel: self.capture.dropped_kernel + self.capture.dropped_interface,
            packets_dropped_ring: self.capture.dropped_ring,
            oddities: counts.oddities,
            tls_undecryptable: counts.tls_undecryptable,
        }
    }

    /// The run so far; none before its first frame.
    fn run(&self) -> Option<RunRow> {
        Some(RunRow { started: self.started?, ended: self.now, counters: self.counters() })
    }

    /// Everything that the tracker has to tell, through the gate into the writers.
    fn drain(&mut self) {
        while let Some(event) = self.tracker.poll_event() {
            if let Event::Audio { leg, side, frame } = &event {
                // Nearly all events: read where it lies, and nothing that the gate has to note.
                for (recording, cleared) in self.gate.admit(*leg, *side, frame) {
                    if let Some(open) = self.open.get_mut(recording) {
                        open.write(&mut self.report.failure, |writer| writer.append(&cleared));
                    }
                }
                continue;
            }
            self.gate.handle_event(&event);
            if let Some(logger) = &mut self.logger {
                logger.handle_event(&event, self.gate.rules());
            }
            let walk = Walk {
                archive: self.archive,
                gate: &mut self.gate,
                open: &mut self.open,
                expected: &mut self.expected,
                apart: &mut self.apart,
                report: &mut self.report,
                late: self.late.as_ref(),
                logger: self.logger.as_mut(),
                now: self.now,
            };
            walk.handle(event);
        }
    }

    /// Applies the newest version of the rule book, when it is another one than before. One that cannot be read leaves the rules as
    /// they are, and is said once.
    fn follow_book(&mut self) {
        let Some(Following { machine, version }) = &mut self.following else { return };
        // Both are in memory since it began.
        let newest = self.archive.book_version().unwrap_or(*version);
        if newest == *version {
            return;
        }
        *version = newest;
        let ruling = Ruling::in_force(self.archive, machine);
        let ruling = match ruling {
            Ok(Some(ruling)) => ruling,
            Ok(None) => return,
            Err(error) => {
                tracing::error!(version = newest, %error, "the new rules are not in force: the rule book cannot be read");
                return;
            }
        };
        self.put_in_force(ruling);
        tracing::info!(version = newest, "new rules are in force");
    }

    /// These rules are in force from now on, and those of later versions of the rule book are resolved with this machine.
    pub(crate) fn renew(&mut self, ruling: Ruling, machine: Machine) {
        if let Some(following) = &mut self.following {
            following.machine = machine;
        }
        self.put_in_force(ruling);
        self.perform();
    }

    fn put_in_force(&mut self, ruling: Ruling) {
        let Ruling { rules, sip, devices, ports, .. } = ruling;
        crate::cmd::know_site(self.archive, &rules);
        self.tracker.know_devices(devices);
        self.tracker.use_ports(ports);
        self.tracker.keep_trace(sip);
        if let Some(late) = &self.late {
            late.use_rules(rules.clone());
        }
        self.gate.replace_rules(rules, self.now);
    }

    /// Lets the gate look at its pauses.
    fn tell_time(&mut self) {
        late::tell_room(self.late.as_ref(), &mut self.gate);
        self.gate.handle_timeout(self.now);
        self.perform();
        self.leave_luggage();
    }

    /// What outlives the program is kept when it has changed.
    fn leave_luggage(&mut self) {
        if let Some(luggage) = &self.luggage
            && let Some(carried) = self.gate.poll_carried()
        {
            luggage.keep(carried);
        }
    }

    /// Does what the gate wants done.
    fn perform(&mut self) {
        let mut walk = Walk {
            archive: self.archive,
            gate: &mut self.gate,
            open: &mut self.open,
            expected: &mut self.expected,
            apart: &mut self.apart,
            report: &mut self.report,
            late: self.late.as_ref(),
            logger: self.logger.as_mut(),
            now: self.now,
        };
        walk.perform_all();
    }

    /// Seals what a silent call has left open: a chunk never holds more than a second.
    fn seal_stale(&mut self) {
        if self.now < self.next_stale_check {
            return;
        }
        self.next_stale_check = self.now.plus_millis(self.stale_check_ms);
        self.follow_book();
        self.tell_time();
        self.mark_outage(false);
        let now = self.now;
        for open in self.open.iter_mut() {
            open.write(&mut self.report.failure, |writer| writer.seal_stale(now));
        }
        if now >= self.next_count
            && let Some(run) = self.run()
        {
            self.next_count = now.plus_millis(COUNT_MS);
            self.report.failure.check(self.archive.expect_run(&run));
        }
    }
}

/// A running recording as others see it: by what is known of its segment now.
fn live_call(gate: &Gate, key: RecordingKey, facts: &RecordingFacts) -> LiveCall {
    let state = gate.state_of(key);
    let now = gate.facts_of(key).map(|known| with_known(facts.clone(), known));
    let facts = now.unwrap_or_else(|| facts.clone());
    LiveCall {
        recording: Some(facts.id),
        call: facts.call,
        segment: facts.segment,
        extension: facts.extension,
        extension_name: facts.extension_name,
        other_party: facts.other_party.unwrap_or_default(),
        other_party_name: facts.other_party_name,
        direction: facts.direction,
        agent: facts.agent,
        who: LiveWho {
            user: facts.user,
            user_name: facts.user_name,
            business_unit: facts.business_unit,
            units_above: facts.units_above,
            site: facts.site,
        },
        outside_number: facts.outside_number,
        account_code: facts.account_code,
        hunt_group: facts.hunt_group,
        trunk: facts.trunk,
        ddi: facts.ddi,
        ddi_name: facts.ddi_name,
        contact: facts.contact,
        transferred_from: facts.transferred_from,
        tags: facts.tags,
        fields: facts.fields,
        told_by: gate.told_by(key),
        stale: Vec::new(),
        source: facts.source,
        started: facts.started,
        paused_since: state.as_ref().and_then(|state| state.left_out_since),
        stopped: state.as_ref().is_some_and(|state| state.is_stopped),
        pause_forgotten: state.as_ref().is_some_and(|state| state.pause_forgotten),
        pause_ends: state.as_ref().and_then(|state| state.pause_ends),
        no_channel: state.as_ref().is_some_and(|state| state.has_no_channel),
        machine: state.as_ref().map_or(modes::Machine::new(modes::Mode::Always), |state| state.machine),
        paused_by: state.map(|state| state.held_by).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests;
