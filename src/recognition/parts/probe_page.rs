//! Chooses the page for the readiness probe of a frontend: the page that devrun prints. Compiling any other page would
//! delay the first page that the user opens.

use std::path::{Component, Path};

use super::tree::Tree;
use super::{Framework, Part, PartKind, PartPort};
use crate::recognition::facts::TenantUrl;

/// Limits for a request during which the server may compile the page.
const LIMITS: &str = "timeout: 15s, deadline: 3m";
/// Matches the line that `next dev` prints when it listens: `✓ Ready in 1.2s`, or `- ready started server on …` before
/// 13.5.
const STARTED: &str = "log: '[Rr]eady (in|started)', deadline: 3m";
/// Folders with the pages of a Next.js application.
const PAGES: [&str; 4] = ["app", "src/app", "pages", "src/pages"];

/// Returns the part that serves `tenant`: the one with the URL's port among its usual ports, else the main frontend.
pub fn server_of<'a>(parts: &'a [Part], tenant: &TenantUrl) -> Option<&'a Part> {
    let named = parts.iter().find(|part| {
        part.port != PartPort::None && tenant.port.is_some_and(|port| part.usual_ports.contains(&port))
    });
    named.or_else(|| parts.iter().find(|part| part.kind == PartKind::Frontend))
}

/// Sets the readiness probe of every frontend in `parts`. `tenant` is the tenant URL that devrun prints.
pub fn choose(tree: &Tree<'_>, parts: &mut [Part], tenant: Option<&TenantUrl>) {
    let served = tenant.and_then(|tenant| Some((server_of(parts, tenant)?.name.clone(), tenant)));
    for part in parts.iter_mut().filter(|part| part.kind == PartKind::Frontend && part.ready.is_some()) {
        let tenant = served.as_ref().filter(|(name, _)| *name == part.name).map(|(_, tenant)| *tenant);
        part.ready = Some(match tenant {
            // This worktree's data may lack the tenant, so any status below 500 counts.
            Some(tenant) => {
                let path = if tenant.path.is_empty() { "/" } else { &tenant.path };
                let path = serde_json::Value::from(path);
                format!("http: {path}, host: {}, status: any, {LIMITS}", tenant.host)
            }
            None if part.framework == Framework::NextJs && !has_first_page(tree, &part.directory) => {
                STARTED.into()
            }
            None => format!("http: /, {LIMITS}"),
        });
    }
}

/// Returns true if the Next.js application in `folder` itself answers `/` with a page or a redirect.
fn has_first_page(tree: &Tree<'_>, folder: &Path) -> bool {
    let answers = |file: &Path| {
        let Some(name) = file.file_stem().and_then(|name| name.to_str()) else { return false };
        let inside = file.parent().and_then(|parent| parent.strip_prefix(folder).ok());
        let Some(inside) = inside.and_then(Path::to_str) else { return false };
        // These may redirect `/`, for example to the page of a language.
        if matches!(name, "middleware" | "proxy") {
            return matches!(inside, "" | "src");
        }
        if name == "next.config" {
            let sends = |text: &str| text.contains("redirects") || text.contains("rewrites");
            return inside.is_empty() && tree.text(file).is_some_and(|text| sends(&text));
        }
        PAGES.iter().any(|pages| {
            let Ok(below) = Path::new(inside).strip_prefix(pages) else { return false };
            let is_app = pages.ends_with("app");
            let wanted = if is_app { name == "page" } else { name == "index" };
            // Folders in parentheses are not part of the URL.
            wanted && below.components().all(|part| is_app && is_group(part))
        })
    };
    tree.facts.files.iter().any(|file| answers(file))
}

fn is_group(part: Component<'_>) -> bool {
    part.as_os_str().to_str().is_some_and(|name| name.starts_with('(') && name.ends_with(')'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recognition::facts::Facts;

    fn first_page(files: &[&str]) -> bool {
        let facts = Facts { files: files.iter().map(Into::into).collect(), ..Facts::default() };
        has_first_page(&Tree::new(Path::new("/w"), &facts), Path::new("web"))
    }

    #[test]
    fn a_first_page_is_found_where_next_looks() {
        for file in ["app/page.tsx", "src/app/(site)/(home)/page.jsx", "pages/index.tsx", "src/middleware.ts"]
        {
            assert!(first_page(&[&format!("web/{file}")]), "{file}");
        }
        let others = [
            "web/app/admin/page.tsx",
            "web/pages/about.tsx",
            "web/app/layout.tsx",
            "app/page.tsx",
            "web/lib/page.tsx",
        ];
        assert!(!first_page(&others));
    }
}
