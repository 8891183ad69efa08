//! `keyrack login` and `keyrack logout`: getting a token, keeping it, revoking it.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::Path,
    time::Duration,
};

use clap::Args;
use serde::Serialize;

use super::{
    Context,
    cloud::{Access, CloudArgs},
    error::{Answered, CliError},
    exit::ExitCode,
    help,
    places::TokenPlace,
    prompt::Prompt,
};
use crate::{
    cloud::{Api, login, token::TokenFile},
    model::{Secret, Wall, outbox::Answer},
};

/// Get a token from the cloud and keep it
///
/// Asks for the password without showing it, and for a one-time code if the account has a second factor. Without a
/// terminal the password is the first line of standard input and the code the second. The token goes to a file that
/// only you can read; the password goes nowhere but to the cloud. Nothing is tried twice: ten failures in a row lock
/// this address out.
#[derive(Args, Debug)]
#[command(after_long_help = help::after(
    &[
        ("keyrack login --user eva@shop.example", "asks for the password and keeps a token for 12 hours"),
        ("pass show particle | keyrack login --user eva@shop.example --expires 7d", "the same without a terminal"),
    ],
    &[ExitCode::Passed, ExitCode::Usage, ExitCode::Cloud, ExitCode::Ledger, ExitCode::Interrupted],
))]
pub(super) struct LoginArgs {
    /// The account, an e-mail address; asked for at a terminal
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// How long the token lasts: a number with s, m, h or d
    #[arg(long, value_name = "TIME", default_value = "12h", value_parser = lifetime)]
    expires: Duration,
    #[command(flatten)]
    cloud: CloudArgs,
}

/// Revoke the token and remove it
///
/// The token is revoked in the cloud first, so that a copy of the file is worth nothing, and then removed.
#[derive(Args, Debug)]
#[command(after_long_help = help::after(
    &[("keyrack logout", "revokes the token of this station")],
    &[ExitCode::Passed, ExitCode::Usage, ExitCode::Cloud, ExitCode::Ledger],
))]
pub(super) struct LogoutArgs {
    /// Remove the file even if the cloud cannot be asked; the token then stays good until it ends
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    cloud: CloudArgs,
}

#[derive(Serialize)]
struct LoggedIn<'a> {
    event: &'static str,
    user: &'a str,
    token_file: &'a Path,
    expires_at: Option<Wall>,
}

#[derive(Serialize)]
struct LoggedOut<'a> {
    event: &'static str,
    revoked: bool,
    token_file: &'a Path,
}

/// `keyrack login`.
pub(super) fn run(args: &LoginArgs, context: &Context) -> Result<ExitCode, CliError> {
    let station = context.station()?;
    let access = Access::new(&args.cloud, station.as_ref(), context)?;
    let TokenPlace::File(path) = &access.token else {
        return Err(CliError::Missing {
            what: "the token is a credential of the service manager, which cannot be written",
            next: "name a file with --token-file FILE",
        });
    };
    let http = access.http()?;
    let prompt = Prompt::new(&context.printer)?;
    let user = match &args.user {
        Some(user) => user.clone(),
        None if prompt.is_terminal() => prompt.line("user: ")?,
        None => {
            return Err(CliError::Missing {
                what: "there is no terminal to ask for the user",
                next: "name it with --user USER",
            });
        }
    };
    let password = prompt.secret("password: ")?;
    let mut failed = None;
    let token = login::password(
        &*http,
        &user,
        &password,
        Some(args.expires),
        &mut || match prompt.secret("one-time code: ") {
            Ok(code) => Some(code),
            Err(error) => {
                failed = Some(error);
                None
            }
        },
    );
    if let Some(error) = failed {
        return Err(error);
    }
    let kept = TokenFile::new(&token?, &user);
    make_parent(path)?;
    kept.write(path)?;
    if context.printer.is_json() {
        context.printer.object(&LoggedIn {
            event: "login",
            user: &user,
            token_file: path,
            expires_at: kept.expires_at,
        });
    } else {
        let until = kept.expires_at.map(|at| format!(" until {at}")).unwrap_or_default();
        context
            .printer
            .line(format!("logged in as {user}{until}; the token is in \"{}\"", path.display()));
    }
    Ok(ExitCode::Passed)
}

/// `keyrack logout`.
pub(super) fn logout(args: &LogoutArgs, context: &Context) -> Result<ExitCode, CliError> {
    let station = context.station()?;
    let access = Access::new(&args.cloud, station.as_ref(), context)?;
    let path = access.token.path();
    let revoked = match revoke(&access) {
        Ok(()) => true,
        Err(_) if args.force => false,
        Err(error) => return Err(error),
    };
    if matches!(access.token, TokenPlace::File(_)) {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(CliError::File {
                    doing: "remove the token file",
                    path: path.to_owned(),
                    source: error,
                });
            }
            _ => {}
        }
    }
    if context.printer.is_json() {
        context.printer.object(&LoggedOut {
            event: "logout",
            revoked,
            token_file: path,
        });
    } else if revoked {
        context.printer.line("logged out: the token is revoked and removed");
    } else {
        context
            .printer
            .line("the token is removed here; it was not revoked and stays good until it ends");
    }
    Ok(ExitCode::Passed)
}

fn revoke(access: &Access) -> Result<(), CliError> {
    // A file that was open to others is revoked all the more.
    let token: Secret<String> = access.token()?.token;
    match Api::new(access.http()?, token).logout() {
        // Not accepted: it is worth nothing already.
        Answer::Accepted { .. } | Answer::Auth { .. } => Ok(()),
        other => Err(CliError::Cloud {
            doing: "revoke the token",
            source: Answered::from(&other),
        }),
    }
}

fn make_parent(path: &Path) -> Result<(), CliError> {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() && !dir.exists() => DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|source| CliError::File {
                doing: "make the directory",
                path: dir.to_owned(),
                source,
            }),
        _ => Ok(()),
    }
}

/// `90s`, `30m`, `12h`, `7d`.
fn lifetime(text: &str) -> Result<Duration, String> {
    let wrong = || "a length of time is a number with s, m, h or d, such as 12h".to_owned();
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number: u32 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| wrong())?;
    match u64::from(number) * seconds {
        0 => Err("a token that does not last is of no use".to_owned()),
        // The cloud's own default is 90 days; a longer one is a mistake of the units.
        total if total > LONGEST => Err("at most 90d".to_owned()),
        total => Ok(Duration::from_secs(total)),
    }
}

/// The cloud's default for tokens of persons, 90 days (cloud-api.md 1.2), in seconds.
const LONGEST: u64 = 90 * 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_have_a_unit_and_an_end() {
        assert_eq!(lifetime("12h").unwrap(), Duration::from_secs(43_200));
        assert_eq!(lifetime("90d").unwrap(), Duration::from_secs(LONGEST));
        for bad in ["", "12", "h", "-1h", "1.5h", "0s", "91d", "4294967296s", "12µ", "1 h"] {
            assert!(lifetime(bad).is_err(), "{bad}");
        }
    }
}
