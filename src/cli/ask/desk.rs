//! The socket at which a running station is asked: in its state folder, which is its user's alone. One request at a time;
//! what becomes of it the station says.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};

use zeroize::Zeroizing;

pub(in crate::cli) use super::wire::LineStopped;
use super::wire::{Reply, Request, Status};
use crate::{
    edge::{Clock, clock::Joiner},
    model::Secret,
    rack::{RackView, Told},
    station::Remote,
};

/// An open socket.
pub(in crate::cli) struct Desk {
    path: PathBuf,
    view: Arc<Mutex<RackView>>,
    ended: Arc<AtomicBool>,
    serving: Option<Joiner>,
}

/// Where the socket of a station is that keeps its state in this folder.
pub(in crate::cli) fn place(state: &Path) -> PathBuf {
    state.join("ask")
}

/// That the line is stopped, as it is told everywhere.
pub(in crate::cli) fn line_words(view: &RackView) -> Option<LineStopped> {
    view.stopped.as_ref().map(LineStopped::of)
}

impl Desk {
    /// Opens it. Whoever has the ledger has the socket, too: one that is there is left over.
    ///
    /// # Errors
    /// If the folder cannot be written, or its path is too long for a socket.
    pub(in crate::cli) fn open(state: &Path, remote: Remote, clock: &dyn Clock) -> io::Result<Self> {
        let path = place(state);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        let view: Arc<Mutex<RackView>> = Arc::default();
        let ended: Arc<AtomicBool> = Arc::default();
        let (seen, over) = (Arc::clone(&view), Arc::clone(&ended));
        let body = move || {
            for stream in listener.incoming() {
                if over.load(Ordering::Acquire) {
                    return;
                }
                // Whoever went away without waiting for the answer has done without it.
                let _ = stream.and_then(|stream| serve(stream, &remote, &seen));
            }
        };
        Ok(Self {
            path,
            view,
            ended,
            serving: Some(clock.spawn("ask", Box::new(body))),
        })
    }

    /// The station looks like this now.
    pub(in crate::cli) fn view(&self, view: &RackView) {
        *self.view.lock().unwrap_or_else(PoisonError::into_inner) = view.clone();
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        // Wakes the thread that waits for the next caller.
        drop(UnixStream::connect(&self.path));
        // What is left behind is taken away by the next start.
        let _ = std::fs::remove_file(&self.path);
        if let Some(join) = self.serving.take() {
            // Its panic was told by the hook.
            let _ = join();
        }
    }
}

fn serve(stream: UnixStream, remote: &Remote, view: &Mutex<RackView>) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new((&stream).take(LONGEST));
    let mut line = Zeroizing::new(String::with_capacity(1024));
    lines.read_line(&mut line)?;
    let reply = match serde_json::from_str::<Request>(&line) {
        Ok(Request::Status {}) => Reply::Status(Box::new(Status::of(&view.lock().unwrap_or_else(PoisonError::into_inner)))),
        Ok(Request::Pin {}) => {
            let mut pin = Zeroizing::new(String::with_capacity(1024));
            lines.read_line(&mut pin)?;
            let text = Secret::new(pin.trim().to_owned());
            wait(|told| remote.pin(text, told))
        }
        Ok(request) => match request.command() {
            Some(command) => wait(|told| remote.ask(command, told)),
            None => Told::refused("this is no request").into(),
        },
        Err(_) => Told::refused("this is no request that this version of keyrack understands").into(),
    };
    let mut text = serde_json::to_vec(&reply)?;
    text.push(b'\n');
    (&stream).write_all(&text)
}

/// Waits for what the station says.
fn wait(ask: impl FnOnce(Box<dyn FnOnce(Told) + Send>)) -> Reply {
    let (tell, told) = mpsc::channel();
    ask(Box::new(move |answer| {
        // Nobody waits any more if it took too long.
        let _ = tell.send(answer);
    }));
    told.recv_timeout(LONG)
        .unwrap_or_else(|_| Told::refused("the station did not answer: it may have ended"))
        .into()
}

/// How long a caller may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the station may take: a slow disk, a PIN on a slow machine.
const LONG: Duration = Duration::from_secs(30);
/// More bytes than any request has.
const LONGEST: u64 = 16 << 10;
