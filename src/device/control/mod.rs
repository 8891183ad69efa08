//! Control requests: the service protocol on endpoint 0 of a device in normal mode (device-protocol.md 2.1).
//!
//! Owns the life of one request: INIT, SEND, CHECK, RECV, and RESET when anything went wrong, so that no slot of the
//! device stays taken. What a payload means is in [`super::messages`]. It never repeats a request by itself.

pub mod error;

use std::time::Duration;

use zeroize::Zeroizing;

use crate::{
    edge::Setup,
    model::{Mono, OsVersion},
};

use super::{
    Link, LinkError, RequestType, ResultCode,
    link::TRANSFER_TIMEOUT,
    messages::Call,
    raw,
    reply::{ServiceReply, Status},
};

pub use error::{ControlError, Stage};

/// Control requests on an open device.
#[derive(Debug)]
pub struct Control<'l> {
    link: &'l mut Link,
    version: Option<String>,
    /// The most that one SEND or RECV carries.
    chunk: usize,
}

impl<'l> Control<'l> {
    /// Takes the device over: cancels every request that an earlier program left open, and asks for its version.
    ///
    /// # Errors
    /// Only if nothing more can come of the link; a device that refuses either is taken as it is.
    pub fn open(link: &'l mut Link) -> Result<Self, ControlError> {
        match link.fetch(setup_in(RESET, 0, 0), TRANSFER_TIMEOUT) {
            Err(source) if source.is_final() => {
                return Err(ControlError::Transfer {
                    request: RequestType::Reset,
                    stage: Stage::Raw,
                    source,
                });
            }
            // A device without requests may well answer NOT_FOUND.
            _ => {}
        }
        let version = match raw::system_version(link) {
            Err(error) if error.is_final() => return Err(error),
            answer => answer.ok(),
        };
        let old = version
            .as_deref()
            .and_then(|text| text.parse().ok())
            .is_some_and(|v: OsVersion| v < FIRST_WITH_CHUNKS);
        let chunk = if old { usize::from(u16::MAX) } else { CHUNK };
        Ok(Self { link, version, chunk })
    }

    /// The link.
    pub fn link(&mut self) -> &mut Link {
        self.link
    }

    /// The Device OS version as the device wrote it when it was opened.
    pub fn version_text(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// The Device OS version, if the device told one that can be read.
    pub fn version(&self) -> Option<OsVersion> {
        self.version.as_deref()?.parse().ok()
    }

    /// The deadline that is `limit` from now.
    pub fn within(&self, limit: Duration) -> Mono {
        self.link.now() + limit
    }

    /// Performs a request with a message as payload and one as reply.
    pub fn call<C: Call>(&mut self, message: &C, deadline: Mono) -> Result<C::Reply, ControlError> {
        // A payload may hold a password.
        let payload = Zeroizing::new(message.encode_to_vec());
        let reply = self.request(C::TYPE, &payload, deadline)?;
        prost::Message::decode(reply.as_slice()).map_err(|source| ControlError::BadMessage {
            request: C::TYPE,
            source,
        })
    }

    /// Performs a request and returns the body of its reply.
    pub fn request(&mut self, request: RequestType, payload: &[u8], deadline: Mono) -> Result<Vec<u8>, ControlError> {
        let len = payload.len();
        let size = u16::try_from(len).map_err(|_| ControlError::TooLarge { request, len })?;
        let (id, ready) = self.start(request, size, deadline)?;
        let outcome = self.perform(request, id, ready, payload, deadline);
        if let Err(error) = &outcome
            && error.leaves_it_open()
        {
            self.reset(id);
        }
        outcome
    }

    /// INIT: gives the id, and whether the device is ready for the payload.
    fn start(&mut self, request: RequestType, size: u16, deadline: Mono) -> Result<(u16, bool), ControlError> {
        let init = setup_in(INIT, size, request.number());
        let mut pause = BUSY_PAUSE;
        for tries in 1.. {
            let reply = match self.service(request, Stage::Start, init, deadline) {
                Ok(reply) => reply,
                Err(error) => {
                    // The device may have made a request of which we do not know the id.
                    if !error.is_final() {
                        self.reset(0);
                    }
                    return Err(error);
                }
            };
            match (reply.status, reply.id) {
                (Status::Ok, Some(id)) => return Ok((id, true)),
                (Status::Pending, Some(id)) => return Ok((id, false)),
                (Status::Ok | Status::Pending, None) => {
                    self.reset(0);
                    let what = "the request has no id";
                    return Err(ControlError::Nonsense { request, what });
                }
                (Status::Busy, _) => {
                    if tries == BUSY_TRIES || self.link.now() + pause >= deadline {
                        return Err(ControlError::Busy { request, tries });
                    }
                    self.link.sleep(pause);
                    pause = (pause * 2).min(BUSY_PAUSE_MAX);
                }
                (Status::NoMemory, _) => return Err(ControlError::NoMemory { request }),
                (Status::Error, _) => return Err(ControlError::Failed { request }),
                (Status::NotFound, _) => return Err(ControlError::Lost { request }),
            }
        }
        unreachable!("the loop ends by its own limit")
    }

    fn perform(
        &mut self,
        request: RequestType,
        id: u16,
        ready: bool,
        payload: &[u8],
        deadline: Mono,
    ) -> Result<Vec<u8>, ControlError> {
        if !payload.is_empty() {
            if !ready {
                self.poll(request, id, deadline)?;
            }
            for chunk in payload.chunks(self.chunk) {
                let timeout = self.timeout(request, deadline)?;
                self.link
                    .send(setup_out(SEND, id), chunk, timeout)
                    .map_err(|source| transfer(request, Stage::Send, source))?;
            }
        }
        let reply = self.poll(request, id, deadline)?;
        let Some(result) = reply.result else {
            let what = "it is done without a result";
            return Err(ControlError::Nonsense { request, what });
        };
        let size = reply.size.unwrap_or(0);
        if result.0 < 0 {
            if size > 0 {
                // The body would keep the slot until it is fetched, and it means nothing.
                self.reset(id);
            }
            return Err(match result {
                ResultCode::PROTECTED => ControlError::Protected { request },
                code => ControlError::Refused { request, code },
            });
        }
        self.receive(request, id, size, deadline)
    }

    fn receive(&mut self, request: RequestType, id: u16, size: u32, deadline: Mono) -> Result<Vec<u8>, ControlError> {
        if size > REPLY_MAX {
            let what = "its reply is longer than any that Device OS makes";
            return Err(ControlError::Nonsense { request, what });
        }
        let size = size as usize;
        let mut body = Vec::with_capacity(size);
        while body.len() < size {
            let length = (size - body.len()).min(self.chunk);
            let setup = Setup {
                length: u16::try_from(length).expect("a chunk fits in 16 bits"),
                ..setup_in(RECV, 0, id)
            };
            let timeout = self.timeout(request, deadline)?;
            let chunk = self
                .link
                .fetch(setup, timeout)
                .map_err(|source| transfer(request, Stage::Receive, source))?;
            if chunk.len() != length {
                let what = "a chunk of its reply is short";
                return Err(ControlError::Nonsense { request, what });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// CHECK, first soon and then more slowly, until the request is no longer pending.
    fn poll(&mut self, request: RequestType, id: u16, deadline: Mono) -> Result<ServiceReply, ControlError> {
        let last = *CHECK_MILLIS.last().expect("the schedule has entries");
        for millis in CHECK_MILLIS.into_iter().chain(std::iter::repeat(last)) {
            let left = deadline.since(self.link.now());
            self.link.sleep(Duration::from_millis(millis).min(left));
            let reply = self.service(request, Stage::Check, setup_in(CHECK, 0, id), deadline)?;
            match reply.status {
                Status::Ok => return Ok(reply),
                Status::Pending if self.link.now() >= deadline => return Err(ControlError::Timeout { request }),
                Status::Pending => {}
                Status::NoMemory => return Err(ControlError::NoMemory { request }),
                Status::NotFound => return Err(ControlError::Lost { request }),
                Status::Error => return Err(ControlError::Failed { request }),
                Status::Busy => {
                    let what = "busy, in answer to a check";
                    return Err(ControlError::Nonsense { request, what });
                }
            }
        }
        unreachable!("the schedule has no end")
    }

    fn service(
        &mut self,
        request: RequestType,
        stage: Stage,
        setup: Setup,
        deadline: Mono,
    ) -> Result<ServiceReply, ControlError> {
        // A CHECK at the very deadline still gets the time of one transfer: the result may be there.
        let timeout = deadline.since(self.link.now()).clamp(LAST_CHANCE, TRANSFER_TIMEOUT);
        let bytes = self
            .link
            .fetch(setup, timeout)
            .map_err(|source| transfer(request, stage, source))?;
        ServiceReply::parse(&bytes).map_err(|source| ControlError::BadReply { request, source })
    }

    /// RESET of one request, or of all with 0. Its answer changes nothing for us.
    fn reset(&mut self, id: u16) {
        // Also when told to stop: a slot that stays taken would hinder whoever comes next.
        self.link.shield(true);
        let _ = self.link.fetch(setup_in(RESET, 0, id), LAST_CHANCE);
        self.link.shield(false);
    }

    fn timeout(&self, request: RequestType, deadline: Mono) -> Result<Duration, ControlError> {
        let left = deadline.since(self.link.now());
        if left.is_zero() {
            return Err(ControlError::Timeout { request });
        }
        Ok(left.clamp(LAST_CHANCE, TRANSFER_TIMEOUT))
    }
}

fn transfer(request: RequestType, stage: Stage, source: LinkError) -> ControlError {
    ControlError::Transfer { request, stage, source }
}

const fn setup_in(request: u8, value: u16, index: u16) -> Setup {
    Setup {
        request_type: 0xc0,
        request,
        value,
        index,
        length: MIN_LENGTH,
    }
}

const fn setup_out(request: u8, index: u16) -> Setup {
    Setup {
        request_type: 0x40,
        request,
        value: 0,
        index,
        length: 0,
    }
}

/// The limit of an ordinary request (device-protocol.md 2.1).
pub const REQUEST_LIMIT: Duration = Duration::from_secs(60);

const INIT: u8 = 1;
const CHECK: u8 = 2;
const SEND: u8 = 3;
const RECV: u8 = 4;
const RESET: u8 = 5;

/// A device stalls an INIT, CHECK or RESET with less.
const MIN_LENGTH: u16 = 64;

/// The most that one SEND or RECV carries: usbfs takes no more in one control transfer.
const CHUNK: usize = 4096;

/// Before this version a device expects the payload in one transfer.
const FIRST_WITH_CHUNKS: OsVersion = OsVersion::new(1, 5, 0);

/// Longer replies are taken for nonsense; the longest real ones (module information) have a few kilobytes.
const REPLY_MAX: u32 = 256 * 1024;

/// Pauses before each CHECK; the last one repeats.
const CHECK_MILLIS: [u64; 9] = [50, 50, 100, 100, 250, 250, 500, 500, 1000];

/// Pause after the first BUSY; it doubles up to the longest, and the tries are bounded.
const BUSY_PAUSE: Duration = Duration::from_millis(100);
const BUSY_PAUSE_MAX: Duration = Duration::from_secs(1);
const BUSY_TRIES: u32 = 10;

/// What a transfer gets at least, also past the deadline.
const LAST_CHANCE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::{
        super::{
            messages::config::GetSerialNumberRequest,
            script::{Script, check, hex, init, reset},
        },
        *,
    };
    use crate::{
        edge::UsbError,
        model::{Code, Platform, platform::UsbMode},
    };

    const OK_ID: &str = "0300000000000100";
    const PENDING_ID: &str = "0300000002000100";
    const BUSY: &str = "010000000300";
    const PENDING: &str = "010000000200";
    const READY: &str = "010000000000";
    const DONE: &str = "09000000000000000000";
    const GONE: &str = "010000000500";

    fn run(script: &Script, kind: RequestType, payload: &[u8], limit: Duration) -> Result<Vec<u8>, ControlError> {
        let mut link = script.link(Platform::Argon, UsbMode::Normal);
        let mut control = Control::open(&mut link)?;
        let deadline = control.within(limit);
        let outcome = control.request(kind, payload, deadline);
        script.done();
        outcome
    }

    fn opened(version: &str) -> Script {
        let script = Script::new();
        script.opening(version);
        script
    }

    #[test]
    fn the_frozen_device_id_request() {
        // device-protocol.md 8.1 to 8.3
        let script = opened("6.2.0");
        let body = hex("0a18653030666365363830313233343536373839616263646566");
        script.get(hex("c001000014004000").try_into().unwrap(), &hex(OK_ID));
        script.get(hex("c002000001004000").try_into().unwrap(), &hex(PENDING));
        script.get(
            hex("c002000001004000").try_into().unwrap(),
            &hex("0d0000000000 1a000000 00000000"),
        );
        script.get(hex("c004000001001a00").try_into().unwrap(), &body);
        assert_eq!(run(&script, RequestType::DeviceId, &[], REQUEST_LIMIT), Ok(body));
        assert_eq!(script.elapsed(), Duration::from_millis(100), "two checks, 50 ms apart");
    }

    #[test]
    fn a_payload_waits_for_its_buffer_and_the_schedule_starts_anew() {
        let script = opened("6.2.0");
        let payload = vec![0xa5; 1027];
        script.get(hex("c0010304fd004000").try_into().unwrap(), &hex(PENDING_ID));
        for _ in 0..3 {
            script.get(check(1), &hex(PENDING));
        }
        script.get(check(1), &hex(READY));
        script.out([0x40, 3, 0, 0, 1, 0, 3, 4], &payload);
        for _ in 0..10 {
            script.get(check(1), &hex(PENDING));
        }
        script.get(check(1), &hex(DONE));
        assert_eq!(
            run(&script, RequestType::FirmwareUpdateData, &payload, REQUEST_LIMIT),
            Ok(vec![])
        );
        let first = 50 + 50 + 100 + 100;
        let second = 50 + 50 + 100 + 100 + 250 + 250 + 500 + 500 + 1000 + 1000 + 1000;
        assert_eq!(script.elapsed(), Duration::from_millis(first + second));
    }

    #[test]
    fn long_payloads_and_replies_go_in_chunks_but_not_for_old_systems() {
        let payload = vec![1; 5000];
        let reply = vec![2; 4097];
        let done = hex("0d0000000000 01100000 00000000");
        let script = opened("1.5.0");
        script.get(init(253, 5000), &hex(OK_ID));
        script.out([0x40, 3, 0, 0, 1, 0, 0x00, 0x10], &payload[..4096]);
        script.out([0x40, 3, 0, 0, 1, 0, 0x88, 0x03], &payload[4096..]);
        script.get(check(1), &done);
        script.get([0xc0, 4, 0, 0, 1, 0, 0x00, 0x10], &reply[..4096]);
        script.get([0xc0, 4, 0, 0, 1, 0, 1, 0], &reply[4096..]);
        assert_eq!(
            run(&script, RequestType::FirmwareUpdateData, &payload, REQUEST_LIMIT),
            Ok(reply.clone())
        );

        let script = opened("1.4.4");
        script.get(init(253, 5000), &hex(OK_ID));
        script.out([0x40, 3, 0, 0, 1, 0, 0x88, 0x13], &payload);
        script.get(check(1), &done);
        script.get([0xc0, 4, 0, 0, 1, 0, 0x01, 0x10], &reply);
        assert_eq!(
            run(&script, RequestType::FirmwareUpdateData, &payload, REQUEST_LIMIT),
            Ok(reply)
        );
    }

    #[test]
    fn busy_backs_off_and_gives_up() {
        let script = opened("6.2.0");
        script.get(init(20, 0), &hex(BUSY));
        script.get(init(20, 0), &hex(BUSY));
        script.get(init(20, 0), &hex(OK_ID));
        script.get(check(1), &hex(DONE));
        assert_eq!(run(&script, RequestType::DeviceId, &[], REQUEST_LIMIT), Ok(vec![]));
        assert_eq!(script.elapsed(), Duration::from_millis(100 + 200 + 50));

        let script = opened("6.2.0");
        for _ in 0..BUSY_TRIES {
            script.get(init(20, 0), &hex(BUSY));
        }
        let error = run(&script, RequestType::DeviceId, &[], REQUEST_LIMIT).unwrap_err();
        assert!(matches!(error, ControlError::Busy { tries: BUSY_TRIES, .. }), "{error:?}");

        let script = opened("6.2.0");
        script.get(init(20, 0), &hex(BUSY));
        script.get(init(20, 0), &hex(BUSY));
        let error = run(&script, RequestType::DeviceId, &[], Duration::from_millis(250)).unwrap_err();
        assert!(
            matches!(error, ControlError::Busy { tries: 2, .. }),
            "before the deadline: {error:?}"
        );
    }

    #[test]
    fn a_request_past_its_deadline_is_reset() {
        let script = opened("6.2.0");
        script.get(init(20, 0), &hex(OK_ID));
        for _ in 0..4 {
            script.get(check(1), &hex(PENDING));
        }
        script.get(reset(1), &hex(READY));
        let limit = Duration::from_millis(250);
        let error = run(&script, RequestType::DeviceId, &[], limit).unwrap_err();
        assert!(matches!(error, ControlError::Timeout { .. }));
        assert_eq!(script.elapsed(), limit, "the last check is at the deadline");
    }

    #[test]
    fn protected_is_its_own_error_and_asked_once() {
        let script = opened("6.2.0");
        script.request(90, &[], Err(-1801));
        let error = run(&script, RequestType::GetModuleInfo, &[], REQUEST_LIMIT).unwrap_err();
        let request = RequestType::GetModuleInfo;
        assert_eq!(error, ControlError::Protected { request });
        assert_eq!(error.code(), Code::Protected);
        assert!(error.is_result(ResultCode::PROTECTED));
    }

    #[test]
    fn a_result_with_a_useless_body_frees_its_slot() {
        let script = opened("6.2.0");
        script.get(init(21, 0), &hex(OK_ID));
        script.get(check(1), &hex("0d0000000000 05000000 88ffffff"));
        script.get(reset(1), &hex(READY));
        let error = run(&script, RequestType::SerialNumber, &[], REQUEST_LIMIT).unwrap_err();
        assert!(error.is_result(ResultCode::NOT_SUPPORTED), "{error:?}");
    }

    #[test]
    fn whatever_goes_wrong_leaves_no_request_behind() {
        // What happens after INIT, and whether the client must RESET 1.
        type Case = (&'static str, fn(&Script), bool);
        let cases: [Case; 6] = [
            (
                "a stalled SEND",
                |s| s.fail([0x40, 3, 0, 0, 1, 0, 1, 0], &[9], UsbError::Stall),
                true,
            ),
            (
                "a lost request",
                |s| {
                    s.out([0x40, 3, 0, 0, 1, 0, 1, 0], &[9]);
                    s.get(check(1), &hex(GONE));
                },
                false,
            ),
            (
                "no result",
                |s| {
                    s.out([0x40, 3, 0, 0, 1, 0, 1, 0], &[9]);
                    s.get(check(1), &hex(READY));
                },
                true,
            ),
            (
                "a short answer",
                |s| {
                    s.out([0x40, 3, 0, 0, 1, 0, 1, 0], &[9]);
                    s.get(check(1), &hex("0900"));
                },
                true,
            ),
            (
                "a short chunk",
                |s| {
                    s.out([0x40, 3, 0, 0, 1, 0, 1, 0], &[9]);
                    s.get(check(1), &hex("0d0000000000 05000000 00000000"));
                    s.get([0xc0, 4, 0, 0, 1, 0, 5, 0], &[1, 2, 3, 4]);
                },
                true,
            ),
            (
                "an endless reply",
                |s| {
                    s.out([0x40, 3, 0, 0, 1, 0, 1, 0], &[9]);
                    s.get(check(1), &hex("0d0000000000 ffffffff 00000000"));
                },
                true,
            ),
        ];
        for (name, act, resets) in cases {
            let script = opened("6.2.0");
            script.get(init(253, 1), &hex(OK_ID));
            act(&script);
            if resets {
                script.get(reset(1), &hex(READY));
            }
            let outcome = run(&script, RequestType::FirmwareUpdateData, &[9], REQUEST_LIMIT);
            assert!(outcome.is_err(), "{name}");
        }
    }

    #[test]
    fn an_init_of_unknown_fate_resets_all() {
        let script = opened("6.2.0");
        script.fail(init(20, 0), &[], UsbError::Timeout);
        script.get(reset(0), &hex(READY));
        assert!(run(&script, RequestType::DeviceId, &[], REQUEST_LIMIT).is_err());

        let script = opened("6.2.0");
        script.get(init(20, 0), &hex("010000000000"));
        script.get(reset(0), &hex(READY));
        let error = run(&script, RequestType::DeviceId, &[], REQUEST_LIMIT).unwrap_err();
        assert!(matches!(error, ControlError::Nonsense { .. }));
    }

    #[test]
    fn a_device_that_left_gets_no_more_transfers() {
        let script = opened("6.2.0");
        script.get(init(20, 0), &hex(OK_ID));
        script.fail(check(1), &[], UsbError::Gone);
        let error = run(&script, RequestType::DeviceId, &[], REQUEST_LIMIT).unwrap_err();
        assert!(error.vanished_after_start());
        assert_eq!(error.code(), Code::DeviceLost);
    }

    #[test]
    fn opening_takes_the_device_as_it_is_unless_it_is_gone() {
        let script = Script::new();
        script.fail(reset(0), &[], UsbError::Stall);
        script.fail(hex("c05000001e004000").try_into().unwrap(), &[], UsbError::Stall);
        let mut link = script.link(Platform::Argon, UsbMode::Normal);
        assert_eq!(Control::open(&mut link).unwrap().version(), None);
        script.done();

        let script = Script::new();
        script.fail(reset(0), &[], UsbError::Gone);
        assert!(Control::open(&mut script.link(Platform::Argon, UsbMode::Normal)).is_err());
        script.done();
    }

    #[test]
    fn too_long_a_payload_is_not_sent() {
        let script = opened("6.2.0");
        let error = run(&script, RequestType::FirmwareUpdateData, &vec![0; 65_536], REQUEST_LIMIT).unwrap_err();
        assert!(matches!(error, ControlError::TooLarge { len: 65_536, .. }));
    }

    #[test]
    fn a_reply_that_is_another_message_is_refused() {
        let script = opened("6.2.0");
        script.request(21, &[], Ok(&[0x0a, 0x40, 0x41]));
        let mut link = script.link(Platform::Argon, UsbMode::Normal);
        let mut control = Control::open(&mut link).unwrap();
        let deadline = control.within(REQUEST_LIMIT);
        let error = control.call(&GetSerialNumberRequest {}, deadline).unwrap_err();
        assert!(matches!(error, ControlError::BadMessage { .. }));
        script.done();
    }
}
