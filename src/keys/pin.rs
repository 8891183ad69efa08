//! PINs of engineers: kept as a salted, slow hash (scrypt), so that whoever reads the file has to try them one by one.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use scrypt::Params;
use zeroize::Zeroizing;

/// What is kept of a PIN: `scrypt:LOG_N:R:P:SALT:HASH`, the last two in base64 without padding.
#[derive(Clone, PartialEq, Eq)]
pub struct PinHash {
    cost: Cost,
    salt: [u8; SALT_LEN],
    hash: [u8; HASH_LEN],
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Cost {
    log_n: u8,
    r: u32,
    p: u32,
}

/// Why something is no PIN, or no hash of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// Too short to be worth hashing, or too long; or it has a space, which stands between a name and its PIN.
    #[error("a PIN has {SHORTEST} to {LONGEST} characters and no space")]
    Length,
    /// Not what [`PinHash`] writes.
    #[error("this is no hash of a PIN")]
    Hash,
}

impl PinHash {
    /// Hashes a PIN with a fresh salt.
    ///
    /// # Errors
    /// [`PinError::Length`].
    pub fn new(pin: &str, salt: [u8; SALT_LEN]) -> Result<Self, PinError> {
        if !(SHORTEST..=LONGEST).contains(&pin.chars().count()) || pin.contains(char::is_whitespace) {
            return Err(PinError::Length);
        }
        let hash = derive(COST, &salt, pin)?;
        Ok(Self {
            cost: COST,
            salt,
            hash: *hash,
        })
    }

    /// True if this is the PIN. It takes a tenth of a second and 16 MiB.
    pub fn is_of(&self, pin: &str) -> bool {
        derive(self.cost, &self.salt, pin).is_ok_and(|hash| same(&hash, &self.hash))
    }

    /// Reads what [`fmt::Display`] writes.
    ///
    /// # Errors
    /// [`PinError::Hash`], also for costs that this program would not pay.
    pub fn parse(text: &str) -> Result<Self, PinError> {
        let parts: Vec<&str> = text.split(':').collect();
        let ["scrypt", log_n, r, p, salt, hash] = parts.as_slice() else {
            return Err(PinError::Hash);
        };
        let number = |text: &str| text.parse::<u32>().map_err(|_| PinError::Hash);
        let cost = Cost {
            log_n: log_n.parse().map_err(|_| PinError::Hash)?,
            r: number(r)?,
            p: number(p)?,
        };
        if cost.log_n < COST.log_n || cost.log_n > MOST_LOG_N || cost.r > COST.r || cost.p > MOST_P {
            return Err(PinError::Hash);
        }
        let bytes = |text: &str| STANDARD_NO_PAD.decode(text).map_err(|_| PinError::Hash);
        Ok(Self {
            cost,
            salt: bytes(salt)?.try_into().map_err(|_| PinError::Hash)?,
            hash: bytes(hash)?.try_into().map_err(|_| PinError::Hash)?,
        })
    }
}

impl fmt::Display for PinHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cost { log_n, r, p } = self.cost;
        let (salt, hash) = (STANDARD_NO_PAD.encode(self.salt), STANDARD_NO_PAD.encode(self.hash));
        write!(f, "scrypt:{log_n}:{r}:{p}:{salt}:{hash}")
    }
}

impl fmt::Debug for PinHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PinHash(redacted)")
    }
}

fn derive(cost: Cost, salt: &[u8], pin: &str) -> Result<Zeroizing<[u8; HASH_LEN]>, PinError> {
    let params = Params::new(cost.log_n, cost.r, cost.p).map_err(|_| PinError::Hash)?;
    let mut hash = Zeroizing::new([0; HASH_LEN]);
    scrypt::scrypt(pin.as_bytes(), salt, &params, &mut hash[..]).map_err(|_| PinError::Hash)?;
    Ok(hash)
}

/// Compares without telling by its time where two hashes differ.
fn same(a: &[u8; HASH_LEN], b: &[u8; HASH_LEN]) -> bool {
    a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

/// Bytes of a salt.
pub const SALT_LEN: usize = 16;
const HASH_LEN: usize = 32;
/// 16 MiB, a tenth of a second on a small machine: a station has few megabytes to spare and tries seldom.
const COST: Cost = Cost { log_n: 14, r: 8, p: 4 };
const MOST_LOG_N: u8 = 16;
const MOST_P: u32 = 16;
const SHORTEST: usize = 6;
const LONGEST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_known_again_by_its_hash_alone() {
        let hash = PinHash::new("271828", [7; SALT_LEN]).unwrap();
        let text = hash.to_string();
        let again = PinHash::parse(&text).unwrap();
        assert!(again == hash && again.is_of("271828") && !again.is_of("271829") && !again.is_of(""));
        assert!(!text.contains("271828") && format!("{hash:?}") == "PinHash(redacted)");
        assert_ne!(PinHash::new("271828", [8; SALT_LEN]).unwrap().to_string(), text, "salted");
    }

    #[test]
    fn what_is_no_pin_or_no_hash_is_refused() {
        assert_eq!(PinHash::new("12345", [0; SALT_LEN]), Err(PinError::Length));
        assert_eq!(PinHash::new("123 456", [0; SALT_LEN]), Err(PinError::Length));
        assert_eq!(PinHash::new(&"1".repeat(65), [0; SALT_LEN]), Err(PinError::Length));
        let good = PinHash::new("123456", [1; SALT_LEN]).unwrap().to_string();
        for bad in [
            "",
            "scrypt",
            &good[..good.len() - 1],
            &good.replace(":14:", ":4:"),
            &good.replace(":14:", ":40:"),
        ] {
            assert_eq!(PinHash::parse(bad), Err(PinError::Hash), "{bad}");
        }
    }

    /// RFC 7914, section 12.
    #[test]
    fn the_hash_is_scrypt() {
        let params = Params::new(14, 8, 1).unwrap();
        let mut hash = [0; 64];
        scrypt::scrypt(b"pleaseletmein", b"SodiumChloride", &params, &mut hash).unwrap();
        assert_eq!(hash[..4], [0x70, 0x23, 0xbd, 0xcb]);
    }
}
