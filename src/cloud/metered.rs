//! Holds every request to the rate limit, whoever sends it: calls, looks and log-ins share one bucket, and a pause that
//! the cloud asks for holds for all of them.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::{answer, limits::TokenBucket, route};
use crate::{
    edge::{Clock, Http, HttpError, Method, Request, Response},
    model::Mono,
};

/// A way to the cloud that waits for a permit before each request.
pub struct Metered {
    http: Arc<dyn Http>,
    clock: Arc<dyn Clock>,
    buckets: Mutex<Buckets>,
}

struct Buckets {
    general: TokenBucket,
    oauth: TokenBucket,
    revocations: TokenBucket,
    /// Refusals of tokens since the last one that was given.
    refusals: u32,
}

/// Which limit counts a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    General,
    Oauth,
    Revocation,
}

impl Kind {
    fn of(request: &Request) -> Self {
        if request.path == route::oauth_token() {
            Kind::Oauth
        } else if request.method == Method::Delete && request.path == route::current_token() {
            Kind::Revocation
        } else {
            Kind::General
        }
    }
}

impl Buckets {
    fn of(&mut self, kind: Kind) -> &mut TokenBucket {
        match kind {
            Kind::General => &mut self.general,
            Kind::Oauth => &mut self.oauth,
            Kind::Revocation => &mut self.revocations,
        }
    }

    /// Ten refusals in a row would lock the address out, for other programs as well: half of them are enough to see
    /// that something is wrong.
    fn granted(&mut self, now: Mono, status: u16) {
        match status {
            200..=299 => self.refusals = 0,
            400 | 401 => self.refusals += 1,
            _ => return,
        }
        if self.refusals >= MOST_REFUSALS {
            self.oauth.hold(now, LOCK_OUT);
        }
    }
}

impl Metered {
    /// Meters `http` with a bucket for all requests; getting tokens and revoking them have their own besides.
    pub fn new(http: Arc<dyn Http>, clock: Arc<dyn Clock>, general: TokenBucket) -> Self {
        Self {
            http,
            clock,
            buckets: Mutex::new(Buckets {
                general,
                oauth: TokenBucket::oauth(),
                revocations: TokenBucket::revocations(),
                refusals: 0,
            }),
        }
    }

    /// Waits for a permit; a wait that is not a matter of seconds is the outbox's to plan.
    fn permit(&self, kind: Kind) -> Result<(), HttpError> {
        loop {
            let now = self.clock.now();
            match self.with(|buckets| buckets.of(kind).acquire(now)) {
                Ok(()) => return Ok(()),
                Err(wait) if wait > LONGEST_WAIT => {
                    let seconds = wait.as_secs();
                    return Err(HttpError::Unreachable(format!("held back for {seconds} s by the rate limit")));
                }
                Err(wait) => self.clock.sleep(wait),
            }
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Buckets) -> T) -> T {
        // A bucket is whole after any panic.
        act(&mut self.buckets.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Http for Metered {
    fn call(&self, request: &Request) -> Result<Response, HttpError> {
        let kind = Kind::of(request);
        self.permit(kind)?;
        let response = self.http.call(request)?;
        if kind == Kind::Oauth {
            let now = self.clock.now();
            self.with(|buckets| buckets.granted(now, response.status));
        }
        if matches!(response.status, 429 | 503 | 529)
            && let Some(pause) = answer::retry_after(&response)
        {
            let now = self.clock.now();
            let pause = Duration::from_millis(pause).min(LONGEST_PAUSE);
            self.with(|buckets| buckets.of(kind).hold(now, pause));
        }
        Ok(response)
    }
}

/// A thread may sleep this long for a permit. A rack that asks at once waits less.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// A pause that the cloud asks for is believed up to here: the longest that is documented is the 30 minutes of a lock-out.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// So many refused tokens in a row stop the asking, for as long as the cloud's own lock-out lasts (cloud-api.md 4.2).
const MOST_REFUSALS: u32 = 5;
const LOCK_OUT: Duration = Duration::from_secs(1800);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cloud::scripted::Script,
        edge::{Signal, clock::Joiner},
        model::Wall,
    };

    /// A clock that moves only when somebody sleeps.
    #[derive(Default)]
    struct Sleeper(Mutex<Mono>);

    impl Clock for Sleeper {
        fn now(&self) -> Mono {
            *self.0.lock().unwrap()
        }
        fn wall(&self) -> Wall {
            Wall::from_millis(0).unwrap()
        }
        fn sleep(&self, duration: Duration) {
            let mut now = self.0.lock().unwrap();
            *now = *now + duration;
        }
        fn wait(&self, signal: &Signal, _: u64, _: Option<Mono>) -> u64 {
            signal.raised()
        }
        fn spawn(&self, _: &str, _: Box<dyn FnOnce() + Send>) -> Joiner {
            Box::new(|| Ok(()))
        }
    }

    fn metered(script: &Script) -> (Metered, Arc<Sleeper>) {
        let clock = Arc::new(Sleeper::default());
        let bucket = TokenBucket::new(1, Duration::from_secs(1), 2);
        (Metered::new(Arc::new(script.clone()), clock.clone(), bucket), clock)
    }

    #[test]
    fn requests_beyond_the_burst_wait_their_turn() {
        let ok = || Script::reply(200, "");
        let script = Script::new([ok(), ok(), ok(), ok(), ok()]);
        let (http, clock) = metered(&script);
        for _ in 0..4 {
            http.call(&Request::new(Method::Get, "/v1/x")).unwrap();
        }
        assert_eq!(clock.now(), Mono(Duration::from_secs(2)));
        http.call(&Request::new(Method::Post, "/oauth/token")).unwrap();
        assert_eq!(clock.now(), Mono(Duration::from_secs(2)), "log-ins have their own bucket");
    }

    #[test]
    fn refused_tokens_stop_the_asking_before_the_cloud_locks_the_address_out() {
        let no = || Script::reply(400, r#"{"error":"invalid_grant"}"#);
        let yes = || Script::reply(200, "");
        let script = Script::new([no(), no(), no(), no(), yes(), no(), no(), no(), no(), no(), yes(), yes()]);
        let (http, clock) = metered(&script);
        let ask = Request::new(Method::Post, "/oauth/token");
        for _ in 0..10 {
            assert!(http.call(&ask).is_ok());
        }
        assert!(matches!(http.call(&ask), Err(HttpError::Unreachable(why)) if why.contains("1800 s")));
        assert_eq!(
            http.call(&Request::new(Method::Get, "/v1/x")).unwrap().status,
            200,
            "calls go on"
        );
        clock.sleep(Duration::from_secs(1800));
        assert_eq!(http.call(&ask).unwrap().status, 200);
    }

    #[test]
    fn revoking_tokens_has_its_own_limit() {
        let ok = || Script::reply(200, "");
        let script = Script::new(std::array::from_fn::<_, 40, _>(|_| ok()));
        let (http, clock) = metered(&script);
        let revoke = Request::new(Method::Delete, "/v1/access_tokens/current");
        for _ in 0..30 {
            http.call(&revoke).unwrap();
        }
        assert_eq!(clock.now(), Mono::default());
        http.call(&revoke).unwrap();
        assert!(clock.now() > Mono(Duration::from_secs(4)), "{:?}", clock.now());
    }

    #[test]
    fn a_pause_that_the_cloud_asks_for_holds_for_everybody_and_sends_nothing() {
        let busy = Script::reply(429, "").map(|mut reply| {
            reply.headers.push(("retry-after".into(), "60".into()));
            reply
        });
        let script = Script::new([busy, Script::reply(200, "")]);
        let (http, clock) = metered(&script);
        let get = Request::new(Method::Get, "/v1/x");
        assert_eq!(http.call(&get).unwrap().status, 429);
        assert!(matches!(http.call(&get), Err(HttpError::Unreachable(why)) if why.contains("60 s")));
        assert_eq!(script.sent(), 1);
        clock.sleep(Duration::from_secs(58));
        assert_eq!(http.call(&get).unwrap().status, 200, "a short rest is slept");
        assert_eq!(clock.now(), Mono(Duration::from_secs(60)));
    }
}
