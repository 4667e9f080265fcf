//! The `command` provider: databases that the user's own commands make, delete and reset.
//!
//! Each command gets its parameters in variables of its environment, and answers with one JSON object on standard output. devrun remembers
//! the databases that were made, so that it can list them without a command and pass their URLs to the commands. The databases need not be
//! Postgres.

mod action;
mod answer;
mod error;
mod invocation;

use self::action::ProviderAction;
use self::answer::UrlAnswer;
use self::error::CommandProviderError;
use self::invocation::Invoker;
use super::records::{MadeDatabase, Records};
use crate::context::Context;
use crate::database::provider_request::ProviderRequest;
use crate::database::{
    BranchDatabase, ListedDatabase, Provider, ProviderFuture, Purpose, Urls, WantedDatabase,
};
use crate::error::Report;
use crate::event::{Event, Step};
use crate::plan::{DatabaseOrigin, RunCommand};
use crate::text::is_postgres_url;

/// The databases that the commands of a configuration make.
pub(super) struct CommandProvider {
    ctx: Context,
    create: RunCommand,
    url: Option<RunCommand>,
    reset: Option<RunCommand>,
    delete: RunCommand,
    list: Option<RunCommand>,
    invoker: Invoker,
    records: Records,
    /// Names of databases that devrun never resets or deletes, with the reason.
    kept: Vec<(String, &'static str)>,
}

impl CommandProvider {
    /// Returns the provider with the settings in `request`. Runs nothing. Errors if a command is missing.
    pub(super) fn configured(
        ctx: &Context,
        request: &ProviderRequest<'_>,
    ) -> Result<CommandProvider, Report> {
        let section = request.section("command");
        let needed = |key: &'static str| section.run(key).ok_or(CommandProviderError::NoCommand(key));
        let records = Records::in_folder(request.worktree.shared.join("databases"));
        let main = request.worktree.git.as_ref().and_then(|git| git.main_worktree.clone());
        let invoker = Invoker {
            env: request.variables.of_commands(),
            directories: std::iter::once(request.worktree.path.clone()).chain(main).collect(),
            folder: records.folder.join("files"),
        };
        Ok(CommandProvider {
            ctx: ctx.clone(),
            create: needed("create")?,
            url: section.run("url"),
            reset: section.run("reset"),
            delete: needed("delete")?,
            list: section.run("list"),
            invoker,
            records,
            kept: request.kept(),
        })
    }

    /// Runs the command `run` for `database` and returns its answer.
    async fn ask(
        &self,
        action: ProviderAction,
        run: &RunCommand,
        database: &MadeDatabase,
    ) -> Result<UrlAnswer, CommandProviderError> {
        let parent = match &database.parent {
            Some(parent) => Some(self.records.load(parent)?.unwrap_or_else(|| MadeDatabase::unknown(parent))),
            None => None,
        };
        self.invoker.ask(action, run, database, parent.as_ref()).await
    }

    /// Runs the command `run`, which has to print a URL.
    async fn ask_for_url(
        &self,
        action: ProviderAction,
        run: &RunCommand,
        database: &MadeDatabase,
    ) -> Result<(String, UrlAnswer), CommandProviderError> {
        let answer = self.ask(action, run, database).await?;
        match answer.url.clone() {
            Some(url) => Ok((url, answer)),
            None => Err(self.invoker.unusable(action, run, "it has no `url`".into())),
        }
    }

    /// Returns the URL that the database has now. `None` if the command `url` prints none, or without that command if none is recorded.
    async fn current_url(&self, known: &MadeDatabase) -> Result<Option<String>, CommandProviderError> {
        match &self.url {
            Some(run) => Ok(self.ask(ProviderAction::Url, run, known).await?.url),
            None => Ok(known.url.clone()),
        }
    }

    fn branch(&self, database: &MadeDatabase, url: String, origin: DatabaseOrigin) -> BranchDatabase {
        // Postgres keeps the records of its migrations itself.
        let records = (!is_postgres_url(&url)).then(|| self.records.migrations(&database.name));
        BranchDatabase {
            id: database.id.clone(),
            name: database.name.clone(),
            direct_url: url.clone(),
            url,
            admin_socket: None,
            origin,
            copied_from: None,
            records,
        }
    }

    fn listed(&self, database: MadeDatabase) -> ListedDatabase {
        let kept = self.kept.iter().find(|(name, _)| *name == database.name).map(|(_, what)| *what);
        ListedDatabase { kept, ..database.listed() }
    }

    async fn ensure_database(&self, wanted: &WantedDatabase) -> Result<BranchDatabase, CommandProviderError> {
        let name = &wanted.name;
        let _turn = self.records.turn(name, &self.ctx.events).await?;
        let known = self.records.load(name)?;
        if let Some(known) = known.as_ref().filter(|_| self.url.is_some())
            && let Some(url) = self.current_url(known).await?
        {
            if known.url.as_ref() != Some(&url) {
                self.records.save(&MadeDatabase { url: Some(url.clone()), ..known.clone() })?;
            }
            return Ok(self.branch(known, url, DatabaseOrigin::Existing));
        }
        if known.is_none() {
            self.progress(&format!("make database {name}"));
        }
        let mut database = match known.clone() {
            Some(known) => MadeDatabase { label: wanted.label.to_string(), ..known },
            None => self.records.new_database(wanted)?,
        };
        let (url, answer) = self.ask_for_url(ProviderAction::Create, &self.create, &database).await?;
        if known.is_none() {
            database.was_there = !answer.created;
        }
        if answer.created || known.is_none() {
            self.records.renew(&mut database)?;
        }
        database.url = Some(url.clone());
        self.records.save(&database)?;
        Ok(self.branch(&database, url, origin(&answer, &database)))
    }

    async fn reset_database(&self, wanted: &WantedDatabase) -> Result<BranchDatabase, CommandProviderError> {
        let name = &wanted.name;
        let _turn = self.records.turn(name, &self.ctx.events).await?;
        self.progress(&format!("reset database {name}"));
        let mut database = match self.records.load(name)? {
            Some(known) => known,
            None => self.records.new_database(wanted)?,
        };
        // Saved first: after a reset that was killed, the migrations run again.
        self.records.renew(&mut database)?;
        self.records.save(&database)?;
        let (url, answer) = if let Some(run) = &self.reset {
            self.ask_for_url(ProviderAction::Reset, run, &database).await?
        } else {
            self.ask(ProviderAction::Delete, &self.delete, &database).await?;
            self.ask_for_url(ProviderAction::Create, &self.create, &database).await?
        };
        database.url = Some(url.clone());
        database.was_there = false;
        self.records.save(&database)?;
        let answer = UrlAnswer { created: true, ..answer };
        Ok(self.branch(&database, url, origin(&answer, &database)))
    }

    async fn delete_database(&self, name: &str) -> Result<bool, CommandProviderError> {
        let _turn = self.records.turn(name, &self.ctx.events).await?;
        let known = self.records.load(name)?;
        let is_known = known.is_some();
        let database = match known {
            Some(known) => known,
            None if self.others().await?.iter().any(|other| other == name) => MadeDatabase::unknown(name),
            None => return Ok(false),
        };
        self.ask(ProviderAction::Delete, &self.delete, &database).await?;
        if is_known {
            self.records.remove(name)?;
        }
        Ok(true)
    }

    /// Returns the names of the databases that the command `list` prints.
    async fn others(&self) -> Result<Vec<String>, CommandProviderError> {
        match &self.list {
            Some(run) => self.invoker.list(run).await,
            None => Ok(Vec::new()),
        }
    }

    async fn list_databases(&self) -> Result<Vec<ListedDatabase>, CommandProviderError> {
        let made = self.records.all()?;
        let there = self.others().await?;
        let is_there = |one: &MadeDatabase| self.list.is_none() || there.contains(&one.given);
        let others = there.iter().filter(|name| made.iter().all(|one| one.given != **name));
        let mut all: Vec<ListedDatabase> =
            others.map(|name| ListedDatabase { name: name.clone(), ..ListedDatabase::default() }).collect();
        all.extend(made.iter().filter(|one| is_there(one)).cloned().map(|one| self.listed(one)));
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    async fn describe_database(&self, name: &str) -> Result<Option<ListedDatabase>, CommandProviderError> {
        if let Some(known) = self.records.load(name)? {
            return Ok(Some(self.listed(known)));
        }
        let is_there = self.others().await?.iter().any(|other| other == name);
        Ok(is_there.then(|| ListedDatabase { name: name.into(), ..ListedDatabase::default() }))
    }

    async fn find_database(&self, name: &str) -> Result<Option<BranchDatabase>, CommandProviderError> {
        let Some(known) = self.records.load(name)? else { return Ok(None) };
        let url = self.current_url(&known).await?;
        Ok(url.map(|url| self.branch(&known, url, DatabaseOrigin::Existing)))
    }

    fn progress(&self, doing: &str) {
        self.ctx.events.send(Event::StepProgress { step: Step::Database, detail: doing.into() });
    }
}

fn origin(answer: &UrlAnswer, database: &MadeDatabase) -> DatabaseOrigin {
    match &database.parent {
        _ if !answer.created => DatabaseOrigin::Existing,
        Some(parent) if answer.copied => DatabaseOrigin::CopyOf(parent.clone()),
        Some(_) | None => DatabaseOrigin::Empty,
    }
}

impl Provider for CommandProvider {
    fn name(&self) -> &'static str {
        "command"
    }

    /// Returns false: the commands decide if they copy the parent.
    fn makes_parents(&self) -> bool {
        false
    }

    /// Returns false: only this clone has the records of its databases.
    fn is_shared(&self) -> bool {
        false
    }

    fn address(&self, name: &str) -> Result<Option<Urls>, Report> {
        let known = self.records.load(name).map_err(CommandProviderError::from)?;
        Ok(known.and_then(|known| known.url).map(|url| Urls { direct_url: url.clone(), url }))
    }

    fn open<'a>(&'a self, _purpose: Purpose<'a>) -> ProviderFuture<'a, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn find<'a>(&'a self, name: &'a str) -> ProviderFuture<'a, Option<BranchDatabase>> {
        Box::pin(async move { Ok(self.find_database(name).await?) })
    }

    fn ensure<'a>(&'a self, wanted: &'a WantedDatabase) -> ProviderFuture<'a, BranchDatabase> {
        Box::pin(async move { Ok(self.ensure_database(wanted).await?) })
    }

    fn describe<'a>(&'a self, name: &'a str) -> ProviderFuture<'a, Option<ListedDatabase>> {
        Box::pin(async move { Ok(self.describe_database(name).await?) })
    }

    fn list(&self) -> ProviderFuture<'_, Vec<ListedDatabase>> {
        Box::pin(async move { Ok(self.list_databases().await?) })
    }

    /// Renames only devrun's record: the commands still get the name with which the database was made.
    fn rename<'a>(&'a self, from: &'a ListedDatabase, wanted: &'a WantedDatabase) -> ProviderFuture<'a, ()> {
        Box::pin(async move {
            let _turn =
                self.records.turn(&from.name, &self.ctx.events).await.map_err(CommandProviderError::from)?;
            Ok(self.records.rename(from, wanted).map_err(CommandProviderError::from)?)
        })
    }

    fn reset<'a>(&'a self, wanted: &'a WantedDatabase) -> ProviderFuture<'a, BranchDatabase> {
        Box::pin(async move { Ok(self.reset_database(wanted).await?) })
    }

    fn delete<'a>(&'a self, name: &'a str) -> ProviderFuture<'a, bool> {
        Box::pin(async move { Ok(self.delete_database(name).await?) })
    }

    fn extension_fix(&self, name: &str) -> String {
        format!("let the command of `database.command.create` make a database with the extension `{name}`")
    }
}
