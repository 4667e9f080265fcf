//! The types that describe the keys of devrun.yaml: their names, the values that they take, what they mean.
//!
//! The reader takes the known keys from these descriptions; the JSON Schema and the manual page are written from them.

/// A key.
#[derive(Clone, Copy, Debug)]
pub struct ConfigKey {
    /// Its name.
    pub name: &'static str,
    /// The values that it takes. Every key may also be without a value, which counts as left out.
    pub form: ValueForm,
    /// Its meaning, in a sentence or two.
    pub about: &'static str,
    /// The value that holds if it is left out; empty if there is none.
    pub default: &'static str,
}

/// The values that a key takes.
#[derive(Clone, Copy, Debug)]
pub enum ValueForm {
    /// A single value that is not empty. It may contain `${…}` where the description says so.
    Text,
    /// A single value that may contain `${…}`. It may be empty.
    Template,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A boolean.
    Flag,
    /// The boolean `true` alone.
    True,
    /// A whole number in this range.
    Number(u32, u32),
    /// A duration.
    Duration,
    /// A duration above zero.
    PositiveDuration,
    /// A size of at least 1 MiB.
    Size,
    /// The status of an HTTP response, or `any`.
    HttpStatus,
    /// A path that begins with `/`.
    HttpPath,
    /// The name of a signal.
    Signal,
    /// One number of compute units, or a least and a most.
    ComputeUnits,
    /// The name of an environment variable.
    Variable,
    /// The name of an environment variable, or a pattern.
    VariablePattern,
    /// The scheme of a Postgres URL, with parameters or without.
    UrlScheme,
    /// A file or folder of the worktree.
    Path,
    /// A glob pattern, relative to a folder.
    Pattern,
    /// Text for a shell, which is not the word `false`.
    ShellLine,
    /// Text for a shell, or a list that is executed without one.
    Command,
    /// A list. A single value counts as a list of one.
    List(&'static ValueForm),
    /// A list or mapping with at least one entry.
    Filled(&'static ValueForm),
    /// A mapping from names that the user chooses.
    Map(NameRule, &'static ValueForm),
    /// The form, or nothing.
    OrNothing(&'static ValueForm),
    /// Any of these forms. At most one of them is a single value, one a list, and one a mapping.
    AnyOf(&'static [ValueForm]),
    /// A mapping with fixed keys.
    Table(&'static TableForm),
}

/// The names that a mapping takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// Any text.
    Any,
    /// The name of a process or step.
    Name,
    /// The name of a port, which begins with a letter.
    PortName,
    /// The number of a port.
    PortNumber,
    /// The name of an environment variable.
    Variable,
    /// A file of the worktree.
    Path,
}

/// A mapping with fixed keys.
#[derive(Clone, Copy, Debug)]
pub struct TableForm {
    /// The keys, in the order in which errors and documents list them.
    pub keys: &'static [&'static [ConfigKey]],
    /// True if keys that begin with `x-` are allowed and ignored, as in compose files.
    pub has_extensions: bool,
    /// Keys, each with the keys that it excludes.
    pub exclusions: &'static [(&'static str, &'static [&'static str])],
}

impl ConfigKey {
    /// Returns a key without a default.
    pub const fn new(name: &'static str, form: ValueForm, about: &'static str) -> ConfigKey {
        ConfigKey { name, form, about, default: "" }
    }

    /// Returns the key with a default.
    pub const fn or(self, default: &'static str) -> ConfigKey {
        ConfigKey { default, ..self }
    }
}

impl TableForm {
    /// Returns a table without exclusions.
    pub const fn of(keys: &'static [&'static [ConfigKey]]) -> TableForm {
        TableForm { keys, has_extensions: false, exclusions: &[] }
    }

    /// Returns the keys.
    pub fn keys(&self) -> impl Iterator<Item = &'static ConfigKey> {
        self.keys.iter().copied().flatten()
    }

    /// Returns the names of the keys.
    pub fn names(&self) -> Vec<&'static str> {
        self.keys().map(|key| key.name).collect()
    }
}

impl ValueForm {
    /// Returns the tables that a value of this form can contain, without those inside them.
    #[cfg(test)]
    pub fn tables(&self) -> Vec<&'static TableForm> {
        match self {
            ValueForm::Table(table) => vec![table],
            ValueForm::List(inner)
            | ValueForm::Filled(inner)
            | ValueForm::OrNothing(inner)
            | ValueForm::Map(_, inner) => inner.tables(),
            ValueForm::AnyOf(forms) => forms.iter().flat_map(ValueForm::tables).collect(),
            _ => Vec::new(),
        }
    }
}
