//! The result codes with which a device ends a control request (device-protocol.md 2.8).

use std::fmt;

/// A result code of Device OS: 0 is success, a negative number an error.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ResultCode(pub i32);

macro_rules! result_codes {
    ($($name:ident = $code:literal, $text:literal;)*) => {
        #[expect(missing_docs, reason = "the names are Device OS's own; the text beside each says what it means")]
        impl ResultCode {
            $(pub const $name: ResultCode = ResultCode($code);)*

            /// What the code means, if it is one that Device OS defines.
            pub const fn meaning(self) -> Option<&'static str> {
                match self.0 { $($code => Some($text),)* _ => None }
            }
        }
    };
}

result_codes! {
    OK = 0, "success";
    UNKNOWN = -100, "unknown error";
    BUSY = -110, "busy";
    NOT_SUPPORTED = -120, "not supported";
    NOT_ALLOWED = -130, "not allowed";
    CANCELLED = -140, "cancelled";
    ABORTED = -150, "aborted";
    TIMEOUT = -160, "timed out on the device";
    NOT_FOUND = -170, "not found";
    ALREADY_EXISTS = -180, "already exists";
    TOO_LARGE = -190, "too large";
    NOT_ENOUGH_DATA = -191, "not enough data";
    LIMIT_EXCEEDED = -200, "limit exceeded";
    END_OF_STREAM = -201, "end of stream";
    INVALID_STATE = -210, "invalid state";
    FLASH_IO = -219, "flash I/O error";
    IO = -220, "I/O error";
    WOULD_BLOCK = -221, "would block";
    FILE = -225, "file error";
    PATH_TOO_LONG = -226, "path too long";
    NETWORK = -230, "network error";
    PROTOCOL = -240, "protocol error";
    INTERNAL = -250, "internal error";
    NO_MEMORY = -260, "out of memory";
    INVALID_ARGUMENT = -270, "invalid argument";
    BAD_DATA = -280, "bad data";
    ENCODING_FAILED = -281, "encoding failed";
    OUT_OF_RANGE = -290, "out of range";
    DEPRECATED = -300, "deprecated";
    MODULE_NOT_FOUND = -1300, "module not found";
    MODULE_NOT_SUPPORTED = -1310, "module not supported";
    MODULE_VALIDATION = -1320, "module validation failed";
    MODULE_INTEGRITY = -1330, "module integrity check failed";
    MODULE_RESUMED = -1331, "integrity of a resumed update failed";
    MODULE_DEPENDENCY = -1340, "a module that it depends on is missing";
    MODULE_ADDRESS = -1350, "module address is wrong";
    MODULE_SIZE = -1351, "module is too large";
    MODULE_PLATFORM = -1360, "module is for another platform";
    MODULE_FORMAT = -1370, "module format is wrong";
    UPDATES_DISABLED = -1380, "updates are disabled by the application";
    UPDATE = -1390, "update error";
    CRYPTO = -1400, "cryptographic error";
    INVALID_SERVER_SETTINGS = -1800, "invalid server settings";
    PROTECTED = -1801, "the device is protected";
    KEY_MISMATCH = -1802, "the server key does not match";
    INVALID_SIGNATURE = -1803, "invalid signature";
}

impl ResultCode {
    /// The family of a code that has no row of its own.
    const fn family(self) -> &'static str {
        match self.0 {
            -1199..=-1000 => "CoAP error",
            -1299..=-1200 => "modem command error",
            -1699..=-1600 => "I2C error",
            -1799..=-1700 => "PPP error",
            -1999..=-1900 => "file system error",
            -2099..=-2000 => "ledger error",
            -3099..=-3000 => "RTC error",
            _ => "unlisted result",
        }
    }
}

impl fmt::Display for ResultCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.meaning().unwrap_or_else(|| self.family());
        write!(f, "{text} ({})", self.0)
    }
}

impl fmt::Debug for ResultCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResultCode({})", self.0)
    }
}

impl std::error::Error for ResultCode {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_families() {
        assert_eq!(
            ResultCode(-1340).to_string(),
            "a module that it depends on is missing (-1340)"
        );
        assert_eq!(ResultCode(-1905).to_string(), "file system error (-1905)");
        assert_eq!(
            ResultCode(-1).to_string(),
            "unlisted result (-1)",
            "a blank nRF serial number"
        );
        assert_eq!(ResultCode(i32::MIN).to_string(), "unlisted result (-2147483648)");
    }
}
