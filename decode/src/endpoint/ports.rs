//! Pairs of UDP ports, RTP and RTCP, and which call's line has each.

use std::collections::VecDeque;

/// Whose a pair is: a call, and which of its media lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) call: u64,
    pub(super) line: usize,
}

/// The pairs. One that is given back is used again last, so that late packets find nobody.
#[derive(Debug)]
pub(super) struct Ports {
    /// The RTP port of each pair.
    ports: Vec<u16>,
    owners: Vec<Option<Owner>>,
    free: VecDeque<usize>,
}

impl Ports {
    pub(super) fn new(ports: Vec<u16>) -> Ports {
        Ports { owners: vec![None; ports.len()], free: (0..ports.len()).collect(), ports }
    }

    pub(super) fn take(&mut self, owner: Owner) -> Option<usize> {
        let pair = self.free.pop_front()?;
        if let Some(place) = self.owners.get_mut(pair) {
            *place = Some(owner);
        }
        Some(pair)
    }

    pub(super) fn release(&mut self, pair: usize) {
        if self.owners.get_mut(pair).and_then(Option::take).is_some() {
            self.free.push_back(pair);
        }
    }

    pub(super) fn owner(&self, pair: usize) -> Option<Owner> {
        self.owners.get(pair).copied().flatten()
    }

    /// The RTP port of a pair; 0 of one that does not exist.
    pub(super) fn port(&self, pair: usize) -> u16 {
        self.ports.get(pair).copied().unwrap_or_default()
    }

    pub(super) fn free(&self) -> usize {
        self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_used_again_last() {
        let mut ports = Ports::new(vec![12_000, 12_002, 12_004]);
        let owner = Owner { call: 1, line: 0 };
        assert_eq!((ports.take(owner), ports.take(owner)), (Some(0), Some(1)));
        ports.release(0);
        ports.release(0);
        assert_eq!((ports.owner(0), ports.owner(1), ports.free()), (None, Some(owner), 2));
        assert_eq!((ports.take(owner), ports.take(owner), ports.take(owner)), (Some(2), Some(0), None));
        assert_eq!((ports.port(2), ports.port(9)), (12_004, 0));
    }
}
