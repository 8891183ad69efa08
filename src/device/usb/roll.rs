//! Who is attached: each attachment with a number of its own and the moment at which it was first seen.
//!
//! Pure: it is handed what is there and the time. The numbers take the place of the bus's own, which come back after a
//! while: a device that restarted is never taken for one that stayed.

use std::collections::BTreeMap;

use crate::{
    edge::Attached,
    model::{Mono, PortPath},
};

/// An attachment as the kernel knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// The number of the bus.
    pub(super) bus: u8,
    /// The number of the device there.
    pub(super) number: u8,
    /// The folder that the kernel made for this attachment and for no other.
    pub(super) inode: u64,
}

/// A device that is there now.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// How the kernel finds it.
    pub(super) key: Key,
    /// Where it is plugged in.
    pub(super) port: PortPath,
    /// idVendor.
    pub(super) vendor: u16,
    /// idProduct.
    pub(super) product: u16,
    /// Its serial number string.
    pub(super) serial: Option<String>,
}

/// One device that is attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seat {
    /// How the kernel finds it.
    pub(super) key: Key,
    /// When it was first seen.
    pub(super) since: Mono,
    attached: Attached,
}

/// All devices that are attached.
#[derive(Debug, Default)]
pub(super) struct Roll {
    seats: BTreeMap<PortPath, Seat>,
    last: u16,
}

impl Roll {
    /// Takes in what is there now; true if anything came or went.
    pub(super) fn update(&mut self, found: Vec<Found>, now: Mono) -> bool {
        let mut seats = BTreeMap::new();
        let mut changed = false;
        for found in found {
            let port = found.port.clone();
            let seat = match self.seats.remove(&port) {
                Some(seat) if seat.key == found.key => seat,
                _ => {
                    changed = true;
                    Seat {
                        key: found.key,
                        since: now,
                        attached: Attached {
                            port: found.port,
                            address: self.next(&seats),
                            vendor: found.vendor,
                            product: found.product,
                            serial: found.serial,
                        },
                    }
                }
            };
            seats.insert(port, seat);
        }
        changed |= !self.seats.is_empty();
        self.seats = seats;
        changed
    }

    /// What is attached.
    pub(super) fn list(&self) -> Vec<Attached> {
        self.seats.values().map(|seat| seat.attached.clone()).collect()
    }

    /// The seat of an attachment that is not over.
    pub(super) fn find(&self, attached: &Attached) -> Option<&Seat> {
        self.seats
            .get(&attached.port)
            .filter(|seat| seat.attached.address == attached.address)
    }

    /// The next number that nobody has.
    fn next(&mut self, taken: &BTreeMap<PortPath, Seat>) -> u16 {
        loop {
            self.last = self.last.wrapping_add(1);
            let used = |seats: &BTreeMap<PortPath, Seat>| seats.values().any(|seat| seat.attached.address == self.last);
            if !used(taken) && !used(&self.seats) {
                return self.last;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(port: &str, number: u8, inode: u64) -> Found {
        Found {
            key: Key { bus: 1, number, inode },
            port: port.parse().unwrap(),
            vendor: 0x2b04,
            product: 0xc00c,
            serial: Some("e00fce68".to_owned()),
        }
    }

    fn second(n: u64) -> Mono {
        Mono(Duration::from_secs(n))
    }

    #[test]
    fn whoever_stays_keeps_number_and_moment_and_whoever_comes_gets_new_ones() {
        let mut roll = Roll::default();
        assert!(roll.update(vec![at("pci-1/1", 5, 50), at("pci-1/2", 6, 60)], second(1)));
        let first = roll.list();
        assert!(!roll.update(vec![at("pci-1/1", 5, 50), at("pci-1/2", 6, 60)], second(2)));
        assert_eq!(roll.list(), first);
        assert_eq!(roll.find(&first[0]).unwrap().since, second(1));
        assert!(roll.update(vec![at("pci-1/1", 5, 50)], second(3)), "one left");
        assert_eq!(roll.find(&first[1]), None);
        assert!(
            roll.update(vec![at("pci-1/1", 5, 50), at("pci-1/2", 7, 70)], second(4)),
            "one came"
        );
        assert_ne!(roll.list()[1].address, first[1].address);
        assert_eq!(roll.find(&roll.list()[1]).unwrap().since, second(4));
    }

    #[test]
    fn a_restart_that_nobody_saw_is_another_attachment_even_under_the_old_number() {
        let mut roll = Roll::default();
        roll.update(vec![at("pci-1/1", 5, 50)], second(1));
        let before = roll.list().remove(0);
        assert!(roll.update(vec![at("pci-1/1", 5, 51)], second(2)));
        assert_ne!(roll.list()[0].address, before.address);
        assert_eq!(roll.find(&before), None);
    }

    #[test]
    fn numbers_wrap_around_those_in_use() {
        let mut roll = Roll {
            last: u16::MAX - 1,
            ..Roll::default()
        };
        roll.update(vec![at("pci-1/1", 5, 50)], second(1));
        assert_eq!(roll.list()[0].address, u16::MAX);
        roll.last = u16::MAX - 1;
        roll.update(vec![at("pci-1/1", 5, 50), at("pci-1/2", 6, 60)], second(2));
        let mut numbers: Vec<u16> = roll.list().iter().map(|a| a.address).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [0, u16::MAX]);
    }
}
