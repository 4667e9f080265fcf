//! Builds facts and parts for the tests of the rules.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::facts::{
    Facts, FileLine, FixedAddress, FixedDatabase, GivenValue, Giver, ReadConstruct, Service, VariableRead,
};
use super::super::parts::{Framework, Part, PartKind, PartPort, Parts};
use super::{Contract, Reason, RemarkKind};

/// A repository with a `frontend` of Next.js and a `backend` of `FastAPI`, which uses Postgres.
#[derive(Debug)]
pub(super) struct TestRepo {
    pub(super) facts: Facts,
    pub(super) parts: Parts,
    texts: BTreeMap<PathBuf, String>,
}

pub(super) fn spot(file: &str, line: u32) -> FileLine {
    FileLine { file: PathBuf::from(file), line }
}

/// Returns a part with a port, named after its folder.
pub(super) fn part(name: &str, kind: PartKind, run: &str, usual: &[u16]) -> Part {
    Part {
        name: name.to_string(),
        kind,
        framework: if run.starts_with("next") { Framework::NextJs } else { Framework::Other },
        directory: PathBuf::from(name),
        sources: vec![PathBuf::from(name)],
        run: run.to_string(),
        port: if kind == PartKind::Worker { PartPort::None } else { PartPort::Binds(3100) },
        ready: None,
        usual_ports: usual.to_vec(),
        services: vec![name.to_string()],
        at: None,
        remark: String::new(),
    }
}

impl TestRepo {
    pub(super) fn new() -> Self {
        let processes = vec![
            part("backend", PartKind::Backend, "uvicorn app.main:app --fd $BACKEND_FD", &[8000]),
            part("frontend", PartKind::Frontend, "next dev --port $PORT", &[3000]),
        ];
        TestRepo {
            facts: Facts::default(),
            parts: Parts { processes, wants_database: true, ..Parts::default() },
            texts: BTreeMap::new(),
        }
    }

    pub(super) fn part(mut self, part: Part) -> Self {
        self.parts.processes.push(part);
        self
    }

    /// Adds a file with a text that the rules may read.
    pub(super) fn text(mut self, file: &str, text: &str) -> Self {
        self.facts.files.push(PathBuf::from(file));
        self.texts.insert(PathBuf::from(file), text.to_string());
        self
    }

    /// Adds an env file, or an example if the name contains that word, with one `NAME=value` per line.
    pub(super) fn env(mut self, file: &str, lines: &str) -> Self {
        let by = if file.contains("example") { Giver::Example } else { Giver::EnvFile };
        for (number, line) in (1..).zip(lines.lines()) {
            let (name, value) = line.split_once('=').unwrap();
            self = self.given(file, number, name, value, by.clone());
        }
        self
    }

    pub(super) fn given(mut self, file: &str, line: u32, name: &str, value: &str, by: Giver) -> Self {
        let (name, value) = (name.to_string(), value.to_string());
        self.facts.values.push(GivenValue { name, value, at: spot(file, line), by });
        self
    }

    /// Adds the fact that an example names a command that makes a random value for the variable.
    pub(super) fn made(mut self, name: &str) -> Self {
        self.facts.made.push(name.to_string());
        self
    }

    /// Adds a service of a compose file.
    pub(super) fn service(mut self, name: &str, image: &str, ports: &[(u16, u16)]) -> Self {
        let image = Some(image.to_string());
        self.facts.services.push(Service {
            name: name.to_string(),
            image,
            ports: ports.to_vec(),
            ..Service::default()
        });
        self
    }

    /// Adds code that reads variables: `NAME` is required, `NAME=default` has a default.
    pub(super) fn reads(mut self, file: &str, names: &[&str]) -> Self {
        let by = if Path::new(file).extension().is_some_and(|ending| ending == "py") {
            ReadConstruct::Settings
        } else {
            ReadConstruct::Node
        };
        for (line, name) in (1..).zip(names) {
            let (name, default) =
                name.split_once('=').map_or((*name, None), |(name, text)| (name, Some(text)));
            let required = default.is_none() && by == ReadConstruct::Settings;
            self = self.read(VariableRead {
                name: name.to_string(),
                aliases: Vec::new(),
                at: spot(file, line),
                by,
                required,
                default: default.map(str::to_string),
                min_length: None,
                refused: Vec::new(),
                list: false,
            });
        }
        self
    }

    pub(super) fn read(mut self, read: VariableRead) -> Self {
        self.facts.reads.push(read);
        self
    }

    /// Makes the variable optional.
    pub(super) fn optional(mut self, name: &str) -> Self {
        self.facts.reads.iter_mut().filter(|read| read.name == name).for_each(|read| read.required = false);
        self
    }

    pub(super) fn address(mut self, file: &str, text: &str, port: u16, server: Option<bool>) -> Self {
        let text = text.to_string();
        self.facts.addresses.push(FixedAddress { at: spot(file, 6), text, port, origin: false, server });
        self
    }

    /// Adds a line of code with the URL of a Postgres.
    pub(super) fn database(mut self, file: &str) -> Self {
        self.facts.databases.push(FixedDatabase { at: spot(file, 4), port: None });
        self
    }

    pub(super) fn bind(&self) -> Contract {
        super::bind(&self.facts, &self.parts, &|path: &Path| self.texts.get(path).cloned())
    }
}

impl Contract {
    /// Returns the value of the variable for every process.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.value_for(name, None)
    }

    pub(super) fn value_for(&self, name: &str, process: Option<&str>) -> Option<&str> {
        let of = self
            .bindings
            .iter()
            .find(|binding| binding.name == name && binding.process.as_deref() == process);
        of.map(|binding| binding.value.as_str())
    }

    pub(super) fn reason(&self, name: &str) -> Option<Reason> {
        self.bindings.iter().find(|binding| binding.name == name).map(|binding| binding.reason)
    }

    /// Returns the texts of the remarks of one kind.
    pub(super) fn said(&self, kind: RemarkKind) -> Vec<&str> {
        self.remarks.iter().filter(|remark| remark.kind == kind).map(|remark| remark.text.as_str()).collect()
    }
}
