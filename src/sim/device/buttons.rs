//! The buttons of a device, as a person presses them (device-protocol.md 3.4, 4.4).

use crate::model::Mono;

use super::{
    Boot, Dct, Device, Mode, dct, firmware,
    module::{Module, function},
    platform::Transport,
};

/// What a person does: RESET tapped, with MODE held for some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Press {
    /// RESET alone.
    Reset,
    /// MODE held for a second: safe mode.
    SafeMode,
    /// MODE held for three seconds: DFU mode.
    Dfu,
    /// MODE held for more than 6.5 seconds: the factory image.
    FactoryRestore,
    /// MODE held for more than 10 seconds: settings.
    ClearSettings,
}

impl Device {
    /// A person presses the buttons. Without power nothing happens.
    pub fn press(&mut self, now: Mono, press: Press) {
        self.run_until(now);
        if self.s.mode == Mode::Off {
            return;
        }
        match press {
            Press::FactoryRestore => self.restore_factory_image(),
            Press::ClearSettings => self.clear_settings(),
            Press::Reset | Press::SafeMode | Press::Dfu => {}
        }
        let boot = match press {
            Press::SafeMode => Boot::Safe,
            Press::Dfu => Boot::Dfu,
            Press::Reset | Press::FactoryRestore | Press::ClearSettings => Boot::Normal,
        };
        self.reset(now.0, boot);
    }

    /// Clears the DCT but for the UDP key pair, and restores the default server.
    fn clear_settings(&mut self) {
        let mut fresh = Dct::blank(self.platform.dct_size());
        for field in [dct::private_field(Transport::Udp), dct::public_field(Transport::Udp)] {
            fresh.fill(field, self.s.dct.field(field));
        }
        self.s.dct = fresh;
        // An Electron that was set to TCP is so no more.
        self.s.dct.set_production(self.transport());
        self.s.counters.dct_writes += 1;
        self.s.networks.clear();
    }

    /// Copies the factory image over the user part, if there is a sound one.
    pub(super) fn restore_factory_image(&mut self) {
        let Some(address) = self.platform.factory() else { return };
        let image = self.s.flash.read(address, 0x4_0000);
        let sound = |m: &Module| m.crc_ok && m.header.platform == self.platform.id && m.header.function == function::USER;
        if let Some(module) = Module::read(&image).filter(sound) {
            firmware::store(&mut self.s, &module);
        }
    }
}
