//! Reads the top-level assignments of a Python file without running it: names bound to `None`, a string or a sequence
//! of strings. A computed value is reported as unknown.

use std::collections::BTreeMap;

/// The top-level content of a Python file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ModuleContent {
    /// The module's docstring.
    pub(super) doc: Option<String>,
    /// The last value assigned to each name.
    pub(super) assigned: BTreeMap<String, PythonValue>,
    /// The byte at which that assignment begins.
    begins: BTreeMap<String, usize>,
}

/// The value of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PythonValue {
    /// `None`, a string or a flat sequence of strings, in order.
    Strings(Vec<String>),
    /// Anything else.
    Unknown,
}

/// A statement that begins in the first column.
#[derive(Debug, Default)]
struct Statement {
    /// The byte at which it begins.
    begins: usize,
    tokens: Vec<Token>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Name(String),
    Text(String),
    Sign(char),
    /// A formatted or bytes string, or an unfinished one: its value cannot be read from the file.
    Computed,
}

/// Reads `source`. Never fails: statements that cannot be understood are left out.
pub(super) fn read(source: &str) -> ModuleContent {
    let mut module = ModuleContent::default();
    for (number, Statement { begins, tokens: statement }) in statements(source).into_iter().enumerate() {
        if let (0, [Token::Text(_), ..]) = (number, statement.as_slice())
            && let PythonValue::Strings(parts) = value(&statement)
        {
            module.doc = Some(parts.concat());
        }
        if let Some((name, right)) = assignment(&statement) {
            module.begins.insert(name.to_string(), begins);
            module.assigned.insert(name.to_string(), value(right));
        }
    }
    module
}

impl ModuleContent {
    /// Returns the line of `source` with the last assignment of `name`, counted from 1. Returns 1 if there is none.
    pub(super) fn line_of(&self, name: &str, source: &str) -> u32 {
        let before = &source[..self.begins.get(name).copied().unwrap_or(0)];
        u32::try_from(before.matches('\n').count() + 1).unwrap_or(u32::MAX)
    }
}

/// Returns the name and the right side of `name = …` or `name: annotation = …`.
fn assignment(statement: &[Token]) -> Option<(&str, &[Token])> {
    let [Token::Name(name), next, ..] = statement else { return None };
    let equals = match next {
        Token::Sign('=') => 1,
        Token::Sign(':') => statement.iter().position(|token| *token == Token::Sign('='))?,
        _ => return None,
    };
    let right = &statement[equals + 1..];
    (!right.is_empty() && right[0] != Token::Sign('=')).then_some((name, right))
}

fn value(tokens: &[Token]) -> PythonValue {
    if tokens == [Token::Name("None".into())] {
        return PythonValue::Strings(Vec::new());
    }
    let mut parts = Vec::new();
    let mut current: Option<String> = None;
    for token in tokens {
        match token {
            // Python joins adjacent string literals.
            Token::Text(text) => current.get_or_insert_default().push_str(text),
            Token::Sign('(' | ')' | '[' | ']' | '{' | '}' | ',') => parts.extend(current.take()),
            Token::Sign(_) | Token::Name(_) | Token::Computed => return PythonValue::Unknown,
        }
    }
    parts.extend(current);
    PythonValue::Strings(parts)
}

/// Returns the statements that begin in the first column. Blocks and comments are left out.
fn statements(source: &str) -> Vec<Statement> {
    let mut reader = ModuleReader { rest: source };
    let mut all = Vec::new();
    let mut current = Statement::default();
    let mut depth = 0_usize;
    let mut indented = reader.at_blank();
    while let Some(next) = reader.rest.chars().next() {
        if current.tokens.is_empty() {
            current.begins = source.len() - reader.rest.len();
        }
        match next {
            '\n' if depth == 0 => {
                reader.skip(1);
                end(&mut all, &mut current, indented);
                indented = reader.at_blank();
            }
            ';' if depth == 0 => {
                reader.skip(1);
                end(&mut all, &mut current, indented);
            }
            '#' => reader.skip(reader.rest.find('\n').unwrap_or(reader.rest.len())),
            '\\' if reader.rest[1..].starts_with(['\n', '\r']) => {
                reader.skip(1 + reader.rest[1..].find('\n').map_or(1, |at| at + 1));
            }
            '"' | '\'' => current.tokens.push(reader.string("")),
            _ if next.is_whitespace() => reader.skip(next.len_utf8()),
            _ if next.is_alphanumeric() || next == '_' => {
                let word = reader.word();
                let is_prefix = word.len() <= 2 && reader.rest.starts_with(['"', '\'']);
                let name = if is_prefix { reader.string(word) } else { Token::Name(word.into()) };
                current.tokens.push(name);
            }
            _ => {
                match next {
                    '(' | '[' | '{' => depth += 1,
                    ')' | ']' | '}' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                reader.skip(next.len_utf8());
                current.tokens.push(Token::Sign(next));
            }
        }
    }
    end(&mut all, &mut current, indented);
    all
}

fn end(all: &mut Vec<Statement>, current: &mut Statement, indented: bool) {
    let statement = std::mem::take(current);
    if !indented && !statement.tokens.is_empty() {
        all.push(statement);
    }
}

struct ModuleReader<'a> {
    rest: &'a str,
}

impl<'a> ModuleReader<'a> {
    fn skip(&mut self, bytes: usize) {
        self.rest = &self.rest[bytes..];
    }

    fn at_blank(&self) -> bool {
        self.rest.starts_with([' ', '\t'])
    }

    fn word(&mut self) -> &'a str {
        let length = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let word = &self.rest[..length];
        self.skip(length);
        word
    }

    /// Reads the string literal that begins here; `prefix` was already read.
    fn string(&mut self, prefix: &str) -> Token {
        let quote = &self.rest[..1];
        let triple = quote.repeat(3);
        let mark = if self.rest.starts_with(&triple) { triple.as_str() } else { quote };
        self.skip(mark.len());
        let raw = prefix.contains(['r', 'R']);
        let mut text = String::new();
        while !self.rest.is_empty() && !self.rest.starts_with(mark) {
            if mark.len() == 1 && self.rest.starts_with('\n') {
                return Token::Computed;
            }
            let mut chars = self.rest.chars();
            let first = chars.next().unwrap_or_default();
            self.skip(first.len_utf8());
            let Some(escaped) = chars.next().filter(|_| first == '\\') else {
                text.push(first);
                continue;
            };
            self.skip(escaped.len_utf8());
            match escaped {
                _ if raw => text.extend(['\\', escaped]),
                '\\' | '\'' | '"' => text.push(escaped),
                'n' => text.push('\n'),
                '\n' => {}
                _ => text.extend(['\\', escaped]),
            }
        }
        self.skip(mark.len().min(self.rest.len()));
        if prefix.contains(['f', 'F', 'b', 'B', 't', 'T']) { Token::Computed } else { Token::Text(text) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn strings(source: &str) -> PythonValue {
        read(source).assigned.remove("x").unwrap()
    }

    #[test]
    fn literals_are_read_in_every_spelling() {
        let one = PythonValue::Strings(vec!["a1".into()]);
        for source in [
            "x = 'a1'",
            "x=\"a1\"",
            "x: str = 'a1'",
            "x: Union[str, Sequence[str], None] = 'a1' # why",
            "x = ('a1')",
            "x = ('a1',)",
            "x = ['a1']",
            "x = 'a' '1'",
            "x = 'a' \\\n  '1'",
            "x = r'a1'; y = 2",
            "x = '''a1'''",
            "x = 'old'\r\nx = 'a1'\r\n",
            "if True:\n    x = 'no'\nx = 'a1'",
        ] {
            assert_eq!(strings(source), one, "{source}");
        }
        assert_eq!(
            strings("x = (  # two\n  'a',\n  \"b\",  # last\n)"),
            PythonValue::Strings(vec!["a".into(), "b".into()])
        );
        assert_eq!(strings("x = None"), PythonValue::Strings(Vec::new()));
        assert_eq!(strings("x = ()"), PythonValue::Strings(Vec::new()));
    }

    #[test]
    fn an_assignment_is_found_with_its_line() {
        let source = "\"\"\"doc\nx = 1\n\"\"\"\nx = 'old'\n\n# last\ny = 2; x = (  # two\n  'a',\n)\n";
        let module = read(source);
        assert_eq!((module.line_of("x", source), module.line_of("absent", source)), (7, 1));
    }

    #[test]
    fn computed_values_are_unknown() {
        for source in ["x = f()", "x = f'{y}'", "x = y", "x = 'a' if y else 'b'", "x = ('a', y)"] {
            assert_eq!(strings(source), PythonValue::Unknown, "{source}");
        }
        assert!(read("x == 'a'\nx.y = 'b'\nx += 'c'").assigned.is_empty());
    }

    #[test]
    fn assignments_inside_strings_comments_and_functions_do_not_count() {
        let module = read("\"\"\"doc\nx = 'a'\n\"\"\"\n# x = 'b'\ndef f():\n    x = 'c'\n");
        assert_eq!(module.doc.as_deref(), Some("doc\nx = 'a'\n"));
        assert!(module.assigned.is_empty());
    }

    proptest! {
        #[test]
        fn no_input_makes_it_panic(source in "[a-z ='\"\\\\\n#()\\[\\],:;é]{0,60}") {
            read(&source);
        }

        #[test]
        fn a_written_string_is_read_back(text in "[a-zA-Z0-9_ ]{1,20}", double in any::<bool>()) {
            let quote = if double { '"' } else { '\'' };
            prop_assert_eq!(strings(&format!("x = {quote}{text}{quote}\n")), PythonValue::Strings(vec![text]));
        }
    }
}
