//! Devices of the simulated world dial the stand-in cloud.

use super::{
    cloud::{self, StandIn},
    device::{Dial, Dialled},
    world::CloudSide,
};
use crate::model::Wall;

impl CloudSide for StandIn {
    fn dial(&self, _: Wall, dial: &Dial) -> Dialled {
        let call = cloud::dial::Dial {
            id: dial.id,
            tcp: dial.tcp,
            private_slot: dial.private_slot.clone(),
            server_key: dial.server_key.clone(),
            server_host: dial.server_host.clone(),
            port: dial.port,
            platform: dial.platform,
            os_version: dial.os_version,
            product_id: dial.product_id,
            product_version: dial.product_version,
            session: dial.session.clone(),
        };
        match StandIn::dial(self, &call) {
            cloud::dial::Dialled::Connected { session, resumed } => Dialled::Connected { session, resumed },
            cloud::dial::Dialled::Refused { why } => Dialled::Refused { why },
            cloud::dial::Dialled::NoRoute => Dialled::NoRoute,
        }
    }
}
