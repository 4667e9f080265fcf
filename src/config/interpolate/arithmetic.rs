//! Arithmetic in `${…}`: integers, names, `+ - * / %` and parentheses, as in `${slot % 16}`. Pure.
//!
//! A `-` belongs to the name of a port (`ports.api-v2`), so a minus after it needs a blank in front. An operator after a name in
//! upper case needs a blank in front, too: `${NAME-1}` is a default.

use std::collections::BTreeMap;

/// Maximum number of tokens, so that parentheses do not nest too deep.
const MOST_TOKENS: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ExpressionToken<'a> {
    Number(i64),
    Name(&'a str),
    /// An operator or a parenthesis.
    Sign(char),
}

/// An expression with correct syntax.
#[derive(Debug)]
pub(super) struct Expression<'a> {
    tokens: Vec<ExpressionToken<'a>>,
}

impl<'a> Expression<'a> {
    /// Reads the text between `${` and `}`. Returns `None` if it is something else, such as a name or a name with a default.
    pub(super) fn read(inside: &'a str) -> Option<Expression<'a>> {
        let inside = inside.trim();
        let is_variable = inside.starts_with(|c: char| c.is_ascii_uppercase() || c == '_');
        let name_end =
            inside.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(inside.len());
        if is_variable && !inside[name_end..].starts_with(' ') {
            return None;
        }
        let tokens = tokens(inside)?;
        let is_name = matches!(tokens.as_slice(), [] | [ExpressionToken::Name(_)]);
        let expression = Expression { tokens };
        let ones = expression.names().map(|name| (name, 1)).collect();
        let is_complete = Evaluation { tokens: &expression.tokens, values: &ones, at: 0 }.parses();
        (!is_name && is_complete).then_some(expression)
    }

    /// Iterates over the names in it.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.tokens.iter().filter_map(|token| match token {
            ExpressionToken::Name(name) => Some(*name),
            _ => None,
        })
    }

    /// Returns the result. `None` for a division by zero, and for a number that is too large.
    pub(super) fn compute(&self, values: &BTreeMap<&str, i64>) -> Option<i64> {
        Evaluation { tokens: &self.tokens, values, at: 0 }.sum()
    }
}

fn tokens(text: &str) -> Option<Vec<ExpressionToken<'_>>> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '0'..='9' => rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()),
            'a'..='z' | 'A'..='Z' | '_' => name_length(rest),
            '+' | '-' | '*' | '/' | '%' | '(' | ')' => 1,
            _ => return None,
        };
        let (token, after) = rest.split_at(length);
        found.push(match first {
            '0'..='9' => ExpressionToken::Number(token.parse().ok()?),
            'a'..='z' | 'A'..='Z' | '_' => ExpressionToken::Name(token),
            sign => ExpressionToken::Sign(sign),
        });
        if found.len() > MOST_TOKENS {
            return None;
        }
        rest = after.trim_start();
    }
    Some(found)
}

fn name_length(text: &str) -> usize {
    let may_have_hyphens = text.starts_with("ports.") || text.starts_with("secret.");
    let belongs = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.' || may_have_hyphens && c == '-';
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

/// One pass over the tokens, by recursive descent.
struct Evaluation<'a, 'b> {
    tokens: &'b [ExpressionToken<'a>],
    values: &'b BTreeMap<&'b str, i64>,
    at: usize,
}

impl<'a> Evaluation<'a, '_> {
    /// Returns true if the tokens are one expression. The values do not matter.
    fn parses(mut self) -> bool {
        self.shape_of_sum() && self.at == self.tokens.len()
    }

    fn shape_of_sum(&mut self) -> bool {
        loop {
            let is_operand = match self.next() {
                Some(ExpressionToken::Number(_) | ExpressionToken::Name(_)) => true,
                Some(ExpressionToken::Sign('-')) => continue,
                Some(ExpressionToken::Sign('(')) => {
                    self.shape_of_sum() && self.next() == Some(ExpressionToken::Sign(')'))
                }
                _ => false,
            };
            if !is_operand {
                return false;
            }
            match self.peek() {
                Some(ExpressionToken::Sign('+' | '-' | '*' | '/' | '%')) => self.at += 1,
                _ => return true,
            }
        }
    }

    fn peek(&self) -> Option<ExpressionToken<'a>> {
        self.tokens.get(self.at).copied()
    }

    fn next(&mut self) -> Option<ExpressionToken<'a>> {
        let token = self.tokens.get(self.at).copied();
        self.at += 1;
        token
    }

    fn sum(&mut self) -> Option<i64> {
        let mut result = self.product()?;
        while let Some(ExpressionToken::Sign(sign @ ('+' | '-'))) = self.peek() {
            self.at += 1;
            let other = self.product()?;
            result = if sign == '+' { result.checked_add(other)? } else { result.checked_sub(other)? };
        }
        Some(result)
    }

    fn product(&mut self) -> Option<i64> {
        let mut result = self.operand()?;
        while let Some(ExpressionToken::Sign(sign @ ('*' | '/' | '%'))) = self.peek() {
            self.at += 1;
            let other = self.operand()?;
            result = match sign {
                '*' => result.checked_mul(other)?,
                '/' => result.checked_div(other)?,
                _ => result.checked_rem(other)?,
            };
        }
        Some(result)
    }

    fn operand(&mut self) -> Option<i64> {
        match self.next()? {
            ExpressionToken::Number(number) => Some(number),
            ExpressionToken::Name(name) => self.values.get(name).copied(),
            ExpressionToken::Sign('-') => self.operand()?.checked_neg(),
            ExpressionToken::Sign(_) => {
                let result = self.sum()?;
                self.at += 1;
                Some(result)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn result(text: &str) -> Option<i64> {
        let values = BTreeMap::from([("slot", 47), ("ports.api-v2", 8147), ("PORT", 3000)]);
        Expression::read(text)?.compute(&values)
    }

    #[test]
    fn integers_follow_the_usual_precedence() {
        for (text, wanted) in [
            ("slot % 16", Some(15)),
            ("slot%16+1", Some(16)),
            ("slot - 40 - 5", Some(2)),
            ("2 * (slot + 3)", Some(100)),
            ("ports.api-v2 - 8100", Some(47)),
            ("slot / 10", Some(4)),
            ("-slot + 50", Some(3)),
            ("PORT - 3000", Some(0)),
            ("7", Some(7)),
            ("slot / 0", None),
            ("slot % 0", None),
            ("9223372036854775807 + slot", None),
        ] {
            assert_eq!(result(text), wanted, "{text}");
        }
    }

    #[test]
    fn names_and_defaults_are_no_expressions() {
        for text in [
            "slot",
            "PORT",
            "PORT-1",
            "PORT:-a + b",
            "slot %",
            "slot 16",
            "(slot",
            "slot)",
            "",
            "a b",
            "slot ** 2",
        ] {
            assert!(Expression::read(text).is_none(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "[a-z0-9()+*/% .-]{0,40}") {
            let expression = Expression::read(&text);
            let values = expression.iter().flat_map(Expression::names).map(|name| (name, 3)).collect();
            let _ = expression.as_ref().map(|expression| expression.compute(&values));
        }
    }
}
