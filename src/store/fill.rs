//! Makes ledgers of any size, for measurements and for screens that must stay fast with a million devices. Every row
//! goes the way of real facts.

use sha2::Digest;

use crate::model::{
    Code, DeviceId, Fact, Fingerprint, KeyKind, Outcome, Platform, PortPath, ProductId, PublicKey, RunId, SlotNo, StepKind,
    Verdict, Wall,
    fact::{Identity, Protection},
    key::{KeyLayout, SlotContent},
    module::{InstalledModule, ModuleFunction},
    outbox::{Answer, Item},
    platform::UsbMode,
    recipe::{Sha256, WorkOrder},
};

use super::{Store, StoreError};

/// Adds made-up devices number `from..to` with one run each, twelve facts a device. The same number gives the same
/// device. Of each thousand or so, one is apart, one owes its upload, and ten failed. Runs that owe lie all over the
/// journal, which is the worst for a start, as it takes them all up; those of a cloud that was away would be neighbours.
/// `done` hears how far it is.
pub fn fill(store: &mut Store, from: u32, to: u32, mut done: impl FnMut(u32)) -> Result<(), StoreError> {
    // Made-up facts come in the order of no index, as a year of real ones does in a year.
    store
        .conn
        .pragma_update(None, "cache_size", CACHE)
        .and_then(|()| {
            store
                .conn
                .pragma_update_and_check(None, "wal_autocheckpoint", LOG_PAGES, |_| Ok(()))
        })
        .map_err(super::error::sql("preparing to fill the ledger"))?;
    store.append(
        instant(from),
        &[Fact::RecipeRecorded {
            hash: digest(b"fill"),
            name: "fill".to_owned(),
            text: "# made up".to_owned(),
        }],
    )?;
    let mut next = from;
    while next < to {
        let end = to.min(next.saturating_add(DEVICES_PER_COMMIT));
        let batch: Vec<Fact> = (next..end).flat_map(facts).collect();
        store.append(instant(next), &batch)?;
        next = end;
        done(next);
    }
    Ok(())
}

/// The id of made-up device `n`.
pub fn device(n: u32) -> DeviceId {
    let mut bytes = [0; 12];
    bytes.copy_from_slice(&digest(&n.to_be_bytes()).0[..12]);
    bytes[..4].copy_from_slice(&[0xe0, 0x0f, 0xce, 0x68]);
    DeviceId::from_bytes(bytes)
}

/// The serial number of made-up device `n`.
pub fn serial(n: u32) -> String {
    format!("P046AD{n:09}")
}

/// The ICCID of made-up device `n`.
pub fn iccid(n: u32) -> String {
    format!("8988303{n:013}")
}

/// A P-256 public key by its form; its point is not on the curve.
pub fn public_key(seed: &[u8]) -> PublicKey {
    let mut spki = P256_SPKI.to_vec();
    spki.extend(digest(seed).0);
    spki.extend(digest(&digest(seed).0).0);
    PublicKey {
        kind: KeyKind::P256,
        fingerprint: digest(&spki),
        spki,
    }
}

fn facts(n: u32) -> Vec<Fact> {
    let device = device(n);
    let run = RunId::new(
        instant(n),
        *digest(&n.to_le_bytes()).0.first_chunk().expect("32 bytes have ten"),
    );
    let key = public_key(&n.to_be_bytes());
    let item = Item::upload(run, device, Some(ProductId("12345".to_owned())), key.clone());
    let id = item.id.clone();
    let read = |key| Fact::KeyRead {
        run,
        device,
        content: SlotContent::Valid {
            key,
            layout: KeyLayout::Device,
        },
    };
    let started = |step| Fact::StepStarted { run, step, attempt: 1 };
    let ended = |step| Fact::StepEnded {
        run,
        step,
        attempt: 1,
        outcome: Outcome::Done,
        took_ms: 1200,
    };
    let (verdict, code) = match () {
        () if n % 1009 == 7 => (Verdict::Owed, Some(Code::CloudUnreachable)),
        () if n % 97 == 5 => (Verdict::Fail, Some(Code::FlashVerify)),
        () => (Verdict::Pass, None),
    };
    let answer = match verdict {
        Verdict::Owed => Answer::Later {
            why: "maintenance".to_owned(),
            after_ms: None,
        },
        _ => Answer::Accepted {
            at: Some(instant(n)),
            note: None,
        },
    };
    let last = match n % 1009 {
        11 => read(public_key(&n.to_le_bytes())),
        _ => Fact::HandshakeSeen {
            run,
            device,
            at: instant(n),
        },
    };
    vec![
        seen(n),
        Fact::RunStarted {
            accepted: None,
            reference: None,
            run,
            device,
            slot: slot(n),
            recipe: digest(b"fill"),
            plan: vec![StepKind::ReadKey, StepKind::Register],
            operator: Some("fill".to_owned()),
            work_order: Some(WorkOrder {
                id: format!("WO-{}", n / 10_000),
                product: item.product.clone(),
                quantity: 10_000,
            }),
        },
        started(0),
        read(key),
        ended(0),
        Fact::ItemQueued { item },
        started(1),
        Fact::ItemSent {
            item: id.clone(),
            attempt: 1,
        },
        Fact::ItemAnswered {
            item: id,
            attempt: 1,
            answer,
        },
        ended(1),
        last,
        Fact::RunEnded {
            run,
            device,
            verdict,
            code,
            why: String::new(),
            proved: verdict == Verdict::Pass,
        },
    ]
}

fn seen(n: u32) -> Fact {
    Fact::DeviceSeen {
        slot: slot(n),
        port: PortPath::new("pci-0000:00:14.0", [slot(n).0 as u8]),
        identity: Identity {
            serial: Some(serial(n)),
            iccid: Some(iccid(n)),
            imei: Some(format!("{:015}", 352_753_090_000_000 + u64::from(n))),
            os_version: Some("6.3.0".to_owned()),
            modules: [
                ModuleFunction::Bootloader,
                ModuleFunction::SystemPart,
                ModuleFunction::UserPart,
            ]
            .map(|function| InstalledModule {
                function,
                index: 1,
                version: 6300,
                checked: 30,
                passed: 30,
            })
            .to_vec(),
            ..Identity::bare(device(n), Platform::Boron, UsbMode::Normal, Protection::Open)
        },
    }
}

fn slot(n: u32) -> SlotNo {
    SlotNo((n % 16 + 1) as u16)
}

/// One device a second from 2026 on.
fn instant(n: u32) -> Wall {
    Wall::from_millis(1_767_225_600_000 + i64::from(n) * 1000).expect("136 years after 2026 is in the calendar")
}

fn digest(bytes: &[u8]) -> Sha256 {
    Fingerprint(sha2::Sha256::digest(bytes).into())
}

/// Large enough that commits cost nothing, small enough that memory does not.
const DEVICES_PER_COMMIT: u32 = 500;

/// Memory for pages while filling, in KiB as SQLite wants it: negative.
const CACHE: i64 = -256 * 1024;

/// Pages of write-ahead log (4 KiB each) that are folded into the file at once.
const LOG_PAGES: i64 = 32_768;

/// What comes before the two coordinates in the SubjectPublicKeyInfo of a P-256 key (RFC 5480).
const P256_SPKI: [u8; 27] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03,
    0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];
