//! The look before a doubtful call: how a device stands in a product, and whether its owner is the one of before.

use super::{api::Api, device_object::WireCustomer, route::ProductPath};
use crate::model::{Code, DeviceId, ProductId, Secret, Wall, outbox::Answer};

/// How a device stands in a product.
pub(super) enum Standing {
    /// Not in it. The product's list says so, which is more than a device that is not shown.
    Absent,
    /// In it.
    Member {
        owner: Option<Secret<String>>,
        at: Option<Wall>,
    },
}

impl Api {
    /// Looks in the product's list: in one request it tells membership, owner and, where the owner is a customer whom
    /// the device shows only by a number, the customer's name.
    pub(super) fn standing(&self, product: &ProductId, device: DeviceId) -> Result<Standing, Answer> {
        let Some((seen, customers)) = self.listed(ProductPath::new(product)?, device)? else {
            return Ok(Standing::Absent);
        };
        let owner = seen.private.owner.map(|owner| {
            let customer = customers.iter().find(|customer| customer.is(owner.expose()));
            customer.and_then(WireCustomer::name).unwrap_or(owner)
        });
        Ok(Standing::Member { owner, at: seen.at })
    }
}

/// A yes that took no call: it is so already.
pub(super) fn already(at: Option<Wall>, note: &str) -> Answer {
    Answer::Accepted {
        at,
        note: Some(note.to_owned()),
    }
}

/// The refusal to touch the device of somebody who is not its owner of before. It names nobody.
pub(super) fn stranger() -> Answer {
    Answer::Refused {
        code: Code::OwnerForeign,
        reason: "somebody else owns the device by now".to_owned(),
    }
}

/// The refusal to take a device that is its owner's no more.
pub(super) fn let_go() -> Answer {
    Answer::Refused {
        code: Code::OwnerForeign,
        reason: "its owner has released the device meanwhile".to_owned(),
    }
}

/// The refusal to act on a device in a product that does not hold it.
pub(super) fn absent() -> Answer {
    Answer::Refused {
        code: Code::CloudRefused,
        reason: "the device is not in the product any more".to_owned(),
    }
}
