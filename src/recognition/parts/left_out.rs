//! Describes parts that recognition found but does not run, with the lines of devrun.yaml that would run them.

use super::python::PythonProject;
use super::tree::{Tree, shown};
use super::{BACKEND, LeftOut, Part, PartKind, PartPort, Parts, application, other_server};

/// Returns the report about an application with packages that devrun does not install.
pub(super) fn elsewhere(served: &application::Served, part: &Part) -> LeftOut {
    let name = &part.name;
    let base = match part.port {
        PartPort::None => BACKEND,
        PartPort::Binds(base) | PartPort::Listens(base) => base,
    };
    LeftOut {
        at: served.at.clone(),
        why: format!(
            "{} is left out: its packages are not those of the main project, and {} has neither a lock file nor a \
             requirements.txt, or its command runs above it",
            part.remark,
            shown(&served.project)
        ),
        lines: format!(
            "recognise: true\nports: {{ {name}: {base} }}\nprocesses:\n  {name}: {{ run: '{}', directory: {}, listen: {name} }}\n",
            part.run,
            shown(&part.directory)
        ),
        candidates: Vec::new(),
    }
}

/// Returns the report about a further application of a project, named by a script or document.
pub(super) fn another(served: &application::Served) -> LeftOut {
    let target = format!("{}:{}", served.target.module, served.target.name);
    LeftOut {
        at: served.at.clone(),
        why: format!("{target} is left out: another application of its project was taken"),
        lines: format!("processes:\n  backend: {{ run: uvicorn {target} --reload --fd $BACKEND_FD }}\n"),
        candidates: vec![target],
    }
}

/// Returns reports about projects that name a web framework but contain no application that devrun can start.
pub(super) fn without_process(
    tree: &Tree<'_>,
    projects: &[PythonProject],
    served: &[application::Served],
    parts: &Parts,
) -> Vec<LeftOut> {
    let has = |project: &PythonProject| {
        served.iter().any(|served| {
            served.place.file.starts_with(&project.folder) || project.folder.starts_with(&served.project)
        })
    };
    let silent = projects.iter().filter(|project| application::is_fastapi(project) && !has(project));
    let mut found: Vec<LeftOut> = silent
        .map(|project| {
            let at = project.spot(tree, "fastapi");
            LeftOut {
                why: format!(
                    "{} names fastapi, and no application was found: no `uvicorn MODULE:NAME` in a script, Makefile, \
                     Dockerfile, compose file or README, and no `FastAPI(…)` object in {}",
                    at.file.display(),
                    shown(&project.folder)
                ),
                at,
                lines: format!(
                    "recognise: true\nports: {{ backend: 8100 }}\nprocesses:\n  backend: {{ run: uvicorn MODULE:app --reload --fd $BACKEND_FD, directory: {}, listen: backend }}\n",
                    shown(&project.folder)
                ),
                candidates: Vec::new(),
            }
        })
        .collect();
    let runs = |project: &PythonProject| {
        let is_in =
            |part: &Part| part.kind == PartKind::Backend && part.directory.starts_with(&project.folder);
        has(project) || parts.processes.iter().any(is_in)
    };
    let other = |project: &&PythonProject| !application::is_fastapi(project) && !runs(project);
    found.extend(
        projects.iter().filter(other).filter_map(|project| other_server::left_out(tree, project, parts)),
    );
    found
}
