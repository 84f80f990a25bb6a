//! Connections that end before what goes by them (RFC 3261, 18): responses go to where their Via says, requests to the remote target.

use super::compose;
use super::transaction::ClientState;
use super::{Path, UserAgent};
use crate::signal::Carrier;
use crate::time::Timestamp;

impl UserAgent {
    /// A connection is over. What is still to be said to its peer goes by another one: the paths of its calls and transactions are those
    /// of a connection that is to be opened, and a request of ours that nobody has answered goes again.
    pub fn handle_closed(&mut self, closed: &Path, now: Timestamp) {
        self.handle_timeout(now);
        let is_of_it = |path: &Path| path.carrier != Carrier::Udp && path.connection == closed.connection;
        if closed.connection == 0 {
            return;
        }
        // What went by any connection to there went by this one, as far as is known here.
        let may_be_of_it = |path: &Path| {
            is_of_it(path)
                || path.connection == 0 && path.carrier == closed.carrier && path.peer == closed.peer
        };
        for server in self.servers.values_mut().filter(|server| is_of_it(&server.path)) {
            server.path = Path { connection: 0, peer: server.elsewhere, ..server.path };
        }
        for call in self.calls.values_mut() {
            let elsewhere = call.elsewhere;
            let moved = |path: Path| Path { connection: 0, peer: elsewhere, ..path };
            if is_of_it(&call.path) {
                call.path = moved(call.path);
            }
            if let Some(reliable) = call.reliable.as_mut().filter(|reliable| is_of_it(&reliable.path)) {
                reliable.path = moved(reliable.path);
            }
        }
        let mut again = Vec::new();
        let over_udp: Vec<u64> = self
            .clients
            .iter()
            .filter(|(_, client)| client.over_udp.is_some() && may_be_of_it(&client.path))
            .map(|(&id, _)| id)
            .collect();
        over_udp.into_iter().for_each(|id| {
            self.fall_back(id);
        });
        for client in self.clients.values_mut().filter(|client| may_be_of_it(&client.path)) {
            client.path = Path { connection: 0, peer: client.elsewhere, ..client.path };
            if client.state != ClientState::Completed && !client.is_moved {
                client.is_moved = true;
                again.push((client.path, client.bytes.clone(), client.purpose));
            }
        }
        for (path, bytes, purpose) in again {
            self.send(path, bytes, purpose.is_seen());
        }
    }

    /// No connection could be made: what was to go by it is not answered (RFC 3261, 18.4 and 8.1.3.1).
    pub fn handle_unreachable(&mut self, path: &Path, now: Timestamp) {
        self.handle_timeout(now);
        let is_of_it =
            |other: &Path| other.carrier == path.carrier && other.connection == 0 && other.peer == path.peer;
        let lost: Vec<u64> = self
            .clients
            .iter()
            .filter(|(_, client)| client.state != ClientState::Completed && is_of_it(&client.path))
            .map(|(&id, _)| id)
            .collect();
        for id in lost {
            if !self.fall_back(id) {
                self.end_client(id);
            }
        }
    }

    /// What a message that goes by this way says of where we are.
    pub(super) fn contact(&self, path: &Path, is_sips: bool) -> String {
        let user = self.options.registration.as_ref().map_or("earwitness", |own| own.user.as_str());
        compose::contact(path.carrier, self.own(path.local), user, is_sips)
    }
}
