//! A listener that takes so many connections at once and no more: the descriptors are needed for recordings. With TLS,
//! handshakes go on side by side, so that somebody who stands in the door keeps nobody out.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Connections of one server at the same time; the next one waits in the kernel until one has ended.
const CONNECTIONS_MAX: usize = 256;
/// Connections of one other machine: many browsers behind one address, and not all places.
const CONNECTIONS_OF_ONE_MAX: usize = 64;
/// A handshake that takes longer is no browser's.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// Connections whose handshake is done and that nobody has taken.
const READY_MAX: usize = 16;
/// First byte of a TLS connection: a record of a handshake (RFC 8446, 5.1).
const HANDSHAKE: u8 = 22;
/// For a browser that was given the address without its scheme.
const SAY_HTTPS: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\
    Content-Length: 60\r\n\r\nThese pages need https:// in front of their address, please.";

/// See the module's text.
pub(super) struct Limited {
    address: SocketAddr,
    way: Way,
}

enum Way {
    Plain { listener: TcpListener, seats: Arc<Seats> },
    Tls(mpsc::Receiver<(Held, SocketAddr)>),
}

impl Limited {
    /// # Errors
    /// When the system does not know where the listener is.
    pub(super) fn new(listener: TcpListener, tls: Option<Arc<ServerConfig>>) -> std::io::Result<Limited> {
        let address = listener.local_addr()?;
        let seats = Arc::new(Seats { free: Semaphore::new(CONNECTIONS_MAX), taken: Mutex::default() });
        let way = match tls {
            None => Way::Plain { listener, seats },
            Some(config) => {
                let (sender, ready) = mpsc::channel(READY_MAX);
                tokio::spawn(shake_hands(listener, seats, TlsAcceptor::from(config), sender));
                Way::Tls(ready)
            }
        };
        Ok(Limited { address, way })
    }
}

/// Takes connections until nobody wants them any more.
async fn shake_hands(
    mut listener: TcpListener,
    seats: Arc<Seats>,
    acceptor: TlsAcceptor,
    ready: mpsc::Sender<(Held, SocketAddr)>,
) {
    loop {
        let taken = tokio::select! {
            () = ready.closed() => return,
            taken = take(&mut listener, &seats) => taken,
        };
        let (stream, address, place) = taken;
        let (acceptor, ready) = (acceptor.clone(), ready.clone());
        tokio::spawn(async move {
            let shaken = tokio::time::timeout(HANDSHAKE_MAX, greet(acceptor, stream)).await;
            if let Ok(Some(stream)) = shaken {
                let held = Held { stream: Stream::Tls(Box::new(stream)), _place: place };
                // Nobody takes it when the server ends.
                let _ = ready.send((held, address)).await;
            }
        });
    }
}

/// Places for connections, and how many of them each other machine has.
struct Seats {
    free: Semaphore,
    taken: Mutex<BTreeMap<IpAddr, usize>>,
}

impl Seats {
    fn taken(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more for this machine; none when it has all that one may have. A proxy on this machine stands for many.
    fn sit(self: &Arc<Self>, peer: IpAddr) -> Option<Seat> {
        let mut taken = self.taken();
        let count = taken.entry(peer).or_default();
        if *count >= CONNECTIONS_OF_ONE_MAX && !peer.is_loopback() {
            return None;
        }
        *count += 1;
        Some(Seat { seats: Arc::clone(self), peer })
    }
}

/// A place, given back when it is dropped.
struct Seat {
    seats: Arc<Seats>,
    peer: IpAddr,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken();
        if let Some(count) = taken.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.peer);
            }
        }
        drop(taken);
        self.seats.free.add_permits(1);
    }
}

/// The next connection that there is a place for; one too many of a machine is closed at once.
async fn take(listener: &mut TcpListener, seats: &Arc<Seats>) -> (TcpStream, SocketAddr, Seat) {
    loop {
        // It is never closed: there is no error.
        if let Ok(permit) = seats.free.acquire().await {
            permit.forget();
        }
        let (stream, address) = Listener::accept(listener).await;
        match seats.sit(address.ip().to_canonical()) {
            Some(seat) => return (stream, address, seat),
            None => seats.free.add_permits(1),
        }
    }
}

/// The handshake; who speaks plain HTTP is told.
async fn greet(acceptor: TlsAcceptor, mut stream: TcpStream) -> Option<TlsStream<TcpStream>> {
    let mut first = [0];
    if stream.peek(&mut first).await.ok()? == 1 && first != [HANDSHAKE] {
        // It is a courtesy.
        let _ = stream.write_all(SAY_HTTPS).await;
        return None;
    }
    acceptor.accept(stream).await.ok()
}

impl Listener for Limited {
    type Io = Held;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Held, SocketAddr) {
        match &mut self.way {
            Way::Plain { listener, seats } => {
                let (stream, address, place) = take(listener, seats).await;
                (Held { stream: Stream::Plain(stream), _place: place }, address)
            }
            Way::Tls(ready) => match ready.recv().await {
                Some(taken) => taken,
                // The task that takes them ends with the runtime alone.
                None => std::future::pending().await,
            },
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.address)
    }
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

impl Connected<IncomingStream<'_, Limited>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Limited>) -> Peer {
        Peer(*stream.remote_addr())
    }
}

/// A connection, and its place among those that there may be.
pub(super) struct Held {
    stream: Stream,
    _place: Seat,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Held {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Held {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_machine_has_not_all_places_and_gives_them_back() {
        let seats = Arc::new(Seats { free: Semaphore::new(0), taken: Mutex::default() });
        let (other, here) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([127, 0, 0, 1]));
        let mut held: Vec<Seat> =
            (0..CONNECTIONS_OF_ONE_MAX).map(|_| seats.sit(other).expect("a place")).collect();
        assert!(seats.sit(other).is_none() && seats.sit(IpAddr::from([192, 0, 2, 2])).is_some());
        let many: Vec<_> = (0..2 * CONNECTIONS_OF_ONE_MAX).map(|_| seats.sit(here)).collect();
        assert!(many.iter().all(Option::is_some), "a proxy on this machine stands for many");
        held.pop();
        assert!(seats.sit(other).is_some());
        drop((held, many));
        assert!(seats.taken().is_empty());
        assert_eq!(seats.free.available_permits(), 3 * CONNECTIONS_OF_ONE_MAX + 2);
    }
}
