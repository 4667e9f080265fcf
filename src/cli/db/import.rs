//! `devrun db import`: replaces the parent, from which branch databases are copied, by another database.

use serde_json::json;

use super::size;
use super::undo_checks::UndoTarget;
use crate::cli::args::{DbImport, Named, Undo};
use crate::cli::confirm::{Confirmation, confirm};
use crate::cli::printed;
use crate::context::Context;
use crate::database::import::{ImportError, ImportRequest, ImportSource, SourceName};
use crate::database::import_source;
use crate::database::masking;
use crate::database::undo::Undoing;
use crate::error::{Code, Exit, Report};
use crate::os::read::{self, Limit};
use crate::prepare::Databases;
use crate::text::{hide_in_urls, quoted};
use crate::ui::console::Console;

pub(super) async fn run(
    ctx: &Context,
    console: &Console,
    args: &DbImport,
    as_json: bool,
) -> Result<Exit, Report> {
    let databases = Databases::open(ctx).await?;
    let request = request(ctx, &databases, args).await?;
    let shown = match &request.source {
        ImportSource::Server(server) => hide_in_urls(&server.url),
        ImportSource::File(path) => path.display().to_string(),
    };
    let (name, provider) = (databases.own.parent.clone(), databases.provider);
    let undo = Undo { which: Named { name: Some(name.clone()) }, yes: args.yes };
    let target = UndoTarget::find(ctx, &databases, &name, Undoing::Import, &undo).await?;
    let _turns = match &target {
        Some(target) if !args.yes => {
            let question = Confirmation {
                text: &format!("Replace {name} ({provider}) by {shown}? Everything in it is lost."),
                outcome: &format!("{name} would lose everything in it"),
                refused: "nothing was changed",
                command: &format!("devrun db import {} --yes", words(args)),
            };
            confirm(console, question, as_json).await?;
            target.turns(ctx, &databases, &format!("importing {name}")).await?
        }
        Some(target) => target.turns(ctx, &databases, &format!("importing {name}")).await?,
        None => Vec::new(),
    };
    let (imported, migrated) = databases.import(&request).await?;
    for kind in &imported.left_out {
        ctx.events.note(format!("{kind} was left out: only a superuser can create it"));
    }
    printed(if as_json {
        console.print_json(&json!({
            "provider": provider, "name": name, "source": shown, "tables": imported.tables,
            "size_bytes": imported.size, "masked": imported.masked, "left_out": imported.left_out,
            "migrated": migrated,
        }))
    } else {
        let masked = match imported.masked {
            0 => String::new(),
            count => format!(", {count} columns masked"),
        };
        let migrated =
            migrated.unwrap_or_else(|| "branches that are created from now on are copies of it".into());
        let tables = match imported.tables {
            1 => "1 table".into(),
            count => format!("{count} tables"),
        };
        let size = size(imported.size);
        console.print(&format!("{name} has {tables} ({size}{masked}): {migrated}.\n"))
    })
}

async fn request(ctx: &Context, databases: &Databases, args: &DbImport) -> Result<ImportRequest, Report> {
    let text = match (&args.source, &args.url_env) {
        (Some(source), _) => source.clone(),
        (None, Some(name)) => databases.variable(name).ok_or_else(|| {
            Report::new(
                Code::VariableMissing,
                format!("{name} is set neither in the environment nor in an env file"),
            )
            .with_fix(format!("set {name} to the URL of the database to import"))
        })?,
        (None, None) => return Err(Report::bug("an import without a source")),
    };
    let source = SourceName::of(&text, &ctx.cwd);
    if let (SourceName::Url(url), Some(_)) = (&source, &args.source)
        && hide_in_urls(url) != *url
    {
        ctx.events.warn(
            "other users of this machine can see the password on the command line: use --url-env instead",
        );
    }
    if args.url_env.is_some() && matches!(source, SourceName::File(_)) {
        return Err(Report::new(Code::Usage, "the variable holds no URL of a Postgres server")
            .with_fix("write it as postgresql://user:password@host:port/database"));
    }
    let mask_file = args.mask.clone().unwrap_or_default();
    let masks = match &args.mask {
        None => Vec::new(),
        Some(file) => {
            let path = ctx.cwd.join(file);
            let text = read::text(&path, Limit::SMALL)
                .map_err(|source| ImportError::Unreadable { path: path.clone(), source })?;
            masking::parse(&text).map_err(|error| ImportError::MaskSyntax { file: file.clone(), error })?
        }
    };
    let source = match source {
        SourceName::Url(url) => ImportSource::Server(import_source::look(&url).await?),
        SourceName::File(path) => ImportSource::File(path),
    };
    Ok(ImportRequest {
        source,
        schema_only: args.schema_only,
        exclude_table_data: args.exclude_table_data.clone(),
        masks,
        mask_file,
    })
}

/// Returns the arguments of this call, without `--yes` and without a password.
fn words(args: &DbImport) -> String {
    let mut words: Vec<String> = args.source.iter().map(|source| quoted(hide_in_urls(source))).collect();
    words.extend(args.url_env.iter().map(|name| format!("--url-env {}", quoted(name))));
    words.extend(args.schema_only.then(|| "--schema-only".into()));
    words.extend(args.exclude_table_data.iter().map(|one| format!("--exclude-table-data {}", quoted(one))));
    words.extend(args.mask.iter().map(|file| format!("--mask {}", quoted(file))));
    words.join(" ")
}
