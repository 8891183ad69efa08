//! The journal: numbered rows of facts, each chained to the one before it. Knows nothing of what facts mean.

use rusqlite::{Connection, OptionalExtension, Row, named_params};
use sha2::{Digest, Sha256};

use crate::model::{DeviceId, Fact, Record, RunId, StationId, Wall};

use super::{
    cell::{Millis, Word},
    error::{BadRecord, StoreError, sql},
};

/// The end of the journal: the last sequence number, 0 for an empty one, and the last link of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Last sequence number.
    pub(super) seq: u64,
    /// Last link; zeros for an empty journal.
    pub(super) chain: [u8; 32],
}

impl Head {
    /// Where an empty journal ends.
    pub(super) const EMPTY: Self = Self { seq: 0, chain: [0; 32] };

    /// Reads the end of the journal.
    pub(super) fn read(conn: &Connection) -> Result<Self, StoreError> {
        conn.query_row("SELECT seq, chain FROM journal ORDER BY seq DESC LIMIT 1", [], |row| {
            Ok(Self {
                seq: row.get::<_, i64>(0)?.cast_unsigned(),
                chain: row.get(1)?,
            })
        })
        .optional()
        .map(|head| head.unwrap_or(Self::EMPTY))
        .map_err(sql("reading the end of the journal"))
    }

    /// The end of the journal after one more row.
    pub(super) fn next(self, row: &Sealed<'_>) -> Self {
        let seq = self.seq + 1;
        let mut hash = Sha256::new();
        hash.update(self.chain);
        hash.update(seq.to_be_bytes());
        hash.update(row.at.to_be_bytes());
        hash.update(row.version.to_be_bytes());
        // Lengths in front of what has no fixed one, so that no byte can move from one field to the next.
        for field in [row.station.as_bytes(), row.body] {
            hash.update((field.len() as u64).to_be_bytes());
            hash.update(field);
        }
        Self {
            seq,
            chain: hash.finalize().into(),
        }
    }
}

/// What the chain covers of a row. `run`, `device` and `kind` are copies from the body, for the indexes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sealed<'a> {
    /// Milliseconds since the Unix epoch.
    pub(super) at: i64,
    /// The station that wrote it.
    pub(super) station: &'a str,
    /// Version of the encoding.
    pub(super) version: u32,
    /// The fact as JSON.
    pub(super) body: &'a [u8],
}

/// Writes one row, in the transaction of the caller, and returns the new end of the journal.
pub(super) fn write(conn: &Connection, head: Head, at: Wall, station: &StationId, fact: &Fact) -> Result<Head, StoreError> {
    let doing = "writing the journal";
    let body = serde_json::to_vec(fact).expect("a fact is plain data and can always be written as JSON");
    let next = head.next(&Sealed {
        at: at.millis(),
        station: &station.0,
        version: Fact::VERSION,
        body: &body,
    });
    conn.prepare_cached(
        "INSERT INTO journal (seq, at, station, run, device, version, kind, body, chain)
         VALUES (:seq, :at, :station, :run, :device, :version, :kind, :body, :chain)",
    )
    .and_then(|mut insert| {
        insert.execute(named_params! {
            ":seq": next.seq.cast_signed(),
            ":at": Millis(at),
            ":station": Word(station),
            ":run": fact.run().map(Word),
            ":device": fact.device().map(Word),
            ":version": Fact::VERSION,
            ":kind": kind(fact),
            ":body": body,
            ":chain": next.chain,
        })
    })
    .map_err(sql(doing))?;
    Ok(next)
}

/// A row of the journal as it is stored, not yet understood.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) seq: u64,
    pub(super) at: i64,
    pub(super) station: String,
    pub(super) run: Option<String>,
    pub(super) device: Option<String>,
    pub(super) version: u32,
    pub(super) kind: String,
    pub(super) body: Vec<u8>,
    pub(super) chain: Vec<u8>,
}

/// The columns that [`Stored::from_row`] wants, in its order.
pub(super) const COLUMNS: &str = "seq, at, station, run, device, version, kind, body, chain";

impl Stored {
    /// Takes a row of [`COLUMNS`].
    pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            seq: row.get::<_, i64>(0)?.cast_unsigned(),
            at: row.get(1)?,
            station: row.get(2)?,
            run: row.get(3)?,
            device: row.get(4)?,
            version: row.get(5)?,
            kind: row.get(6)?,
            body: row.get(7)?,
            chain: row.get(8)?,
        })
    }

    /// What the chain covers.
    pub(super) fn sealed(&self) -> Sealed<'_> {
        Sealed {
            at: self.at,
            station: &self.station,
            version: self.version,
            body: &self.body,
        }
    }

    /// The record that it holds.
    pub(super) fn record(&self) -> Result<Record, StoreError> {
        record(self.seq, &self.sealed())
    }

    /// The first column that contradicts the body, if any: it would hide the fact from those who look by it.
    pub(super) fn mislabelled(&self, fact: &Fact) -> Option<&'static str> {
        if self.run != fact.run().map(|run| run.to_string()) {
            Some("run")
        } else if self.device != fact.device().map(|device| device.to_string()) {
            Some("device")
        } else if self.kind != kind(fact) {
            Some("kind")
        } else {
            None
        }
    }
}

/// The records of one run or packet, oldest first.
pub(super) fn of_run(conn: &Connection, run: RunId) -> Result<Vec<Record>, StoreError> {
    records(
        conn,
        &format!("SELECT {RECORD} FROM journal WHERE run = ?1 ORDER BY seq"),
        (Word(run),),
    )
}

/// Up to `limit` records with sequence numbers above `after`, oldest first.
pub(super) fn after(conn: &Connection, after: u64, limit: u32) -> Result<Vec<Record>, StoreError> {
    records(
        conn,
        &format!("SELECT {RECORD} FROM journal WHERE seq > ?1 ORDER BY seq LIMIT ?2"),
        (after.cast_signed(), limit),
    )
}

/// The records that count for the station beside those of its open runs, oldest first.
pub(super) fn of_shift(conn: &Connection) -> Result<Vec<Record>, StoreError> {
    records(
        conn,
        &format!("SELECT {RECORD} FROM journal WHERE seq IN (SELECT seq FROM shift) ORDER BY seq"),
        (),
    )
}

/// The last `limit` records about a device, newest first: those of its runs and packets, and those of its arrivals.
pub(super) fn of_device(conn: &Connection, device: DeviceId, before: u64, limit: u32) -> Result<Vec<Record>, StoreError> {
    records(
        conn,
        &format!(
            "SELECT {RECORD} FROM journal WHERE seq IN (
                 SELECT seq FROM journal WHERE run IN (
                     SELECT id FROM run WHERE device = ?1 UNION ALL SELECT id FROM packet WHERE device = ?1)
                 UNION ALL SELECT seq FROM journal WHERE run IS NULL AND device = ?1)
             AND seq < ?2 ORDER BY seq DESC LIMIT ?3"
        ),
        (Word(device), i64::try_from(before).unwrap_or(i64::MAX), limit),
    )
}

/// The columns of a record: what the chain covers, in the order in which [`records`] reads it.
const RECORD: &str = "seq, at, station, version, body";

fn records(conn: &Connection, text: &str, params: impl rusqlite::Params) -> Result<Vec<Record>, StoreError> {
    let doing = sql("reading the journal");
    let mut query = conn.prepare_cached(text).map_err(&doing)?;
    let mut rows = query.query(params).map_err(&doing)?;
    let mut records = Vec::new();
    while let Some(row) = rows.next().map_err(&doing)? {
        // Borrowed: a start reads thousands of these.
        let columns = || -> rusqlite::Result<_> {
            let sealed = Sealed {
                at: row.get(1)?,
                station: row.get_ref(2)?.as_str()?,
                version: row.get(3)?,
                body: row.get_ref(4)?.as_blob()?,
            };
            Ok((row.get::<_, i64>(0)?.cast_unsigned(), sealed))
        };
        let (seq, sealed) = columns().map_err(&doing)?;
        records.push(record(seq, &sealed)?);
    }
    Ok(records)
}

/// What a row says, if this program can read it.
fn record(seq: u64, row: &Sealed<'_>) -> Result<Record, StoreError> {
    let bad = |source| StoreError::Record { seq, source };
    if row.version > Fact::VERSION {
        return Err(bad(BadRecord::Version {
            found: row.version,
            known: Fact::VERSION,
        }));
    }
    Ok(Record {
        seq,
        at: Wall::from_millis(row.at).ok_or_else(|| bad(BadRecord::Instant(row.at)))?,
        station: StationId(row.station.to_owned()),
        fact: serde_json::from_slice(row.body).map_err(|error| bad(BadRecord::Body(error)))?,
    })
}

/// The tag of a fact in its JSON.
pub(super) const fn kind(fact: &Fact) -> &'static str {
    match fact {
        Fact::StationStarted { .. } => "station-started",
        Fact::RecipeRecorded { .. } => "recipe-recorded",
        Fact::DeviceSeen { .. } => "device-seen",
        Fact::RunStarted { .. } => "run-started",
        Fact::RunInterrupted { .. } => "run-interrupted",
        Fact::RunResumed { .. } => "run-resumed",
        Fact::StepStarted { .. } => "step-started",
        Fact::StepEnded { .. } => "step-ended",
        Fact::StepFailed { .. } => "step-failed",
        Fact::KeyRead { .. } => "key-read",
        Fact::UndoSealed { .. } => "undo-sealed",
        Fact::UndoDestroyed { .. } => "undo-destroyed",
        Fact::KeyIntended { .. } => "key-intended",
        Fact::KeyWritten { .. } => "key-written",
        Fact::KeyAbandoned { .. } => "key-abandoned",
        Fact::KeyRestored { .. } => "key-restored",
        Fact::ItemQueued { .. } => "item-queued",
        Fact::ItemSent { .. } => "item-sent",
        Fact::ItemAnswered { .. } => "item-answered",
        Fact::ItemWithdrawn { .. } => "item-withdrawn",
        Fact::CloudSeen { .. } => "cloud-seen",
        Fact::HandshakeSeen { .. } => "handshake-seen",
        Fact::Surveyed { .. } => "surveyed",
        Fact::Questioned { .. } => "questioned",
        Fact::Examined { .. } => "examined",
        Fact::Diagnosed { .. } => "diagnosed",
        Fact::PacketSigned { .. } => "packet-signed",
        Fact::KeyGiven { .. } => "key-given",
        Fact::KeyEscrowed { .. } => "key-escrowed",
        Fact::PacketTaken { .. } => "packet-taken",
        Fact::PacketEnded { .. } => "packet-ended",
        Fact::RestoreSealed { .. } => "restore-sealed",
        Fact::RestoreDestroyed { .. } => "restore-destroyed",
        Fact::ServiceOpened { .. } => "service-opened",
        Fact::ProtectedAgain { .. } => "protected-again",
        Fact::RunEnded { .. } => "run-ended",
        Fact::QuarantineReleased { .. } => "quarantine-released",
        Fact::OperatorNamed { .. } => "operator-named",
        Fact::WorkOrderNamed { .. } => "work-order-named",
        Fact::LabelBound { .. } => "label-bound",
        Fact::LabelRefused { .. } => "label-refused",
        Fact::EngineerCame { .. } => "engineer-came",
        Fact::EngineerLeft { .. } => "engineer-left",
        Fact::PinRefused {} => "pin-refused",
        Fact::LineStopped { .. } => "line-stopped",
        Fact::LineReleased { .. } => "line-released",
        Fact::RepairAsked { .. } => "repair-asked",
        Fact::RecipeChosen { .. } => "recipe-chosen",
        Fact::StepLeftOut { .. } => "step-left-out",
        Fact::RetryAsked { .. } => "retry-asked",
    }
}
