//! `devrun db extensions`: lists the extensions of the server, their versions, and where they come from.

use serde_json::{Value, json};

use super::table;
use crate::cli::printed;
use crate::context::Context;
use crate::database::extension_list::ServerExtension;
use crate::error::{Exit, Report};
use crate::prepare::Databases;
use crate::ui::console::Console;

pub(super) async fn run(ctx: &Context, console: &Console, as_json: bool) -> Result<Exit, Report> {
    let databases = Databases::open(ctx).await?;
    let (branch, found) = databases.extensions().await?;
    printed(if as_json {
        let all: Vec<Value> = found.iter().map(object).collect();
        console.print_json(&json!({
            "provider": databases.provider, "database": branch.name, "extensions": all,
        }))
    } else {
        console.print(&text(&found))
    })
}

fn object(extension: &ServerExtension) -> Value {
    json!({
        "name": extension.name,
        "version": extension.version,
        "installed": extension.installed,
        "source": extension.source.to_string(),
        "comment": extension.comment,
    })
}

fn text(found: &[ServerExtension]) -> String {
    let titles = ["EXTENSION", "VERSION", "CREATED", "SOURCE", "MEANING"].map(String::from).to_vec();
    let row = |one: &ServerExtension| {
        let installed = one.installed.clone().unwrap_or_else(|| "-".into());
        vec![one.name.clone(), one.version.clone(), installed, one.source.to_string(), one.comment.clone()]
    };
    table(&std::iter::once(titles).chain(found.iter().map(row)).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::extension_list::ExtensionSource;

    #[test]
    fn each_extension_has_a_row() {
        let extension = |name: &str, installed: Option<&str>, source| ServerExtension {
            name: name.into(),
            version: "1.1".into(),
            installed: installed.map(Into::into),
            comment: format!("about {name}"),
            source,
        };
        let found = [
            extension("citext", None, ExtensionSource::Contrib),
            extension("vector", Some("1.0"), ExtensionSource::Package("postgresql-15-pgvector".into())),
        ];
        insta::assert_snapshot!(text(&found), @r"
        EXTENSION  VERSION  CREATED  SOURCE                  MEANING
        citext     1.1      -        contrib                 about citext
        vector     1.1      1.0      postgresql-15-pgvector  about vector
        ");
    }
}
