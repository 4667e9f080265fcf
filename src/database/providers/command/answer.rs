//! Reads what the user's commands print: one JSON object. Pure.

use serde::Deserialize;

/// The most bytes of the answer with a URL, and of the list.
pub(super) const LONGEST: [usize; 2] = [64 << 10, 1 << 20];
/// The most characters of a URL.
const LONGEST_URL: usize = 8192;
/// The most characters of a name in the list.
const LONGEST_NAME: usize = 255;

/// The answer of a command about one database.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub(super) struct UrlAnswer {
    /// The URL of the database.
    #[serde(default)]
    pub(super) url: Option<String>,
    /// False if the database existed before.
    #[serde(default = "yes")]
    pub(super) created: bool,
    /// True if it is a copy of its parent.
    #[serde(default)]
    pub(super) copied: bool,
}

/// Never prints the URL.
impl std::fmt::Debug for UrlAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "UrlAnswer(created: {}, copied: {})", self.created, self.copied)
    }
}

#[derive(Deserialize)]
struct NameList {
    databases: Vec<String>,
}

const fn yes() -> bool {
    true
}

/// Returns the answer in `bytes`; nothing printed counts as an empty object. The reason of an error quotes nothing, because the text
/// may contain a URL.
pub(super) fn of_database(bytes: &[u8]) -> Result<UrlAnswer, String> {
    let bytes = if bytes.trim_ascii().is_empty() { b"{}" } else { bytes };
    let answer: UrlAnswer = object(bytes, LONGEST[0])?;
    match answer.url.as_deref().map(check) {
        Some(Err(reason)) => Err(reason.into()),
        Some(Ok(())) | None => Ok(answer),
    }
}

/// Returns the names in `bytes`.
pub(super) fn of_list(bytes: &[u8]) -> Result<Vec<String>, String> {
    let NameList { databases } = object(bytes, LONGEST[1])?;
    let is_name = |name: &String| {
        !name.is_empty() && name.chars().count() <= LONGEST_NAME && !name.chars().any(char::is_control)
    };
    if databases.iter().all(is_name) { Ok(databases) } else { Err("`databases` has an invalid name".into()) }
}

fn object<T: for<'a> Deserialize<'a>>(bytes: &[u8], most: usize) -> Result<T, String> {
    if bytes.len() > most {
        return Err(format!("it has more than {} KiB", most >> 10));
    }
    // serde's own words may quote a value.
    serde_json::from_slice(bytes).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => "an entry is missing or has another type".into(),
        _ => format!("it is no JSON object (line {}, column {})", error.line(), error.column()),
    })
}

/// Errors unless `url` begins with a scheme and fits into a variable.
fn check(url: &str) -> Result<(), &'static str> {
    if url.chars().count() > LONGEST_URL {
        return Err("the URL is too long");
    }
    if url.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("the URL contains a blank or a control character");
    }
    let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+.-".contains(c));
    if is_scheme { Ok(()) } else { Err("the URL does not begin with a scheme, such as `sqlite:`") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_a_url_and_says_whether_the_database_is_new() {
        let answer = of_database(br#"{"url": "sqlite:////w/x.db", "created": false, "note": 1}"#).unwrap();
        assert_eq!(
            (answer.url.as_deref(), answer.created, answer.copied),
            (Some("sqlite:////w/x.db"), false, false)
        );
        for url in ["postgresql://u:p@h/d", "file:./dev.db", "sqlite+aiosqlite:///x"] {
            assert!(of_database(serde_json::json!({ "url": url }).to_string().as_bytes()).unwrap().created);
        }
        for nothing in ["", " \n", "{}", r#"{"url": null}"#] {
            assert_eq!(of_database(nothing.as_bytes()).unwrap().url, None);
        }
    }

    #[test]
    fn the_reason_of_an_invalid_answer_shows_no_url() {
        let long = format!(r#"{{"url": "x:{}"}}"#, "Xsecret5".repeat(2000));
        for bad in [
            "postgresql://me:Xsecret5@h/d",
            r#"{"url": "Xsecret5"}"#,
            r#"{"url": "a b:Xsecret5"}"#,
            r#"{"url": "x:\nXsecret5"}"#,
            r#"{"url": ["Xsecret5"]}"#,
            r#"{"url": "x:Xsecret5", "created": "Xsecret5"}"#,
            r#"{"url": "x:Xsecret5"} {"#,
            &long,
        ] {
            let reason = of_database(bad.as_bytes()).unwrap_err();
            assert!(!reason.contains("Xsecret5"), "{reason}");
        }
        assert!(of_database(&vec![b' '; LONGEST[0] + 1]).is_ok());
        assert!(of_database(&vec![b'x'; LONGEST[0] + 1]).unwrap_err().contains("64 KiB"));
    }

    #[test]
    fn a_list_has_names() {
        assert_eq!(of_list(br#"{"databases": ["a", "b"]}"#).unwrap(), ["a", "b"]);
        for bad in ["", "[]", "{}", r#"{"databases": [""]}"#, r#"{"databases": ["a\nb"]}"#] {
            assert!(of_list(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
