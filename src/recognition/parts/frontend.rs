//! Finds frontends: packages with scripts that start a known development server, or that depend on Next.js.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

use super::backend::{builds, distinct};
use super::command_line::{self, Simple};
use super::node::{self, NodePackage};
use super::server::{self, DevServer};
use super::tree::{Tree, depth, is_aside, shown};
use super::{LeftOut, Part, PartKind, PartPort};
use crate::recognition::facts::FileLine;

/// Scripts that usually start a server, the most usual first.
const SCRIPTS: &[&str] = &["dev", "develop", "start:dev", "dev:web", "web", "serve", "start"];
/// Usual folders of the main frontend in a repository with several.
const USUAL: &[&str] = &["frontend", "web", "app", "client", "ui"];
/// Port base of the first frontend.
const BASE: u16 = 3100;
/// Programs that would start services that devrun itself provides.
const CONTAINERS: &[&str] = &["docker", "docker-compose", "podman"];

static CONFIGURED_PORT: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"\bport["']?\s*:\s*(\d{2,5})\b"#).ok());

/// A package that is a frontend.
#[derive(Debug)]
pub struct Frontend<'a> {
    package: &'a NodePackage,
    server: &'static DevServer,
    run: String,
    port: Option<u16>,
    at: FileLine,
    /// The folder in which its packages are installed.
    pub install: PathBuf,
}

impl Frontend<'_> {
    /// Returns true if `part` is this frontend.
    pub fn is(&self, part: &Part) -> bool {
        part.directory == self.package.folder
    }
}

/// Returns the frontends, the main one first.
pub fn find<'a>(tree: &Tree<'_>, packages: &'a [NodePackage]) -> Vec<Frontend<'a>> {
    let mut found: Vec<Frontend<'a>> =
        packages.iter().filter_map(|package| frontend(tree, packages, package)).collect();
    let usual = |folder: &Path| {
        folder
            .file_name()
            .and_then(|name| USUAL.iter().position(|usual| name == *usual))
            .unwrap_or(USUAL.len())
    };
    // A library of components depends on Next.js too, beside the frontends that use it.
    if found.iter().any(|frontend| has_pages(tree, frontend.package)) {
        found.retain(|frontend| has_pages(tree, frontend.package));
    }
    found.sort_by_key(|frontend| {
        let folder = &frontend.package.folder;
        (is_aside(folder), depth(folder), usual(folder), folder.clone())
    });
    found
}

/// Returns the processes of `frontends`, and those that are left out: frontends of examples, documents or tests, and
/// frontends with packages in another folder than the main one's that are not locked there.
pub fn parts(
    tree: &Tree<'_>,
    packages: &[NodePackage],
    frontends: &[Frontend<'_>],
    taken: &mut Vec<String>,
) -> (Vec<Part>, Vec<LeftOut>) {
    let (mut parts, mut left_out) = (Vec::new(), Vec::new());
    let Some(main) = frontends.first() else { return (parts, left_out) };
    let mut index = 0;
    for frontend in frontends {
        let folder = &frontend.package.folder;
        let is_main = std::ptr::eq(frontend, main);
        let name = if is_main { "frontend".into() } else { own_name(folder, "frontend", taken) };
        let why = if is_main {
            None
        } else if is_aside(folder) {
            Some("its folder is not part of the product")
        } else if frontend.install != main.install && !node::is_locked(tree, &frontend.install) {
            Some("its packages are not those of the main one, and it has no lock file of its own")
        } else {
            None
        };
        if let Some(why) = why {
            left_out.push(LeftOut {
                at: frontend.at.clone(),
                why: format!("{} in {} is left out: {why}", frontend.server.name, shown(folder)),
                lines: lines(&name, folder, &frontend.run, BASE + 100 * (index + 1)),
                candidates: Vec::new(),
            });
            continue;
        }
        taken.push(name.clone());
        parts.push(Part {
            name,
            kind: PartKind::Frontend,
            framework: frontend.server.framework,
            directory: folder.clone(),
            sources: node::sources(packages, frontend.package),
            run: frontend.run.clone(),
            port: PartPort::Binds(BASE + 100 * index),
            // The server compiles the first page during the first request.
            ready: Some("http: /, timeout: 15s, deadline: 3m".into()),
            usual_ports: usual_ports(tree, frontend),
            services: super::backend::services(tree, folder),
            at: Some(frontend.at.clone()),
            remark: format!("{} in {}", frontend.server.name, shown(folder)),
        });
        index += 1;
    }
    (parts, left_out)
}

/// Returns the lines of devrun.yaml that add a frontend.
fn lines(name: &str, folder: &Path, run: &str, base: u16) -> String {
    format!(
        "recognise: true\nports: {{ {name}: {base} }}\nprocesses:\n  {name}: {{ run: '{run}', directory: {}, port: {name} }}\n",
        shown(folder)
    )
}

/// Returns a name from the folder's name that no other part has.
pub fn own_name(folder: &Path, otherwise: &str, taken: &[String]) -> String {
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or(otherwise);
    unused(name, otherwise, taken)
}

/// Returns `name` in a form that is valid for a process, with a number if another part has that name.
pub fn unused(name: &str, otherwise: &str, taken: &[String]) -> String {
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).take(30).collect();
    let name = if name.starts_with(|c: char| c.is_ascii_alphabetic()) { name } else { otherwise.into() };
    let is_taken = |name: &String| {
        let stem = crate::config::names::variable_stem(name);
        taken.iter().any(|other| crate::config::names::variable_stem(other) == stem)
    };
    let numbered = (2..100).map(|number| format!("{name}-{number}"));
    std::iter::once(name.clone()).chain(numbered).find(|name| !is_taken(name)).unwrap_or(name)
}

fn frontend<'a>(tree: &Tree<'_>, packages: &[NodePackage], package: &'a NodePackage) -> Option<Frontend<'a>> {
    let install = node::install_folder(tree, packages, &package.folder);
    let started = SCRIPTS.iter().find_map(|name| Some((*name, started(package, name, 0)?)));
    let (server, run, port, at) = match started {
        Some((name, Started { server, run, port })) => {
            (server, run, port, tree.spot(&package.manifest, &format!("\"{name}\"")))
        }
        None if package.names(&["next"]) => {
            let server = server::named("next")?;
            let dev = package.script("dev").map(command_line::commands).unwrap_or_default();
            // The repository has its own server, which uses Next.js as a library.
            let custom = dev.iter().find(|simple| {
                ["node", "tsx", "ts-node", "nodemon", "bun"].contains(&simple.program.as_str())
            });
            let run = match (custom, package.script("dev")) {
                (Some(_), Some(script)) if dev.len() == 1 => script.into(),
                _ => server.command(&command_line::commands("next dev")[0], false),
            };
            (server, run, None, tree.spot(&package.manifest, "\"next\""))
        }
        None => return None,
    };
    Some(Frontend { package, server, run, port, at, install })
}

/// Returns true if the package has a script that may start it, or the folder of pages or the configuration of Next.js.
fn has_pages(tree: &Tree<'_>, package: &NodePackage) -> bool {
    let has_script = SCRIPTS.iter().any(|name| package.script(name).is_some());
    let signs = ["app", "pages", "src/app", "src/pages"].map(|name| package.folder.join(name));
    let is_config = |file: &PathBuf| {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        file.parent() == Some(&package.folder) && name.starts_with("next.config.")
    };
    has_script
        || tree
            .facts
            .files
            .iter()
            .any(|file| is_config(file) || signs.iter().any(|sign| file.starts_with(sign)))
}

struct Started {
    server: &'static DevServer,
    run: String,
    port: Option<u16>,
}

/// Returns the server that a script starts, directly or by another script of the package.
fn started(package: &NodePackage, script: &str, depth: usize) -> Option<Started> {
    let simples = command_line::commands(package.script(script)?);
    if simples.iter().any(|simple| simple.program == "cd") {
        return None;
    }
    for (index, simple) in simples.iter().enumerate() {
        if let Some((server, simple)) = in_words(simple) {
            if server.needs_web() && !(simple.has("--web") || package.names(&["react-native-web"])) {
                continue;
            }
            let mut run = server.command(&simple, package.names(&["react-native-web"]));
            let chained = simples.iter().take(index + 1).skip(1).all(|simple| simple.follows);
            let before =
                simples.iter().take(index).filter(|simple| !CONTAINERS.contains(&simple.program.as_str()));
            if chained {
                let before: Vec<String> = before.map(text).chain([run]).collect();
                run = before.join(" && ");
            }
            return Some(Started { server, run, port: simple.port() });
        }
        let runs = ["npm", "pnpm", "yarn", "bun"].contains(&simple.program.as_str());
        let other = simple.args.iter().find(|word| !word.starts_with('-') && *word != "run");
        if let Some(other) = other.filter(|other| runs && depth < 3 && *other != script)
            && let Some(found) = started(package, other, depth + 1)
        {
            return Some(found);
        }
    }
    None
}

/// Returns the server of a command, even after a program that runs it: `dotenv -e .env -- next dev`.
fn in_words(simple: &Simple) -> Option<(&'static DevServer, Simple)> {
    if let Some(server) = server::of(simple) {
        return Some((server, simple.clone()));
    }
    simple.args.iter().enumerate().find_map(|(index, word)| {
        let inner = Simple {
            lead: simple.lead.clone(),
            program: word.clone(),
            args: simple.args[index + 1..].to_vec(),
            follows: simple.follows,
        };
        Some((server::of(&inner)?, inner))
    })
}

fn text(simple: &Simple) -> String {
    let words = simple.lead.iter().chain([&simple.program]).chain(&simple.args);
    words.map(|word| server::shell(word)).collect::<Vec<_>>().join(" ")
}

fn usual_ports(tree: &Tree<'_>, frontend: &Frontend<'_>) -> Vec<u16> {
    let folder = &frontend.package.folder;
    let mut ports: Vec<u16> = frontend.port.into_iter().collect();
    let configs = tree.facts.files.iter().filter(|file| {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        file.parent() == Some(folder) && (name.contains(".config.") || name == "angular.json")
    });
    if let Some(pattern) = CONFIGURED_PORT.as_ref() {
        for text in configs.filter_map(|file| tree.text(file)) {
            let found: Option<u16> =
                pattern.captures(&text).and_then(|found| found.get(1)?.as_str().parse().ok());
            ports.extend(found);
        }
    }
    let services = tree.facts.services.iter().filter(|service| builds(service, folder));
    ports.extend(services.flat_map(|service| &service.ports).flat_map(|(host, inner)| [*host, *inner]));
    // A container publishes other ports than a server that the user starts by hand.
    if frontend.port.is_none() {
        ports.push(frontend.server.port);
    }
    distinct(ports)
}

/// Returns reports about packages that depend on Vite and look like an application, but start no server.
pub fn without_process(
    tree: &Tree<'_>,
    packages: &[NodePackage],
    frontends: &[Frontend<'_>],
) -> Vec<LeftOut> {
    let is_known =
        |package: &NodePackage| frontends.iter().any(|frontend| frontend.package.folder == package.folder);
    let silent = packages.iter().filter(|package| {
        package.names(&["vite"])
            && !is_known(package)
            && !is_aside(&package.folder)
            && (tree.has(&package.folder.join("index.html")) || serves(package))
    });
    silent
        .map(|package| LeftOut {
            at: tree.spot(&package.manifest, "\"vite\""),
            why: format!(
                "{} names vite, and none of its scripts {} starts a server that devrun knows",
                package.manifest.display(),
                SCRIPTS.join(", ")
            ),
            lines: lines("frontend", &package.folder, "vite --port $PORT --strictPort", BASE),
            candidates: package.scripts.iter().map(|(name, _)| name.clone()).collect(),
        })
        .collect()
}

/// Returns true if a script of the package starts Vite's development server.
fn serves(package: &NodePackage) -> bool {
    let simples = package.scripts.iter().flat_map(|(_, script)| command_line::commands(script));
    simples.into_iter().any(|simple| {
        simple.program == "vite"
            && simple.first().is_none_or(|word| !["build", "preview", "optimize"].contains(&word))
    })
}
