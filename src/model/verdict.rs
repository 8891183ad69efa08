//! How a run ended, and why: verdicts, and the reason codes with their one next action.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a run ended. The same word everywhere (ARCHITECTURE.md 4.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every step done, or skipped on evidence of this run, and the cloud holds the key that the device holds.
    Pass,
    /// The device is bad.
    Fail,
    /// The station, the cloud or a cable is bad; the device may be good.
    Fault,
    /// The cloud refused the new key for good, and the old one was put back and verified.
    RolledBack,
    /// Nobody can tell from here whether device and cloud agree: a named person decides.
    Quarantined,
    /// A person stopped the run at a safe point.
    Aborted,
    /// The device is done, and something is still owed to the cloud.
    Owed,
}

impl Verdict {
    /// Every verdict, in the order of the summary.
    pub const ALL: [Verdict; 7] = [
        Self::Pass,
        Self::Fail,
        Self::Fault,
        Self::RolledBack,
        Self::Quarantined,
        Self::Aborted,
        Self::Owed,
    ];

    /// The word on the screen.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Fail => "FAIL",
            Self::Fault => "FAULT",
            Self::RolledBack => "ROLLED-BACK",
            Self::Quarantined => "QUARANTINED",
            Self::Aborted => "ABORTED",
            Self::Owed => "OWED",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The device is bad: FAIL.
    Device,
    /// Station, cloud, cable or disk is bad: FAULT.
    Station,
}

/// Who takes the next action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Owner {
    /// Whoever loads the rack.
    Operator,
    /// The repair bench.
    Technician,
    /// Whoever owns the recipe and the station.
    Engineer,
}

impl Owner {
    /// The word for a person.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Technician => "technician",
            Self::Engineer => "engineer",
        }
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $blame:ident, $owner:ident, $transient:literal, $what:literal, $next:literal;)*) => {
        /// Why a run did not simply pass. The text of a code never changes once released.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Code {
            $(#[doc = $what] #[serde(rename = $text)] $name,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Code] = &[$(Code::$name),*];

            /// The stable text.
            pub const fn text(self) -> &'static str {
                match self { $(Code::$name => $text),* }
            }

            /// Whose fault it is.
            pub const fn blame(self) -> Blame {
                match self { $(Code::$name => Blame::$blame),* }
            }

            /// Who takes the next action.
            pub const fn owner(self) -> Owner {
                match self { $(Code::$name => Owner::$owner),* }
            }

            /// True if the same step may simply be tried again.
            pub const fn transient(self) -> bool {
                match self { $(Code::$name => $transient),* }
            }

            /// What happened, as one sentence.
            pub const fn what(self) -> &'static str {
                match self { $(Code::$name => $what),* }
            }

            /// The one next action, as an instruction.
            pub const fn next_action(self) -> &'static str {
                match self { $(Code::$name => $next),* }
            }
        }
    };
}

codes! {
    // seeing and identifying
    UsbTransfer = "usb-transfer", Station, Operator, true, "A USB transfer failed.", "Re-seat the device; if it happens in one slot only, change that slot's cable.";
    UsbAccess = "usb-access", Station, Engineer, false, "The station may not open the device.", "Run `sudo scripts/udev --install`; the user of the station has to be in the group plugdev.";
    UsbBusy = "usb-busy", Station, Engineer, true, "Another program holds the device.", "Stop the other program (ModemManager, particle-cli, a serial monitor) and plug the device in again.";
    DeviceLost = "device-lost", Station, Operator, false, "The device went away and did not come back in time.", "Plug the device in again, in any slot: its run goes on.";
    DeviceSwapped = "device-swapped", Station, Operator, false, "Another device appeared in the slot in the middle of a run.", "Put the first device back in any slot: its run goes on; the newcomer is treated as new.";
    DuplicateId = "duplicate-id", Device, Engineer, false, "Two devices in the rack show the same id.", "Take both out and look at them one at a time: one is a copy.";
    NoDeviceId = "no-device-id", Device, Technician, false, "The device does not tell its id.", "Put the device in DFU mode by its buttons and plug it in again; if it still has no id, set it aside.";
    UnknownPlatform = "unknown-platform", Station, Operator, false, "This kind of device is unknown to keyrack, or cannot be provisioned over USB.", "Take it out of the rack.";
    NoRecipe = "no-recipe", Station, Engineer, false, "No recipe of this station is for this platform.", "Add a recipe for the platform to station.toml, or take the device out of the rack.";
    Wedged = "wedged", Station, Operator, false, "A step did not end, even after it was told to stop.", "Unplug the device, wait a moment, and plug it in again.";
    StepTimeout = "step-timeout", Station, Operator, true, "A step took longer than its deadline.", "Plug the device in again; if it repeats, look at the slot's log.";
    // protection
    Protected = "protected", Device, Technician, false, "The device is protected: keys and firmware can be neither read nor written.", "Send it to the repair bench: it needs Service Mode.";
    ServiceRefused = "service-refused", Station, Engineer, false, "The protected device was not opened: the cloud or the device refused the exchange.", "See the detail for the reason; the token needs the role Developer or Administrator in the product of the device.";
    ServiceKeyUnknown = "service-key-unknown", Device, Engineer, false, "The cloud does not know the key of the protected device, and without it the device cannot be opened.", "Register the key of which the detail tells the fingerprint, if the ledger or somebody else has its public half; else ask the vendor.";
    ServiceServerKey = "service-server-key", Device, Engineer, false, "The protected device trusts another server than this cloud.", "Find out for which cloud it was set up: only the holder of that server key can open it.";
    ServiceLost = "service-lost", Device, Technician, true, "Service Mode ended too early, or the exchange took longer than a minute.", "Leave the device under power and plug it in again if it does not go on by itself.";
    NotProtectedAgain = "not-protected-again", Device, Engineer, false, "The device could not be shown to be protected again: it may be open to everybody.", "Keep the device in safe hands, take its power away, and run it again: it has to show its protection.";
    // firmware
    FirmwareRejected = "firmware-rejected", Station, Engineer, false, "A firmware file of the recipe is not fit for this device; nothing was erased.", "Correct the recipe: see the detail for file and reason.";
    DependencyMissing = "dependency-missing", Device, Engineer, false, "The firmware needs modules that the device does not have.", "Add the missing modules to the recipe.";
    FlashRefused = "flash-refused", Device, Technician, true, "The device refused to erase or write its flash.", "Try once more; if it repeats, the flash is bad: set the device aside.";
    FlashVerify = "flash-verify", Device, Technician, true, "What was read back from flash differs from what was written.", "Try once more; if it repeats, the flash is bad: set the device aside.";
    UpdateRefused = "update-refused", Device, Technician, true, "The device refused a firmware update.", "Try once more; if it repeats, set the device aside.";
    ModuleInvalid = "module-invalid", Device, Technician, false, "After start the device reports a module that fails a check.", "Flash the device again with a complete recipe; if it repeats, set it aside.";
    VersionMismatch = "version-mismatch", Device, Technician, false, "After start the device reports another version than the one flashed.", "Flash the device again; if it repeats, set it aside.";
    NoStart = "no-start", Device, Technician, false, "The device did not start its application.", "Look at its light: dim D7 means that the bootloader is gone (SWD needed); else flash it again.";
    NoDfu = "no-dfu", Device, Operator, true, "The device does not enter DFU mode.", "Put it in DFU mode by its buttons: hold MODE, tap RESET, let MODE go when the light blinks yellow.";
    OrderFilled = "order-filled", Station, Operator, false, "The work order has all the devices that it wants; this one was not touched.", "Take the device out, and start the station with the next work order, or with a larger --quantity.";
    RecipeGone = "recipe-gone", Station, Engineer, false, "The recipe of an unfinished run, or its firmware, is no longer here.", "Put the recipe's firmware back where it was and plug the device in again.";
    // keys
    KeyUnreadable = "key-unreadable", Station, Technician, true, "It cannot be told what the key slot holds; nothing was written.", "Plug the device in again; if it repeats, flash Device OS first (Photon, P1) or set it aside.";
    KeyBlank = "key-blank", Device, Technician, false, "The key slot is blank and the recipe does not allow a new key.", "Use a recipe with key policy read-or-generate, or let the device make a key by connecting once.";
    KeyCorrupt = "key-corrupt", Device, Technician, false, "The key slot holds no usable key and the recipe does not allow a new one.", "Use a recipe with key policy read-or-generate.";
    KeyUnknown = "key-unknown", Device, Technician, false, "The cloud does not know the key that the device holds.", "Repair the device: its present key is registered, or a new one.";
    KeyMisread = "key-misread", Device, Technician, false, "The key is right, and the device's own parser misreads it.", "Repair the device: the same key is written in the layout that it reads.";
    ServerKeyWrong = "server-key-wrong", Device, Technician, false, "The device holds another server key or address than it should.", "Repair the device: key and address of the server are written.";
    NotKeys = "not-keys", Device, Technician, false, "Keys and server settings are right as far as can be told: it is something else.", "Look at network, SIM and antenna, and at the device's light.";
    KeyDuplicate = "key-duplicate", Device, Engineer, false, "The ledger knows this key on another device.", "Set both devices aside: one is a copy, or a dump was written to the wrong device.";
    KeyWrite = "key-write", Device, Technician, false, "A new key could not be written and verified.", "Set the device aside: its key store does not hold what is written.";
    KeyUndo = "key-undo", Station, Engineer, false, "The old key store could not be saved before a key write; nothing was written.", "Free disk space and look at the permissions of the undo directory.";
    ServerKeyWrite = "server-key-write", Device, Technician, true, "The server key could not be written and verified.", "Try once more; if it repeats, set the device aside.";
    RolledBackRefused = "rolled-back-refused", Station, Engineer, false, "The cloud refused the new key; the old key is back on the device.", "Look at the refusal, correct product or permissions, and run the device again.";
    StateUnknown = "state-unknown", Station, Engineer, false, "It cannot be told whether device and cloud hold the same key.", "Keep the device; an engineer looks at it (F4) and releases it there (F12), or with `keyrack ask release ID`.";
    Quarantined = "quarantined", Station, Engineer, false, "The last run of the device ended QUARANTINED, and no named person has decided what becomes of it; nothing was touched.", "An engineer looks at the device (F4) and releases it there (F12), or with `keyrack ask release ID`.";
    // cloud
    CloudUnreachable = "cloud-unreachable", Station, Engineer, true, "The cloud could not be reached.", "Look at the network; what is owed is sent by itself when the cloud is back.";
    CloudAuth = "cloud-auth", Station, Engineer, false, "The cloud does not accept the station's token.", "Run `keyrack login` and start again; what is owed is kept.";
    CloudDenied = "cloud-denied", Station, Engineer, false, "The token may not do this for this product or device.", "Use a token of a Developer or Administrator of the product.";
    CloudRefused = "cloud-refused", Device, Technician, false, "The cloud refused the request.", "See the detail for the cloud's reason.";
    ImportInvalid = "import-invalid", Device, Engineer, false, "The cloud lists the device as invalid for the product: wrong platform, unknown id, or in another product.", "Compare platform and product; if it is in another product, its owner has to release it.";
    ImportNonmember = "import-nonmember", Device, Engineer, false, "The device belongs to another owner.", "Have the owner release it; nothing was sent to them.";
    ImportProtected = "import-protected", Device, Engineer, false, "A protected device cannot join an unprotected product.", "Choose a product with Device Protection, or send it to the repair bench.";
    OwnerForeign = "owner-foreign", Device, Engineer, false, "The device is claimed by a customer or a stranger.", "Use the repair flow for customer devices; a recipe never takes a device from its owner.";
    Unclaimed = "unclaimed", Device, Engineer, false, "The device is in no product and nobody claimed it: nobody may register its key.", "Put it into a product; a claim alone needs a device that connects.";
    ClaimLost = "claim-lost", Station, Engineer, false, "The device was taken from its owner for the repair and could not be given back.", "ALARM: give it back by hand now, with `keyrack device ID`; never ask for a transfer.";
    MoveLost = "move-lost", Station, Engineer, false, "The device was taken out of its product, and no product takes it.", "ALARM: import it by hand now, into the product of the detail, with `keyrack device ID`.";
    RestoreLost = "restore-lost", Station, Engineer, false, "What the device must get back is not safely kept; nothing was changed in the cloud.", "Set undo to sealed copies in station.toml, and look at the disk and the permissions of the undo directory.";
    ClaimVague = "claim-vague", Device, Technician, false, "The cloud did not claim the device and does not say why: it is offline, or the cloud does not know it.", "Let the device connect to the cloud, then claim it again.";
    CustomerUnknown = "customer-unknown", Station, Engineer, false, "The cloud knows no such customer of the product.", "Look the device's owner up in the product and run the repair again.";
    CustomerClient = "customer-client", Station, Engineer, false, "The cloud gives no customer's token to the station's OAuth client.", "Use id and secret of a two-legged (server) client of this very product.";
    DeviceKeyUnknown = "device-key-unknown", Device, Engineer, false, "The cloud does not know the key of this protected device, so nobody can put it into Service Mode.", "Register the public key that the device holds, from the ledger, the escrow or a kept packet; without one only the vendor can open it.";
    Quarantine = "cloud-quarantine", Device, Engineer, false, "The cloud holds the device in quarantine or denies it.", "Approve the device in the product, then run it again.";
    GivenKeyAbsent = "given-key-absent", Station, Technician, false, "The pair that is to be written is not at hand: it was given to an earlier session, or is not for this device.", "Give the right file, with the same command again: a private key is never kept by the station.";
    EscrowWrite = "escrow-write", Station, Engineer, false, "The sealed copy of the private key could not be written.", "Look at the directory, or give --force if a copy that is there may be replaced.";
    // keys from afar
    PacketUnvouched = "packet-unvouched", Station, Engineer, false, "The key would replace one that the cloud has, and nobody stands for that.", "Give --reference and --operator if it is certain who sent the key: a mailed key is also how a device is impersonated.";
    PacketStale = "packet-stale", Station, Engineer, false, "The device may hold another key by now than when the packet was made.", "Ask for a new packet, made with the device in hand.";
    PacketBusy = "packet-busy", Station, Engineer, false, "A run, or another packet, of the device is not over.", "Let it come to its end first: `keyrack device ID` shows it.";
    // network and proof
    NetworkSetup = "network-setup", Device, Technician, true, "The bench network could not be set on the device.", "Plug the device in again; if it repeats, its radio is bad.";
    NoHandshake = "no-handshake", Device, Technician, false, "The device did not connect to the cloud in time.", "Look at its light: cyan with red or orange blinks is keys (repair it once more), green is network.";
    // people and station
    StepLeftOut = "step-left-out", Station, Operator, false, "An engineer had a step of the run left out; everything else is done.", "Run the device once more, with nothing left out, before it is given to anybody.";
    Stopped = "stopped", Station, Operator, false, "A person stopped the run.", "Plug the device in again when it should go on.";
    DiskFull = "disk-full", Station, Engineer, false, "The ledger could not be written; nothing was done that is not on record.", "Free disk space and start again.";
    Internal = "internal", Station, Engineer, false, "keyrack met a state that it does not expect.", "Keep the ledger and report it with the detail.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_says_what_and_what_next() {
        let mut seen = std::collections::BTreeSet::new();
        for code in Code::ALL {
            assert!(seen.insert(code.text()), "{code} twice");
            assert!(code.text().bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{code}");
            assert!(
                code.what().ends_with('.') && code.next_action().ends_with('.'),
                "{code}: whole sentences"
            );
            assert_eq!(serde_json::to_string(code).unwrap(), format!("\"{code}\""));
        }
    }
}
