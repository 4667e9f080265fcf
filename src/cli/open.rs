//! `devrun open [NAME]`: prints a URL of the running stack, and opens it in the user's browser if there is a display or BROWSER is set.

pub(super) mod opener;
mod profile;

use serde_json::json;

use super::{args, running};
use crate::context::Context;
use crate::error::{Code, Exit, Report};
use crate::ui::console::Console;
use crate::ui::style::harmless;

pub(super) async fn run(
    ctx: &Context,
    console: &Console,
    args: &args::Open,
    as_json: bool,
) -> Result<Exit, Report> {
    let found = running::find(ctx).await?;
    found.socket()?;
    let urls = found.record.as_ref().map(|record| record.urls.as_slice()).unwrap_or_default();
    let url = opener::page(chosen(urls, args.name.as_deref())?)?;
    let command = if args.print {
        None
    } else if args.browser_profile {
        profile::command(ctx, &found.worktree.state, &url)?
    } else {
        opener::command_for(ctx, &url)
    };
    if let Some(command) = &command {
        opener::start(ctx, command).await?;
    } else if !args.print && !as_json {
        ctx.events.note("there is no display here, and BROWSER is not set");
    }
    super::printed(if as_json {
        console.print_json(&json!({ "url": url, "opened": command.is_some() }))
    } else {
        console.print(&format!("{}\n", harmless(&url)))
    })
}

/// Returns the URL `name`; without a name that of the tenant, or else the first. Errors if there is none. Pure.
fn chosen<'a>(urls: &'a [(String, String)], name: Option<&str>) -> Result<&'a str, Report> {
    let find = |name: &str| urls.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    let found = match name {
        Some(name) => find(name),
        None => find("tenant").or(urls.first()),
    };
    found.map(|(_, url)| url.as_str()).ok_or_else(|| {
        let known: Vec<&str> = urls.iter().map(|(name, _)| name.as_str()).collect();
        let message = match name {
            Some(name) => format!("there is no URL named {name}"),
            None => "the stack has no URL".into(),
        };
        let fix = match known.as_slice() {
            [] => "name it under `urls:`; there are none here".into(),
            all => format!("one of: {}", all.join(", ")),
        };
        Report::new(Code::Usage, message).with_fix(fix)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tenant_is_the_page_that_opens_without_a_name() {
        let urls = [("Web", "http://localhost:1"), ("Tenant", "http://t.localhost:1")];
        let urls: Vec<_> = urls.map(|(name, url)| (name.to_string(), url.to_string())).into();
        assert_eq!(chosen(&urls, None).unwrap(), "http://t.localhost:1");
        assert_eq!(chosen(&urls[..1], None).unwrap(), "http://localhost:1");
        assert_eq!(chosen(&urls, Some("WEB")).unwrap(), "http://localhost:1");
        assert_eq!(chosen(&urls, Some("api")).unwrap_err().fix.as_deref(), Some("one of: Web, Tenant"));
        assert!(chosen(&[], None).is_err());
    }
}
