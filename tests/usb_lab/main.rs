//! The lab's suite: modelled devices on the USB ports of a real Linux kernel, met by the real libusb, by foreign clients
//! and by keyrack. It runs in the guest of `scripts/usb-lab`, one test after the other: they share the ports of the machine.
//!
//! | file | what it shows |
//! |---|---|
//! | `lab.rs` | a rack, its cloud, and the ports that it is plugged into |
//! | `ports.rs` | enumeration, hot-plug, mode changes, stalls, surprise removal |
//! | `dfu_util.rs` | dfu-util on every family |
//! | `vendor_cli.rs` | the vendor's command line, then keyrack on the same devices |
//! | `station.rs` | keyrack provisions a rack under trouble |
//! | `power.rs` | one stretch of work between two power cuts of the whole machine |
//! | `measure.rs` | the figures of `scripts/usb-lab bench` |

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

mod dfu_util;
mod lab;
mod measure;
mod ports;
mod power;
#[expect(dead_code, reason = "every test uses what it needs of the processes")]
#[path = "../process/mod.rs"]
mod process;
mod station;
#[expect(dead_code, reason = "every test uses what it needs of the session")]
#[path = "../vendor/mod.rs"]
mod vendor;
mod vendor_cli;
