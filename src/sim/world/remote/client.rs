//! The station's side: a [`Bus`] whose devices are in another process.

use std::{
    collections::BTreeMap,
    io::{self, BufReader, Read},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{
    edge::{Attached, Bus, BusError, Clock, Pipe, Setup, Signal, UsbError},
    model::{Mono, PortPath},
    sim::world::lock,
};

use super::{
    Hello, News, Welcome, hear, say,
    usbip::{self, Command, Reply, Submit},
};

/// The bus of a world that another process serves.
pub struct RemoteBus(Arc<Shared>);

struct Shared {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    list: Mutex<Result<Vec<Attached>, BusError>>,
    changed: Signal,
    /// Claims are an affair of the host, so they are kept on this side: which pipe has which interface of what.
    claims: Mutex<BTreeMap<(PortPath, u16, u8), u64>>,
    pipes: AtomicU64,
}

impl RemoteBus {
    /// Connects to the world that is served at this socket. `clock` must be one of real time. If the world ends, the bus
    /// says so, and connects again when there is one at the same place.
    ///
    /// # Errors
    /// [`BusError`] if nobody serves there.
    pub fn connect(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, BusError> {
        let (stream, list) = watch(path).map_err(|error| BusError {
            what: format!("no simulated world is served at {}: {error}", path.display()),
        })?;
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            clock: Arc::clone(&clock),
            list: Mutex::new(Ok(list)),
            changed: Signal::new(),
            claims: Mutex::default(),
            pipes: AtomicU64::new(0),
        });
        let weak = Arc::downgrade(&shared);
        drop(clock.spawn("remote-bus", Box::new(move || follow(stream, &weak))));
        Ok(Self(shared))
    }
}

impl Bus for RemoteBus {
    fn list(&self) -> Result<Vec<Attached>, BusError> {
        lock(&self.0.list).clone()
    }

    fn changed(&self) -> Signal {
        self.0.changed.clone()
    }

    fn open(&self, device: &Attached) -> Result<Box<dyn Pipe>, UsbError> {
        let mut stream = UnixStream::connect(&self.0.path).map_err(|_| UsbError::Gone)?;
        let hello = Hello::Open {
            port: device.port.clone(),
            address: device.address,
        };
        let welcome = say(&mut stream, &hello).and_then(|()| hear(&mut stream));
        match welcome.map_err(|_| UsbError::Gone)? {
            Welcome::Opened => Ok(Box::new(RemotePipe {
                bus: Arc::clone(&self.0),
                id: self.0.pipes.fetch_add(1, Ordering::Relaxed),
                attached: device.clone(),
                stream,
                seq: 0,
                heard: Vec::new(),
                patience: None,
                dead: false,
            })),
            Welcome::Gone => Err(UsbError::Gone),
        }
    }
}

/// Begins to watch. Nothing but lines comes on this connection, so they may be read in larger pieces.
fn watch(path: &Path) -> io::Result<(BufReader<UnixStream>, Vec<Attached>)> {
    let mut stream = UnixStream::connect(path)?;
    say(&mut stream, &Hello::Watch)?;
    let mut stream = BufReader::new(stream);
    let News::Devices(list) = hear(&mut stream)?;
    Ok((stream, list.into_iter().map(Attached::from).collect()))
}

/// Follows the world until nobody holds the bus.
fn follow(mut stream: BufReader<UnixStream>, bus: &Weak<Shared>) {
    loop {
        let news = hear(&mut stream).map(|News::Devices(list)| list.into_iter().map(Attached::from).collect());
        let Some(bus) = bus.upgrade() else { return };
        let lost = news.is_err();
        bus.tell(news.map_err(|error: io::Error| BusError {
            what: format!("the simulated world has ended: {error}"),
        }));
        if lost {
            bus.clock.sleep(RETRY);
            if let Ok((again, list)) = watch(&bus.path) {
                stream = again;
                bus.tell(Ok(list));
            }
        }
    }
}

impl Shared {
    fn tell(&self, list: Result<Vec<Attached>, BusError>) {
        *lock(&self.list) = list;
        self.changed.raise();
    }
}

/// A device that is open in another process.
struct RemotePipe {
    bus: Arc<Shared>,
    id: u64,
    attached: Attached,
    stream: UnixStream,
    seq: u32,
    /// What was read of the next reply: a timeout may strike in the middle of one.
    heard: Vec<u8>,
    /// The timeout of reads that the socket has.
    patience: Option<Duration>,
    /// The connection is over, or nobody knows what comes next on it.
    dead: bool,
}

impl RemotePipe {
    fn exchange(&mut self, setup: Setup, data: &[u8], timeout: Duration) -> io::Result<Result<Vec<u8>, UsbError>> {
        let clock = Arc::clone(&self.bus.clock);
        // libusb takes a timeout of zero milliseconds for none at all.
        let deadline = (timeout >= Duration::from_millis(1)).then(|| clock.now() + timeout);
        self.seq = self.seq.wrapping_add(1);
        let submit = Submit {
            seq: self.seq,
            devid: u32::from(self.attached.address),
            is_in: setup.is_in(),
            endpoint: 0,
            length: u32::from(setup.length),
            setup,
            data: data.to_vec(),
        };
        let (seq, is_in) = (submit.seq, submit.is_in);
        Command::Submit(submit).write(&mut self.stream)?;
        match self.reply(is_in, usize::from(setup.length), deadline)? {
            Some((
                Reply::Submit {
                    seq: answered, status, ..
                },
                data,
            )) if answered == seq => Ok(match status {
                0 => Ok(data),
                status => Err(usbip::error_of(status)),
            }),
            Some(_) => Err(io::ErrorKind::InvalidData.into()),
            None => self.take_back(seq, is_in).map(|()| Err(UsbError::Timeout)),
        }
    }

    /// Unlinks a transfer; its answer may still come first.
    fn take_back(&mut self, victim: u32, is_in: bool) -> io::Result<()> {
        self.seq = self.seq.wrapping_add(1);
        let seq = self.seq;
        Command::Unlink { seq, victim }.write(&mut self.stream)?;
        let deadline = self.bus.clock.now() + UNLINK_GRACE;
        loop {
            match self.reply(is_in, 0, Some(deadline))? {
                Some((Reply::Unlink { seq: answered, .. }, _)) if answered == seq => return Ok(()),
                Some(_) => {}
                None => return Err(io::ErrorKind::TimedOut.into()),
            }
        }
    }

    /// The next reply with its data, which is expected to have `length` bytes; `None` at the deadline.
    fn reply(&mut self, is_in: bool, length: usize, deadline: Option<Mono>) -> io::Result<Option<(Reply, Vec<u8>)>> {
        // With the data in one go, if it comes; nothing follows it before we ask again.
        let whole = Reply::LEN + if is_in { length } else { 0 };
        if !self.hear(Reply::LEN, whole, deadline)? {
            return Ok(None);
        }
        let mut header = [0; Reply::LEN];
        header.copy_from_slice(&self.heard[..Reply::LEN]);
        let reply = Reply::parse(&header)?;
        let length = match reply {
            Reply::Submit { actual, .. } if is_in => usize::try_from(actual).unwrap_or(0),
            _ => 0,
        };
        let length = Reply::LEN + length;
        if !self.hear(length, length, deadline)? {
            return Ok(None);
        }
        let rest = self.heard.split_off(length);
        let data = std::mem::replace(&mut self.heard, rest).split_off(Reply::LEN);
        Ok(Some((reply, data)))
    }

    /// Reads until `least` bytes were heard, and at most until `most` were; false at the deadline.
    fn hear(&mut self, least: usize, most: usize, deadline: Option<Mono>) -> io::Result<bool> {
        while self.heard.len() < least {
            let left = deadline.map(|at| at.since(self.bus.clock.now()));
            if left == Some(Duration::ZERO) {
                return Ok(false);
            }
            self.wait_at_most(left)?;
            let from = self.heard.len();
            self.heard.resize(most, 0);
            let read = self.stream.read(&mut self.heard[from..]);
            self.heard.truncate(from + read.as_ref().map_or(0, |n| *n));
            match read {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Limits the next read. The deadline is looked at after it, so an older, shorter limit serves as well, and one that is
    /// a little longer: to set it anew for each read would double the system calls of a transfer.
    fn wait_at_most(&mut self, left: Option<Duration>) -> io::Result<()> {
        let fits = match (self.patience, left) {
            (Some(set), Some(left)) => set <= left + SLACK,
            (set, left) => set == left,
        };
        if !fits || self.patience.is_some_and(|set| set * 4 < left.unwrap_or_default()) {
            let left = left.map(|left| left.max(Duration::from_millis(1)));
            self.stream.set_read_timeout(left)?;
            self.patience = left;
        }
        Ok(())
    }

    fn key(&self, interface: u8) -> (PortPath, u16, u8) {
        (self.attached.port.clone(), self.attached.address, interface)
    }
}

impl Pipe for RemotePipe {
    fn control(&mut self, setup: Setup, data: &[u8], timeout: Duration) -> Result<Vec<u8>, UsbError> {
        let expected = if setup.is_in() { 0 } else { usize::from(setup.length) };
        if data.len() != expected {
            return Err(UsbError::Io);
        }
        if setup.request_type & 0x1f == 1 {
            let owner = lock(&self.bus.claims).get(&self.key(setup.index.to_le_bytes()[0])).copied();
            match owner {
                Some(owner) if owner == self.id => {}
                Some(_) => return Err(UsbError::Busy),
                None => return Err(UsbError::Io),
            }
        }
        if self.dead {
            return Err(UsbError::Gone);
        }
        self.exchange(setup, data, timeout).unwrap_or_else(|_| {
            self.dead = true;
            Err(UsbError::Gone)
        })
    }

    fn claim(&mut self, interface: u8) -> Result<(), UsbError> {
        let key = self.key(interface);
        match *lock(&self.bus.claims).entry(key).or_insert(self.id) {
            owner if owner == self.id => Ok(()),
            _ => Err(UsbError::Busy),
        }
    }

    fn set_alternate(&mut self, interface: u8, alternate: u8) -> Result<(), UsbError> {
        let setup = Setup {
            request_type: 1,
            request: 11,
            value: u16::from(alternate),
            index: u16::from(interface),
            length: 0,
        };
        self.control(setup, &[], Duration::from_secs(5)).map(drop)
    }
}

impl Drop for RemotePipe {
    fn drop(&mut self) {
        lock(&self.bus.claims).retain(|_, owner| *owner != self.id);
    }
}

/// How long the other side may take for an unlink, which it does without the device.
const UNLINK_GRACE: Duration = Duration::from_secs(2);

/// How much later than at its deadline a transfer may time out.
const SLACK: Duration = Duration::from_millis(5);

/// How often a world that has ended is looked for.
const RETRY: Duration = Duration::from_secs(1);
