//! The loop of everything that records: frames to the recorder, and between them what else is due.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use capture::{Advance, FrameSource};
use decode::{Frame, Timestamp};

use crate::clock;
use crate::failure::Failure;
use crate::keylog::KeyLogs;
use crate::recorder::{FORESEEN_MAX, Recorder};

/// How long a live source is waited for before time is told to go on.
const PATIENCE: Duration = Duration::from_millis(50);
/// How often a busy source lets other things be seen to, in capture time: a request takes effect, and a drop is charged to its
/// second, within this time and a batch.
const LOOK_MS: i64 = 50;
/// The same in frames, where many come at the same time.
const LOOK_FRAMES: u64 = 4096;
/// How often a busy source lets the key logs be looked at: a look costs as much as a few frames.
const KEYS_CHECK_FRAMES: u64 = 256;

/// What goes on beside the frames.
pub(crate) trait Beside {
    /// Between two frames, every 50 ms or sooner. `now` is the wall clock's time of a live source, and the capture's of a file.
    fn look(&mut self, recorder: &mut Recorder<'_>, source: &dyn FrameSource, now: Timestamp);

    /// Something could not be read; what there is goes on.
    fn trouble(&mut self, what: String);
}

/// Frames until the end or until `stop`. `is_live` tells whether frames come as they are captured.
pub(crate) fn walk(
    source: &mut dyn FrameSource,
    recorder: &mut Recorder<'_>,
    keys: &mut KeyLogs,
    is_live: bool,
    stop: &AtomicBool,
    beside: &mut dyn Beside,
) {
    let mut drops = 0;
    let mut frames: u64 = 0;
    let mut next_look = Timestamp::MIN;
    while !stop.load(Ordering::Relaxed) {
        let advanced = source.advance_within(PATIENCE);
        if let Some(lines) = source.take_tls_secrets() {
            recorder.add_tls_secrets(&lines);
        }
        match advanced {
            Ok(Advance::Frame) => {
                // Not moved out: a copy would wait for all of its fields to be written.
                let frame = source.frame();
                let Some(frame) = &frame else { continue };
                let at = frame.at;
                recorder.handle_frame(frame);
                frames += 1;
                if frames.is_multiple_of(FORESEEN_MAX as u64) {
                    let mut ahead = [Frame { at, link: 0, source: 0, wire_len: 0, data: &[] }; FORESEEN_MAX];
                    let found = source.look_ahead(&mut ahead);
                    recorder.foresee(ahead.get(..found).unwrap_or_default());
                }
                if frames.is_multiple_of(KEYS_CHECK_FRAMES) {
                    read_keys(keys, recorder, beside);
                }
                // A clock that was set back must not keep everybody waiting until it is there again.
                let was_set_back = at < next_look.plus_millis(-2 * LOOK_MS);
                if at >= next_look || was_set_back || frames.is_multiple_of(LOOK_FRAMES) {
                    next_look = at.plus_millis(LOOK_MS);
                    charge_drops(source, recorder, &mut drops);
                    beside.look(recorder, source, if is_live { clock::now() } else { at });
                }
            }
            Ok(Advance::Idle) => {
                let now = clock::now();
                charge_drops(source, recorder, &mut drops);
                read_keys(keys, recorder, beside);
                recorder.handle_timeout(now);
                beside.look(recorder, source, now);
            }
            Ok(Advance::End) => break,
            Err(error) => {
                match &error {
                    capture::Error::PortLost { .. } => recorder.note_outage(true),
                    capture::Error::Missed { .. } => recorder.note_outage(false),
                    _ => {}
                }
                beside.trouble(error.to_string());
            }
        }
    }
}

/// What a key log has new. One that fails is told, and not asked again.
fn read_keys(keys: &mut KeyLogs, recorder: &mut Recorder<'_>, beside: &mut dyn Beside) {
    if let Err(failure) = keys.read_on(false, |lines| recorder.add_tls_secrets(lines)) {
        beside.trouble(failure);
    }
}

/// Frames that the kernel, the adapter or the ring dropped since the last look are charged to the calls that run now.
fn charge_drops(source: &dyn FrameSource, recorder: &mut Recorder<'_>, before: &mut u64) {
    let counters = source.counters();
    let dropped = counters.dropped_kernel + counters.dropped_interface + counters.dropped_ring;
    if dropped > *before {
        recorder.note_drops(dropped - *before, counters);
        *before = dropped;
    }
}

/// Set by the first SIGINT or SIGTERM: recordings are closed first. The second one ends the process at once.
pub(crate) fn stop_flag() -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}
