//! `devrun url [NAME]`: prints the URLs of the stack, whether it runs or not.

use serde_json::{Map, json};

use super::args;
use crate::context::Context;
use crate::error::{Code, Exit, Report};
use crate::prepare;
use crate::ui::console::Console;

pub(super) async fn run(
    ctx: &Context,
    console: &Console,
    args: &args::UrlArgs,
    as_json: bool,
) -> Result<Exit, Report> {
    let plan = prepare::preview(ctx).await?.plan;
    let urls = &plan.urls;
    let Some(name) = &args.name else {
        if as_json {
            let object: Map<_, _> = urls.iter().map(|(name, url)| (name.clone(), json!(url))).collect();
            return super::printed(console.print_json(&json!(object)));
        }
        let rows: Vec<_> =
            urls.iter().map(|(name, url)| (name, super::beside(url, plan.host_url(name)))).collect();
        return super::printed(console.print(&super::columns(&rows)));
    };
    let Some((found, url)) = urls.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) else {
        let known: Vec<&str> = urls.iter().map(|(name, _)| name.as_str()).collect();
        let fix = match known.as_slice() {
            [] => "name it under `urls:`; there are none here".into(),
            all => format!("one of: {}", all.join(", ")),
        };
        return Err(Report::new(Code::Usage, format!("there is no URL named {name}")).with_fix(fix));
    };
    if as_json {
        return super::printed(console.print_json(&json!({ found: url })));
    }
    super::printed(console.print(&format!("{url}\n")))
}
