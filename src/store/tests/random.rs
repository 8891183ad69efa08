//! Any sequence of facts: what is refused leaves nothing, and tables kept while writing equal tables rebuilt.

use proptest::prelude::*;

use super::sample::{self as s, Bench};
use crate::{
    model::{Code, Fact, SlotNo, Verdict, key::SlotContent, outbox::ItemId},
    store::{Apart, Standing, StoreError},
};

/// Few devices, runs and keys, so that they meet.
fn any_fact() -> impl Strategy<Value = Fact> {
    (0..34_u8, 0..2_u8, 0..3_u8, 0..3_u8, 1..4_u32).prop_map(|(kind, device, run, key, attempt)| {
        // A run keeps its device, as it does in life.
        let (run, device) = (s::run(run + 10 * device), s::device(device));
        let key = s::key(key);
        let fingerprint = key.fingerprint;
        let (upload, import) = (ItemId::key(run, fingerprint), s::import(run, device));
        let content = |content| Fact::KeyRead { run, device, content };
        let why = "so".to_owned();
        let packet = s::packet(attempt as u8 + 10 * device.bytes()[11]);
        let brought = ItemId::key(packet, fingerprint);
        match kind {
            0 => s::seen(device),
            1 | 2 => s::started(run, device),
            3 => Fact::RunInterrupted {
                run,
                code: Code::Stopped,
            },
            4 => Fact::RunResumed { run, slot: SlotNo(2) },
            5 => s::ended(run, device, Verdict::Pass, None),
            6 => s::ended(run, device, Verdict::Owed, Some(Code::CloudUnreachable)),
            7 => s::read(run, device, &key),
            8 => content(SlotContent::Blank),
            9 => content(SlotContent::Unreadable { why }),
            10 => s::intended(run, device, &key),
            11 => Fact::KeyWritten {
                run,
                device,
                fingerprint,
            },
            12 => Fact::KeyAbandoned {
                run,
                device,
                fingerprint,
                why,
            },
            13 => Fact::KeyRestored {
                run,
                device,
                fingerprint,
            },
            14 => s::queued(s::item(run, device, &key)),
            15 => s::queued(import),
            16 => s::sent(&upload, attempt),
            17 => s::sent(&import.id, attempt),
            18 => s::answered(&upload, attempt, s::accepted()),
            19 => s::answered(&upload, attempt, s::ambiguous()),
            20 => s::answered(&upload, attempt, s::refused()),
            21 => s::answered(&import.id, attempt, s::later(Some(10))),
            22 => Fact::ItemWithdrawn { item: upload, why },
            23 => s::ended(run, device, Verdict::Quarantined, Some(Code::StateUnknown)),
            24 => s::released(run, device),
            25 => Fact::KeyGiven { run, device, key },
            26 | 27 => s::taken(packet, device, &key, (attempt > 1).then_some(attempt.into())),
            28 => s::queued(s::item(packet, device, &key)),
            29 => s::sent(&brought, 1),
            30 => s::answered(&brought, 1, s::accepted()),
            31 => s::packet_ended(packet, device),
            32 => Fact::RestoreSealed {
                run: packet,
                device,
                sha256: fingerprint,
            },
            _ => Fact::UndoSealed {
                run,
                device,
                sha256: fingerprint,
                content: SlotContent::Blank,
            },
        }
    })
}

/// The rule of APART again, written from its sentence and not from the table.
fn standing(row: &crate::store::DeviceRow) -> Standing {
    match (row.key_ambiguous, row.key_accepted) {
        (Some(_), _) => Standing::Apart(Apart::Ambiguous),
        (None, None) => Standing::Unregistered,
        (None, Some(_)) if row.key_intended.is_some() => Standing::Apart(Apart::Writing),
        (None, accepted) => match row.slot_content.as_deref() {
            None => Standing::Agreed,
            Some("valid") if row.key_in_slot == accepted => Standing::Agreed,
            Some(_) => Standing::Apart(Apart::Differs),
        },
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tables_kept_while_writing_equal_tables_rebuilt(
        facts in prop::collection::vec(any_fact(), 1..160),
        batch in 1..4_usize,
    ) {
        let mut bench = Bench::new();
        for n in 0..2 {
            for device in 0..2 {
                bench.append(s::started(s::run(n + 10 * device), s::device(device)));
            }
        }
        let mut taken = 0;
        for facts in facts.chunks(batch) {
            let before = bench.store.last_seq();
            let at = bench.tick();
            match bench.store.append(at, facts) {
                Ok(records) => {
                    taken += 1;
                    prop_assert_eq!(records.len(), facts.len());
                    prop_assert_eq!(bench.store.last_seq(), before + facts.len() as u64);
                }
                Err(StoreError::Illegal { .. }) => prop_assert_eq!(bench.store.last_seq(), before),
                Err(other) => return Err(TestCaseError::fail(format!("{other:?}"))),
            }
            for device in 0..2 {
                let row = bench.store.device(s::device(device)).unwrap().unwrap();
                prop_assert_eq!(row.standing, standing(&row));
            }
        }
        prop_assume!(taken > 0);
        prop_assert_eq!(bench.reader().verify(&mut |_| {}).unwrap(), vec![]);
        let last = bench.store.last_seq();
        let bench = bench.reopen();
        prop_assert_eq!(bench.store.last_seq(), last);
        let open = bench.open_runs();
        for item in bench.reader().owed(u32::MAX).unwrap() {
            prop_assert!(open.contains(&item.item.run));
        }
    }
}
