//! Edits JSON text in place: everything outside the edited values keeps its bytes. Pure.
//!
//! A place is named by its keys, and by the numbers of items in lists. Functions that edit an item or a value do nothing if there is no
//! such place; `add_member` makes the objects that are missing.

use serde::Serialize;
use serde_json::Value;

use super::edit::{Malformed, newline};

/// The reason why a text is not edited.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum JsonError {
    /// It is JSON with comments, which devrun does not edit.
    Comments,
    Malformed(Malformed),
}

impl From<Malformed> for JsonError {
    fn from(error: Malformed) -> JsonError {
        JsonError::Malformed(error)
    }
}

/// A JSON object, as text.
#[derive(Debug)]
pub(super) struct JsonDocument {
    text: String,
}

/// A value with its place in the text.
#[derive(Debug)]
struct JsonNode {
    start: usize,
    end: usize,
    items: Vec<JsonItem>,
}

/// A member of an object, or an item of a list, which has no key.
#[derive(Debug)]
struct JsonItem {
    key: Option<String>,
    start: usize,
    value: JsonNode,
}

impl JsonDocument {
    /// Parses `text`. A blank text is an empty object.
    pub(super) fn parse(text: &str) -> Result<JsonDocument, JsonError> {
        let (mark, rest) = text.strip_prefix('\u{feff}').map_or(("", text), |rest| ("\u{feff}", rest));
        if rest.trim().is_empty() {
            return Ok(JsonDocument { text: format!("{mark}{{}}\n") });
        }
        match serde_json::from_str::<Value>(rest) {
            Ok(Value::Object(_)) => Ok(JsonDocument { text: text.into() }),
            Ok(_) => {
                let at = text.len() - rest.trim_start().len();
                Err(Malformed::at(text, at, "it is not a JSON object").into())
            }
            Err(_)
                if without_comments(rest)
                    .is_some_and(|text| serde_json::from_str::<Value>(&text).is_ok()) =>
            {
                Err(JsonError::Comments)
            }
            Err(error) => {
                let what = error.to_string();
                let what = what.split(" at line ").next().unwrap_or_default().to_string();
                Err(Malformed { line: error.line(), column: error.column().max(1), what }.into())
            }
        }
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    /// Returns the value at `place`.
    pub(super) fn get(&self, place: &[&str]) -> Option<Value> {
        let node = self.find(place)?;
        serde_json::from_str(&self.text[node.start..node.end]).ok()
    }

    /// Returns the items of the list at `place`: none if it is missing. Errors if it is no list.
    pub(super) fn list(&self, place: &[&str]) -> Result<Vec<Value>, Malformed> {
        match self.get(place) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => Ok(items),
            Some(_) => Err(self.wrong(place, "a list")),
        }
    }

    /// Returns the error for a value at `place` that is not `wanted`.
    pub(super) fn wrong(&self, place: &[&str], wanted: &str) -> Malformed {
        let at = self.find(place).map_or(0, |node| node.start);
        Malformed::at(&self.text, at, format!("`{}` is not {wanted}", place.join(".")))
    }

    /// Adds a member with the key at the end of `place`, and the objects around it that are missing. Errors if one of these is another
    /// value.
    pub(super) fn add_member(&mut self, place: &[&str], value: &Value) -> Result<(), Malformed> {
        let Some((key, above)) = place.split_last() else { return Ok(()) };
        let mut depth = above.len();
        while self.find(&above[..depth]).is_none() {
            depth -= 1;
        }
        if !self.get(&above[..depth]).is_some_and(|value| value.is_object()) {
            return Err(self.wrong(&above[..depth], "an object"));
        }
        let missing = &place[depth..];
        let (key, value) = match missing {
            [first, rest @ ..] => {
                let wrap =
                    |inner: Value, key: &&str| Value::Object([((*key).into(), inner)].into_iter().collect());
                (*first, rest.iter().rev().fold(value.clone(), wrap))
            }
            [] => (*key, value.clone()),
        };
        self.insert(&above[..depth], Some(key), &value);
        Ok(())
    }

    /// Adds an item at the end of the list at `place`.
    pub(super) fn add_item(&mut self, place: &[&str], value: &Value) {
        self.insert(place, None, value);
    }

    /// Replaces the value at `place`.
    pub(super) fn replace(&mut self, place: &[&str], value: &Value) {
        let Some(JsonNode { start, end, .. }) = self.find(place) else { return };
        let text = self.spread(value, &self.indentation_at(start));
        self.text.replace_range(start..end, &text);
    }

    /// Removes the value at `place`, and the objects and lists around it that it leaves empty.
    pub(super) fn remove(&mut self, place: &[&str]) {
        let Some((key, above)) = place.split_last() else { return };
        let Some(container) = self.find(above) else { return };
        let Some(index) = container.index(key) else { return };
        let items = &container.items;
        let range = if index > 0 {
            items[index - 1].value.end..items[index].value.end
        } else if let Some(next) = items.get(1) {
            items[0].start..next.start
        } else {
            container.start + 1..container.end - 1
        };
        let is_last = items.len() == 1;
        self.text.replace_range(range, "");
        if is_last {
            self.remove(above);
        }
    }

    fn find(&self, place: &[&str]) -> Option<JsonNode> {
        let start = self.text.find('{')?;
        place.iter().try_fold(node(&self.text, start), |mut node, key| {
            let index = node.index(key)?;
            Some(node.items.swap_remove(index).value)
        })
    }

    /// Inserts a value behind the last item of the object or list at `place`, laid out as that item is.
    fn insert(&mut self, place: &[&str], key: Option<&str>, value: &Value) {
        let Some(container) = self.find(place) else { return };
        let key = key.map(|key| format!("{}: ", Value::from(key))).unwrap_or_default();
        let newline = newline(&self.text);
        let JsonNode { start, end, .. } = container;
        match (container.items.first(), container.items.last()) {
            (Some(first), Some(last)) => {
                let before = &self.text[start..first.start];
                let item = match before.rfind('\n') {
                    Some(at) => {
                        let indentation = before[at + 1..].to_string();
                        format!(",{newline}{indentation}{key}{}", self.spread(value, &indentation))
                    }
                    None => format!(", {key}{value}"),
                };
                self.text.insert_str(last.value.end, &item);
            }
            _ if self.text[..start].trim_start_matches('\u{feff}').trim().is_empty()
                || self.text.trim().contains('\n') =>
            {
                let outer = self.indentation_at(start);
                let inner = format!("{outer}{}", self.unit());
                let value = self.spread(value, &inner);
                let item = format!("{newline}{inner}{key}{value}{newline}{outer}");
                self.text.replace_range(start + 1..end - 1, &item);
            }
            _ => self.text.replace_range(start + 1..end - 1, &format!("{key}{value}")),
        }
    }

    /// Returns `value` over several lines, all but the first of which begin with `indentation`.
    fn spread(&self, value: &Value, indentation: &str) -> String {
        let unit = self.unit();
        let format = serde_json::ser::PrettyFormatter::with_indent(unit.as_bytes());
        let mut bytes = Vec::new();
        // Writing a value into memory cannot fail.
        let _ = value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, format));
        let text = String::from_utf8_lossy(&bytes);
        text.replace('\n', &format!("{}{indentation}", newline(&self.text)))
    }

    /// Returns the indentation of one level: that of the first indented line, else two spaces.
    fn unit(&self) -> String {
        let indented =
            self.text.lines().find(|line| line.starts_with([' ', '\t']) && !line.trim().is_empty());
        indented.map_or_else(|| "  ".into(), |line| line[..line.len() - line.trim_start().len()].to_string())
    }

    /// Returns the indentation of the line of the byte `at`.
    fn indentation_at(&self, at: usize) -> String {
        let start = self.text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let line = &self.text[start..at];
        line.chars().take_while(|c| matches!(c, ' ' | '\t')).collect()
    }
}

impl JsonNode {
    /// Returns the position of an item. Of several members with one key, the last one counts.
    fn index(&self, key: &str) -> Option<usize> {
        let named = self.items.iter().rposition(|item| item.key.as_deref() == Some(key));
        let is_list = self.items.first().is_some_and(|item| item.key.is_none());
        named.or_else(|| key.parse().ok().filter(|index| is_list && *index < self.items.len()))
    }
}

/// Returns the value that begins at `start` of valid JSON. `serde_json` has limited its depth.
fn node(text: &str, start: usize) -> JsonNode {
    let bytes = text.as_bytes();
    let close = match bytes.get(start) {
        Some(b'{') => b'}',
        Some(b'[') => b']',
        Some(b'"') => return JsonNode { start, end: string_end(bytes, start), items: Vec::new() },
        _ => {
            let is_end = |byte: &u8| matches!(byte, b',' | b']' | b'}') || byte.is_ascii_whitespace();
            let length = bytes[start..].iter().position(is_end).unwrap_or(bytes.len() - start);
            return JsonNode { start, end: start + length, items: Vec::new() };
        }
    };
    let (mut items, mut at) = (Vec::new(), blank_end(bytes, start + 1));
    while at < bytes.len() && bytes[at] != close {
        let begin = at;
        let mut key = None;
        if close == b'}' {
            let end = string_end(bytes, at);
            key = serde_json::from_str(&text[at..end]).ok();
            // Behind the colon.
            at = blank_end(bytes, blank_end(bytes, end) + 1);
        }
        let value = node(text, at);
        at = blank_end(bytes, value.end);
        if bytes.get(at) == Some(&b',') {
            at = blank_end(bytes, at + 1);
        }
        items.push(JsonItem { key, start: begin, value });
    }
    JsonNode { start, end: (at + 1).min(bytes.len()), items }
}

fn blank_end(bytes: &[u8], start: usize) -> usize {
    let rest = bytes.get(start..).unwrap_or_default();
    start + rest.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(rest.len())
}

/// Returns the end of the string that begins at `start`, behind its quotation mark.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

/// Returns `text` with blanks in place of comments and of commas before a closing bracket. `None` if it has no comments.
fn without_comments(text: &str) -> Option<String> {
    let mut bytes = text.as_bytes().to_vec();
    let (mut at, mut comma, mut has_comments) = (0, None, false);
    while at < bytes.len() {
        let end = match (bytes[at], bytes.get(at + 1)) {
            (b'"', _) => {
                comma = None;
                at = string_end(&bytes, at);
                continue;
            }
            (b'/', Some(b'/')) => {
                bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |length| at + length)
            }
            (b'/', Some(b'*')) => {
                let close = bytes[at + 2..].windows(2).position(|pair| pair == b"*/");
                close.map_or(bytes.len(), |length| at + length + 4)
            }
            (byte, _) => {
                match (byte, comma) {
                    (b',', _) => comma = Some(at),
                    (b'}' | b']', Some(place)) => bytes[place] = b' ',
                    _ => {}
                }
                if byte != b',' && !byte.is_ascii_whitespace() {
                    comma = None;
                }
                at += 1;
                continue;
            }
        };
        bytes[at..end].fill(b' ');
        (at, has_comments) = (end, true);
    }
    has_comments.then(|| String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn parsed(text: &str) -> JsonDocument {
        JsonDocument::parse(text).unwrap()
    }

    #[test]
    fn new_members_follow_the_layout_of_their_neighbours() {
        for (before, after) in [
            ("", "{\n  \"a\": {\n    \"b\": [\n      1\n    ]\n  }\n}\n"),
            ("{\"z\": 1}", "{\"z\": 1, \"a\": {\"b\":[1]}}"),
            (
                "{\n\t\"z\": [ 1,2 ]\n}",
                "{\n\t\"z\": [ 1,2 ],\n\t\"a\": {\n\t\t\"b\": [\n\t\t\t1\n\t\t]\n\t}\n}",
            ),
            (
                "{\r\n    \"a\": {}\r\n}\r\n",
                "{\r\n    \"a\": {\r\n        \"b\": [\r\n            1\r\n        ]\r\n    }\r\n}\r\n",
            ),
            ("\u{feff}{ }", "\u{feff}{\n  \"a\": {\n    \"b\": [\n      1\n    ]\n  }\n}"),
        ] {
            let mut document = parsed(before);
            document.add_member(&["a", "b"], &json!([1])).unwrap();
            assert_eq!(document.into_text(), after, "{before:?}");
        }
    }

    #[test]
    fn malformed_text_is_an_error_with_line_and_column() {
        let error = |text: &str| match JsonDocument::parse(text).unwrap_err() {
            JsonError::Malformed(error) => error.to_string(),
            JsonError::Comments => panic!("comments: {text}"),
        };
        assert_eq!(error("{\n  \"a\": 1\n  \"b\": 2\n}"), "line 3, column 3: expected `,` or `}`");
        assert!(error("{\"a\": ").starts_with("line 1, column 6: EOF"), "{}", error("{\"a\": "));
        assert_eq!(error("\n [1]"), "line 2, column 2: it is not a JSON object");
        assert!(error("{\"a\": // only\n").starts_with("line 1"));
        let mut document = parsed("{\n \"a\": [\n  7]}");
        let error = document.add_member(&["a", "b"], &json!(1)).unwrap_err();
        assert_eq!(error.to_string(), "line 2, column 7: `a` is not an object");
    }

    #[test]
    fn json_with_comments_is_refused() {
        for text in
            ["{ // why\n}", "/* a */ {\"a\": \"//\"}", "{\"a\": [1, 2,], // x\n}", "{\"a\": 1, /* last */\n}"]
        {
            assert_eq!(JsonDocument::parse(text).unwrap_err(), JsonError::Comments, "{text}");
        }
        assert!(matches!(JsonDocument::parse("{\"a\": [1,]}"), Err(JsonError::Malformed(_))));
        assert!(JsonDocument::parse("{\"a\": \"/* no comment */ ,}\"}").is_ok());
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<i32>().prop_map(Value::from),
            any::<bool>().prop_map(Value::from),
            "[a-z\"\\\\ ,{}\\[\\]:/é]{0,8}".prop_map(Value::from)
        ];
        leaf.prop_recursive(3, 12, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-z\"\\\\/]{1,4}", inner, 0..4)
                    .prop_map(|map| map.into_iter().collect())
            ]
        })
    }

    proptest! {
        #[test]
        fn adding_and_removing_a_member_restores_the_text(
            map in prop::collection::btree_map("[a-z\"\\\\]{1,4}", any_json(), 0..4),
            pretty: bool,
        ) {
            let value: Value = map.into_iter().collect();
            let text = if pretty { format!("{value:#}\n") } else { value.to_string() };
            let mut document = parsed(&text);
            document.add_member(&["Added", "inner"], &json!([{ "a": 1 }])).unwrap();
            let mut wanted = value.clone();
            wanted["Added"] = json!({ "inner": [{ "a": 1 }] });
            prop_assert_eq!(document.get(&[]), Some(wanted));
            document.add_item(&["Added", "inner"], &json!("x"));
            prop_assert_eq!(document.get(&["Added", "inner", "1"]), Some(json!("x")));
            document.remove(&["Added", "inner", "1"]);
            document.remove(&["Added", "inner", "0"]);
            prop_assert_eq!(document.into_text(), text);
        }
    }
}
