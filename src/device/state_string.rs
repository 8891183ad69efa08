//! The string in which a device tells its state of protection, in either mode (index 0xFA, device-protocol.md 1.5).
//!
//! It is there from Device OS 6.1.2 on. Where it is missing the state has to be had in another way, or not at all.

use crate::model::fact::Protection;

use super::{
    Link,
    descriptor::{self, DescriptorError},
};

/// Reads it; `None` if the device has no such string, or one without the state.
///
/// # Errors
/// A transfer that fails in any way but a stall is an error, never taken for an answer.
pub fn read(link: &mut Link) -> Result<Option<Protection>, DescriptorError> {
    match descriptor::string(link, INDEX) {
        Ok(text) => Ok(parse(&text)),
        Err(DescriptorError::Malformed { .. }) => Ok(None),
        Err(DescriptorError::Transfer { source, .. }) if source.is_stall() => Ok(None),
        Err(error) => Err(error),
    }
}

/// `sm=` in the string: `o` open, `p` protected, `s` Service Mode; other pairs may stand beside it.
fn parse(text: &str) -> Option<Protection> {
    let mut pairs = text.trim_end_matches('\0').split(';').filter_map(|pair| pair.split_once('='));
    match pairs.find(|(key, _)| key.trim() == "sm")?.1.trim() {
        "o" => Some(Protection::Open),
        "p" => Some(Protection::Protected),
        "s" => Some(Protection::Service),
        _ => None,
    }
}

const INDEX: u8 = 0xfa;

#[cfg(test)]
mod tests {
    use super::{super::script::Script, *};
    use crate::{
        edge::UsbError,
        model::{Platform, platform::UsbMode},
    };

    const SETUP: [u8; 8] = [0x80, 6, 0xfa, 3, 9, 4, 255, 0];

    #[test]
    fn the_state_is_one_pair_among_others() {
        for (text, state) in [
            ("sm=o", Some(Protection::Open)),
            ("sm=p\0\0", Some(Protection::Protected)),
            ("x=1;sm=s;y", Some(Protection::Service)),
            ("sm=x", None),
            ("x=1", None),
            ("", None),
        ] {
            assert_eq!(parse(text), state, "{text:?}");
        }
    }

    #[test]
    fn a_stall_is_no_string_and_a_failure_is_no_answer() {
        for (error, answer) in [(UsbError::Stall, Some(None)), (UsbError::Timeout, None)] {
            let script = Script::new();
            script.fail(SETUP, &[], error);
            assert_eq!(
                read(&mut script.link(Platform::Argon, UsbMode::Normal)).ok(),
                answer,
                "{error}"
            );
        }
        let script = Script::new();
        script.get(SETUP, &[4, 2, 0, 0]);
        assert_eq!(read(&mut script.link(Platform::Argon, UsbMode::Normal)), Ok(None));
    }
}
