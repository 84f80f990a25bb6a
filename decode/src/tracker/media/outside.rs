//! Flows on ports that carry no audio here, as the administrator has listed them: left out and counted, a call's with the call.
//!
//! What is none of RTP (RTCP, key exchange, STUN) is judged as elsewhere: it carries no audio, and ports beside a range are often RTCP's.

use super::{Binding, Media, Use};
use crate::net::Flow;
use crate::ports::Ports;
use crate::time::Timestamp;
use crate::tracker::event::LegId;
use crate::tracker::leg::Legs;
use crate::tracker::outbox::Outbox;

impl Media {
    /// Looks for audio on these ports from now on. Flows that they judge otherwise are judged again with their next packet; what was
    /// watched for an announcement is told as unannounced.
    pub(in crate::tracker) fn use_ports(&mut self, ports: Ports, legs: &mut Legs, out: &mut Outbox) {
        if ports == self.ports {
            return;
        }
        self.ports = ports;
        let is_other = |(flow, binding): (&Flow, &Binding)| {
            let takes = self.ports.take(flow);
            match binding {
                Binding::Outside(_) => takes,
                Binding::Audio(_) | Binding::Suspect | Binding::Relayed(..) | Binding::Loose => !takes,
                Binding::Rtcp(..) | Binding::Other => false,
            }
        };
        let mut others: Vec<Flow> =
            self.flows.iter().filter(|&entry| is_other(entry)).map(|(&flow, _)| flow).collect();
        others.sort_unstable();
        for flow in others {
            if let Some(loose) = self.take_loose(flow) {
                self.report_loose(*loose, out);
            }
            self.forget_suspect(flow, legs, out);
            self.flows.remove(&flow);
        }
    }

    /// An RTP packet whose flow has neither end on a port for audio.
    #[cold]
    pub(super) fn leave_outside(&mut self, flow: Flow, at: Timestamp, legs: &mut Legs, out: &mut Outbox) {
        let best = self.candidates(flow, legs).first().copied();
        let Some(leg) = best.filter(|best| best.owner.purpose == Use::Audio).map(|best| best.owner.leg)
        else {
            // Not remembered: whatever else a network carries is no call's, and has no end to be forgotten at.
            self.outside_unannounced += 1;
            return;
        };
        if legs.leg(leg).is_some_and(|leg| leg.outside_packets == 0) {
            out.oddity(at, Some(flow), "audio of a call on ports that are not listed for audio");
        }
        self.bind(flow, Binding::Outside(leg));
        self.outside_packet(leg, at, legs);
    }

    /// A further packet of such a flow.
    pub(super) fn outside_packet(&mut self, leg: LegId, at: Timestamp, legs: &mut Legs) {
        self.outside += 1;
        if let Some(leg) = legs.leg_mut(leg) {
            leg.outside_packets += 1;
            // The call goes on, heard or not.
            (leg.last_activity, leg.last_heard) = (at.max(leg.last_activity), self.idle_clock);
        }
    }
}
