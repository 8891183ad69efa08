//! Proof that journal and tables agree: the journal is read from its first row, its numbering and chain are checked,
//! every table is built anew from it, and the two are compared. Changes nothing.

use std::{cmp::Ordering, fmt};

use rusqlite::{Connection, Statement, types::Value};
use serde::Serialize;

use super::{
    backup::Progress,
    error::{StoreError, sql},
    journal::{self, Head, Stored},
    ledger,
    migrate::{self, Version},
    schema::{MIGRATIONS, PROJECTIONS},
};

/// One way in which the ledger is not what its journal says, or the journal not what was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "difference")]
pub enum Difference {
    /// Rows are missing from the journal.
    Gap {
        /// The first missing sequence number.
        first: u64,
        /// The last one.
        last: u64,
    },
    /// The row, or the one before it, is not as it was written.
    Chain {
        /// Its sequence number.
        seq: u64,
    },
    /// A column that serves to find the row contradicts the fact in it.
    Mislabelled {
        /// Its sequence number.
        seq: u64,
        /// The column.
        column: String,
    },
    /// The row cannot be read as a fact.
    Unreadable {
        /// Its sequence number.
        seq: u64,
        /// Why.
        why: String,
    },
    /// The fact contradicts those before it.
    Illegal {
        /// Its sequence number.
        seq: u64,
        /// How.
        why: String,
    },
    /// The journal says that there is a row, and there is none.
    Missing {
        /// The table.
        table: String,
        /// Its primary key.
        key: String,
    },
    /// There is a row that the journal knows nothing of.
    Extra {
        /// The table.
        table: String,
        /// Its primary key.
        key: String,
    },
    /// A value is not what the journal says.
    Differs {
        /// The table.
        table: String,
        /// The primary key of the row.
        key: String,
        /// The column.
        column: String,
        /// What is there.
        stored: String,
        /// What the journal says.
        rebuilt: String,
    },
}

impl Difference {
    /// So many are reported at most: a ledger with more is simply wrong.
    pub const MOST: usize = 1000;
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gap { first, last } => write!(f, "records {first} to {last} are missing"),
            Self::Chain { seq } => write!(f, "record {seq} breaks the chain: it or the one before it was changed"),
            Self::Mislabelled { seq, column } => write!(f, "record {seq} is filed under a wrong {column}"),
            Self::Unreadable { seq, why } => write!(f, "record {seq} cannot be read: {why}"),
            Self::Illegal { seq, why } => write!(f, "record {seq} contradicts those before it: {why}"),
            Self::Missing { table, key } => write!(f, "{table} {key} is missing"),
            Self::Extra { table, key } => write!(f, "{table} {key} is not in the journal"),
            Self::Differs {
                table,
                key,
                column,
                stored,
                rebuilt,
            } => write!(f, "{table} {key}: {column} is {stored} and should be {rebuilt}"),
        }
    }
}

/// See [`super::Reader::verify`].
pub(super) fn verify(conn: &Connection, progress: &mut dyn FnMut(Progress)) -> Result<Vec<Difference>, StoreError> {
    let doing = sql("verifying the ledger");
    let known = u32::try_from(MIGRATIONS.len()).expect("there are few migrations");
    let path = conn.path().unwrap_or_default().into();
    match migrate::version(conn, std::path::Path::new(&path))? {
        Version::Ledger(found) if found > known => return Err(StoreError::Newer { path, found, known }),
        _ => {}
    }
    // One instant of the ledger, while the station writes on.
    let snapshot = conn.unchecked_transaction().map_err(&doing)?;
    let rebuilt = scratch()?;
    let mut found = Found(Vec::new());
    rebuilt.execute_batch("BEGIN").map_err(&doing)?;
    replay(&snapshot, &rebuilt, &mut found, progress)?;
    for (table, key) in PROJECTIONS {
        compare(&snapshot, &rebuilt, table, key, &mut found)?;
    }
    Ok(found.0)
}

/// An empty ledger in a temporary file that SQLite removes by itself.
fn scratch() -> Result<Connection, StoreError> {
    let conn = Connection::open("").map_err(sql("opening a temporary ledger"))?;
    conn.set_prepared_statement_cache_capacity(128);
    conn.pragma_update(None, "cache_size", CACHE)
        .map_err(sql("opening a temporary ledger"))?;
    for migration in MIGRATIONS {
        conn.execute_batch(migration.sql).map_err(|source| StoreError::Migration {
            name: migration.name,
            source,
        })?;
    }
    Ok(conn)
}

fn replay(
    stored: &Connection,
    rebuilt: &Connection,
    found: &mut Found,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), StoreError> {
    let doing = sql("reading the journal");
    let total = Head::read(stored)?.seq;
    let mut query = stored
        .prepare(&format!("SELECT {} FROM journal ORDER BY seq", journal::COLUMNS))
        .map_err(&doing)?;
    let rows = query.query_map([], Stored::from_row).map_err(&doing)?;
    let mut before = Head::EMPTY;
    for row in rows {
        let row = row.map_err(&doing)?;
        if found.full() {
            return Ok(());
        }
        if row.seq != before.seq + 1 {
            found.add(Difference::Gap {
                first: before.seq + 1,
                last: row.seq.saturating_sub(1),
            });
        } else if before.next(&row.sealed()).chain != row.chain.as_slice() {
            found.add(Difference::Chain { seq: row.seq });
        }
        // From the link as it is stored: each break is told once.
        before = Head {
            seq: row.seq,
            chain: row.chain.as_slice().try_into().unwrap_or_default(),
        };
        rebuild(rebuilt, &row, found)?;
        if row.seq % ROWS_PER_REPORT == 0 || row.seq == total {
            progress(Progress { done: row.seq, total });
        }
    }
    Ok(())
}

fn rebuild(conn: &Connection, row: &Stored, found: &mut Found) -> Result<(), StoreError> {
    let seq = row.seq;
    let record = match row.record() {
        Ok(record) => record,
        Err(error) => {
            found.add(Difference::Unreadable { seq, why: chain(&error) });
            return Ok(());
        }
    };
    if let Some(column) = row.mislabelled(&record.fact) {
        found.add(Difference::Mislabelled {
            seq,
            column: column.to_owned(),
        });
    }
    match ledger::project(conn, &record) {
        Err(StoreError::Illegal { source, .. }) => {
            found.add(Difference::Illegal {
                seq,
                why: source.to_string(),
            });
            Ok(())
        }
        other => other,
    }
}

fn chain(error: &StoreError) -> String {
    use std::error::Error;
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    causes.join(": ")
}

/// Walks both tables in the order of their primary key, side by side.
fn compare(stored: &Connection, rebuilt: &Connection, table: &str, key: &[&str], found: &mut Found) -> Result<(), StoreError> {
    let doing = sql("comparing the tables of the ledger");
    // The primary key in front, to compare by; all are texts, ordered by their bytes.
    let text = format!("SELECT {0}, * FROM {table} ORDER BY {0}", key.join(", "));
    let mut one = stored.prepare(&text).map_err(&doing)?;
    let mut two = rebuilt.prepare(&text).map_err(&doing)?;
    let columns: Vec<String> = one.column_names().map(str::to_owned).collect();
    let mut one = values(&mut one).map_err(&doing)?;
    let mut two = values(&mut two).map_err(&doing)?;
    let mut left = one.next().transpose().map_err(&doing)?;
    let mut right = two.next().transpose().map_err(&doing)?;
    while !found.full() {
        let order = match (&left, &right) {
            (None, None) => return Ok(()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(left), Some(right)) => words(&left[..key.len()]).cmp(&words(&right[..key.len()])),
        };
        match (order, &left, &right) {
            (Ordering::Equal, Some(left), Some(right)) => {
                let pairs = columns.iter().zip(left.iter().zip(right)).skip(key.len());
                for (column, (stored, rebuilt)) in pairs.filter(|(_, (left, right))| left != right) {
                    found.add(Difference::Differs {
                        table: table.to_owned(),
                        key: words(&left[..key.len()]).join(" "),
                        column: column.clone(),
                        stored: word(stored),
                        rebuilt: word(rebuilt),
                    });
                }
            }
            (Ordering::Less, Some(row), _) => found.add(Difference::Extra {
                table: table.to_owned(),
                key: words(&row[..key.len()]).join(" "),
            }),
            (_, _, Some(row)) => found.add(Difference::Missing {
                table: table.to_owned(),
                key: words(&row[..key.len()]).join(" "),
            }),
            _ => unreachable!("the order says which row there is"),
        }
        if order != Ordering::Greater {
            left = one.next().transpose().map_err(&doing)?;
        }
        if order != Ordering::Less {
            right = two.next().transpose().map_err(&doing)?;
        }
    }
    Ok(())
}

fn values<'a>(query: &'a mut Statement<'_>) -> rusqlite::Result<impl Iterator<Item = rusqlite::Result<Vec<Value>>> + use<'a>> {
    let columns = query.column_count();
    query.query_map([], move |row| (0..columns).map(|column| row.get(column)).collect())
}

fn words(values: &[Value]) -> Vec<String> {
    values.iter().map(word).collect()
}

fn word(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        Value::Blob(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

struct Found(Vec<Difference>);

impl Found {
    fn add(&mut self, difference: Difference) {
        if !self.full() {
            self.0.push(difference);
        }
    }

    fn full(&self) -> bool {
        self.0.len() >= Difference::MOST
    }
}

/// Often enough for a progress bar, rarely enough not to cost anything.
const ROWS_PER_REPORT: u64 = 4096;

/// Memory for pages of the temporary ledger, in KiB as SQLite wants it: negative.
const CACHE: i64 = -64 * 1024;
