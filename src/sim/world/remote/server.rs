//! The serving side: listens, tells watchers what is attached, and performs transfers for openers.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::Shutdown,
    os::unix::{
        fs::PermissionsExt,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};

use crate::{
    edge::{Attached, Bus, Clock, Pipe, Setup, UsbError},
    sim::world::{Canceller, World, WorldBus, WorldPipe, lock},
};

use super::{
    Hello, Listed, News, Welcome, hear, say,
    usbip::{self, Command, Reply, Submit},
};

/// A world that is being served. Dropping it ends the service and removes the socket.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    stopping: AtomicBool,
    /// One handle of each open connection, to end it.
    open: Mutex<BTreeMap<u64, UnixStream>>,
}

/// Serves the bus of a world on a Unix socket, for this user alone. The threads are those of `clock`, which must be one of
/// real time: they wait for the socket.
///
/// # Errors
/// Of the socket; [`io::ErrorKind::AddrInUse`] if somebody serves there already. A socket that is left over is replaced.
pub fn serve(world: &World, path: &Path, clock: Arc<dyn Clock>) -> io::Result<Server> {
    if UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another world is served here"));
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    let shared = Arc::<Shared>::default();
    let (held, bus, spawner) = (Arc::clone(&shared), world.bus(), Arc::clone(&clock));
    let accept = move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            if held.stopping.load(Ordering::SeqCst) {
                return;
            }
            let Ok(number) = held.keep(&stream) else { continue };
            let (bus, clock, held) = (bus.clone(), Arc::clone(&spawner), Arc::clone(&held));
            // A connection that breaks is over; there is nobody to tell.
            let body = move || {
                drop(attend(stream, &bus, &clock, &held));
                held.close(number);
            };
            drop(spawner.spawn("world-client", Box::new(body)));
        }
    };
    drop(clock.spawn("world-accept", Box::new(accept)));
    Ok(Server {
        path: path.to_owned(),
        shared,
    })
}

impl Server {
    /// The socket.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the accepting thread. If nobody accepts any more, there is nothing to wake.
        let _ = UnixStream::connect(&self.path);
        let _ = fs::remove_file(&self.path);
        for stream in std::mem::take(&mut *lock(&self.shared.open)).into_values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn keep(&self, stream: &UnixStream) -> io::Result<u64> {
        let mut open = lock(&self.open);
        let number = open.last_key_value().map_or(0, |(last, _)| last + 1);
        open.insert(number, stream.try_clone()?);
        Ok(number)
    }

    fn close(&self, number: u64) {
        if let Some(stream) = lock(&self.open).remove(&number) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn attend(mut stream: UnixStream, bus: &WorldBus, clock: &Arc<dyn Clock>, shared: &Shared) -> io::Result<()> {
    match hear(&mut stream)? {
        Hello::Watch => watch(stream, bus, &**clock, shared),
        Hello::Open { port, address } => {
            let attached = bus.list().unwrap_or_default();
            let attached = attached.into_iter().find(|a| a.port == port && a.address == address);
            match attached.and_then(|a: Attached| bus.open_pipe(&a).ok()) {
                Some(pipe) => {
                    say(&mut stream, &Welcome::Opened)?;
                    serve_device(stream, pipe, clock, &nobody())
                }
                None => say(&mut stream, &Welcome::Gone),
            }
        }
    }
}

fn watch(mut stream: UnixStream, bus: &WorldBus, clock: &dyn Clock, shared: &Shared) -> io::Result<()> {
    let changed = bus.changed();
    let mut told = None;
    loop {
        let seen = changed.raised();
        let news = News::Devices(bus.list().unwrap_or_default().into_iter().map(Listed::from).collect());
        if told.as_ref() != Some(&news) {
            say(&mut stream, &news)?;
            told = Some(news);
        }
        if shared.stopping.load(Ordering::SeqCst) {
            return Ok(());
        }
        // Without a change the next look finds out whether the service goes on.
        clock.wait(&changed, seen, Some(clock.now() + LOOK_UP));
    }
}

/// Is shown each control transfer of a device, with what came out of it.
pub type Watcher = Arc<dyn Fn(Setup, &Result<Vec<u8>, UsbError>) + Send + Sync>;

fn nobody() -> Watcher {
    Arc::new(|_, _| {})
}

/// Serves one device with USB/IP until either side ends: the end of the attachment shuts the stream down, which a host
/// controller takes for an unplug. The other end may as well be the descriptor that is attached to the kernel's vhci.
///
/// # Errors
/// Of the stream, and of a host that does not keep to the protocol.
pub fn serve_device(stream: UnixStream, pipe: WorldPipe, clock: &Arc<dyn Clock>, watcher: &Watcher) -> io::Result<()> {
    let canceller = pipe.canceller();
    let urbs = Arc::new(Urbs {
        out: Mutex::new(stream.try_clone()?),
        state: Mutex::default(),
        closed: AtomicBool::new(false),
        canceller: canceller.clone(),
        watcher: Arc::clone(watcher),
    });
    let (submit, submitted) = mpsc::channel::<Submit>();
    let worker = {
        let urbs = Arc::clone(&urbs);
        clock.spawn("world-device", Box::new(move || urbs.perform(pipe, &submitted)))
    };
    let guard = {
        let (urbs, clock2, stream) = (Arc::clone(&urbs), Arc::clone(clock), stream.try_clone()?);
        clock.spawn("world-guard", Box::new(move || urbs.shut_when_over(&*clock2, &stream)))
    };
    let mut input = io::BufReader::new(stream);
    let result = loop {
        match Command::read(&mut input) {
            Ok(None) => break Ok(()),
            Ok(Some(Command::Submit(urb))) if urb.endpoint != 0 => {
                if let Err(error) = urbs.elsewhere(&urb) {
                    break Err(error);
                }
            }
            Ok(Some(Command::Submit(urb))) => {
                lock(&urbs.state).pending.insert(urb.seq);
                if submit.send(urb).is_err() {
                    break Ok(());
                }
            }
            Ok(Some(Command::Unlink { seq, victim })) => {
                if let Err(error) = urbs.unlink(seq, victim) {
                    break Err(error);
                }
            }
            Err(error) => break Err(error),
        }
    };
    drop(submit);
    urbs.closed.store(true, Ordering::SeqCst);
    canceller.cancel();
    let (worker, guard) = (worker(), guard());
    worker
        .and(guard)
        .map_err(|_| io::Error::other("a thread of a served device panicked"))?;
    result
}

/// The transfers of one connection.
struct Urbs {
    out: Mutex<UnixStream>,
    state: Mutex<Pending>,
    closed: AtomicBool,
    canceller: Canceller,
    watcher: Watcher,
}

#[derive(Default)]
struct Pending {
    /// Submitted, neither answered nor unlinked.
    pending: BTreeSet<u32>,
    current: Option<u32>,
}

impl Urbs {
    /// Performs what was submitted, in order: endpoint 0 does one thing at a time.
    fn perform(&self, mut pipe: WorldPipe, submitted: &mpsc::Receiver<Submit>) {
        for urb in submitted {
            {
                let mut state = lock(&self.state);
                if !state.pending.contains(&urb.seq) {
                    continue;
                }
                state.current = Some(urb.seq);
            }
            if self.closed.load(Ordering::SeqCst) {
                return;
            }
            let result = transfer(&mut pipe, &urb);
            (self.watcher)(urb.setup, &result);
            let mut state = lock(&self.state);
            state.current = None;
            // An unlink of this transfer that came too late must not hit the next one.
            self.canceller.forget();
            if state.pending.remove(&urb.seq) && self.answer(&urb, result).is_err() {
                return;
            }
        }
    }

    /// A transfer on another endpoint than the control endpoint, those of the serial port: what is written is taken, and
    /// what is asked for never comes, until the host unlinks it.
    fn elsewhere(&self, urb: &Submit) -> io::Result<()> {
        let mut state = lock(&self.state);
        if urb.is_in {
            state.pending.insert(urb.seq);
            return Ok(());
        }
        self.answer(urb, Ok(Vec::new()))
    }

    fn answer(&self, urb: &Submit, result: Result<Vec<u8>, UsbError>) -> io::Result<()> {
        let (status, actual, data) = match result {
            Ok(_) if !urb.is_in => (0, urb.length, Vec::new()),
            Ok(data) => (0, u32::try_from(data.len()).unwrap_or(0), data),
            Err(error) => (usbip::status_of(error), 0, Vec::new()),
        };
        let reply = Reply::Submit {
            seq: urb.seq,
            status,
            actual,
        };
        reply.write(&data, &mut *lock(&self.out))
    }

    fn unlink(&self, seq: u32, victim: u32) -> io::Result<()> {
        // The lock is held until the answer is out, so that no answer to the transfer can follow it.
        let mut state = lock(&self.state);
        let status = if state.pending.remove(&victim) {
            if state.current == Some(victim) {
                self.canceller.cancel();
            }
            usbip::UNLINKED
        } else {
            0
        };
        Reply::Unlink { seq, status }.write(&[], &mut *lock(&self.out))
    }

    fn shut_when_over(&self, clock: &dyn Clock, stream: &UnixStream) {
        let signal = self.canceller.signal();
        loop {
            let seen = signal.raised();
            if self.canceller.is_over() {
                // What the device said last is on its way already; the host hears the end after it.
                let _ = stream.shutdown(Shutdown::Both);
                return;
            }
            if self.closed.load(Ordering::SeqCst) {
                return;
            }
            clock.wait(&signal, seen, None);
        }
    }
}

/// Performs one transfer. The host has its own idea of a timeout, and unlinks.
fn transfer(pipe: &mut WorldPipe, urb: &Submit) -> Result<Vec<u8>, UsbError> {
    if urb.is_in != urb.setup.is_in() || urb.length < u32::from(urb.setup.length) {
        return Err(UsbError::Stall);
    }
    let [interface, _] = urb.setup.index.to_le_bytes();
    if urb.setup.request_type & 0x1f == 1 {
        // A host that sends requests to an interface has claimed it, on its side of the connection.
        pipe.claim(interface)?;
    }
    pipe.control(urb.setup, &urb.data, Duration::ZERO)
}

/// How long a watcher's thread outlives the service at most.
const LOOK_UP: Duration = Duration::from_secs(1);
