//! Splits SQL text into statements, line by line, as psql does. Checks and executes nothing. Pure.
//!
//! Knows strings, quoted names, dollar quotes, comments, parentheses and the bodies of SQL functions: a semicolon inside
//! one of them ends no statement.

/// How many words of a statement are kept.
const WORDS: usize = 16;

/// A statement, without its semicolon and the comments before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SqlStatement {
    pub text: String,
    /// The line where it begins, counted from 1.
    pub line: u32,
    /// Its first words outside strings and comments. Only quoted names keep capital letters.
    pub words: Vec<String>,
    /// True for `COPY ... FROM stdin`: the rows follow in the text, up to a line with `\.`.
    pub takes_rows: bool,
}

impl SqlStatement {
    /// Returns true if the statement begins with these words.
    pub fn begins(&self, words: &[&str]) -> bool {
        self.words.len() >= words.len() && self.words.iter().zip(words).all(|(own, word)| own == word)
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Inside {
    #[default]
    Code,
    /// A string. With `true`, a backslash escapes the next character.
    Text(bool),
    Name,
    /// A dollar quote, which ends with this tag.
    Dollar(String),
    /// A comment `/* */`, which may contain others.
    Comment(u32),
}

/// Splits text that it receives line by line.
#[derive(Debug, Default)]
pub struct StatementReader {
    inside: Inside,
    statement: SqlStatement,
    word: String,
    previous: String,
    line: u32,
    has_begun: bool,
    parentheses: u32,
    /// The `BEGIN` and `CASE` in the body of a function that have no `END` yet.
    blocks: u32,
}

impl StatementReader {
    /// Returns true if no statement has begun.
    pub fn is_between(&self) -> bool {
        self.inside == Inside::Code && !self.has_begun
    }

    /// Counts a line that belongs to no statement.
    pub fn skip(&mut self) {
        self.line += 1;
    }

    /// Reads the next line, with its newline. Returns the statements that end in it.
    pub fn feed(&mut self, line: &str) -> Vec<SqlStatement> {
        self.line += 1;
        let mut done = Vec::new();
        let bytes = line.as_bytes();
        let (mut at, mut from) = (0, 0);
        while at < bytes.len() {
            let rest = &bytes[at..];
            if self.inside == Inside::Code && rest[0] == b';' {
                self.end_word();
                if self.parentheses == 0 && self.blocks == 0 {
                    self.statement.text.push_str(&line[from..at]);
                    from = at + 1;
                    done.extend(self.take());
                }
            }
            let is_comment = rest.starts_with(b"--") || rest.starts_with(b"/*");
            let is_blank = rest[0].is_ascii_whitespace() || rest[0] == b';' || is_comment;
            if self.is_between() && !is_blank {
                self.has_begun = true;
                self.statement.line = self.line;
                self.statement.text.clear();
                from = at;
            }
            at += self.step(&line[at..], rest);
        }
        self.end_word();
        self.statement.text.push_str(&line[from..]);
        done
    }

    /// Returns the statement that the end of the text ends.
    pub fn finish(mut self) -> Option<SqlStatement> {
        self.end_word();
        self.take()
    }

    fn take(&mut self) -> Option<SqlStatement> {
        let mut statement = std::mem::take(&mut self.statement);
        self.previous.clear();
        self.has_begun = false;
        (self.parentheses, self.blocks) = (0, 0);
        statement.text = statement.text.trim().to_string();
        (!statement.words.is_empty()).then_some(statement)
    }

    /// Reads one character, or a sign of several. Returns the number of bytes.
    fn step(&mut self, text: &str, rest: &[u8]) -> usize {
        match &mut self.inside {
            Inside::Code => self.code(text, rest),
            Inside::Text(escapes) => match rest {
                [b'\\', _, ..] if *escapes => 1 + width(&text[1..]),
                [b'\'', b'\'', ..] => 2,
                [b'\'', ..] => self.leave(),
                _ => width(text),
            },
            Inside::Name => match rest {
                [b'"', b'"', ..] => 2,
                [b'"', ..] => {
                    self.push_word();
                    self.leave()
                }
                _ => self.keep(text),
            },
            Inside::Dollar(tag) if text.starts_with(tag.as_str()) => {
                let length = tag.len();
                self.inside = Inside::Code;
                length
            }
            Inside::Dollar(_) => width(text),
            Inside::Comment(depth) => match rest {
                [b'/', b'*', ..] => {
                    *depth += 1;
                    2
                }
                [b'*', b'/', ..] => {
                    *depth -= 1;
                    if *depth == 0 {
                        self.inside = Inside::Code;
                    }
                    2
                }
                _ => width(text),
            },
        }
    }

    fn leave(&mut self) -> usize {
        self.inside = Inside::Code;
        1
    }

    fn keep(&mut self, text: &str) -> usize {
        let c = text.chars().next().unwrap_or_default();
        self.word.push(c);
        c.len_utf8()
    }

    fn code(&mut self, text: &str, rest: &[u8]) -> usize {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
        if is_word(rest[0]) || (rest[0] == b'$' && !self.word.is_empty()) {
            return self.keep(text);
        }
        let escapes = self.word.eq_ignore_ascii_case("e");
        if rest[0] == b'\'' && escapes {
            self.word.clear();
        }
        self.end_word();
        match rest {
            [b'\'', ..] => {
                self.inside = Inside::Text(escapes);
                1
            }
            [b'"', ..] => {
                self.inside = Inside::Name;
                1
            }
            [b'-', b'-', ..] => rest.len(),
            [b'/', b'*', ..] => {
                self.inside = Inside::Comment(1);
                2
            }
            [b'$', ..] => match dollar_tag(text) {
                Some(tag) => {
                    self.inside = Inside::Dollar(tag.into());
                    tag.len()
                }
                None => 1,
            },
            [b'(', ..] => {
                self.parentheses += 1;
                1
            }
            [b')', ..] => {
                self.parentheses = self.parentheses.saturating_sub(1);
                1
            }
            _ => 1,
        }
    }

    /// Ends a word that is not quoted.
    fn end_word(&mut self) {
        if self.inside != Inside::Code || self.word.is_empty() {
            return;
        }
        self.word.make_ascii_lowercase();
        let words = &self.statement.words;
        let is_routine = words.first().is_some_and(|word| word == "create")
            && words.iter().take(4).any(|word| word == "function" || word == "procedure");
        match self.word.as_str() {
            "begin" if is_routine => self.blocks += 1,
            "case" if self.blocks > 0 => self.blocks += 1,
            "end" => self.blocks = self.blocks.saturating_sub(1),
            "stdin" if self.previous == "from" && self.statement.begins(&["copy"]) => {
                self.statement.takes_rows = true;
            }
            _ => {}
        }
        self.previous.clone_from(&self.word);
        self.push_word();
    }

    fn push_word(&mut self) {
        let word = std::mem::take(&mut self.word);
        if self.statement.words.len() < WORDS {
            self.statement.words.push(word);
        }
    }
}

/// Returns the number of bytes of the first character.
fn width(text: &str) -> usize {
    text.chars().next().map_or(1, char::len_utf8)
}

/// Returns the tag of the dollar quote with which `text` begins: `$$` or `$body$`.
fn dollar_tag(text: &str) -> Option<&str> {
    let inner = &text[1..];
    let end = inner.find('$')?;
    let is_tag = |c: char| c.is_alphanumeric() || c == '_';
    let tag = &inner[..end];
    (tag.chars().all(is_tag) && !tag.starts_with(|c: char| c.is_ascii_digit())).then(|| &text[..end + 2])
}

/// Returns the statements of `text`. Leaves out psql's own commands, and the rows after `COPY ... FROM stdin`.
pub fn statements(text: &str) -> Vec<SqlStatement> {
    let mut reader = StatementReader::default();
    let mut all = Vec::new();
    let mut in_rows = false;
    for line in text.split_inclusive('\n') {
        if in_rows {
            in_rows = line.trim_end() != "\\.";
            reader.skip();
        } else if reader.is_between() && line.starts_with('\\') {
            reader.skip();
        } else {
            let ended = reader.feed(line);
            in_rows = ended.last().is_some_and(|statement| statement.takes_rows);
            all.extend(ended);
        }
    }
    all.extend(reader.finish());
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(text: &str) -> Vec<String> {
        statements(text).into_iter().map(|statement| statement.text).collect()
    }

    #[test]
    fn only_a_semicolon_outside_quotes_ends_a_statement() {
        for inner in
            ["'a;''b;'", "E'\\';'", "\"a;\"\"\"", "$$ a; $$", "$b$ a; $$ ; $b$", "/* ; /* ; */ ; */", "(a;b)"]
        {
            let one = format!("select {inner}");
            assert_eq!(texts(&format!("{one};\nselect 2;\n")), [one.clone(), "select 2".into()], "{one}");
        }
        assert_eq!(texts("select 1 -- no; end\n;select $1;"), ["select 1 -- no; end", "select $1"]);
        assert_eq!(texts(" ;; -- nothing\n"), Vec::<String>::new());
        assert_eq!(texts("--\n-- Data; of a\n--\n\n(select 'é');\n"), ["(select 'é')"]);
    }

    #[test]
    fn the_body_of_a_function_belongs_to_its_statement() {
        let function = "create or replace function f() returns int begin atomic select case when true then 1 end; select 2; end";
        assert_eq!(texts(&format!("{function};\nselect 3;")), [function, "select 3"]);
        assert_eq!(texts("begin;\ncommit;"), ["begin", "commit"]);
    }

    #[test]
    fn words_and_lines_are_those_of_the_code() {
        let found = statements("-- first\n\n/* x */ Create\n  EXTENSION \"uuid-OSSP\";\n");
        assert_eq!((found[0].line, found[0].words.join(" ")), (3, "create extension uuid-OSSP".into()));
        assert!(found[0].begins(&["create", "extension"]) && !found[0].begins(&["create", "table"]));
    }

    #[test]
    fn rows_and_commands_of_psql_are_no_statements() {
        let text =
            "\\restrict x\ncopy public.a (b, c) from stdin;\nit's;\t1\n\\.\ncopy b to stdout;\nselect 1;\n";
        let found = statements(text);
        assert_eq!(
            found.iter().map(|one| (one.takes_rows, one.line)).collect::<Vec<_>>(),
            [(true, 2), (false, 5), (false, 6)]
        );
    }

    proptest! {
        #[test]
        fn every_text_can_be_read(text in "[a-z'\"$;/*()é\\\\ \n-]{0,60}") {
            let lines = u32::try_from(text.split_inclusive('\n').count()).unwrap();
            for statement in statements(&text) {
                prop_assert!(statement.line >= 1 && statement.line <= lines);
            }
        }
    }
}
