//! Finds Django projects, which run the development server of `manage.py`.

use super::python::{self, PythonProject};
use super::tree::{Tree, folder, is_aside, shown};
use super::{Framework, Part, PartKind, PartPort};
use crate::recognition::facts::FileLine;

/// Returns the process of the Django project nearest the top, if a manifest names Django.
pub fn part(tree: &Tree<'_>, projects: &[PythonProject], base: u16) -> Option<Part> {
    let manage = tree.named("manage.py").find(|file| {
        !is_aside(file) && python::covering(projects, file).is_some_and(|project| project.names(&["django"]))
    })?;
    let directory = folder(manage);
    Some(Part {
        name: "backend".into(),
        kind: PartKind::Backend,
        framework: Framework::Other,
        sources: vec![directory.clone()],
        run: "python manage.py runserver $DEVRUN_HOST:$PORT".into(),
        port: PartPort::Binds(base),
        ready: Some("log: Starting development server".into()),
        usual_ports: vec![8000],
        services: super::backend::services(tree, &directory),
        at: Some(FileLine { file: manage.clone(), line: 1 }),
        remark: format!("Django in {}", shown(&directory)),
        directory,
    })
}
