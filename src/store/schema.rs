//! The tables of the ledger, as SQL. Owns the text of every migration and nothing else.
//!
//! `journal` is the truth and append-only. Every other table is a projection of it: `keyrack replay --verify` rebuilds
//! them and compares. Identifiers, words and fingerprints are stored as they are spelt everywhere else; instants are
//! milliseconds since the Unix epoch, UTC.

use super::migrate::Migration;

/// `application_id` of a ledger: the bytes `kyrk`. A file with another one is not ours and is left alone.
pub(super) const APPLICATION_ID: i32 = 0x6b79_726b;

/// Every schema that was ever released, in order; `user_version` counts how many of them a file has.
pub(super) const MIGRATIONS: &[Migration] = &[
    Migration {
        name: "first",
        sql: FIRST,
    },
    Migration {
        name: "quarantine",
        sql: QUARANTINE,
    },
    Migration {
        name: "repair",
        sql: REPAIR,
    },
    Migration { name: "move", sql: MOVE },
    Migration {
        name: "packets",
        sql: PACKETS,
    },
    Migration {
        name: "shift",
        sql: SHIFT,
    },
    Migration { name: "lost", sql: LOST },
    Migration {
        name: "protection",
        sql: PROTECTION,
    },
    Migration {
        name: "choice",
        sql: CHOICE,
    },
];

/// The projected tables with their primary keys, in an order that satisfies their references.
pub(super) const PROJECTIONS: &[(&str, &[&str])] = &[
    ("recipe", &["hash"]),
    ("device", &["id"]),
    ("run", &["id"]),
    ("key", &["device", "fingerprint"]),
    ("item", &["id"]),
    ("undo", &["run"]),
    ("restore", &["run"]),
    ("packet", &["id"]),
    ("shift", &["seq"]),
];

const FIRST: &str = r"
CREATE TABLE journal (
    seq     INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    station TEXT    NOT NULL,
    run     TEXT,               -- the run that the fact belongs to
    device  TEXT,               -- the device that the fact names
    version INTEGER NOT NULL,   -- of the encoding of body
    kind    TEXT    NOT NULL,
    body    BLOB    NOT NULL,   -- the fact as JSON, never changed
    chain   BLOB    NOT NULL CHECK (length(chain) = 32)
) STRICT;
CREATE INDEX journal_run ON journal (run) WHERE run IS NOT NULL;
CREATE INDEX journal_seen ON journal (device) WHERE run IS NULL AND device IS NOT NULL;
CREATE TRIGGER journal_no_update BEFORE UPDATE ON journal
    BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER journal_no_delete BEFORE DELETE ON journal
    BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
-- also stops INSERT OR REPLACE, which deletes without the trigger above
CREATE TRIGGER journal_no_gap BEFORE INSERT ON journal
    WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM journal)
    BEGIN SELECT RAISE(ABORT, 'the journal has no gaps'); END;

CREATE TABLE recipe (
    hash        TEXT PRIMARY KEY,
    name        TEXT    NOT NULL,
    text        TEXT    NOT NULL,
    recorded_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE device (
    id               TEXT PRIMARY KEY,
    tail             TEXT NOT NULL,                -- the id read backwards: a label often shows its end only
    platform         TEXT,
    transport        TEXT,                         -- only where the device tells that it differs from the platform's
    protection       TEXT,
    serial           TEXT COLLATE NOCASE,
    iccid            TEXT COLLATE NOCASE,
    imei             TEXT COLLATE NOCASE,
    hardware         TEXT,
    os_version       TEXT,
    modules          TEXT,                         -- JSON
    first_seen       INTEGER NOT NULL,
    last_seen        INTEGER NOT NULL,
    last_slot        INTEGER,
    slot_content     TEXT,                         -- valid, blank or corrupt: by the last reading that could tell
    key_in_slot      TEXT,                         -- fingerprint last read, written or restored
    key_intended     TEXT,                         -- a write of this key was announced and is neither confirmed nor given up
    key_accepted     TEXT,                         -- fingerprint that the cloud last accepted
    accepted_at      INTEGER,
    accepted_product TEXT,
    key_ambiguous    TEXT,                         -- an upload of this key may or may not have arrived
    handshake_at     INTEGER,
    runs             INTEGER NOT NULL DEFAULT 0,
    last_run         TEXT,
    last_recipe      TEXT,
    last_verdict     TEXT,
    last_code        TEXT,
    pass_recipe      TEXT,
    pass_key         TEXT,
    -- The rule of APART, in the only place where it is written. A device that no cloud ever accepted is not apart.
    apart TEXT GENERATED ALWAYS AS (CASE
        WHEN key_ambiguous IS NOT NULL THEN 'ambiguous'
        WHEN key_accepted IS NULL THEN NULL
        WHEN key_intended IS NOT NULL THEN 'writing'
        WHEN slot_content <> 'valid' OR key_in_slot <> key_accepted THEN 'differs'
    END) VIRTUAL
) STRICT;
CREATE INDEX device_tail ON device (tail);
CREATE INDEX device_serial ON device (serial) WHERE serial IS NOT NULL;
CREATE INDEX device_iccid ON device (iccid) WHERE iccid IS NOT NULL;
CREATE INDEX device_imei ON device (imei) WHERE imei IS NOT NULL;
CREATE INDEX device_verdict ON device (last_verdict, id) WHERE last_verdict IS NOT NULL;
CREATE INDEX device_apart ON device (id) WHERE apart IS NOT NULL;

CREATE TABLE run (
    id               TEXT PRIMARY KEY,
    device           TEXT    NOT NULL REFERENCES device (id),
    nth              INTEGER NOT NULL,             -- 1 for the first run of its device
    slot             INTEGER NOT NULL,             -- where it is or was last
    recipe           TEXT    NOT NULL REFERENCES recipe (hash),
    plan             TEXT    NOT NULL,             -- JSON
    operator         TEXT,
    order_id         TEXT,
    order_product    TEXT,
    order_quantity   INTEGER,
    started          INTEGER NOT NULL,
    state            TEXT    NOT NULL CHECK (state IN ('open', 'interrupted', 'closed')),
    interrupted_code TEXT,                         -- why, while interrupted
    handshake_at     INTEGER,
    ended            INTEGER,
    verdict          TEXT,
    code             TEXT,
    why              TEXT,
    proved           INTEGER NOT NULL DEFAULT 0 CHECK (proved IN (0, 1)),
    last_seq         INTEGER NOT NULL,             -- of the last fact that belongs to it
    CHECK ((state = 'closed') = (ended IS NOT NULL) AND (ended IS NULL) = (verdict IS NULL))
) STRICT;
CREATE INDEX run_device ON run (device, nth);
CREATE INDEX run_open ON run (id) WHERE ended IS NULL;
CREATE INDEX run_ended ON run (ended, verdict, nth, code) WHERE ended IS NOT NULL;
CREATE INDEX run_order ON run (order_id, ended) WHERE order_id IS NOT NULL;

CREATE TABLE key (
    device      TEXT    NOT NULL REFERENCES device (id),
    fingerprint TEXT    NOT NULL,
    kind        TEXT    NOT NULL,
    spki        BLOB    NOT NULL,
    origin      TEXT    NOT NULL CHECK (origin IN ('read', 'made')),
    state       TEXT    NOT NULL CHECK (state IN ('intended', 'in-slot', 'gone', 'abandoned')),
    first_seen  INTEGER NOT NULL,
    last_seen   INTEGER NOT NULL,
    accepted_at INTEGER,
    PRIMARY KEY (device, fingerprint)
) STRICT;
CREATE INDEX key_fingerprint ON key (fingerprint);

CREATE TABLE item (
    id           TEXT PRIMARY KEY,
    run          TEXT    NOT NULL REFERENCES run (id),
    device       TEXT    NOT NULL REFERENCES device (id),
    product      TEXT,
    kind         TEXT    NOT NULL CHECK (kind IN ('import', 'key')),
    errand       TEXT    NOT NULL,                 -- JSON
    fingerprint  TEXT,                             -- of the key, if it is about a key
    state        TEXT    NOT NULL CHECK (state IN ('held', 'queued', 'sent', 'accepted', 'refused', 'withdrawn')),
    attempts     INTEGER NOT NULL,
    open_attempt INTEGER,                          -- sent and not answered
    ambiguous    INTEGER NOT NULL,                 -- how many attempts may or may not have arrived
    refusals     INTEGER NOT NULL DEFAULT 0,       -- how many definite refusals; the second one settles it
    next_at      INTEGER,                          -- not before, as the cloud asked
    last_answer  TEXT,                             -- JSON
    why          TEXT,                             -- of a withdrawal
    queued_at    INTEGER NOT NULL,
    sent_at      INTEGER,
    answered_at  INTEGER,
    settled_at   INTEGER,
    CHECK ((state IN ('accepted', 'refused', 'withdrawn')) = (settled_at IS NOT NULL)),
    CHECK ((kind = 'key') = (fingerprint IS NOT NULL)),
    CHECK ((state = 'sent') = (open_attempt IS NOT NULL))
) STRICT;
CREATE INDEX item_unsettled ON item (run) WHERE settled_at IS NULL;
CREATE INDEX item_device ON item (device);
CREATE INDEX item_owed ON item (device) WHERE settled_at IS NULL;

CREATE TABLE undo (
    run          TEXT PRIMARY KEY REFERENCES run (id),
    device       TEXT    NOT NULL,
    sha256       TEXT    NOT NULL,                 -- of the sealed file
    content      TEXT    NOT NULL,                 -- what the copied slot held, in one word
    sealed_at    INTEGER NOT NULL,
    destroyed_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX undo_kept ON undo (run) WHERE destroyed_at IS NULL;
";

/// A device that ended QUARANTINED is left alone until a named person releases it.
const QUARANTINE: &str = r"
ALTER TABLE device ADD COLUMN quarantined TEXT;    -- its last run, if that ended QUARANTINED and is not released
UPDATE device SET quarantined = last_run WHERE last_verdict = 'quarantined';
ALTER TABLE run ADD COLUMN released_at INTEGER;    -- from QUARANTINED
ALTER TABLE run ADD COLUMN released_by TEXT;
ALTER TABLE run ADD COLUMN released_why TEXT;
";

/// Chains of items, repairs, and what a device must get back.
const REPAIR: &str = r"
CREATE TABLE item_2 (
    id           TEXT PRIMARY KEY,
    run          TEXT    NOT NULL REFERENCES run (id),
    device       TEXT    NOT NULL REFERENCES device (id),
    product      TEXT,
    kind         TEXT    NOT NULL CHECK (kind IN ('import', 'key', 'release', 'claim', 'restore')),
    errand       TEXT    NOT NULL,                 -- JSON
    follows      TEXT,                             -- the item before it in its chain
    fingerprint  TEXT,                             -- of the key, if it is about a key
    state        TEXT    NOT NULL CHECK (state IN ('held', 'queued', 'sent', 'accepted', 'refused', 'withdrawn')),
    attempts     INTEGER NOT NULL,
    open_attempt INTEGER,                          -- sent and not answered
    ambiguous    INTEGER NOT NULL,                 -- how many attempts may or may not have arrived
    refusals     INTEGER NOT NULL DEFAULT 0,       -- how many definite refusals; the second one settles it
    next_at      INTEGER,                          -- not before, as the cloud asked
    last_answer  TEXT,                             -- JSON
    why          TEXT,                             -- of a withdrawal
    queued_at    INTEGER NOT NULL,
    sent_at      INTEGER,
    answered_at  INTEGER,
    settled_at   INTEGER,
    CHECK ((state IN ('accepted', 'refused', 'withdrawn')) = (settled_at IS NOT NULL)),
    CHECK ((kind = 'key') = (fingerprint IS NOT NULL)),
    CHECK ((state = 'sent') = (open_attempt IS NOT NULL))
) STRICT;
INSERT INTO item_2 (id, run, device, product, kind, errand, fingerprint, state, attempts, open_attempt, ambiguous, refusals,
    next_at, last_answer, why, queued_at, sent_at, answered_at, settled_at)
    SELECT id, run, device, product, kind, errand, fingerprint, state, attempts, open_attempt, ambiguous, refusals,
    next_at, last_answer, why, queued_at, sent_at, answered_at, settled_at FROM item;
DROP TABLE item;
ALTER TABLE item_2 RENAME TO item;
CREATE INDEX item_unsettled ON item (run) WHERE settled_at IS NULL;
CREATE INDEX item_device ON item (device);
CREATE INDEX item_owed ON item (device) WHERE settled_at IS NULL;
ALTER TABLE run ADD COLUMN diagnosis TEXT;         -- JSON
ALTER TABLE run ADD COLUMN product TEXT;           -- that the diagnosis fixed
CREATE TABLE restore (
    run          TEXT PRIMARY KEY REFERENCES run (id),
    device       TEXT    NOT NULL,
    sha256       TEXT    NOT NULL,                 -- of the sealed file
    sealed_at    INTEGER NOT NULL,
    destroyed_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX restore_kept ON restore (run) WHERE destroyed_at IS NULL;
";

/// Devices that are moved from one product to another, a last look at those that were given back, and the reference under
/// which a device was returned.
const MOVE: &str = r"
ALTER TABLE run ADD COLUMN reference TEXT;
CREATE TABLE item_3 (
    id           TEXT PRIMARY KEY,
    run          TEXT    NOT NULL REFERENCES run (id),
    device       TEXT    NOT NULL REFERENCES device (id),
    product      TEXT,
    kind         TEXT    NOT NULL CHECK (kind IN ('import', 'key', 'release', 'remove', 'claim', 'restore', 'confirm')),
    errand       TEXT    NOT NULL,                 -- JSON
    follows      TEXT,                             -- the item before it in its chain
    fingerprint  TEXT,                             -- of the key, if it is about a key
    state        TEXT    NOT NULL CHECK (state IN ('held', 'queued', 'sent', 'accepted', 'refused', 'withdrawn')),
    attempts     INTEGER NOT NULL,
    open_attempt INTEGER,                          -- sent and not answered
    ambiguous    INTEGER NOT NULL,                 -- how many attempts may or may not have arrived
    refusals     INTEGER NOT NULL DEFAULT 0,       -- how many definite refusals; the second one settles it
    next_at      INTEGER,                          -- not before, as the cloud asked
    last_answer  TEXT,                             -- JSON
    why          TEXT,                             -- of a withdrawal
    queued_at    INTEGER NOT NULL,
    sent_at      INTEGER,
    answered_at  INTEGER,
    settled_at   INTEGER,
    CHECK ((state IN ('accepted', 'refused', 'withdrawn')) = (settled_at IS NOT NULL)),
    CHECK ((kind = 'key') = (fingerprint IS NOT NULL)),
    CHECK ((state = 'sent') = (open_attempt IS NOT NULL))
) STRICT;
INSERT INTO item_3 (id, run, device, product, kind, errand, follows, fingerprint, state, attempts, open_attempt, ambiguous, refusals,
    next_at, last_answer, why, queued_at, sent_at, answered_at, settled_at)
    SELECT id, run, device, product, kind, errand, follows, fingerprint, state, attempts, open_attempt, ambiguous, refusals,
    next_at, last_answer, why, queued_at, sent_at, answered_at, settled_at FROM item;
DROP TABLE item;
ALTER TABLE item_3 RENAME TO item;
CREATE INDEX item_unsettled ON item (run) WHERE settled_at IS NULL;
CREATE INDEX item_device ON item (device);
CREATE INDEX item_owed ON item (device) WHERE settled_at IS NULL;
";

/// Packets: they owe items and take devices from their owners as runs do, so these two need not be a run's any more. Which
/// words a column may hold is for the types to say, not for the tables: a new one needs no new table then.
const PACKETS: &str = r"
CREATE TABLE packet (
    id          TEXT PRIMARY KEY,                  -- of the kind of a run's, and no run's
    device      TEXT    NOT NULL REFERENCES device (id),
    fingerprint TEXT    NOT NULL,
    product     TEXT,
    manifest    TEXT,                              -- JSON
    unchecked   TEXT    NOT NULL,                  -- JSON
    reference   TEXT,
    vouched_by  TEXT,
    operator    TEXT,
    taken_at    INTEGER NOT NULL,
    ended_at    INTEGER,
    result      TEXT,
    code        TEXT,
    why         TEXT,
    CHECK ((ended_at IS NULL) = (result IS NULL) AND (reference IS NULL) = (vouched_by IS NULL))
) STRICT;
CREATE INDEX packet_device ON packet (device);
CREATE INDEX packet_open ON packet (id) WHERE ended_at IS NULL;
CREATE TABLE key_2 (
    device      TEXT    NOT NULL REFERENCES device (id),
    fingerprint TEXT    NOT NULL,
    kind        TEXT    NOT NULL,
    spki        BLOB    NOT NULL,
    origin      TEXT    NOT NULL,
    state       TEXT    NOT NULL,
    first_seen  INTEGER NOT NULL,
    last_seen   INTEGER NOT NULL,
    accepted_at INTEGER,
    PRIMARY KEY (device, fingerprint)
) STRICT;
INSERT INTO key_2 (device, fingerprint, kind, spki, origin, state, first_seen, last_seen, accepted_at)
    SELECT device, fingerprint, kind, spki, origin, state, first_seen, last_seen, accepted_at FROM key;
DROP TABLE key;
ALTER TABLE key_2 RENAME TO key;
CREATE INDEX key_fingerprint ON key (fingerprint);
CREATE TABLE item_4 (
    id           TEXT PRIMARY KEY,
    run          TEXT    NOT NULL,                 -- the run or the packet that owes it
    device       TEXT    NOT NULL REFERENCES device (id),
    product      TEXT,
    kind         TEXT    NOT NULL,
    errand       TEXT    NOT NULL,                 -- JSON
    follows      TEXT,                             -- the item before it in its chain
    fingerprint  TEXT,                             -- of the key, if it is about a key
    state        TEXT    NOT NULL CHECK (state IN ('held', 'queued', 'sent', 'accepted', 'refused', 'withdrawn')),
    attempts     INTEGER NOT NULL,
    open_attempt INTEGER,                          -- sent and not answered
    ambiguous    INTEGER NOT NULL,                 -- how many attempts may or may not have arrived
    refusals     INTEGER NOT NULL DEFAULT 0,       -- how many definite refusals; the second one settles it
    next_at      INTEGER,                          -- not before, as the cloud asked
    last_answer  TEXT,                             -- JSON
    why          TEXT,                             -- of a withdrawal
    queued_at    INTEGER NOT NULL,
    sent_at      INTEGER,
    answered_at  INTEGER,
    settled_at   INTEGER,
    CHECK ((state IN ('accepted', 'refused', 'withdrawn')) = (settled_at IS NOT NULL)),
    CHECK ((kind = 'key') = (fingerprint IS NOT NULL)),
    CHECK ((state = 'sent') = (open_attempt IS NOT NULL))
) STRICT;
INSERT INTO item_4 (id, run, device, product, kind, errand, follows, fingerprint, state, attempts, open_attempt, ambiguous,
    refusals, next_at, last_answer, why, queued_at, sent_at, answered_at, settled_at)
    SELECT id, run, device, product, kind, errand, follows, fingerprint, state, attempts, open_attempt, ambiguous,
    refusals, next_at, last_answer, why, queued_at, sent_at, answered_at, settled_at FROM item;
DROP TABLE item;
ALTER TABLE item_4 RENAME TO item;
CREATE INDEX item_unsettled ON item (run) WHERE settled_at IS NULL;
CREATE INDEX item_device ON item (device);
CREATE INDEX item_owed ON item (device) WHERE settled_at IS NULL;
CREATE TABLE restore_2 (
    run          TEXT PRIMARY KEY,                 -- the run or the packet that takes the device from its owner
    device       TEXT    NOT NULL,
    sha256       TEXT    NOT NULL,                 -- of the sealed file
    sealed_at    INTEGER NOT NULL,
    destroyed_at INTEGER
) STRICT, WITHOUT ROWID;
INSERT INTO restore_2 (run, device, sha256, sealed_at, destroyed_at)
    SELECT run, device, sha256, sealed_at, destroyed_at FROM restore;
DROP TABLE restore;
ALTER TABLE restore_2 RENAME TO restore;
CREATE INDEX restore_kept ON restore (run) WHERE destroyed_at IS NULL;
";

/// What counts for the station as a whole and outlives a start: which records tell it.
const SHIFT: &str = r"
CREATE TABLE shift (
    seq    INTEGER PRIMARY KEY,                    -- of the record
    kind   TEXT NOT NULL,                          -- of its fact
    device TEXT                                    -- the device that the fact names
) STRICT;
INSERT INTO shift SELECT seq, kind, device FROM journal WHERE kind = 'run-ended' ORDER BY seq DESC LIMIT 100;
ALTER TABLE device ADD COLUMN labelled_at INTEGER; -- when its label was last compared with it and found to be its own
CREATE INDEX item_refused ON item (settled_at) WHERE state = 'refused';
";

/// Devices that were taken from their owner or their product, and could not be given back.
const LOST: &str = r"
ALTER TABLE device ADD COLUMN lost TEXT;           -- what was refused: claim, confirm or import
DROP INDEX device_apart;
ALTER TABLE device DROP COLUMN apart;
-- The rule of APART, with the devices that were lost on top.
ALTER TABLE device ADD COLUMN apart TEXT GENERATED ALWAYS AS (CASE
        WHEN lost IS NOT NULL THEN 'lost'
        WHEN key_ambiguous IS NOT NULL THEN 'ambiguous'
        WHEN key_accepted IS NULL THEN NULL
        WHEN key_intended IS NOT NULL THEN 'writing'
        WHEN slot_content <> 'valid' OR key_in_slot <> key_accepted THEN 'differs'
    END) VIRTUAL;
CREATE INDEX device_apart ON device (id) WHERE apart IS NOT NULL;
";

/// A protected device that was open, and has not shown that it is protected since.
const PROTECTION: &str = r"
ALTER TABLE device ADD COLUMN unprotected_since INTEGER;
UPDATE device SET unprotected_since = (
    SELECT at FROM journal
    WHERE journal.device = device.id AND run IS NULL AND kind = 'device-seen'
        AND json_extract(CAST(body AS TEXT), '$.identity.protection') = 'service'
        AND seq > coalesce((
            SELECT max(seq) FROM journal
            WHERE journal.device = device.id AND run IS NULL AND kind = 'device-seen'
                AND json_extract(CAST(body AS TEXT), '$.identity.protection') = 'protected'), 0)
    ORDER BY seq LIMIT 1);
CREATE INDEX device_unprotected ON device (id) WHERE unprotected_since IS NOT NULL;
";

/// The recipes that engineers chose.
const CHOICE: &str = r"
ALTER TABLE shift ADD COLUMN platform TEXT;        -- the platform that the fact names
";
