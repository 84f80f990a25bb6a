//! Capture files: any bytes give frames, then an end or one error; never a panic, never a frame above the limit.

#![no_main]

use capture::{Error, FRAME_BYTES_MAX, FrameSource, PcapFile};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(mut file) = PcapFile::from_reader("fuzz", std::io::Cursor::new(input.to_vec())) else { return };
    let mut frames = 0_u64;
    loop {
        match file.next_frame() {
            Ok(Some(frame)) => {
                frames += 1;
                assert!(frame.data.len() <= FRAME_BYTES_MAX as usize);
                assert!(frame.wire_len as usize >= frame.data.len());
            }
            Ok(None) => break,
            Err(Error::Cut { frames: before, .. }) => {
                assert_eq!(before, frames);
                assert!(matches!(file.next_frame(), Ok(None)));
                break;
            }
            Err(error) => panic!("memory cannot fail: {error}"),
        }
    }
    assert_eq!(file.counters().frames, frames);
});
