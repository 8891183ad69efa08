//! The cloud's own words: the reason in an error body, made safe to journal and to show.

use std::borrow::Cow;

use serde_json::Value;

/// What a body says, read as leniently as the open servers and proxies demand (cloud-api.md 4.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// The machine-readable `error`, if it is a single string: `invalid_token`, `Permission Denied`.
    pub error: Option<String>,
    /// The sentence to show: the first of `error_description`, `error`, `errors`, `message`, `info`; of a body that is
    /// not JSON its first 500 bytes. Empty if the body says nothing.
    pub reason: String,
    /// `ok`, where the body has it.
    pub ok: Option<bool>,
    /// True if the body is a JSON document.
    pub json: bool,
}

impl Words {
    /// Reads a body, and overwrites `secret` and every e-mail address wherever the cloud echoed them: before anything is
    /// cut off, so that no part of them is left.
    pub fn of(body: &[u8], secret: &str) -> Self {
        Self::without(body, &[secret])
    }

    /// The same for several secrets.
    pub fn without(body: &[u8], secrets: &[&str]) -> Self {
        let clean = |text: &str| {
            let secrets = secrets.iter().filter(|secret| !secret.is_empty());
            quotable(&secrets.fold(text.to_owned(), |text, secret| text.replace(secret, "[redacted]")))
        };
        match serde_json::from_slice::<Value>(body) {
            Ok(value) => Self {
                error: value.get("error").and_then(Value::as_str).map(clean),
                reason: reason(&value).map(|text| clean(&text)).unwrap_or_default(),
                ok: value.get("ok").and_then(Value::as_bool),
                json: true,
            },
            Err(_) => Self {
                reason: clean(&String::from_utf8_lossy(&body[..body.len().min(LARGEST_TEXT)])),
                ..Self::default()
            },
        }
    }

    /// The reason, or `HTTP 403` where the body gives none.
    pub fn or_status(&self, status: u16) -> String {
        if self.reason.is_empty() {
            format!("HTTP {status}")
        } else {
            self.reason.clone()
        }
    }

    /// True if `needle` (lower case) occurs in `error` or in the reason, whatever their case.
    pub fn mention(&self, needle: &str) -> bool {
        let found = |text: &str| text.to_lowercase().contains(needle);
        found(&self.reason) || self.error.as_deref().is_some_and(found)
    }
}

/// The words of the cloud, fit for a fact: as [`sanitise`], and without e-mail addresses. Journals are exported and
/// replicated, and an address is a customer's until proved otherwise.
pub fn quotable(text: &str) -> String {
    // What is not seen goes first: it would hide an address, and be gone from it afterwards.
    let seen: String = text.chars().filter(|c| c.is_whitespace() || !is_unseen(*c)).collect();
    sanitise(&without_addresses(&seen))
}

/// A text with `[address]` in place of whatever looks like an e-mail address, also as it stands in a URL.
pub fn without_addresses(text: &str) -> Cow<'_, str> {
    let (mut clean, mut kept) = (String::new(), 0);
    for (at, _) in text.match_indices(['@', '%']) {
        let sign = if text[at..].starts_with('@') { 1 } else { "%40".len() };
        if at < kept || !(sign == 1 || text[at..].starts_with("%40")) {
            continue;
        }
        let before = text[kept..at].char_indices().rev().take_while(|(_, c)| is_of_name(*c));
        let from = before.last().map(|(i, _)| kept + i);
        let rest = &text[at + sign..];
        let len = rest.find(|c| !is_of_host(c)).unwrap_or(rest.len());
        let domain = rest[..len].trim_end_matches(['.', '-']).len();
        if let Some(from) = from.filter(|_| domain > 0) {
            clean.push_str(&text[kept..from]);
            clean.push_str("[address]");
            kept = at + sign + domain;
        }
    }
    if kept == 0 {
        return Cow::Borrowed(text);
    }
    clean.push_str(&text[kept..]);
    Cow::Owned(clean)
}

/// What is before the sign. What separates the parts of a URL is left out, although a name may have it.
fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || "!$%'*+-^_`{|}~.".contains(c)
}

fn is_of_host(c: char) -> bool {
    c.is_alphanumeric() || ".-".contains(c)
}

/// Makes text from outside fit for a terminal and a journal: one line, no control or direction characters, at most
/// 500 bytes.
pub fn sanitise(text: &str) -> String {
    let mut clean = String::with_capacity(text.len().min(LONGEST));
    let mut gap = false;
    for c in text.chars() {
        if c.is_whitespace() {
            gap = !clean.is_empty();
            continue;
        }
        if is_unseen(c) {
            continue;
        }
        if clean.len() + usize::from(gap) + c.len_utf8() > LONGEST {
            break;
        }
        if std::mem::take(&mut gap) {
            clean.push(' ');
        }
        clean.push(c);
    }
    clean
}

fn reason(value: &Value) -> Option<String> {
    ["error_description", "error", "errors", "message", "info"]
        .iter()
        .find_map(|name| said(value.get(name)?))
        .or_else(|| value.as_str().map(str::to_owned))
}

/// A string, the `error` or `message` of an object, or the first few of a list of these.
fn said(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Object(object) => ["error_description", "error", "message"]
            .iter()
            .find_map(|name| object.get(*name)?.as_str())?
            .to_owned(),
        Value::Array(list) => list.iter().take(MOST_ERRORS).filter_map(said).collect::<Vec<_>>().join("; "),
        _ => return None,
    };
    (!text.trim().is_empty()).then_some(text)
}

fn is_unseen(c: char) -> bool {
    c.is_control() || is_invisible(c)
}

/// Characters that change the direction or the look of what follows without being seen.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The most that is kept of what the cloud says, in bytes (cloud-api.md 4.1).
const LONGEST: usize = 500;

/// How much of a body that is not JSON is looked at, in bytes.
const LARGEST_TEXT: usize = 4096;

/// A list of errors is shown up to here.
const MOST_ERRORS: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_the_documented_shapes_is_the_reason() {
        for (body, reason) in [
            (
                r#"{"error":"invalid_grant","error_description":"User credentials are invalid"}"#,
                "User credentials are invalid",
            ),
            (
                r#"{"ok":false,"error":"Permission Denied","info":"I didn't recognize that"}"#,
                "Permission Denied",
            ),
            (r#"{"error":"","message":"second"}"#, "second"),
            (r#"{"ok":false,"errors":["first","second"]}"#, "first; second"),
            (r#"{"errors":[{"error":"a"},{"message":"b"},7]}"#, "a; b"),
            (r#"{"error":{"message":"nested"}}"#, "nested"),
            (r#"{"errors":[],"message":"m","info":"i"}"#, "m"),
            (r#"{"info":"i"}"#, "i"),
            (r#""Success!""#, "Success!"),
            ("{}", ""),
            ("", ""),
            ("null", ""),
        ] {
            assert_eq!(Words::of(body.as_bytes(), "").reason, reason, "{body}");
        }
    }

    #[test]
    fn a_body_that_is_not_json_is_kept_as_one_harmless_line() {
        let words = Words::of(b"<html>\r\n\x1b[31m<h1>502\xff Bad\tGateway</h1>\n", "");
        assert_eq!(words.reason, "<html> [31m<h1>502\u{fffd} Bad Gateway</h1>");
        assert!(!words.json);
        let long = Words::of("ö".repeat(2000).as_bytes(), "").reason;
        assert!(long.len() <= 500 && long.len() > 490, "{}", long.len());
    }

    #[test]
    fn control_and_direction_characters_are_dropped_from_json_too() {
        let words = Words::of(br#"{"error":"a\u001b]0;x\u0007 \u202eb\u009b1m\n\nc"}"#, "");
        assert_eq!(words.reason, "a]0;x b1m c");
    }

    #[test]
    fn an_address_never_gets_into_the_words() {
        for (said, kept) in [
            ("Customer ann+home@x.example not found", "Customer [address] not found"),
            ("owner=<ann@x.example>; \"bob@y\"", "owner=<[address]>; \"[address]\""),
            ("scope customer%3Dann%40x.example is bad", "scope [address] is bad"),
            ("ann\u{7}@x.example", "[address]"),
            ("\u{e4}nn@\u{fc}.example, @", "[address], @"),
            ("nobody here", "nobody here"),
        ] {
            let body = serde_json::json!({ "error": said }).to_string();
            let words = Words::of(body.as_bytes(), "");
            assert_eq!((words.reason.as_str(), words.error.as_deref()), (kept, Some(kept)));
            assert!(!Words::of(said.as_bytes(), "").reason.contains("nn"), "of a page as well");
        }
        let body = br#"{"error":"no customer 4711 for client s3cret"}"#;
        let words = Words::without(body, &["s3cret", "4711", ""]);
        assert_eq!(words.reason, "no customer [redacted] for client [redacted]");
        for at in 485..=505 {
            let page = format!("{} ann@x.example", "x".repeat(at));
            let reason = Words::of(page.as_bytes(), "").reason;
            assert!(!reason.contains("ann"), "cut in the middle at {at}");
        }
    }

    #[test]
    fn an_echoed_secret_is_redacted_everywhere() {
        let words = Words::of(
            br#"{"error":"bad sesame","error_description":"token sesame is bad"}"#,
            "sesame",
        );
        assert_eq!(words.reason, "token [redacted] is bad");
        assert_eq!(words.error.as_deref(), Some("bad [redacted]"));
        for at in 480..=510 {
            let page = format!("{}sesame", "x".repeat(at));
            assert!(
                !Words::of(page.as_bytes(), "sesame").reason.contains("se"),
                "cut in the middle at {at}"
            );
        }
    }

    #[test]
    fn addresses_are_overwritten_and_nothing_else() {
        for (text, clean) in [
            ("device belongs to ann@home.example", "device belongs to [address]"),
            ("<ann.o'hara+k@home.example>, eva@x", "<[address]>, [address]"),
            ("customer \"jörg@müller.example\".", "customer \"[address]\"."),
            (
                "GET /customers?username=ann%40home.example&a=1",
                "GET /customers?username=[address]&a=1",
            ),
            ("to:ann@home.example.", "to:[address]."),
            ("a@b@c", "[address]@c"),
            ("100 % of it @ home", "100 % of it @ home"),
            ("@", "@"),
            ("no @home, 40%40", "no @home, 40%40"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(without_addresses(text), clean, "{text}");
        }
        let body = r#"{"error":"owned by ann@home.example","info":"x"}"#;
        let words = Words::of(body.as_bytes(), "");
        assert_eq!(words.reason, "owned by [address]");
        assert_eq!(words.error.as_deref(), Some("owned by [address]"));
        assert_eq!(Words::of(b"<p>ann@home.example</p>", "").reason, "<p>[address]</p>");
        for at in 480..=510 {
            let page = format!("{} ann@home.example", "x".repeat(at));
            let reason = Words::of(page.as_bytes(), "").reason;
            assert!(!reason.contains("an"), "cut in the middle at {at}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_body_gives_at_most_500_printable_bytes(body: Vec<u8>) {
            let words = Words::of(&body, "");
            proptest::prop_assert!(words.reason.len() <= 500);
            proptest::prop_assert!(!words.reason.chars().any(char::is_control));
        }

        #[test]
        fn no_address_is_left_in_any_text(text: String, name in "[a-z.+]{1,9}", host in "[a-z]{1,5}\\.[a-z]{2,5}") {
            let clean = without_addresses(&format!("{text} {name}@{host} {text}")).into_owned();
            let address = format!("{name}@{host}");
            proptest::prop_assert!(!clean.contains(&address));
        }
    }
}
