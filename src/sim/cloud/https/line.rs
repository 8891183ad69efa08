//! Connections that can be cut: TCP with or without TLS, reset on demand.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{extract::connect_info::Connected, serve::IncomingStream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// All lines that come in. TLS is set up beside the listener, so that a slow client holds up nobody else.
pub(super) struct Lines {
    ready: UnboundedReceiver<(Line, SocketAddr)>,
    local: SocketAddr,
}

impl Lines {
    pub(super) fn new(listener: TcpListener, local: SocketAddr, tls: Option<TlsAcceptor>) -> Self {
        let (sender, ready) = unbounded_channel();
        tokio::spawn(listen(listener, tls, sender));
        Self { ready, local }
    }
}

async fn listen(listener: TcpListener, tls: Option<TlsAcceptor>, ready: UnboundedSender<(Line, SocketAddr)>) {
    while !ready.is_closed() {
        let Ok((stream, peer)) = listener.accept().await else {
            // Out of file descriptors, most likely: some come free when connections end.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let ready = ready.clone();
        let tls = tls.clone();
        tokio::spawn(async move {
            let wire = match tls {
                None => Wire::Plain(stream),
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => Wire::Tls(Box::new(stream)),
                    // The client does not trust us or speaks no TLS: it knows why.
                    Err(_) => return,
                },
            };
            // Nobody takes it when the server stops.
            let _ = ready.send((
                Line {
                    wire,
                    cutter: Cutter::default(),
                },
                peer,
            ));
        });
    }
}

impl axum::serve::Listener for Lines {
    type Io = Line;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Line, SocketAddr) {
        match self.ready.recv().await {
            Some(line) => line,
            // The listening task ends only with the runtime.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }
}

/// The scissors of one line.
#[derive(Clone, Default)]
pub(super) struct Cutter(Arc<AtomicBool>);

impl Cutter {
    /// From now on nothing goes over the line, and it ends with a reset.
    pub(super) fn cut(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn is_cut(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Who is on a line.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) ip: IpAddr,
    pub(super) cutter: Cutter,
}

impl Connected<IncomingStream<'_, Lines>> for Caller {
    fn connect_info(stream: IncomingStream<'_, Lines>) -> Self {
        Caller {
            ip: stream.remote_addr().ip(),
            cutter: stream.io().cutter.clone(),
        }
    }
}

/// One connection.
pub(super) struct Line {
    wire: Wire,
    cutter: Cutter,
}

enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Wire {
    fn tcp(&self) -> &TcpStream {
        match self {
            Wire::Plain(stream) => stream,
            Wire::Tls(stream) => stream.get_ref().0,
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.cutter.is_cut() {
            // With no time to linger, closing sends a reset. If that cannot be set, the client sees an early end.
            let _ = self.wire.tcp().set_zero_linger();
        }
    }
}

fn reset<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
}

impl AsyncRead for Line {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().wire {
            Wire::Plain(stream) => Pin::new(stream).poll_read(context, into),
            Wire::Tls(stream) => Pin::new(stream).poll_read(context, into),
        }
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let line = self.get_mut();
        if line.cutter.is_cut() {
            return reset();
        }
        match &mut line.wire {
            Wire::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Wire::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let line = self.get_mut();
        if line.cutter.is_cut() {
            return reset();
        }
        match &mut line.wire {
            Wire::Plain(stream) => Pin::new(stream).poll_flush(context),
            Wire::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let line = self.get_mut();
        if line.cutter.is_cut() {
            return reset();
        }
        match &mut line.wire {
            Wire::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Wire::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
