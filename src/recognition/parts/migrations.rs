//! Finds the migrations of the database: Alembic, Django, Prisma or Drizzle, and the seed scripts that the repository's
//! start script runs.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

use super::Migrations;
use super::command_line::{self, Simple};
use super::module;
use super::node::NodePackage;
use super::python::{self, PythonProject};
use super::tree::{Tree, depth, folder, is_aside, shown};
use crate::config::names::is_python;
use crate::recognition::facts::{Author, FileLine};

static SCRIPT_LOCATION: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"(?m)^script_location\s*=\s*["']?(\S.*?)["']?\s*$"#).ok());
static PROVIDER: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"provider\s*=\s*"(postgresql|postgres|cockroachdb)""#).ok());
static DIALECT: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"dialect\s*:\s*["']postgresql["']|driver\s*:\s*["']pg["']"#).ok());
static OUT: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"\bout\s*:\s*["']\.?/?([^"']+)["']"#).ok());
static SCHEMA: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"\bschema\s*:\s*["']\.?/?([^"']+)["']"#).ok());

/// Words in the names of scripts that do not start the product.
const CHECKS: &[&str] = &["test", "lint", "format", "coverage", "deploy", "build"];

/// Returns the migrations. `home` is the folder of the main backend; its migrations take precedence.
pub fn find(
    tree: &Tree<'_>,
    projects: &[PythonProject],
    packages: &[NodePackage],
    home: Option<&Path>,
) -> Option<Migrations> {
    let home = home.unwrap_or(Path::new(""));
    let own = alembic(tree, home)
        .or_else(|| django(tree, projects))
        .or_else(|| packages.iter().find_map(|package| prisma(tree, package)))
        .or_else(|| python_prisma(tree, projects))
        .or_else(|| packages.iter().find_map(|package| drizzle(tree, package)));
    seeded(tree, own, home)
}

fn alembic(tree: &Tree<'_>, home: &Path) -> Option<Migrations> {
    let inis = tree.named("alembic.ini").filter(|file| !is_aside(file));
    let mut inis: Vec<&PathBuf> = inis.collect();
    inis.sort_by_key(|file| (!file.starts_with(home), depth(file)));
    inis.into_iter().find_map(|ini| {
        let text = tree.text(ini)?;
        let location = SCRIPT_LOCATION.as_ref()?.captures(&text).and_then(|found| found.get(1))?.as_str();
        let beside = folder(ini);
        let is_here = location.contains("%(here)s");
        let location = location.replace("%(here)s/", "").replace([':', '\\'], "/");
        let location = location.trim_start_matches("./").trim_end_matches('/').to_string();
        if location.starts_with('/') || location.split('/').any(|part| part == "..") {
            return None;
        }
        // The location is relative to the folder that alembic runs in, which may not be that of alembic.ini.
        let runs = |folder: &Path| tree.has_folder(&folder.join(&location));
        let directory = if is_here { None } else { beside.ancestors().find(|folder| runs(folder)) };
        let directory = directory.unwrap_or(&beside).to_path_buf();
        let option = beside.strip_prefix(&directory).ok().filter(|inner| depth(inner) > 0);
        let option = option.map(|inner| format!(" -c {}/alembic.ini", inner.display())).unwrap_or_default();
        let heads = words_say(tree, "alembic", "heads");
        Some(Migrations {
            run: format!("alembic{option} upgrade {}", if heads { "heads" } else { "head" }),
            inputs: vec![format!("{}/versions/*.py", glob::Pattern::escape(&location))],
            at: Some(tree.spot(ini, "script_location")),
            remark: format!("Alembic in {}", shown(&directory)),
            directory,
            is_sql: false,
        })
    })
}

fn words_say(tree: &Tree<'_>, program: &str, word: &str) -> bool {
    let mut simples = tree.facts.commands.iter().flat_map(|command| command_line::commands(&command.text));
    simples.any(|simple| simple.program == program && simple.has(word))
}

fn django(tree: &Tree<'_>, projects: &[PythonProject]) -> Option<Migrations> {
    let manage = tree.named("manage.py").find(|file| {
        !is_aside(file) && python::covering(projects, file).is_some_and(|project| project.names(&["django"]))
    })?;
    let directory = folder(manage);
    Some(Migrations {
        run: "python manage.py migrate --noinput".into(),
        inputs: vec!["**/migrations/*.py".into()],
        at: Some(FileLine { file: manage.clone(), line: 1 }),
        remark: format!("Django in {}", shown(&directory)),
        directory,
        is_sql: false,
    })
}

fn prisma(tree: &Tree<'_>, package: &NodePackage) -> Option<Migrations> {
    if !package.names(&["prisma", "@prisma/client"]) || is_aside(&package.folder) {
        return None;
    }
    let given = package.schema.as_deref().map(|schema| schema.trim_start_matches("./"));
    let usual = ["prisma/schema.prisma", "schema.prisma", "prisma/schema/schema.prisma"];
    let schema = given.into_iter().chain(usual).find(|schema| tree.has(&package.folder.join(schema)))?;
    prisma_schema(tree, &package.folder, schema, "")
}

fn python_prisma(tree: &Tree<'_>, projects: &[PythonProject]) -> Option<Migrations> {
    let file = tree
        .named("schema.prisma")
        .find(|file| python::covering(projects, file).is_some_and(|project| project.names(&["prisma"])))?;
    let project = python::covering(projects, file)?;
    let schema = file.strip_prefix(&project.folder).ok()?.to_str()?;
    let option = if schema == "schema.prisma" || schema == "prisma/schema.prisma" {
        String::new()
    } else {
        format!(" --schema {schema}")
    };
    prisma_schema(tree, &project.folder, schema, &option)
}

fn prisma_schema(tree: &Tree<'_>, home: &Path, schema: &str, option: &str) -> Option<Migrations> {
    let file = home.join(schema);
    let text = tree.text(&file)?;
    PROVIDER.as_ref()?.is_match(&text).then_some(())?;
    let migrations = folder(Path::new(schema)).join("migrations");
    let has = tree.facts.files.iter().any(|file| {
        file.starts_with(home.join(&migrations))
            && file.extension().is_some_and(|extension| extension == "sql")
    });
    let inputs = if has { format!("{}/*/migration.sql", migrations.display()) } else { schema.to_string() };
    Some(Migrations {
        run: format!("prisma {}{option}", if has { "migrate deploy" } else { "db push" }),
        directory: home.into(),
        inputs: vec![inputs],
        at: Some(tree.spot(&file, "provider")),
        remark: format!("Prisma in {}", shown(home)),
        is_sql: false,
    })
}

fn drizzle(tree: &Tree<'_>, package: &NodePackage) -> Option<Migrations> {
    let names = ["drizzle.config.ts", "drizzle.config.js", "drizzle.config.mjs", "drizzle.config.json"];
    let config = names.iter().map(|name| package.folder.join(name)).find(|file| tree.has(file))?;
    let text = tree.text(&config)?;
    DIALECT.as_ref()?.is_match(&text).then_some(())?;
    let word = |pattern: &LazyLock<Option<Regex>>| {
        pattern.as_ref()?.captures(&text).map(|found| found[1].trim_end_matches('/').to_string())
    };
    let out = word(&OUT).unwrap_or_else(|| "drizzle".into());
    let has = tree.has(&package.folder.join(&out).join("meta/_journal.json"));
    let (run, inputs) = if has {
        ("drizzle-kit migrate", vec![format!("{out}/*.sql")])
    } else {
        let schema = word(&SCHEMA).unwrap_or_else(|| "**/schema.ts".into());
        let inner = if tree.has_folder(&package.folder.join(&schema))
            && Path::new(&schema).extension().is_none_or(|extension| extension != "ts")
        {
            format!("{schema}/**/*.ts")
        } else {
            schema
        };
        ("drizzle-kit push --force", vec![inner])
    };
    Some(Migrations {
        run: run.into(),
        directory: package.folder.clone(),
        inputs,
        at: Some(tree.spot(&config, "dialect")),
        remark: format!("Drizzle in {}", shown(&package.folder)),
        is_sql: false,
    })
}

/// Returns the migrations together with the Python scripts that the repository's start script runs around them, in its
/// order.
fn seeded(tree: &Tree<'_>, migrations: Option<Migrations>, home: &Path) -> Option<Migrations> {
    let directory = migrations.as_ref().map_or(home, |found| found.directory.as_path()).to_path_buf();
    let mut files: Vec<&PathBuf> = Vec::new();
    for command in tree.facts.commands.iter().filter(|command| command.by == Author::Shell) {
        let name = command.at.file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_start =
            ["start", "entrypoint", "init", "migrate", "run"].iter().any(|word| name.contains(word));
        let is_check = CHECKS.iter().any(|word| name.contains(word)) || is_aside(&command.at.file);
        if is_start && !is_check && !files.contains(&&command.at.file) {
            files.push(&command.at.file);
        }
    }
    files.sort_by_key(|file| (!file.to_string_lossy().contains("prestart"), depth(file)));
    let found = files.into_iter().find_map(|file| sequence(tree, file, migrations.as_ref(), &directory));
    let Some((run, at)) = found else { return migrations };
    let mut inputs = migrations.as_ref().map(|found| found.inputs.clone()).unwrap_or_default();
    let scripts = at.iter().filter_map(|file| file.strip_prefix(&directory).ok()?.to_str());
    inputs.extend(scripts.map(glob::Pattern::escape));
    let spot = migrations.as_ref().and_then(|found| found.at.clone());
    Some(Migrations {
        run,
        inputs,
        at: spot.or_else(|| Some(FileLine { file: at.first()?.clone(), line: 1 })),
        remark: migrations.map_or_else(|| format!("seed in {}", shown(&directory)), |found| found.remark),
        directory,
        is_sql: false,
    })
}

/// Returns the commands of a start script up to the server, and the Python files that they run. `None` unless the
/// script runs at least one seed script, together with the migrations if there are any.
fn sequence(
    tree: &Tree<'_>,
    script: &Path,
    migrations: Option<&Migrations>,
    directory: &Path,
) -> Option<(String, Vec<PathBuf>)> {
    let mut lines: Vec<_> = tree.facts.commands.iter().filter(|command| command.at.file == script).collect();
    lines.sort_by_key(|command| command.at.line);
    let own = migrations.map(|found| command_line::commands(&found.run));
    let own_program = own.as_ref().and_then(|own| own.first()).map(|simple| simple.program.as_str());
    let (mut run, mut scripts, mut migrated) = (Vec::new(), Vec::new(), false);
    for simple in lines.into_iter().flat_map(|command| command_line::commands(&command.text)) {
        if Some(simple.program.as_str()) == own_program {
            migrated = true;
            run.push(migrations?.run.clone());
        } else if let Some((line, file)) = python_script(tree, &simple, directory) {
            run.push(line);
            scripts.push(file);
        } else if ["uvicorn", "gunicorn", "fastapi", "hypercorn"].contains(&simple.program.as_str()) {
            break;
        }
    }
    let is_seed = |file: &PathBuf| {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        ["init", "seed", "initial", "fixture", "start", "setup", "load", "create"]
            .iter()
            .any(|word| name.contains(word))
    };
    let fine = !scripts.is_empty() && scripts.iter().all(is_seed) && (migrated || migrations.is_none());
    fine.then(|| (run.join(" && "), scripts))
}

/// Returns a command that runs a Python file of the repository, and the file.
fn python_script(tree: &Tree<'_>, simple: &Simple, directory: &Path) -> Option<(String, PathBuf)> {
    is_python(&simple.program).then_some(())?;
    match simple.args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["-m", module] => {
            let place = module::find(tree, module, directory).filter(|place| place.root == directory)?;
            Some((format!("python -m {module}"), place.file))
        }
        [file] => {
            let inner = file.trim_start_matches("./");
            let path = directory.join(inner);
            tree.has(&path).then_some(())?;
            // Python adds the script's folder to its path, but in the repository's container the working directory is
            // on it.
            let lead = if inner.contains('/') { "PYTHONPATH=. " } else { "" };
            Some((format!("{lead}python {inner}"), path))
        }
        _ => None,
    }
}
