//! An OAuth client of a product on disk: its id and secret, in a file that only its owner can read.

use std::path::Path;

use serde::Deserialize;

use super::{
    login::OauthClient,
    secret_file::{self, SecretFileError},
    token::is_token,
};
use crate::model::Secret;

/// Reads a client from a file that must be its owner's alone: id and secret on a line each, or the JSON object with
/// which the cloud answered when the client was made.
///
/// # Errors
/// See [`SecretFileError`]; none shows anything of the file.
pub fn read(path: &Path) -> Result<OauthClient, SecretFileError> {
    parse(&secret_file::named(WHAT, path), &secret_file::read(WHAT, path, 0o077)?)
}

fn parse(source: &str, text: &str) -> Result<OauthClient, SecretFileError> {
    let wrong = |how: &str| SecretFileError::Content {
        what: format!("{source} {how}"),
    };
    let text = text.trim();
    let client = if text.starts_with('{') {
        // The parser's message could quote the text.
        let stored: Stored = serde_json::from_str(text).map_err(|_| wrong(EXPECTED))?;
        let client = stored.client.or(stored.own).ok_or_else(|| wrong(EXPECTED))?;
        OauthClient {
            id: client.id,
            secret: client.secret.into(),
        }
    } else {
        let mut lines = text.lines().map(str::trim);
        let (Some(id), Some(secret), None) = (lines.next(), lines.next(), lines.next()) else {
            return Err(wrong(EXPECTED));
        };
        OauthClient {
            id: id.to_owned(),
            secret: Secret::new(secret.to_owned()),
        }
    };
    let is_id = |id: &str| (3..=40).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if is_id(&client.id) && is_token(client.secret.expose()) {
        Ok(client)
    } else {
        Err(wrong(EXPECTED))
    }
}

#[derive(Deserialize)]
struct Stored {
    client: Option<StoredClient>,
    #[serde(flatten)]
    own: Option<StoredClient>,
}

#[derive(Deserialize)]
struct StoredClient {
    #[serde(alias = "client_id")]
    id: String,
    #[serde(alias = "client_secret")]
    secret: String,
}

const WHAT: &str = "OAuth client file";
const EXPECTED: &str = "holds no client: its id on one line and its secret on the next are expected";

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn lines_and_the_clouds_answer_are_read_and_nothing_else() {
        for text in [
            "shop-1234\ns3same\n",
            " shop-1234 \r\n s3same\r\n",
            r#"{"ok":true,"client":{"name":"shop","type":"installed","id":"shop-1234","secret":"s3same"}}"#,
            r#"{"client_id":"shop-1234","client_secret":"s3same"}"#,
        ] {
            let client = parse("x", text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((client.id.as_str(), client.secret.expose().as_str()), ("shop-1234", "s3same"));
        }
        for text in [
            "",
            "shop-1234",
            "shop-1234\ns3same\ns3same",
            "s3same s3same\ns3same",
            "{s3same",
            r#"{"id":"shop-1234"}"#,
            r#"{"id":"shop-1234","secret":""}"#,
        ] {
            let error = parse("the file", text).unwrap_err();
            assert!(
                error.to_string().starts_with("the file ") && !format!("{error:?}").contains("s3s"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("client");
        fs::write(&path, "shop-1234\ns3same\n").unwrap();
        for (mode, fine) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read(&path).is_ok(), fine, "{mode:o}");
        }
        assert!(matches!(read(dir.path()), Err(SecretFileError::NotAFile { .. })));
        assert!(matches!(read(&dir.path().join("none")), Err(SecretFileError::Read { .. })));
    }
}
