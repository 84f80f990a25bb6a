//! A listener that takes so many connections at once and no more: the descriptors are needed for recordings. With TLS,
//! handshakes go on side by side, so that somebody who stands in the door keeps nobody out.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Connections of one server at the same time; the next one waits in the kernel until one has ended.
const CONNECTIONS_MAX: usize = 256;
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
    Plain { listener: TcpListener, free: Arc<Semaphore> },
    Tls(mpsc::Receiver<(Held, SocketAddr)>),
}

impl Limited {
    /// # Errors
    /// When the system does not know where the listener is.
    pub(super) fn new(listener: TcpListener, tls: Option<Arc<ServerConfig>>) -> std::io::Result<Limited> {
        let address = listener.local_addr()?;
        let free = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let way = match tls {
            None => Way::Plain { listener, free },
            Some(config) => {
                let (sender, ready) = mpsc::channel(READY_MAX);
                tokio::spawn(shake_hands(listener, free, TlsAcceptor::from(config), sender));
                Way::Tls(ready)
            }
        };
        Ok(Limited { address, way })
    }
}

/// Takes connections until nobody wants them any more.
async fn shake_hands(
    mut listener: TcpListener,
    free: Arc<Semaphore>,
    acceptor: TlsAcceptor,
    ready: mpsc::Sender<(Held, SocketAddr)>,
) {
    loop {
        let taken = tokio::select! {
            () = ready.closed() => return,
            taken = take(&mut listener, &free) => taken,
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

async fn take(
    listener: &mut TcpListener,
    free: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, Option<OwnedSemaphorePermit>) {
    // It is never closed: there is no error.
    let place = Arc::clone(free).acquire_owned().await.ok();
    let (stream, address) = Listener::accept(listener).await;
    (stream, address, place)
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
            Way::Plain { listener, free } => {
                let (stream, address, place) = take(listener, free).await;
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
    _place: Option<OwnedSemaphorePermit>,
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
