//! Finds the values of each variable for each part, in the order in which the part's own loader prefers them.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::super::facts::{Facts, FileLine, GivenValue, Giver, ReadConstruct, VariableRead};
use super::super::parts::{Part, PartKind, Parts};

/// The kind of place that a value comes from, strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Strength {
    /// An env file of the user.
    Person,
    /// A committed example.
    Example,
    /// A script that starts the part.
    Script,
    /// A compose file.
    Compose,
    Dockerfile,
    /// The default in the code.
    Default,
}

/// One value of a variable.
#[derive(Clone, Copy, Debug)]
pub(super) struct VariableValue<'a> {
    /// The value, without surrounding space.
    pub(super) text: &'a str,
    /// The line that gives it.
    pub(super) at: &'a FileLine,
    /// The kind of place.
    pub(super) strength: Strength,
}

/// One variable as one part sees it.
#[derive(Clone, Debug)]
pub(super) struct View<'a> {
    /// The variable.
    pub(super) name: &'a str,
    /// The index of the part that reads it; `None` if no part does.
    pub(super) part: Option<usize>,
    /// The code that reads it.
    pub(super) reads: Vec<&'a VariableRead>,
    /// Non-empty values, strongest first.
    pub(super) values: Vec<VariableValue<'a>>,
    /// True when an env file sets the variable, even to an empty value.
    pub(super) set: bool,
}

impl<'a> View<'a> {
    /// Returns the value from the user's env files.
    pub(super) fn person(&self) -> Option<VariableValue<'a>> {
        self.values.first().copied().filter(|value| value.strength == Strength::Person)
    }

    /// Returns the values that may decide: only the user's own if there is one, else all.
    pub(super) fn deciding(&self) -> &[VariableValue<'a>] {
        if self.person().is_some() { &self.values[..1] } else { &self.values }
    }

    /// Returns the first line of code that reads it.
    pub(super) fn read_at(&self) -> Option<&'a FileLine> {
        self.reads.first().map(|read| &read.at)
    }

    /// Returns the line to name as the source: that of the strongest value, else that of the code.
    pub(super) fn at(&self) -> Option<&'a FileLine> {
        self.values.first().map(|value| value.at).or_else(|| self.read_at())
    }
}

/// The facts, sorted by variable.
pub(super) struct Evidence<'a> {
    pub(super) parts: &'a Parts,
    pub(super) facts: &'a Facts,
    reads: BTreeMap<&'a str, Vec<&'a VariableRead>>,
    given: BTreeMap<&'a str, Vec<&'a GivenValue>>,
}

impl<'a> Evidence<'a> {
    /// Sorts the facts. Tests, examples and documents do not count as readers.
    pub(super) fn new(facts: &'a Facts, parts: &'a Parts) -> Self {
        let mut reads: BTreeMap<&str, Vec<&VariableRead>> = BTreeMap::new();
        for read in facts.reads.iter().filter(|read| is_product(&read.at.file)) {
            for name in std::iter::once(&read.name).chain(&read.aliases) {
                let of_name = reads.entry(name.as_str()).or_default();
                if !of_name.iter().any(|other| std::ptr::eq(*other, read)) {
                    of_name.push(read);
                }
            }
        }
        let mut given: BTreeMap<&str, Vec<&GivenValue>> = BTreeMap::new();
        // pydantic ignores case; facts have its names in upper case.
        let upper: BTreeMap<String, &str> = reads.keys().map(|name| (name.to_uppercase(), *name)).collect();
        for value in &facts.values {
            let exact = reads.contains_key(value.name.as_str());
            let loose = upper
                .get(&value.name.to_uppercase())
                .copied()
                .filter(|name| !exact && reads[name].iter().any(|read| read.by == ReadConstruct::Settings));
            given.entry(loose.unwrap_or(value.name.as_str())).or_default().push(value);
        }
        Evidence { parts, facts, reads, given }
    }

    /// Returns a view of every variable for each part that reads it, or one without a part if none does, sorted by
    /// name.
    pub(super) fn views(&self) -> Vec<View<'a>> {
        let mut names: Vec<&str> = self.reads.keys().chain(self.given.keys()).copied().collect();
        names.sort_unstable();
        names.dedup();
        let mut views = Vec::new();
        for name in names {
            let before = views.len();
            for part in 0..self.parts.processes.len() {
                let reads = self.reads_of(name, Some(part));
                if !reads.is_empty() {
                    views.push(self.view(name, Some(part), reads));
                }
            }
            if views.len() == before {
                views.push(self.view(name, None, self.reads_of(name, None)));
            }
        }
        views
    }

    /// Returns the variable as that part sees it, even if the part does not read it.
    pub(super) fn view_of(&self, name: &'a str, part: Option<usize>) -> View<'a> {
        self.view(name, part, self.reads_of(name, part))
    }

    /// Returns the values of the variable with that name, strongest first; empty if there is no such variable.
    pub(super) fn values_of(&self, name: &str, part: Option<usize>) -> Vec<&'a str> {
        let name = self.reads.keys().chain(self.given.keys()).find(|known| **known == name);
        name.map(|name| self.view_of(name, part).values.iter().map(|value| value.text).collect())
            .unwrap_or_default()
    }

    /// Returns the value of a variable in the user's env files.
    pub(super) fn person_of(&self, name: &str, part: Option<usize>) -> Option<&'a str> {
        let name = self.reads.keys().chain(self.given.keys()).find(|known| **known == name)?;
        self.view_of(name, part).person().map(|value| value.text)
    }

    /// Returns the part with that index.
    pub(super) fn part(&self, index: usize) -> &'a Part {
        &self.parts.processes[index]
    }

    /// Returns the indexes of the parts of that kind that have a port.
    pub(super) fn with_port(&self, kind: PartKind) -> Vec<usize> {
        let all = self.parts.processes.iter().enumerate();
        let fit =
            all.filter(|(_, part)| part.kind == kind && part.port != super::super::parts::PartPort::None);
        fit.map(|(index, _)| index).collect()
    }

    fn reads_of(&self, name: &str, part: Option<usize>) -> Vec<&'a VariableRead> {
        let reads = self.reads.get(name).into_iter().flatten().copied();
        match part {
            Some(part) => reads.filter(|read| self.readers(&read.at.file, read.by).contains(&part)).collect(),
            None => reads.collect(),
        }
    }

    fn view(&self, name: &'a str, part: Option<usize>, reads: Vec<&'a VariableRead>) -> View<'a> {
        let mut ranked = Vec::new();
        let mut set = false;
        for given in self.given.get(name).into_iter().flatten() {
            let Some((strength, rank)) = self.rank(given, part) else { continue };
            set |= strength == Strength::Person;
            ranked.push((
                strength,
                rank,
                VariableValue { text: given.value.trim(), at: &given.at, strength },
            ));
        }
        let defaults = reads.iter().filter_map(|read| {
            let text = read.default.as_deref()?.trim();
            Some((
                Strength::Default,
                Rank::default(),
                VariableValue { text, at: &read.at, strength: Strength::Default },
            ))
        });
        ranked.extend(defaults);
        ranked.retain(|(_, _, value)| !value.text.is_empty());
        ranked.sort_by_key(|(strength, rank, _)| (*strength, *rank));
        View { name, part, reads, values: ranked.into_iter().map(|(_, _, value)| value).collect(), set }
    }

    /// Returns the parts that `file` is code of: those with the longest folder above it, if their program is in the
    /// reader's language.
    pub(super) fn readers(&self, file: &Path, by: ReadConstruct) -> Vec<usize> {
        let mut best = (0, Vec::new());
        for (index, part) in self.parts.processes.iter().enumerate() {
            if !speaks(part, by) {
                continue;
            }
            let Some(length) = roots(part).filter_map(|root| below(file, &root)).max() else { continue };
            // Adds 1, so that a part at the top counts.
            match (length + 1).cmp(&best.0) {
                std::cmp::Ordering::Greater => best = (length + 1, vec![index]),
                std::cmp::Ordering::Equal => best.1.push(index),
                std::cmp::Ordering::Less => {}
            }
        }
        best.1
    }

    /// Returns the strength of a value for a part, and its order among values of the same strength; `None` if the
    /// part's loader never reads it, or if it belongs to another part.
    fn rank(&self, given: &GivenValue, part: Option<usize>) -> Option<(Strength, Rank)> {
        let strength = match &given.by {
            Giver::EnvFile | Giver::MainEnvFile => Strength::Person,
            Giver::Example => Strength::Example,
            Giver::Script => Strength::Script,
            Giver::Compose(_) | Giver::BuildArg(_) => Strength::Compose,
            Giver::Dockerfile => Strength::Dockerfile,
            Giver::AlembicIni => return None,
        };
        if let Giver::Compose(service) | Giver::BuildArg(service) = &given.by {
            let owners = |part: &Part| part.services.contains(service);
            let own = part.is_some_and(|part| owners(self.part(part)));
            let other = !own && part.is_some() && self.parts.processes.iter().any(owners);
            return (!other).then_some((strength, Rank { distance: usize::from(!own), mode: 0 }));
        }
        let name =
            given.at.file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let mode = mode(&name, part.is_some_and(|part| self.part(part).run.contains("vite")), strength)?;
        let folder = given.at.file.parent().unwrap_or(Path::new(""));
        let distance = self.distance(folder, part)?;
        Some((strength, Rank { distance, mode }))
    }

    /// Returns the distance of a folder from the part, for comparison: least for its own folder, then folders inside
    /// it, folders above it, and folders of no part. `None` for a folder of another part.
    fn distance(&self, folder: &Path, part: Option<usize>) -> Option<usize> {
        let Some(part) = part else { return Some(depth(folder)) };
        let own = without_dots(&self.part(part).directory);
        if folder == own {
            return Some(0);
        }
        let others = self.parts.processes.iter().enumerate().filter(|(index, _)| *index != part);
        let inside =
            |part: &Part| roots(part).filter(|root| depth(root) > 0).any(|root| folder.starts_with(root));
        if inside(self.part(part)) {
            return Some(1);
        }
        if own.starts_with(folder) {
            return Some(2 + depth(&own) - depth(folder));
        }
        (!others.map(|(_, part)| part).any(inside)).then_some(100 + depth(folder))
    }
}

/// The order among values of one strength: the nearest folder first, then the loader's order of files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    distance: usize,
    mode: usize,
}

/// Returns the position of an env file in the order of a development server; `None` if the server does not read it.
/// <https://nextjs.org/docs/app/guides/environment-variables#environment-variable-load-order>,
/// <https://vite.dev/guide/env-and-mode#env-files>
fn mode(name: &str, vite: bool, strength: Strength) -> Option<usize> {
    if strength > Strength::Example {
        return Some(0);
    }
    let foreign = ["production", "prod", "staging", "test", "testing", "ci"];
    if name.split(['.', '-', '_']).any(|word| foreign.contains(&word)) {
        return (strength == Strength::Example).then_some(9);
    }
    Some(match name {
        ".env.development.local" => 0,
        ".env.local" => 1 + usize::from(vite),
        ".env.development" => 2 - usize::from(vite),
        ".env" | ".env.example" => 3,
        _ => 4,
    })
}

/// Returns true if the part's program is in the language of the reader.
fn speaks(part: &Part, by: ReadConstruct) -> bool {
    let node = matches!(by, ReadConstruct::Node | ReadConstruct::ImportMeta);
    match part.kind {
        PartKind::Service => false,
        PartKind::Frontend => node || by == ReadConstruct::Prisma,
        _ => {
            let python = [
                "python",
                "uvicorn",
                "fastapi",
                "gunicorn",
                "hypercorn",
                "granian",
                "celery",
                "arq",
                "dramatiq",
                "rq ",
                "uv run",
            ];
            let is_python = python.iter().any(|word| part.run.contains(word));
            if is_python { !node } else { true }
        }
    }
}

/// Returns the folders with the code of the part.
fn roots(part: &Part) -> impl Iterator<Item = PathBuf> {
    std::iter::once(&part.directory).chain(&part.sources).map(|folder| without_dots(folder))
}

/// Returns the path without `.` components.
pub(super) fn without_dots(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != Component::CurDir).collect()
}

fn depth(path: &Path) -> usize {
    path.components().count()
}

/// Returns the depth of `root` if `file` is below it.
fn below(file: &Path, root: &Path) -> Option<usize> {
    file.starts_with(root).then(|| depth(root))
}

/// Returns false for tests, examples and documents: variables there are not the product's.
pub(super) fn is_product(file: &Path) -> bool {
    let folders =
        ["tests", "test", "__tests__", "e2e", "cypress", "playwright", "examples", "docs", ".github", "spec"];
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let parent = file.parent().unwrap_or(Path::new(""));
    let test = name.contains(".test.")
        || name.contains(".spec.")
        || name.starts_with("test_")
        || name.starts_with("playwright.config")
        || name == "conftest.py";
    !test && !parent.iter().any(|part| folders.iter().any(|folder| part == *folder))
}

#[cfg(test)]
mod tests {
    use super::super::test_repo::TestRepo;
    use super::*;

    fn strongest(repo: &TestRepo, name: &str) -> Vec<String> {
        let evidence = Evidence::new(&repo.facts, &repo.parts);
        let views = evidence.views();
        let of_name = views.iter().filter(|view| view.name == name);
        of_name
            .map(|view| view.values.first().map(|value| value.text.to_string()).unwrap_or_default())
            .collect()
    }

    #[test]
    fn the_order_of_env_files_is_that_of_the_parts_own_server() {
        let repo = |run: &str| {
            let mut repo = TestRepo::new()
                .env("frontend/.env", "A=plain\nB=plain")
                .env("frontend/.env.development", "A=mode\nB=mode")
                .env("frontend/.env.local", "A=local")
                .env("frontend/.env.production", "A=production\nB=production")
                .reads("frontend/a.ts", &["A", "B"]);
            repo.parts.processes[1].run = run.to_string();
            repo
        };
        assert_eq!(strongest(&repo("next dev"), "A"), ["local"]);
        assert_eq!(strongest(&repo("next dev"), "B"), ["mode"]);
        assert_eq!(strongest(&repo("vite --port $PORT"), "A"), ["mode"]);
    }

    #[test]
    fn the_nearest_folder_wins_and_another_parts_folder_does_not_count() {
        let repo = TestRepo::new()
            .env(".env", "A=top")
            .env("backend/.env", "A=beside")
            .env("frontend/.env", "B=other")
            .reads("backend/app/settings.py", &["A", "B=code"]);
        assert_eq!(strongest(&repo, "A"), ["beside"]);
        assert_eq!(strongest(&repo, "B"), ["code"]);
    }

    #[test]
    fn kinds_of_files_rank_from_the_persons_own_to_the_codes_default() {
        let mut repo = TestRepo::new().reads("backend/app/settings.py", &["A=code"]);
        let service = Giver::Compose("backend".to_string());
        let steps: [(&str, Giver, &str); 4] = [
            ("backend/Dockerfile", Giver::Dockerfile, "image"),
            ("compose.yaml", service, "compose"),
            ("backend/.env.example", Giver::Example, "example"),
            (".env", Giver::EnvFile, "own"),
        ];
        assert_eq!(strongest(&repo, "A"), ["code"]);
        for (file, by, value) in steps {
            repo = repo.given(file, 1, "A", value, by);
            assert_eq!(strongest(&repo, "A"), [value]);
        }
    }

    #[test]
    fn the_environment_of_another_parts_service_does_not_count() {
        let repo = TestRepo::new()
            .given("compose.yaml", 1, "A", "theirs", Giver::Compose("frontend".to_string()))
            .reads("backend/app/settings.py", &["A=code"]);
        assert_eq!(strongest(&repo, "A"), ["code"]);
    }

    #[test]
    fn of_two_programs_in_one_folder_each_reads_in_its_own_language() {
        let mut repo = TestRepo::new().reads("lib/a.ts", &["A"]).reads("api/index.py", &["B=1"]);
        for part in &mut repo.parts.processes {
            part.directory = PathBuf::from(".");
            part.sources.clear();
        }
        let evidence = Evidence::new(&repo.facts, &repo.parts);
        let parts: Vec<_> = evidence.views().iter().map(|view| (view.name.to_string(), view.part)).collect();
        assert_eq!(parts, [("A".to_string(), Some(1)), ("B".to_string(), Some(0))]);
    }

    #[test]
    fn pydantic_takes_names_in_any_case() {
        let repo =
            TestRepo::new().env("backend/.env", "secret=own").reads("backend/app/settings.py", &["SECRET"]);
        assert_eq!(strongest(&repo, "SECRET"), ["own"]);
    }

    #[test]
    fn tests_of_the_repository_are_no_readers() {
        let repo =
            TestRepo::new().reads("backend/tests/conftest.py", &["A"]).reads("frontend/e2e/a.ts", &["A"]);
        assert!(strongest(&repo, "A").is_empty());
    }
}
