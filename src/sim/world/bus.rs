//! The world as a [`Bus`]: pipes that keep the rules of USB, take the time of the wire, and end with the attachment.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use crate::{
    edge::{Attached, Bus, BusError, Pipe, Setup, Signal, UsbError},
    model::{DeviceId, Mono},
};

use super::{
    Cut, Inner, Moment, POWER_CUT, Phase, TransferPoint, lock,
    seat::{Denied, PipeId, Seat},
};

/// All ports of a [`World`](super::World).
#[derive(Clone)]
pub struct WorldBus(Arc<Inner>);

impl WorldBus {
    pub(super) fn new(world: Arc<Inner>) -> Self {
        Self(world)
    }

    /// As [`Bus::open`], with the type of the pipe.
    ///
    /// # Errors
    /// [`UsbError::Gone`] if this attachment is over.
    pub fn open_pipe(&self, device: &Attached) -> Result<WorldPipe, UsbError> {
        let mut state = lock(&self.0.state);
        let id = state.number();
        let seat = state.seats.get_mut(&device.port).filter(|seat| seat.is_at(device.address));
        let seat = seat.ok_or(UsbError::Gone)?;
        let canceller = Canceller::default();
        seat.open(id, canceller.clone());
        Ok(WorldPipe {
            world: Arc::clone(&self.0),
            id,
            device: seat.id,
            attached: device.clone(),
            canceller,
        })
    }
}

impl Bus for WorldBus {
    fn list(&self) -> Result<Vec<Attached>, BusError> {
        let state = lock(&self.0.state);
        Ok(state.seats.values().filter_map(|seat| seat.shown.clone()).collect())
    }

    fn changed(&self) -> Signal {
        self.0.changed.clone()
    }

    fn open(&self, device: &Attached) -> Result<Box<dyn Pipe>, UsbError> {
        Ok(Box::new(self.open_pipe(device)?))
    }
}

/// The default control endpoint of an attached device.
pub struct WorldPipe {
    world: Arc<Inner>,
    id: PipeId,
    device: DeviceId,
    attached: Attached,
    canceller: Canceller,
}

/// Ends the transfer under way on a pipe, from another thread, and tells when the pipe is of no more use.
#[derive(Clone, Debug, Default)]
pub struct Canceller {
    cancelled: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
    stir: Signal,
}

impl Canceller {
    /// The transfer under way, or else the next one, ends with [`UsbError::Timeout`]. The device may have acted.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::SeqCst);
        self.stir.raise();
    }

    /// Takes a cancellation back that came when no transfer was under way.
    pub fn forget(&self) {
        self.cancelled.store(false, Ordering::SeqCst);
    }

    /// True when the attachment is over.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    pub(super) fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
        self.stir.raise();
    }

    /// Raised when the attachment is over or the transfer was cancelled.
    pub fn signal(&self) -> Signal {
        self.stir.clone()
    }
}

/// A transfer that has reached its device.
struct UnderWay {
    result: Result<Vec<u8>, UsbError>,
    /// When the device is half-way through, and when it is done; `None` if it never will be.
    times: Option<(Mono, Mono)>,
    number: u64,
    point: TransferPoint,
}

impl WorldPipe {
    /// The device that the world knows at the other end, whatever id it shows.
    pub fn device(&self) -> DeviceId {
        self.device
    }

    /// How to end a transfer from outside.
    pub fn canceller(&self) -> Canceller {
        self.canceller.clone()
    }

    fn seat<R>(&self, act: impl FnOnce(&mut Seat) -> R) -> Result<R, UsbError> {
        let mut state = lock(&self.world.state);
        let seat = state
            .seats
            .get_mut(&self.attached.port)
            .filter(|seat| seat.is_at(self.attached.address));
        seat.map(act).ok_or(UsbError::Gone)
    }

    /// Waits until another transfer to this device, through another pipe, is over.
    fn await_turn(&self, deadline: Option<Mono>) -> Result<(), UsbError> {
        loop {
            let seen = self.canceller.stir.raised();
            let busy_until = self.seat(|seat| seat.busy_until)?;
            let now = self.world.clock.now();
            if busy_until <= now {
                return Ok(());
            }
            if self.cancelled() || deadline.is_some_and(|at| at <= now) {
                return Err(UsbError::Timeout);
            }
            let until = deadline.map_or(busy_until, |at| at.min(busy_until));
            self.world.clock.wait(&self.canceller.stir, seen, Some(until));
        }
    }

    /// Announces the transfer, and lets the device have it.
    fn submit(&self, setup: Setup, data: &[u8]) -> Result<UnderWay, UsbError> {
        let (number, point) = {
            let mut state = lock(&self.world.state);
            let seat = state
                .seats
                .get_mut(&self.attached.port)
                .filter(|seat| seat.is_at(self.attached.address));
            let phase = seat.ok_or(UsbError::Gone)?.wire.phase(&setup, data);
            let index = state.transfers.entry(self.device).or_default();
            *index += 1;
            let number = *index;
            state.overall += 1;
            (number, self.point(setup, number - 1, state.overall - 1, phase))
        };
        self.observe(&point)?;
        let (result, times) = self.world.change(|state, now| {
            state.strike_transfer(self.device, number, point.phase, true, now);
            // What the device did by itself before now comes first: it may not be here any more.
            state.advance(&self.attached.port, now);
            let seat = state
                .seats
                .get_mut(&self.attached.port)
                .filter(|seat| seat.is_at(self.attached.address));
            let seat = seat.ok_or(UsbError::Gone)?;
            let transfer = seat.device_mut().control(now, setup, data);
            let answers = transfer.result != Err(UsbError::Timeout);
            let times = answers.then(|| (now + transfer.takes / 2, now + transfer.takes));
            seat.busy_until = times.map_or(now, |(_, done)| done);
            state.settle(&self.attached.port, now, true);
            Ok((transfer.result, times))
        })?;
        Ok(UnderWay {
            result,
            times,
            number,
            point,
        })
    }

    /// Half-way through a transfer, if anybody cares: what is to go wrong now goes wrong.
    fn interrupt(&self, under_way: &mut UnderWay, deadline: Option<Mono>) -> Result<(), UsbError> {
        let watched = lock(&self.world.observer).is_some() || lock(&self.world.state).mishaps_wait();
        if !watched {
            return Ok(());
        }
        if let Some((half, _)) = under_way.times {
            self.await_end(Some(half), deadline)?;
        }
        self.world.change(|state, now| {
            let (number, phase) = (under_way.number, under_way.point.phase);
            state.strike_transfer(self.device, number, phase, false, now);
            state.spoil(under_way.result.as_deref_mut().unwrap_or_default());
        });
        under_way.point.moment = Moment::During;
        self.observe(&under_way.point)
    }

    fn point(&self, setup: Setup, index: u64, overall: u64, phase: Option<Phase>) -> TransferPoint {
        TransferPoint {
            device: self.device,
            port: self.attached.port.clone(),
            setup,
            index,
            overall,
            moment: Moment::Before,
            phase,
        }
    }

    /// Lets the time of the transfer pass; ends early if the device goes or somebody cancels.
    fn await_end(&self, done: Option<Mono>, deadline: Option<Mono>) -> Result<(), UsbError> {
        let until = done.into_iter().chain(deadline).min();
        loop {
            let seen = self.canceller.stir.raised();
            if self.canceller.is_over() {
                return Err(UsbError::Gone);
            }
            let now = self.world.clock.now();
            if done.is_some_and(|at| at <= now) {
                return Ok(());
            }
            if self.cancelled() || deadline.is_some_and(|at| at <= now) {
                return Err(UsbError::Timeout);
            }
            self.world.clock.wait(&self.canceller.stir, seen, until);
        }
    }

    /// Shows a point to the observer, and does what it orders.
    fn observe(&self, point: &TransferPoint) -> Result<(), UsbError> {
        let observer = lock(&self.world.observer).clone();
        let cut = observer.map_or(Cut::None, |observer| observer(point));
        if cut.devices() {
            self.world.change(|state, now| state.power_cut(|_| true, POWER_CUT, now));
        }
        if cut.station() {
            let kill = lock(&self.world.station_cut).clone();
            if let Some(kill) = kill {
                kill();
            }
            return Err(UsbError::Gone);
        }
        Ok(())
    }

    fn cancelled(&self) -> bool {
        self.canceller.cancelled.swap(false, Ordering::SeqCst)
    }
}

impl Pipe for WorldPipe {
    fn control(&mut self, setup: Setup, data: &[u8], timeout: Duration) -> Result<Vec<u8>, UsbError> {
        // A thread that unwinds is that of a killed process: its destructors reach nobody.
        if thread::panicking() {
            return Err(UsbError::Gone);
        }
        let expected = if setup.is_in() { 0 } else { usize::from(setup.length) };
        if data.len() != expected {
            return Err(UsbError::Io);
        }
        if setup.request_type & RECIPIENT == TO_INTERFACE {
            self.seat(|seat| seat.may_use(self.id, setup.index.to_le_bytes()[0]))?
                .map_err(|denied| match denied {
                    Denied::Unclaimed => UsbError::Io,
                    Denied::Taken => UsbError::Busy,
                })?;
        }
        // libusb takes a timeout of zero milliseconds for none at all.
        let deadline = (timeout >= Duration::from_millis(1)).then(|| self.world.clock.now() + timeout);
        self.await_turn(deadline)?;
        let mut under_way = self.submit(setup, data)?;
        self.interrupt(&mut under_way, deadline)?;
        self.await_end(under_way.times.map(|(_, done)| done), deadline)?;
        under_way.point.moment = Moment::After;
        self.observe(&under_way.point)?;
        let mut data = under_way.result?;
        data.truncate(usize::from(setup.length));
        Ok(data)
    }

    fn claim(&mut self, interface: u8) -> Result<(), UsbError> {
        self.seat(|seat| seat.claim(self.id, interface))?.map_err(|_| UsbError::Busy)
    }

    fn set_alternate(&mut self, interface: u8, alternate: u8) -> Result<(), UsbError> {
        let setup = Setup {
            request_type: TO_INTERFACE,
            request: SET_INTERFACE,
            value: u16::from(alternate),
            index: u16::from(interface),
            length: 0,
        };
        self.control(setup, &[], STANDARD_TIMEOUT).map(drop)
    }
}

impl Drop for WorldPipe {
    fn drop(&mut self) {
        // A pipe of an attachment that is over has nothing left to close.
        let _ = self.seat(|seat| seat.close(self.id));
    }
}

/// The recipient bits of bmRequestType, and the value for an interface (USB 2.0, 9.3).
const RECIPIENT: u8 = 0x1f;
const TO_INTERFACE: u8 = 0x01;
const SET_INTERFACE: u8 = 11;
/// What an operating system allows for its own standard requests.
const STANDARD_TIMEOUT: Duration = Duration::from_secs(5);
