//! Triage of a device that is not on USB at all, by its lights: what a person sees, what it means, whether it is keys, and
//! the one thing to do.
//!
//! A table of words and nothing else. Sources: cloud-api.md 5, device-protocol.md 3.4 and 4.4, and the vendor's page about
//! the status light. Applications may show other colours; the table is for the standard ones.

use std::fmt;

use serde::Serialize;

/// One light signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Light {
    /// Its name in commands and files; it never changes once released.
    pub name: &'static str,
    /// What a person sees.
    pub seen: &'static str,
    /// What it means.
    pub means: &'static str,
    /// Whether the keys are the trouble.
    pub keys: KeysSuspected,
    /// The one next action.
    pub action: &'static str,
}

/// Whether a light signal is that of a key problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeysSuspected {
    /// It is the signature of a key problem.
    Likely,
    /// Keys can be the cause; so can other things.
    Possible,
    /// Keys are not the cause.
    No,
}

/// Every signal, in the order in which a person would look for it.
pub fn all() -> &'static [Light] {
    &TABLE
}

/// The signal with this name.
pub fn find(name: &str) -> Option<&'static Light> {
    TABLE.iter().find(|light| light.name.eq_ignore_ascii_case(name))
}

impl fmt::Display for KeysSuspected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Likely => "most likely keys",
            Self::Possible => "perhaps keys",
            Self::No => "not keys",
        })
    }
}

macro_rules! lights {
    ($($name:literal, $keys:ident, $seen:literal, $means:literal, $action:expr;)*) => {
        [$(Light { name: $name, seen: $seen, means: $means, keys: KeysSuspected::$keys, action: $action }),*]
    };
}

/// To the bench, by the buttons.
const REPAIR: &str = "Put it in DFU mode by its buttons (hold MODE, tap RESET, let MODE go when it blinks yellow), plug it into a slot \
                      and run `keyrack repair`.";

/// The application is the trouble.
const ANOTHER_APPLICATION: &str =
    "Put it in DFU mode by its buttons, plug it into a slot and flash an application that is known to be good.";

static TABLE: [Light; 36] = lights! {
    // nothing, or nearly nothing
    "d7-dim", No, "the status light stays dark, and the small blue light beside D7 glows dimly",
        "The bootloader is missing or damaged: nothing runs that could answer over USB.",
        "Restore the bootloader over SWD with an image that leaves out the flash of the keys (on Gen 2 0x08004000 to 0x0801FFFF), \
         then plug it into a slot.";
    "dark", No, "no light at all",
        "It has no power, or its bootloader is gone.",
        "Plug it in with another cable while MODE is held down, and restore its bootloader over SWD if it stays dark.";
    // keys
    "cyan-red-1", Likely, "fast blinking cyan, interrupted by one red blink",
        "It reached the cloud, and the handshake failed: device and cloud do not agree on the device's key, or the server key in \
         the device is wrong.", REPAIR;
    "cyan-orange-3", Likely, "fast blinking cyan, interrupted by three orange blinks",
        "It has the internet and does not get to the cloud: a wrong key on either side shows like this, and so does a firewall.",
        REPAIR;
    "cyan-orange-1", Likely, "blinking cyan, then one orange blink",
        "It could not decrypt the cloud's answer: the cloud holds another public key, or the device misreads its own key.", REPAIR;
    "cyan-magenta-1", Likely, "blinking cyan, then one magenta blink",
        "The cloud did not prove to be the one that the device knows: the server key or address in the device is wrong.", REPAIR;
    "white-blinking", Likely, "blinking white for some seconds after the start",
        "It makes a new key pair, because its key slot was blank: the cloud does not know that key.",
        "Let it finish, which takes up to a minute, then plug it into a slot and run `keyrack repair`.";
    "cyan-blinking", Possible, "blinking cyan, and nothing else for minutes",
        "It tries to reach the cloud.",
        "Watch it for two minutes, and look up what interrupts the cyan: red or orange blinks tell the cause.";
    // connected
    "cyan-breathing", No, "breathing cyan",
        "It is connected to the cloud: both keys were right when its session began.",
        "Change the cable for one with data lines if it does not show on USB.";
    "magenta-breathing", No, "breathing magenta",
        "It is connected in safe mode: both keys were right when its session began, and its application is missing, or does not fit its Device OS.",
        "Plug it into a slot and flash an application that fits its Device OS.";
    // network
    "cyan-orange-2", No, "blinking cyan, then two orange blinks",
        "It is on the network, and the network has no internet.",
        "Repair the network, or give the device another one.";
    "green-blinking", No, "blinking green",
        "It looks for its network.",
        "Give it its network: Wi-Fi credentials and an antenna, or an active SIM, an antenna and coverage.";
    "green-fast", No, "fast blinking green",
        "It is on the network and waits for an address.",
        "Look whether the network has free addresses and lets this device in.";
    "green-breathing", No, "breathing green",
        "It is on the network, and its application does not let it connect to the cloud.",
        "Put it in safe mode by its buttons (hold MODE, tap RESET, let MODE go at the first magenta) and see whether it then breathes \
         magenta.";
    "blue-blinking", No, "slowly blinking dark blue",
        "Listening mode: it has no network settings or no SIM, or somebody held MODE for three seconds.",
        "Give it its network settings or look at its SIM; in this mode it is on USB, so change the cable if it does not show.";
    "blue-fast", No, "fast blinking dark blue",
        "Somebody holds MODE: its network settings are being cleared.",
        "Let the button go and give it its network settings again.";
    "blue-breathing", No, "breathing dark blue",
        "Its radio is on and not told to connect.",
        "Put it in safe mode by its buttons, in which it connects by itself.";
    "white-breathing", No, "breathing white",
        "Its radio is off, because its application wants it so.",
        "Put it in safe mode by its buttons, in which it connects by itself.";
    // bootloader and updates
    "yellow-blinking", No, "blinking yellow",
        "DFU mode: it waits for USB, by a button or because it has no application that can start.",
        "Plug it into a slot with a cable that has data lines.";
    "magenta-blinking", No, "blinking magenta",
        "It loads or applies an update.",
        "Leave it alone for five minutes, and flash it in DFU mode if it does not end.";
    // crashes
    "solid", No, "one colour that neither blinks nor breathes",
        "Its firmware hangs.",
        "Take its power away for ten seconds, and flash it in DFU mode if it hangs again.";
    "sos-1", No, "red SOS (three short, three long, three short), then 1 blink", "The firmware crashed: hard fault.", ANOTHER_APPLICATION;
    "sos-2", No, "red SOS, then 2 blinks", "The firmware crashed: non-maskable interrupt.", ANOTHER_APPLICATION;
    "sos-3", No, "red SOS, then 3 blinks", "The firmware crashed: memory management fault.", ANOTHER_APPLICATION;
    "sos-4", No, "red SOS, then 4 blinks", "The firmware crashed: bus fault.", ANOTHER_APPLICATION;
    "sos-5", No, "red SOS, then 5 blinks", "The firmware crashed: usage fault.", ANOTHER_APPLICATION;
    "sos-7", No, "red SOS, then 7 blinks", "The firmware ended itself.", ANOTHER_APPLICATION;
    "sos-8", No, "red SOS, then 8 blinks", "The firmware crashed: out of memory.", ANOTHER_APPLICATION;
    "sos-10", No, "red SOS, then 10 blinks", "The firmware crashed: an assertion failed.", ANOTHER_APPLICATION;
    "sos-13", No, "red SOS, then 13 blinks", "The firmware crashed: stack overflow.", ANOTHER_APPLICATION;
    "sos-14", No, "red SOS, then 14 blinks", "The firmware crashed: damaged heap, or a lock that was never given back.", ANOTHER_APPLICATION;
    "sos-other", No, "red SOS, then another number of blinks", "The firmware crashed.", ANOTHER_APPLICATION;
    // a Tracker in its own colours
    "tracker-red", No, "a Tracker: fast breathing red",
        "It looks for the cellular network.",
        "Look at its antenna, its SIM and the coverage.";
    "tracker-breathing", Possible, "a Tracker: breathing yellow or green",
        "It is on the cellular network and tries to reach the cloud.",
        "Wait for ten minutes, then plug it into a slot and run `keyrack repair` if it does not turn solid.";
    "tracker-solid", No, "a Tracker: solid yellow or green",
        "It is connected to the cloud: both keys were right when its session began.",
        "Change the cable for one with data lines if it does not show on USB.";
    // harmless
    "rainbow", No, "all colours in turn",
        "Somebody asked it to show itself.",
        "Take it out: it is the one that is looked for.";
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_signal_has_words_and_one_action() {
        let mut seen = BTreeSet::new();
        for light in all() {
            let name = light.name;
            assert!(seen.insert(light.seen) && seen.insert(name), "{name}: twice");
            assert!(
                name.bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
                "{name}"
            );
            assert!(
                !light.seen.ends_with('.') && light.means.ends_with('.'),
                "{name}: a phrase, a sentence"
            );
            assert!(
                light.action.ends_with('.') && !light.action.contains(". "),
                "{name}: one action, one sentence"
            );
            assert!(
                ![light.seen, light.means, light.action].iter().any(|text| text.contains("  ")),
                "{name}: blanks"
            );
            assert_eq!(find(name), Some(light));
        }
        assert_eq!(find("CYAN-RED-1").map(|light| light.name), Some("cyan-red-1"));
        assert_eq!(find("purple"), None);
    }

    #[test]
    fn the_signature_of_a_key_problem_leads_to_the_repair() {
        for name in [
            "cyan-red-1",
            "cyan-orange-3",
            "cyan-orange-1",
            "cyan-magenta-1",
            "white-blinking",
        ] {
            let light = find(name).unwrap();
            assert_eq!(light.keys, KeysSuspected::Likely, "{name}");
            assert!(light.action.contains("keyrack repair"), "{name}");
        }
        let other = find("d7-dim").unwrap();
        assert!(other.keys == KeysSuspected::No && other.action.contains("SWD"));
        assert_eq!(
            find("cyan-orange-2").unwrap().keys,
            KeysSuspected::No,
            "the internet is missing, not a key"
        );
        assert!(
            all()
                .iter()
                .all(|light| light.keys == KeysSuspected::No || light.action.contains("repair") || light.name == "cyan-blinking")
        );
    }

    #[test]
    fn a_signal_is_exported_with_its_name() {
        let json = serde_json::to_value(find("dark").unwrap()).unwrap();
        assert_eq!((json["name"].as_str(), json["keys"].as_str()), (Some("dark"), Some("no")));
    }
}
