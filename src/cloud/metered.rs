//! Holds every request to the rate limit, whoever sends it: calls, looks and log-ins share one bucket, and a pause that
//! the cloud asks for holds for all of them.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::{answer, limits::TokenBucket, route};
use crate::edge::{Clock, Http, HttpError, Request, Response};

/// A way to the cloud that waits for a permit before each request.
pub struct Metered {
    http: Arc<dyn Http>,
    clock: Arc<dyn Clock>,
    buckets: Mutex<Buckets>,
}

struct Buckets {
    general: TokenBucket,
    oauth: TokenBucket,
}

impl Metered {
    /// Meters `http` with a bucket for all requests; requests for tokens have their own besides.
    pub fn new(http: Arc<dyn Http>, clock: Arc<dyn Clock>, general: TokenBucket) -> Self {
        Self {
            http,
            clock,
            buckets: Mutex::new(Buckets {
                general,
                oauth: TokenBucket::oauth(),
            }),
        }
    }

    /// Waits for a permit; a wait that is not a matter of seconds is the outbox's to plan.
    fn permit(&self, oauth: bool) -> Result<(), HttpError> {
        loop {
            let now = self.clock.now();
            let taken = self.with(|buckets| match oauth {
                true => buckets.oauth.acquire(now),
                false => buckets.general.acquire(now),
            });
            match taken {
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
        let oauth = request.path == route::oauth_token();
        self.permit(oauth)?;
        let response = self.http.call(request)?;
        if matches!(response.status, 429 | 503 | 529)
            && let Some(pause) = answer::retry_after(&response)
        {
            let now = self.clock.now();
            let pause = Duration::from_millis(pause).min(LONGEST_PAUSE);
            self.with(|buckets| match oauth {
                true => buckets.oauth.hold(now, pause),
                false => buckets.general.hold(now, pause),
            });
        }
        Ok(response)
    }
}

/// A thread may sleep this long for a permit. A rack that asks at once waits less.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// A pause that the cloud asks for is believed up to here: the longest that is documented is the 30 minutes of a lock-out.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cloud::scripted::Script,
        edge::{Method, Signal, clock::Joiner},
        model::{Mono, Wall},
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
