//! What the tests of this module share: a pipe that plays a script, and a clock that jumps.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::{
    edge::{Clock, Pipe, Setup, Signal, UsbError, clock::Joiner},
    model::{Mono, Platform, Wall, platform::UsbMode},
};

use super::{Cancel, Link};

/// Bytes from hexadecimal digits; white space is ignored.
pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    assert!(digits.len().is_multiple_of(2), "an even number of digits: {text}");
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// A clock that jumps over every wait at once.
#[derive(Default)]
pub(super) struct TestClock(Mutex<Duration>);

impl Clock for TestClock {
    fn now(&self) -> Mono {
        Mono(*self.0.lock().unwrap())
    }
    fn wall(&self) -> Wall {
        Wall::from_millis(0).unwrap()
    }
    fn sleep(&self, duration: Duration) {
        *self.0.lock().unwrap() += duration;
    }
    fn wait(&self, signal: &Signal, _seen: u64, deadline: Option<Mono>) -> u64 {
        if let Some(at) = deadline {
            let mut now = self.0.lock().unwrap();
            *now = (*now).max(at.0);
        }
        signal.raised()
    }
    fn spawn(&self, _name: &str, _body: Box<dyn FnOnce() + Send>) -> Joiner {
        panic!("this clock has no threads")
    }
}

#[derive(Debug)]
enum Expected {
    Control {
        setup: Setup,
        data: Vec<u8>,
        answer: Result<Vec<u8>, UsbError>,
    },
    Alternate(u8),
}

#[derive(Default)]
struct State {
    /// Set aside until [`Script::play`].
    later: VecDeque<Expected>,
    expected: VecDeque<Expected>,
    played: usize,
    timeouts: Vec<Duration>,
}

/// A sequence of expected transfers with their answers. A request out of order fails the test.
#[derive(Clone, Default)]
pub(super) struct Script {
    state: Arc<Mutex<State>>,
    pub(super) clock: Arc<TestClock>,
}

impl Script {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// An IN transfer with its answer.
    pub(super) fn get(&self, setup: [u8; 8], answer: &[u8]) {
        self.push(setup, &[], Ok(answer.to_vec()));
    }

    /// An OUT transfer that succeeds.
    pub(super) fn out(&self, setup: [u8; 8], data: &[u8]) {
        self.push(setup, data, Ok(Vec::new()));
    }

    /// A transfer that fails.
    pub(super) fn fail(&self, setup: [u8; 8], data: &[u8], error: UsbError) {
        self.push(setup, data, Err(error));
    }

    /// SET_INTERFACE on interface 0.
    pub(super) fn alternate(&self, alternate: u8) {
        self.state.lock().unwrap().expected.push_back(Expected::Alternate(alternate));
    }

    pub(super) fn pipe(&self) -> Box<dyn Pipe> {
        Box::new(self.clone())
    }

    pub(super) fn link(&self, platform: Platform, mode: UsbMode) -> Link {
        Link::new(self.pipe(), self.clock.clone(), Cancel::new(), platform, mode)
    }

    pub(super) fn timeouts(&self) -> Vec<Duration> {
        self.state.lock().unwrap().timeouts.clone()
    }

    /// The time that has passed.
    pub(super) fn elapsed(&self) -> Duration {
        self.clock.now().0
    }

    /// Puts the opening of a Boron in DFU mode (device-protocol.md 8.4) in place of what was scripted so far, which is
    /// taken up again by [`Script::play`].
    pub(super) fn boron(&self) {
        {
            let mut state = self.state.lock().unwrap();
            state.later = std::mem::take(&mut state.expected);
        }
        let whole = hex("09022d00010104c0320904000000fe0102060904000100fe0102070904000200fe01020809210bff0000101a01");
        self.alternate(0);
        self.get([0x80, 6, 0, 2, 0, 0, 9, 0], &whole[..9]);
        self.get([0x80, 6, 0, 2, 0, 0, 45, 0], &whole);
        for (index, text) in [
            (
                6,
                "@Internal Flash   /0x00000000/1*004Ka,47*004Kg,192*004Kg,4*004Kg,4*004Kg,8*004Ka",
            ),
            (7, "@DCT Flash   /0x00000000/1*016Ke"),
            (8, "@External Flash   /0x80000000/1024*004Kg"),
        ] {
            let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
            let head = [units.len() as u8 + 2, 3];
            self.get([0x80, 6, index, 3, 9, 4, 255, 0], &[&head[..], &units].concat());
        }
    }

    /// Ends an opening: what it replaced is expected now.
    pub(super) fn play(&self) {
        self.done();
        let mut state = self.state.lock().unwrap();
        state.expected = std::mem::take(&mut state.later);
    }

    /// Fails unless the whole script was played.
    pub(super) fn done(&self) {
        let state = self.state.lock().unwrap();
        assert!(
            state.expected.is_empty(),
            "after {} transfers the client should have gone on with {:?}",
            state.played,
            state.expected[0]
        );
    }

    fn push(&self, setup: [u8; 8], data: &[u8], answer: Result<Vec<u8>, UsbError>) {
        let setup = Setup::from_bytes(setup);
        self.state.lock().unwrap().expected.push_back(Expected::Control {
            setup,
            data: data.to_vec(),
            answer,
        });
    }

    fn next(&self) -> (usize, Option<Expected>) {
        let mut state = self.state.lock().unwrap();
        state.played += 1;
        (state.played, state.expected.pop_front())
    }
}

impl Pipe for Script {
    fn control(&mut self, setup: Setup, data: &[u8], timeout: Duration) -> Result<Vec<u8>, UsbError> {
        self.state.lock().unwrap().timeouts.push(timeout);
        match self.next() {
            (
                _,
                Some(Expected::Control {
                    setup: s,
                    data: d,
                    answer,
                }),
            ) if s == setup && d == data => answer,
            (n, expected) => panic!("transfer {n}\n  expected {expected:02x?}\n  came     [{setup:?}] with {data:02x?}"),
        }
    }

    fn claim(&mut self, interface: u8) -> Result<(), UsbError> {
        assert_eq!(interface, 0, "only the DFU interface is ever claimed");
        Ok(())
    }

    fn set_alternate(&mut self, interface: u8, alternate: u8) -> Result<(), UsbError> {
        assert_eq!(interface, 0);
        match self.next() {
            (_, Some(Expected::Alternate(a))) if a == alternate => Ok(()),
            (n, expected) => panic!("transfer {n}\n  expected {expected:02x?}\n  came     SET_INTERFACE alternate {alternate}"),
        }
    }
}

/// Setup packets of the service protocol, and scripts of whole requests.
impl Script {
    /// RESET 0 and the version, as every [`super::Control`] begins.
    pub(super) fn opening(&self, version: &str) {
        self.get(reset(0), &hex("010000000000"));
        self.get([0xc0, 0x50, 0, 0, 0x1e, 0, 0x40, 0], version.as_bytes());
    }

    /// A whole request, id 1, that the device takes at once and whose handler ends with this body or negative result.
    pub(super) fn request(&self, kind: u16, payload: &[u8], outcome: Result<&[u8], i32>) {
        self.get(init(kind, payload.len() as u16), &hex("0300000000000100"));
        if !payload.is_empty() {
            let [low, high] = (payload.len() as u16).to_le_bytes();
            self.out([0x40, 3, 0, 0, 1, 0, low, high], payload);
        }
        match outcome {
            Ok([]) => self.get(check(1), &hex("09000000000000000000")),
            Err(code) => self.get(check(1), &[hex("090000000000"), code.to_le_bytes().to_vec()].concat()),
            Ok(body) => {
                let size = (body.len() as u32).to_le_bytes();
                self.get(check(1), &[&hex("0d0000000000"), &size[..], &[0; 4]].concat());
                let [low, high, ..] = size;
                self.get([0xc0, 4, 0, 0, 1, 0, low, high], body);
            }
        }
    }
}

pub(super) fn init(kind: u16, size: u16) -> [u8; 8] {
    let ([v0, v1], [i0, i1]) = (size.to_le_bytes(), kind.to_le_bytes());
    [0xc0, 1, v0, v1, i0, i1, 64, 0]
}

pub(super) fn check(id: u8) -> [u8; 8] {
    [0xc0, 2, 0, 0, id, 0, 64, 0]
}

pub(super) fn reset(id: u8) -> [u8; 8] {
    [0xc0, 5, 0, 0, id, 0, 64, 0]
}
