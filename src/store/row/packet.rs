//! Packets as the ledger knows them.

use rusqlite::Row;
use serde::Serialize;

use super::{Columns, instant, json, word};
use crate::{
    model::{
        Code, DeviceId, Fingerprint, ProductId, RunId, Wall,
        packet::{PacketEnd, Proof, Voucher},
    },
    store::cell::{Millis, Word},
};

/// A packet that was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PacketRow {
    /// Its id.
    pub id: RunId,
    /// The device that it is for.
    pub device: DeviceId,
    /// Its key.
    pub fingerprint: Fingerprint,
    /// The product for which it was to be registered, if one was named.
    pub product: Option<ProductId>,
    /// What speaks for it.
    pub proof: Proof,
    /// Who stands for it.
    pub voucher: Option<Voucher>,
    /// Who was at the station.
    pub operator: Option<String>,
    /// When it was taken.
    pub taken_at: Wall,
    /// When it had its result.
    pub ended_at: Option<Wall>,
    /// Its result.
    pub end: Option<PacketEnd>,
    /// Why, unless its key was simply registered.
    pub code: Option<Code>,
    /// The whole reason in words.
    pub why: Option<String>,
}

impl Columns for PacketRow {
    const TABLE: &str = "packet";
    const COLUMNS: &str = "id, device, fingerprint, product, manifest, unchecked, reference, vouched_by, operator, taken_at, \
        ended_at, result, code, why";

    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let (reference, by): (Option<String>, Option<String>) = (row.get("reference")?, row.get("vouched_by")?);
        Ok(Self {
            id: row.get::<_, Word<_>>("id")?.0,
            device: row.get::<_, Word<_>>("device")?.0,
            fingerprint: row.get::<_, Word<_>>("fingerprint")?.0,
            product: word(row, "product")?,
            proof: Proof {
                manifest: json(row, "manifest")?,
                unchecked: json(row, "unchecked")?.unwrap_or_default(),
            },
            voucher: reference.zip(by).map(|(reference, by)| Voucher { reference, by }),
            operator: row.get("operator")?,
            taken_at: row.get::<_, Millis>("taken_at")?.0,
            ended_at: instant(row, "ended_at")?,
            end: word(row, "result")?,
            code: word(row, "code")?,
            why: row.get("why")?,
        })
    }
}
