//! Facts and parts built by hand, for the tests of the rules.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::facts::{Facts, FixedAddress, Given, Giver, Read, Reader, Service, Spot};
use super::super::parts::{Kind, Part, PartPort, Parts};
use super::{Contract, Reason, RemarkKind};

/// A repository with a `frontend` of Next.js and a `backend` of `FastAPI`, which uses Postgres.
#[derive(Debug)]
pub(super) struct Repo {
    pub(super) facts: Facts,
    pub(super) parts: Parts,
    texts: BTreeMap<PathBuf, String>,
}

pub(super) fn spot(file: &str, line: u32) -> Spot {
    Spot { file: PathBuf::from(file), line }
}

/// A part with a port, named after its folder.
pub(super) fn part(name: &str, kind: Kind, run: &str, usual: &[u16]) -> Part {
    Part {
        name: name.to_string(),
        kind,
        directory: PathBuf::from(name),
        sources: vec![PathBuf::from(name)],
        run: run.to_string(),
        port: if kind == Kind::Worker { PartPort::None } else { PartPort::Binds(3100) },
        ready: None,
        usual_ports: usual.to_vec(),
        services: vec![name.to_string()],
        at: None,
        remark: String::new(),
    }
}

impl Repo {
    pub(super) fn new() -> Self {
        let processes = vec![
            part("backend", Kind::Backend, "uvicorn app.main:app --fd $BACKEND_FD", &[8000]),
            part("frontend", Kind::Frontend, "next dev --port $PORT", &[3000]),
        ];
        Repo {
            facts: Facts::default(),
            parts: Parts { processes, wants_database: true, ..Parts::default() },
            texts: BTreeMap::new(),
        }
    }

    pub(super) fn part(mut self, part: Part) -> Self {
        self.parts.processes.push(part);
        self
    }

    /// Adds a file whose text the rules may ask for.
    pub(super) fn text(mut self, file: &str, text: &str) -> Self {
        self.facts.files.push(PathBuf::from(file));
        self.texts.insert(PathBuf::from(file), text.to_string());
        self
    }

    /// Adds an env file, or an example of one when its name says so: one `NAME=value` a line.
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
        self.facts.values.push(Given { name, value, at: spot(file, line), by });
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
            Reader::Settings
        } else {
            Reader::Node
        };
        for (line, name) in (1..).zip(names) {
            let (name, default) =
                name.split_once('=').map_or((*name, None), |(name, text)| (name, Some(text)));
            let required = default.is_none() && by == Reader::Settings;
            self = self.read(Read {
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

    pub(super) fn read(mut self, read: Read) -> Self {
        self.facts.reads.push(read);
        self
    }

    /// Makes the variable one that the code does without.
    pub(super) fn optional(mut self, name: &str) -> Self {
        self.facts.reads.iter_mut().filter(|read| read.name == name).for_each(|read| read.required = false);
        self
    }

    pub(super) fn address(mut self, file: &str, text: &str, port: u16, server: Option<bool>) -> Self {
        let text = text.to_string();
        self.facts.addresses.push(FixedAddress { at: spot(file, 6), text, port, origin: false, server });
        self
    }

    pub(super) fn bind(&self) -> Contract {
        super::bind(&self.facts, &self.parts, &|path: &Path| self.texts.get(path).cloned())
    }
}

impl Contract {
    /// The value of the variable for every process.
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

    /// Texts of the remarks of one kind.
    pub(super) fn said(&self, kind: RemarkKind) -> Vec<&str> {
        self.remarks.iter().filter(|remark| remark.kind == kind).map(|remark| remark.text.as_str()).collect()
    }
}
