//! Time-based one-time passwords (RFC 6238): HMAC-SHA1, six digits, steps of 30 s.

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

/// True if `code` is the password of this moment or of the step before or after it.
pub(super) fn accepts(secret: &str, seconds: u64, code: &str) -> bool {
    let step = seconds / STEP;
    [step.saturating_sub(1), step, step + 1]
        .into_iter()
        .any(|step| at_step(secret, step).as_deref() == Some(code))
}

/// The one-time password of a base32 secret at this time; `None` if the secret is not base32.
pub fn code(secret: &str, seconds: u64) -> Option<String> {
    at_step(secret, seconds / STEP)
}

fn at_step(secret: &str, step: u64) -> Option<String> {
    let key = base32(secret)?;
    let mut mac = Hmac::<Sha1>::new_from_slice(&key).ok()?;
    mac.update(&step.to_be_bytes());
    let hash = mac.finalize().into_bytes();
    let at = usize::from(hash[19] & 0x0f);
    let number = u32::from_be_bytes([hash[at] & 0x7f, hash[at + 1], hash[at + 2], hash[at + 3]]);
    Some(format!("{:06}", number % 1_000_000))
}

/// Base32 of RFC 4648; blanks and padding are skipped, small letters count as capitals.
fn base32(text: &str) -> Option<Vec<u8>> {
    let (mut bits, mut count, mut out) = (0u32, 0, Vec::new());
    for letter in text.bytes().filter(|b| !b" =-".contains(b)) {
        let value = match letter.to_ascii_uppercase() {
            letter @ b'A'..=b'Z' => letter - b'A',
            digit @ b'2'..=b'7' => digit - b'2' + 26,
            _ => return None,
        };
        bits = bits << 5 | u32::from(value);
        count += 5;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from(bits >> count & 0xff).ok()?);
            bits &= (1 << count) - 1;
        }
    }
    (!out.is_empty()).then_some(out)
}

/// Seconds in a step.
const STEP: u64 = 30;

#[cfg(test)]
mod tests {
    use super::*;

    /// "12345678901234567890", the secret of RFC 6238 appendix B.
    const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

    #[test]
    fn the_vectors_of_the_rfc() {
        for (seconds, code8) in [
            (59, "94287082"),
            (1_111_111_109, "07081804"),
            (1_234_567_890, "89005924"),
            (20_000_000_000, "65353130"),
        ] {
            assert_eq!(code(SECRET, seconds).unwrap(), code8[2..]);
        }
    }

    #[test]
    fn one_step_of_drift_is_forgiven_and_two_are_not() {
        let code = code(SECRET, 3000).unwrap();
        assert!(accepts(SECRET, 3000, &code) && accepts(SECRET, 3059, &code) && accepts(SECRET, 2970, &code));
        assert!(!accepts(SECRET, 3060, &code) && !accepts(SECRET, 2969, &code));
        assert!(!accepts("not base32!", 3000, &code));
    }
}
