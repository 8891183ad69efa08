//! The documented rate limits as token buckets. Pure: the caller brings the time and does the waiting.

use std::time::Duration;

use crate::model::Mono;

/// A bucket of permits that fills steadily: so many at once, so many over time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenBucket {
    /// The time in which one permit comes back.
    period: Duration,
    /// How many permits a full bucket has.
    burst: u32,
    /// When the bucket will be full again.
    full_at: Mono,
    /// Nothing goes before this instant, whatever the bucket holds.
    held_until: Mono,
}

impl TokenBucket {
    /// A full bucket of `burst` permits that gets `per` permits in every `window`. A rate of nothing, or no burst, is
    /// taken for one.
    pub fn new(per: u32, window: Duration, burst: u32) -> Self {
        Self {
            period: window / per.max(1),
            burst: burst.max(1),
            full_at: Mono::default(),
            held_until: Mono::default(),
        }
    }

    /// For all calls together: 20 a second by default. The cloud allows 10 000 in 5 minutes (33 a second) to one IP
    /// address, which a site may share.
    pub fn general(per_second: u32) -> Self {
        Self::new(per_second, Duration::from_secs(1), GENERAL_BURST)
    }

    /// For `POST /oauth/token`: the cloud allows 100 in 5 minutes to one address, burst included. The burst is half a rack
    /// of customers' devices.
    pub fn oauth() -> Self {
        Self::new(70, Duration::from_secs(300), 30)
    }

    /// For revoking tokens: the cloud allows 100 in 5 minutes to one address.
    pub fn revocations() -> Self {
        Self::oauth()
    }

    /// For look-ups by serial number: the cloud allows 50 an hour to one user. Nothing on a line may use these.
    pub fn serial_numbers() -> Self {
        Self::new(45, Duration::from_secs(3600), 5)
    }

    /// Takes one permit.
    ///
    /// # Errors
    /// The time to wait before asking again; nothing was taken.
    pub fn acquire(&mut self, now: Mono) -> Result<(), Duration> {
        let wait = self.held_until.since(now).max(self.wait_for_permit(now));
        if !wait.is_zero() {
            return Err(wait);
        }
        self.full_at = self.full_at.max(now) + self.period;
        Ok(())
    }

    /// Lets nothing go for `pause` from now on, because the cloud asked for it. It never shortens an earlier one.
    pub fn hold(&mut self, now: Mono, pause: Duration) {
        self.held_until = self.held_until.max(now + pause);
    }

    /// One permit is there while the bucket is at most `burst - 1` periods away from full.
    fn wait_for_permit(&self, now: Mono) -> Duration {
        let missing = self.full_at.since(now);
        missing.saturating_sub(self.period.saturating_mul(self.burst - 1))
    }
}

/// The default rate of [`TokenBucket::general`], in calls per second.
pub const GENERAL_PER_SECOND: u32 = 20;

/// Enough for a rack of 64 whose devices all ask at once, a few calls each: held back they would start one after the
/// other. With 20 a second after it, five minutes of greed come to 6 256 of the 10 000.
pub const GENERAL_BURST: u32 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Mono {
        Mono(Duration::from_millis(millis))
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut bucket = TokenBucket::new(20, Duration::from_secs(1), 3);
        for _ in 0..3 {
            assert_eq!(bucket.acquire(at(1000)), Ok(()));
        }
        assert_eq!(bucket.acquire(at(1000)), Err(Duration::from_millis(50)));
        assert_eq!(
            bucket.acquire(at(1020)),
            Err(Duration::from_millis(30)),
            "a refusal costs nothing"
        );
        assert_eq!(bucket.acquire(at(1050)), Ok(()));
        assert_eq!(bucket.acquire(at(1050)), Err(Duration::from_millis(50)));
        for _ in 0..3 {
            assert_eq!(bucket.acquire(at(9000)), Ok(()), "full again, and not more than full");
        }
        assert!(bucket.acquire(at(9000)).is_err());
    }

    #[test]
    fn a_pause_that_the_cloud_asked_for_is_kept() {
        let mut bucket = TokenBucket::general(GENERAL_PER_SECOND);
        bucket.hold(at(0), Duration::from_secs(30));
        bucket.hold(at(0), Duration::from_secs(1));
        assert_eq!(bucket.acquire(at(29_000)), Err(Duration::from_secs(1)));
        assert_eq!(bucket.acquire(at(30_000)), Ok(()));
        bucket.hold(at(30_000), Duration::MAX);
        assert!(bucket.acquire(at(40_000)).is_err());
    }

    #[test]
    fn five_minutes_of_greed_stay_below_the_documented_limit() {
        for (mut bucket, window, limit) in [
            (TokenBucket::general(GENERAL_PER_SECOND), 300_000, 10_000),
            (TokenBucket::oauth(), 300_000, 100),
            (TokenBucket::revocations(), 300_000, 100),
            (TokenBucket::serial_numbers(), 3_600_000, 50),
        ] {
            let (mut now, mut sent) = (0, 0);
            while now < window {
                match bucket.acquire(at(now)) {
                    Ok(()) => sent += 1,
                    Err(wait) => now += u64::try_from(wait.as_millis()).unwrap().max(1),
                }
            }
            assert!(sent <= limit && sent > limit / 2, "{sent} of {limit}");
        }
    }

    #[test]
    fn a_senseless_rate_still_lets_something_through() {
        let mut bucket = TokenBucket::new(0, Duration::from_secs(1), 0);
        assert_eq!(bucket.acquire(at(0)), Ok(()));
        assert_eq!(bucket.acquire(at(0)), Err(Duration::from_secs(1)));
    }
}
