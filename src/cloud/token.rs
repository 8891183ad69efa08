//! The token on disk: a file that only its owner can read. Where it is, the caller says; never the environment.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub use super::secret_file::SecretFileError;
use super::{login::Token, secret_file};
use crate::model::{Secret, Wall};

/// A token as it is kept: by itself on a line, or in JSON with what is known of it.
#[derive(Clone, Debug)]
pub struct TokenFile {
    /// The token.
    pub token: Secret<String>,
    /// The account that it belongs to.
    pub username: Option<String>,
    /// When it ends, if that is known.
    pub expires_at: Option<Wall>,
}

impl TokenFile {
    /// A token fresh from a log-in.
    pub fn new(token: &Token, username: impl Into<String>) -> Self {
        Self {
            token: token.secret.clone(),
            username: Some(username.into()),
            expires_at: token.expires_at,
        }
    }

    /// Reads a file that must be its owner's alone.
    ///
    /// # Errors
    /// See [`SecretFileError`].
    pub fn read(path: &Path) -> Result<Self, SecretFileError> {
        Self::parse(&named(path), &secret_file::read(WHAT, path, 0o077)?)
    }

    /// Reads a credential that the service manager hands over (`$CREDENTIALS_DIRECTORY/particle-token`). Its directory
    /// is closed to others, and its group bits are the mask of an access list for this very service; so only bits for
    /// everybody are refused.
    ///
    /// # Errors
    /// See [`SecretFileError`].
    pub fn read_credential(path: &Path) -> Result<Self, SecretFileError> {
        Self::parse(&named(path), &secret_file::read(WHAT, path, 0o007)?)
    }

    /// Reads what a file or standard input holds: a bare token on one line, or JSON with `access_token`.
    ///
    /// # Errors
    /// [`SecretFileError::Content`], which names `source` and never shows the text.
    pub fn parse(source: &str, text: &str) -> Result<Self, SecretFileError> {
        let wrong = |what: &str| SecretFileError::Content {
            what: format!("{source} {what}"),
        };
        let text = text.trim();
        if text.is_empty() {
            return Err(wrong("is empty"));
        }
        let kept = if text.starts_with('{') {
            // The parser's message could quote the text.
            let stored: Stored = serde_json::from_str(text).map_err(|_| wrong("is no JSON object with \"access_token\""))?;
            let expires_at = match stored.expires_at {
                None => None,
                Some(at) => Some(Wall::parse(&at).ok_or_else(|| wrong("has an \"expires_at\" that is no RFC 3339 time"))?),
            };
            Self {
                token: stored.access_token.into(),
                username: stored.username,
                expires_at,
            }
        } else {
            Self {
                token: text.to_owned().into(),
                username: None,
                expires_at: None,
            }
        };
        if is_token(kept.token.expose()) {
            Ok(kept)
        } else {
            Err(wrong(
                "holds no token: one line of visible characters without spaces is expected",
            ))
        }
    }

    /// Writes the file for its owner alone. It is there whole or not at all, and on disk when this returns.
    ///
    /// # Errors
    /// [`SecretFileError::Write`]; an older file is then unchanged.
    pub fn write(&self, path: &Path) -> Result<(), SecretFileError> {
        self.replace(path).map_err(|source| SecretFileError::Write {
            what: WHAT,
            path: path.to_owned(),
            source,
        })
    }

    fn replace(&self, path: &Path) -> io::Result<()> {
        let text = Zeroizing::new(serde_json::to_vec_pretty(&Borrowed {
            access_token: self.token.expose(),
            username: self.username.as_deref(),
            expires_at: self.expires_at.map(|at| at.to_string()),
        })?);
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let mut file = tempfile::Builder::new()
            .prefix(".token")
            .permissions(std::fs::Permissions::from_mode(0o600))
            .tempfile_in(directory)?;
        file.write_all(&text)?;
        file.write_all(b"\n")?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        File::open(directory)?.sync_all()
    }
}

/// True for what can stand in a header as a token: visible ASCII, some but not too much.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST_TOKEN && text.bytes().all(|b| b.is_ascii_graphic())
}

/// As stored; names of the vendor's tool, whose file can be used as it is. Unknown fields are allowed for that reason.
#[derive(Deserialize)]
struct Stored {
    access_token: String,
    #[serde(default)]
    username: Option<String>,
    #[serde(default, alias = "access_token_expires_at")]
    expires_at: Option<String>,
}

#[derive(Serialize)]
struct Borrowed<'a> {
    access_token: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
}

fn named(path: &Path) -> String {
    secret_file::named(WHAT, path)
}

const WHAT: &str = "token file";
/// The cloud's tokens have 40 characters; other servers' may be longer.
const LONGEST_TOKEN: usize = 4096;

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;
    use crate::cloud::secret_file::LARGEST_FILE;

    fn file(mode: u32, content: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (dir, path)
    }

    #[test]
    fn what_is_written_is_read_again_by_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let token = TokenFile {
            token: Secret::new("s3same".into()),
            username: Some("me@shop.example".into()),
            expires_at: Wall::parse("2026-12-01T00:00:00Z"),
        };
        token.write(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no leftover");
        let again = TokenFile::read(&path).unwrap();
        assert_eq!(again.token.expose(), "s3same");
        assert_eq!((again.username, again.expires_at), (token.username, token.expires_at));
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_with_what_to_do() {
        for mode in [0o640, 0o604, 0o644, 0o660, 0o610] {
            let (_dir, path) = file(mode, b"s3same");
            let error = TokenFile::read(&path).unwrap_err();
            assert!(matches!(error, SecretFileError::Shared { mode: m, .. } if m == mode));
            assert!(
                error.to_string().contains("chmod 600") && !error.to_string().contains("s3same"),
                "{error}"
            );
        }
        for mode in [0o600, 0o400] {
            let (_dir, path) = file(mode, b"s3same\n");
            assert_eq!(TokenFile::read(&path).unwrap().token.expose(), "s3same");
        }
    }

    #[test]
    fn a_credential_may_carry_an_access_list_for_its_service() {
        let (_dir, path) = file(0o440, b"s3same");
        assert!(TokenFile::read_credential(&path).is_ok());
        let (_dir, path) = file(0o444, b"s3same");
        assert!(matches!(
            TokenFile::read_credential(&path),
            Err(SecretFileError::Shared { .. })
        ));
    }

    #[test]
    fn bare_lines_and_the_vendors_json_are_read_and_nothing_else() {
        let vendor =
            r#"{"apiUrl":"https://x","access_token":"abc","username":"u","access_token_expires_at":"2026-12-01T00:00:00.000Z"}"#;
        let read = TokenFile::parse("stdin", vendor).unwrap();
        assert_eq!(
            (read.token.expose().as_str(), read.expires_at),
            ("abc", Wall::parse("2026-12-01T00:00:00Z"))
        );
        assert_eq!(TokenFile::parse("stdin", "  abc\r\n").unwrap().token.expose(), "abc");
        for text in [
            "",
            " \n",
            "s3same s3same",
            "s3same\ns3same",
            "{s3same",
            r#"{"token":"s3same"}"#,
            r#"{"access_token":""}"#,
            r#"{"access_token":"s3same","expires_at":"s3same"}"#,
            "s3sämé",
        ] {
            let error = TokenFile::parse("standard input", text).unwrap_err();
            assert!(
                error.to_string().starts_with("standard input ") && !error.to_string().contains("s3s"),
                "{error}"
            );
        }
    }

    #[test]
    fn what_is_no_file_or_too_large_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(TokenFile::read(dir.path()), Err(SecretFileError::NotAFile { .. })));
        assert!(matches!(
            TokenFile::read(&dir.path().join("none")),
            Err(SecretFileError::Read { .. })
        ));
        let (_dir, path) = file(0o600, &vec![b'a'; LARGEST_FILE + 1]);
        assert!(matches!(TokenFile::read(&path), Err(SecretFileError::Content { .. })));
        let (_dir, path) = file(0o600, b"\xff\xfe");
        assert!(matches!(TokenFile::read(&path), Err(SecretFileError::Content { .. })));
    }

    #[test]
    fn a_failed_write_says_where_and_nothing_shows_the_token() {
        let token = TokenFile::parse("x", "s3same").unwrap();
        let error = token.write(Path::new("/nonexistent/place/token")).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/place/token"));
        assert!(!format!("{token:?} {error:?}").contains("s3same"));
    }
}
