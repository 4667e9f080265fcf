//! Finds out how to get a server with an extension that a migration misses: the image that the compose file uses, and the
//! provider's next step.

use std::time::Duration;

use super::ResolvedWorktree;
use crate::database::migrate::ExtensionAdvice;
use crate::database::{Provider, extensions};
use crate::os::blocking;
use crate::recognition::facts::{self, Service};

/// The time limit for reading the repository.
const READING: Duration = Duration::from_secs(20);

pub(super) async fn of(
    resolved: &ResolvedWorktree,
    provider: &dyn Provider,
    extension: &str,
) -> ExtensionAdvice {
    let root = resolved.worktree.path.clone();
    let state = resolved.worktree.state.clone();
    let read = blocking::run(READING, move || facts::read(&root, None, Some(&state)).services).await;
    ExtensionAdvice {
        image: read.ok().and_then(|services| image(&services, extension)),
        fix: provider.extension_fix(extension),
    }
}

/// Returns the place and the image of the service that brings the extension.
fn image(services: &[Service], extension: &str) -> Option<(String, String)> {
    services.iter().find_map(|service| {
        let image = service.image.clone().filter(|image| extensions::brings(image, extension))?;
        let at = service.at.as_ref()?;
        Some((format!("{}:{}", at.file.display(), at.line), image))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recognition::facts::FileLine;

    #[test]
    fn the_image_that_brings_the_extension_is_named_with_its_line() {
        let service = |image: &str, line| Service {
            image: Some(image.into()),
            at: Some(FileLine { file: "compose.yml".into(), line }),
            ..Service::default()
        };
        let services = [service("redis:7", 2), service("pgvector/pgvector:pg17", 5)];
        let wanted = Some(("compose.yml:5".into(), "pgvector/pgvector:pg17".into()));
        assert_eq!(image(&services, "vector"), wanted);
        assert_eq!(image(&services, "postgis"), None);
    }
}
