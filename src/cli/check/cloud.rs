//! The token and what it may do: its file, its end, its account, the products and the role in their teams.

use super::{CheckArgs, Finding};
use crate::{
    cli::{
        Context,
        cloud::Access,
        error::{Answered, CliError},
        exit::ExitCode,
    },
    cloud::{Api, admission, client_file, token::TokenFile},
    config::{ClientSpec, Station},
    model::{
        ProductId, Wall,
        fact::Protection,
        outbox::{Answer, Looked},
        recipe::{ProtectedPolicy, Recipe},
    },
};

const TOKEN: &str = "token";
const CLOUD: &str = "cloud";
const CLIENT: &str = "oauth client";

/// Looks at the token and, unless offline, asks the cloud. Only looks are sent.
pub(super) fn look(
    args: &CheckArgs,
    station: Option<&Station>,
    recipes: &[Recipe],
    context: &Context,
    now: Wall,
) -> Vec<Finding> {
    let mut findings = clients(station);
    let access = match Access::new(&args.cloud, station, context) {
        Ok(access) => access,
        Err(error) => {
            findings.push(failed(TOKEN, &error));
            return findings;
        }
    };
    let token = match access.token() {
        Ok(token) => {
            findings.push(lasting(&token, &access, now));
            Some(token)
        }
        Err(error) => {
            findings.push(failed(TOKEN, &CliError::Token(error)));
            None
        }
    };
    if args.offline {
        findings.push(Finding::fine(CLOUD, "not asked (--offline)"));
        return findings;
    }
    match (access.http(), token) {
        (Err(error), _) => findings.push(failed(CLOUD, &error)),
        (Ok(_), None) => findings.push(Finding::warning(
            CLOUD,
            format!("\"{}\" was not asked: there is no token", access.url),
            "run `keyrack login`",
        )),
        (Ok(http), Some(token)) => findings.extend(ask(&Api::new(http, token.token), &access.url, recipes, now)),
    }
    findings
}

/// The OAuth clients of products. They are not tried: a wrong one counts as a failed log-in of this address.
fn clients(station: Option<&Station>) -> Vec<Finding> {
    let clients = station.map_or(&[][..], |station| &station.cloud.clients);
    let one = |spec: &ClientSpec| match client_file::read(&spec.file) {
        Ok(client) => Finding::fine(
            CLIENT,
            format!(
                "\"{}\": {} of product {}, yours alone",
                spec.file.display(),
                client.id,
                spec.product
            ),
        ),
        Err(source) => failed(
            CLIENT,
            &CliError::Client {
                product: spec.product.clone(),
                source,
            },
        ),
    };
    clients.iter().map(one).collect()
}

/// When the token ends, as its file says.
fn lasting(token: &TokenFile, access: &Access, now: Wall) -> Finding {
    let path = access.token.path().display();
    ending(TOKEN, &format!("\"{path}\""), token.expires_at, now)
}

fn ending(about: &'static str, whose: &str, end: Option<Wall>, now: Wall) -> Finding {
    match end {
        Some(at) if at <= now => Finding::error(
            about,
            format!("{whose} ended at {at}"),
            "run `keyrack login`",
            ExitCode::Cloud,
        ),
        Some(at) if at.millis() - now.millis() < SHIFT_MS => Finding::warning(
            about,
            format!("{whose} ends at {at}, before a shift is over"),
            "run `keyrack login`",
        ),
        Some(at) => Finding::fine(about, format!("{whose} lasts until {at}")),
        None => Finding::fine(about, format!("{whose} is there and yours alone")),
    }
}

fn ask(api: &Api, url: &str, recipes: &[Recipe], now: Wall) -> Vec<Finding> {
    let info = match api.whoami() {
        Ok(info) => info,
        Err(answer) => return vec![answered(&format!("\"{url}\""), &answer)],
    };
    let mut findings = Vec::new();
    // An API user has no account to be asked for.
    let account = api.user().ok();
    let whose = account.as_deref().map_or_else(|| "an API user".to_owned(), str::to_owned);
    findings.push(ending(
        CLOUD,
        &format!("\"{url}\" accepts the token of {whose}; it"),
        info.expires_at,
        now,
    ));
    for recipe in recipes {
        if let Some(product) = &recipe.product {
            findings.push(product_of(api, recipe, product, account.as_deref()));
        }
    }
    findings
}

/// Whether the product is there, is for the platform, and lets the token in; an upload alone would prove that it may.
fn product_of(api: &Api, recipe: &Recipe, id: &ProductId, account: Option<&str>) -> Finding {
    let product = match api.product(id) {
        Ok(product) => product,
        Err(answer) => return answered(&format!("product {id} of recipe {}", recipe.name), &answer),
    };
    let team = api.team(id).ok();
    let wanted = admission::Wanted {
        platform: recipe.platform,
        protection: Protection::Open,
        product: Some(&product),
        account,
        team: team.as_deref(),
    };
    let opens = recipe.protected == ProtectedPolicy::ServiceMode;
    match admission::admit(&wanted, &Looked::Unseen) {
        Ok(_) if opens && product.takes_protected() == Some(false) => Finding::warning(
            CLOUD,
            format!(
                "recipe {} lets protected devices in, and product {id} has no Device Protection: it takes only those that are in it already",
                recipe.name
            ),
            "choose a product with Device Protection, or leave `protected` out",
        ),
        Ok(_) => {
            let name = product.name.as_deref().unwrap_or("without a name");
            Finding::fine(CLOUD, format!("product {id} ({name}) takes {} devices", recipe.platform))
        }
        Err(refusal) => Finding::error(
            CLOUD,
            format!("recipe {}: {}: {}", recipe.name, refusal.code, refusal.reason),
            refusal.code.next_action(),
            ExitCode::Cloud,
        ),
    }
}

fn answered(what: &str, answer: &Answer) -> Finding {
    let said = Answered::from(answer);
    Finding::error(CLOUD, format!("{what}: {}", said.what), said.next, ExitCode::Cloud)
}

fn failed(about: &'static str, error: &CliError) -> Finding {
    Finding::of(about, error, error.next().unwrap_or_default(), error.exit())
}

/// Eight hours, in milliseconds.
const SHIFT_MS: i64 = 8 * 3_600_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::check::Level;

    #[test]
    fn a_token_must_last_for_a_shift() {
        let now = Wall::parse("2026-11-23T10:00:00Z").unwrap();
        let level = |end: &str| ending(TOKEN, "it", Wall::parse(end), now).level;
        assert_eq!(level("2026-11-23T10:00:00Z"), Level::Error);
        assert_eq!(level("2026-11-23T17:59:59Z"), Level::Warning);
        assert_eq!(level("2026-11-23T18:00:00Z"), Level::Fine);
        assert_eq!(ending(TOKEN, "it", None, now).level, Level::Fine);
    }
}
