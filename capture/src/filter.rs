//! BPF filters (the language of pcap-filter(7)) on frames that come from files; live ports give theirs to the kernel.

use decode::Frame;
use pcap::{BpfProgram, Capture, Linktype};

use crate::{Advance, Counters, Error, FrameSource};

/// LINKTYPE_ETHERNET.
const ETHERNET: u16 = 1;

/// One filter text, compiled for each link type that turns up.
pub struct Filter {
    text: String,
    programs: Vec<(u16, BpfProgram)>,
}

impl Filter {
    /// Compiles the text for Ethernet, to find out at once whether it is right. An empty text lets everything through.
    ///
    /// # Errors
    ///
    /// [`Error::Filter`] with libpcap's message.
    pub fn new(text: &str) -> Result<Filter, Error> {
        let mut filter = Filter { text: text.trim().to_owned(), programs: Vec::new() };
        filter.compile(ETHERNET)?;
        Ok(filter)
    }

    /// As given, without space around it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Does the filter let this frame through?
    ///
    /// # Errors
    ///
    /// [`Error::Filter`] when the text means nothing on the frame's link type (`ether host` on raw IP).
    pub fn admits(&mut self, frame: &Frame<'_>) -> Result<bool, Error> {
        if self.text.is_empty() {
            return Ok(true);
        }
        if let Some((_, program)) = self.programs.iter().find(|(link, _)| *link == frame.link) {
            return Ok(program.filter(frame.data));
        }
        let program = self.compile(frame.link)?;
        Ok(program.filter(frame.data))
    }

    fn compile(&mut self, link: u16) -> Result<&BpfProgram, Error> {
        let wrong = |message: String| Error::Filter { text: self.text.clone(), message };
        let program = Capture::dead(library_number(link))
            .and_then(|dead| dead.compile(&self.text, true))
            .map_err(|error| wrong(crate::port::message(&error)))?;
        self.programs.push((link, program));
        match self.programs.last() {
            Some((_, program)) => Ok(program),
            None => Err(Error::Filter { text: self.text.clone(), message: "cannot be kept".to_owned() }),
        }
    }
}

/// libpcap's own number of a link type (DLT_), which differs from that in files (LINKTYPE_) where the systems that it runs
/// on once disagreed. Of the types that hold IP, raw IP is the only one.
fn library_number(link: u16) -> Linktype {
    const LINKTYPE_RAW: u16 = 101;
    const DLT_RAW: i32 = 12;
    if link == LINKTYPE_RAW { Linktype(DLT_RAW) } else { Linktype(i32::from(link)) }
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Filter").field(&self.text).finish()
    }
}

/// A source seen through a filter.
#[derive(Debug)]
pub struct Filtered<S> {
    source: S,
    filter: Filter,
    held_back: u64,
    held_back_bytes: u64,
}

impl<S: FrameSource> Filtered<S> {
    /// Passes on what the filter lets through.
    pub fn new(source: S, filter: Filter) -> Filtered<S> {
        Filtered { source, filter, held_back: 0, held_back_bytes: 0 }
    }

    /// Judges the current frame.
    fn admitted(&mut self) -> Result<bool, Error> {
        let Some(frame) = self.source.frame() else { return Ok(false) };
        let admitted = self.filter.admits(&frame)?;
        if !admitted {
            self.held_back += 1;
            self.held_back_bytes += frame.data.len() as u64;
        }
        Ok(admitted)
    }
}

impl<S: FrameSource> FrameSource for Filtered<S> {
    fn advance(&mut self) -> Result<bool, Error> {
        while self.source.advance()? {
            if self.admitted()? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn frame(&self) -> Option<Frame<'_>> {
        self.source.frame()
    }

    fn counters(&self) -> Counters {
        let all = self.source.counters();
        Counters {
            frames: all.frames.saturating_sub(self.held_back),
            bytes: all.bytes.saturating_sub(self.held_back_bytes),
            filtered_out: all.filtered_out.saturating_add(self.held_back),
            ..all
        }
    }

    fn take_tls_secrets(&mut self) -> Option<Vec<u8>> {
        self.source.take_tls_secrets()
    }

    fn advance_within(&mut self, patience: std::time::Duration) -> Result<Advance, Error> {
        loop {
            match self.source.advance_within(patience)? {
                Advance::Frame if !self.admitted()? => {}
                other => return Ok(other),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{LITTLE, MICROSECONDS, open_bytes, read_all};

    /// An Ethernet frame with a UDP datagram to this port.
    fn datagram_to(port: u16) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
        frame.extend([0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
        frame.extend([0x30, 0x39]);
        frame.extend(port.to_be_bytes());
        frame.extend([0, 8, 0, 0]);
        frame
    }

    fn file() -> crate::PcapFile {
        let mut bytes = LITTLE.pcap(MICROSECONDS, 1);
        for port in [5060, 53, 5060, 80] {
            let frame = datagram_to(port);
            bytes.extend(LITTLE.record(1, 0, frame.len() as u32, &frame));
        }
        open_bytes(&bytes).expect("a capture")
    }

    #[test]
    fn a_filter_passes_what_it_names_and_counts_the_rest() {
        let mut filtered = Filtered::new(file(), Filter::new(" udp port 5060 ").expect("a right filter"));
        let (seen, error) = read_all(&mut filtered);
        assert!(error.is_none());
        assert_eq!(seen.len(), 2);
        let Counters { frames, filtered_out, bytes, .. } = filtered.counters();
        assert_eq!((frames, filtered_out, bytes), (2, 2, 84));
        let mut all = Filtered::new(file(), Filter::new("").expect("an empty filter"));
        assert_eq!(read_all(&mut all).0.len(), 4);
    }

    #[test]
    fn a_wrong_filter_is_refused_with_the_reason() {
        for text in ["udp prot 5060", "host", "udp port 5060 and (", "\0"] {
            let Err(error) = Filter::new(text) else { panic!("{text:?} was taken") };
            assert!(error.to_string().len() > text.len() + 12, "{error}");
        }
    }

    #[test]
    fn one_filter_serves_several_link_types_and_says_where_it_means_nothing() {
        let mut filter = Filter::new("udp dst port 5060").expect("a right filter");
        let frame = datagram_to(5060);
        let on = |link, data| Frame {
            at: decode::Timestamp::default(),
            link,
            source: 0,
            wire_len: frame.len() as u32,
            data,
        };
        for (link, data, admitted) in
            [(1, &frame[..], true), (101, &frame[14..], true), (101, &frame[..], false)]
        {
            assert_eq!(filter.admits(&on(link, data)).ok(), Some(admitted));
        }
        let mut filter = Filter::new("ether host 02:00:00:00:00:01").expect("a right filter");
        assert!(matches!(filter.admits(&on(1, &frame)), Ok(true)));
        assert!(matches!(filter.admits(&on(101, &frame[14..])), Err(Error::Filter { .. })));
    }
}
