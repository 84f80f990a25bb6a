//! Redundant audio data: one packet with its own payload and with earlier ones, each by its payload type (RFC 2198, 3).

/// Earlier payloads of one packet; one with more is not read.
pub const EARLIER_MAX: usize = 16;

/// Length of the header of an earlier payload: F bit and payload type, offset in ticks (14 bits), length in bytes (10 bits).
const HEADER_LEN: usize = 4;

/// One payload of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block<'a> {
    /// Its payload type, 0 to 127.
    pub payload_type: u8,
    /// How far before the packet's own timestamp it belongs, in ticks; 0 for the packet's own payload.
    pub offset: u32,
    /// The payload.
    pub payload: &'a [u8],
}

/// What a packet carries. Its lengths fit its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks<'a> {
    headers: &'a [u8],
    /// Of the packet's own payload.
    payload_type: u8,
    data: &'a [u8],
}

/// Reads a payload of RED; none where it cannot be one.
#[must_use]
pub fn parse(payload: &[u8]) -> Option<Blocks<'_>> {
    let mut headers_len = 0_usize;
    while payload.get(headers_len)? & 0x80 != 0 {
        headers_len += HEADER_LEN;
        if headers_len > EARLIER_MAX * HEADER_LEN {
            return None;
        }
    }
    let (headers, rest) = payload.split_at_checked(headers_len)?;
    let (payload_type, data) = rest.split_first()?;
    let blocks = Blocks { headers, payload_type: *payload_type, data };
    let earlier_len: usize = blocks.lens().sum();
    (earlier_len <= data.len()).then_some(blocks)
}

impl<'a> Blocks<'a> {
    /// The earlier payloads, the oldest first as senders put them.
    pub fn earlier(&self) -> impl Iterator<Item = Block<'a>> + use<'a> {
        let mut data = self.data;
        self.headers.chunks_exact(HEADER_LEN).filter_map(move |header| {
            let &[kind, high, middle, low] = header else { return None };
            let (payload, rest) = data.split_at_checked(len_of(middle, low))?;
            data = rest;
            let offset = u32::from(high) << 6 | u32::from(middle) >> 2;
            Some(Block { payload_type: kind & 0x7f, offset, payload })
        })
    }

    /// The packet's own payload.
    #[must_use]
    pub fn own(&self) -> Block<'a> {
        let earlier_len: usize = self.lens().sum();
        let payload = self.data.get(earlier_len..).unwrap_or_default();
        Block { payload_type: self.payload_type, offset: 0, payload }
    }

    fn lens(&self) -> impl Iterator<Item = usize> {
        self.headers.chunks_exact(HEADER_LEN).map(|header| match *header {
            [_, _, middle, low] => len_of(middle, low),
            _ => 0,
        })
    }
}

fn len_of(middle: u8, low: u8) -> usize {
    usize::from(middle & 0x03) << 8 | usize::from(low)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The header of an earlier payload.
    fn header(payload_type: u8, offset: u16, len: u16) -> [u8; 4] {
        let [high, low] = len.to_be_bytes();
        [0x80 | payload_type, (offset >> 6) as u8, (offset << 2) as u8 | high, low]
    }

    #[test]
    fn each_payload_has_its_type_its_offset_and_its_bytes() {
        let bytes = [&header(101, 16_383, 2)[..], &header(0, 160, 3), &[101, 1, 2, 3, 4, 5, 6, 7]].concat();
        let blocks = parse(&bytes).expect("RED");
        let earlier: Vec<Block<'_>> = blocks.earlier().collect();
        assert_eq!(
            earlier,
            [
                Block { payload_type: 101, offset: 16_383, payload: &[1, 2] },
                Block { payload_type: 0, offset: 160, payload: &[3, 4, 5] },
            ]
        );
        assert_eq!(blocks.own(), Block { payload_type: 101, offset: 0, payload: &[6, 7] });
        let alone = parse(&[0, 9]).expect("RED without earlier payloads");
        assert_eq!((alone.earlier().count(), alone.own().payload), (0, &[9][..]));
        assert_eq!(parse(&[111]).map(|blocks| blocks.own().payload.len()), Some(0));
    }

    #[test]
    fn what_does_not_fit_is_no_red() {
        let many: Vec<u8> = [header(0, 0, 0); EARLIER_MAX + 1].concat().into_iter().chain([0]).collect();
        for wrong in [
            &[][..],
            &[0x80],
            &[0x80, 0, 0],
            &header(0, 0, 0),
            &[header(0, 0, 3).as_slice(), &[0, 1, 2]].concat(),
            &many,
        ] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
        assert!(parse(&many[4..]).is_some());
    }

    proptest! {
        #[test]
        fn whatever_the_bytes_the_payloads_lie_side_by_side_to_the_end(bytes: Vec<u8>) {
            if let Some(blocks) = parse(&bytes) {
                let all: Vec<Block<'_>> = blocks.earlier().chain([blocks.own()]).collect();
                let data: Vec<u8> = all.iter().flat_map(|block| block.payload).copied().collect();
                prop_assert!(bytes.ends_with(&data));
                prop_assert_eq!(bytes.len(), data.len() + HEADER_LEN * (all.len() - 1) + 1);
                prop_assert!(all.iter().all(|block| block.payload_type < 128 && block.offset < 1 << 14));
            }
        }
    }
}
