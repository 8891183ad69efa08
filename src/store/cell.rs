//! How the vocabulary is spelt in columns: as everywhere else, through serde. Owns the conversions, both ways.

use rusqlite::{
    ToSql,
    types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::model::Wall;

/// A value that serde writes as one string: an id, a fingerprint, a word.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word<T>(pub(super) T);

/// A value with parts, as a JSON document.
#[derive(Clone, Copy, Debug)]
pub(super) struct Json<T>(pub(super) T);

/// An instant, as milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Millis(pub(super) Wall);

impl<T: Serialize> ToSql for Word<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match serde_json::to_value(&self.0) {
            Ok(serde_json::Value::String(text)) => Ok(text.into()),
            Ok(other) => Err(rusqlite::Error::ToSqlConversionFailure(
                format!("{other} is not a word").into(),
            )),
            Err(error) => Err(rusqlite::Error::ToSqlConversionFailure(error.into())),
        }
    }
}

impl<T: DeserializeOwned> FromSql for Word<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let text = serde_json::Value::String(value.as_str()?.to_owned());
        serde_json::from_value(text).map(Word).map_err(FromSqlError::other)
    }
}

impl<T: Serialize> ToSql for Json<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        serde_json::to_string(&self.0)
            .map(Into::into)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
    }
}

impl<T: DeserializeOwned> FromSql for Json<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        serde_json::from_str(value.as_str()?).map(Json).map_err(FromSqlError::other)
    }
}

impl ToSql for Millis {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.millis().into())
    }
}

impl FromSql for Millis {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let millis = value.as_i64()?;
        Wall::from_millis(millis).map(Millis).ok_or(FromSqlError::OutOfRange(millis))
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::model::{Code, DeviceId, Platform, Verdict, outbox::ItemState};

    #[test]
    fn columns_hold_the_spelling_of_screen_and_journal() {
        let conn = Connection::open_in_memory().unwrap();
        let text = |value: &dyn ToSql| conn.query_row("SELECT ?1", [value], |row| row.get::<_, String>(0)).unwrap();
        assert_eq!(
            text(&Word("E00FCE680123456789ABCDEF".parse::<DeviceId>().unwrap())),
            "e00fce680123456789abcdef"
        );
        assert_eq!(text(&Word(Code::KeyDuplicate)), Code::KeyDuplicate.text());
        assert_eq!(text(&Word(Verdict::RolledBack)), "rolled-back");
        assert_eq!(text(&Word(ItemState::Held)), "held");
        for platform in Platform::all() {
            let back: Word<Platform> = conn.query_row("SELECT ?1", [Word(platform)], |row| row.get(0)).unwrap();
            assert_eq!(back.0, platform);
        }
        assert!(
            conn.query_row("SELECT ?1", [Word(3)], |_| Ok(())).is_err(),
            "a number is not a word"
        );
        assert!(
            conn.query_row("SELECT 'nonsense'", [], |row| row.get::<_, Word<Verdict>>(0).map(|_| ()))
                .is_err()
        );
    }
}
