//! The `docker` provider: a container with Postgres for each branch database.
//!
//! devrun calls the client of the engine. Containers, volumes and ports belong to one database each; the container of a branch has one
//! database of the branch's name, which a swap of names replaces at a reset. A copy is a dump of the parent, taken in the parent's
//! container. Containers keep running until they are stopped or removed, and devrun starts them again.

mod container;
mod engine;
mod error;
mod repository;

use std::time::Duration;

use tokio_postgres::Client;

use self::container::{ROLE, is_port_taken};
use self::engine::Engine;
use self::error::DockerError;
use self::repository::ContainerRepository;
use super::records::MadeDatabase;
use super::swap::put_in_place;
use crate::context::Context;
use crate::database::catalogue::{
    self, CatalogueError, MAINTENANCE, ServerDatabase, identifier, publication,
};
use crate::database::connect::connect;
use crate::database::local::{free_port, next_port, port_of};
use crate::database::provider_request::ProviderRequest;
use crate::database::{
    BranchDatabase, ListedDatabase, Provider, ProviderFuture, Purpose, Urls, WantedDatabase,
};
use crate::error::Report;
use crate::event::{Event, Step};
use crate::os::{fs, net};
use crate::plan::DatabaseOrigin;
use crate::worktree::Worktree;

/// The image of a configuration that names none.
const IMAGE: &str = "postgres:16-alpine";
/// How long Postgres in a container that has been started may take to answer. A new one runs `initdb` first.
const READY: Duration = Duration::from_secs(90);
/// How many free ports are tried before the start fails.
const ATTEMPTS: u32 = 5;

/// The databases of a repository, each in a container.
pub(super) struct DockerProvider {
    ctx: Context,
    worktree: Worktree,
    image: String,
    /// `docker` or `podman`, if the configuration says which.
    engine: Option<String>,
    /// Names of databases that devrun never resets or deletes, with the reason.
    kept: Vec<(String, &'static str)>,
}

/// A database whose Postgres answers.
struct OpenDatabase {
    made: MadeDatabase,
    /// The URL for the application.
    url: String,
    /// The image of its container.
    image: String,
    /// A connection to the database `postgres` of its container.
    client: Client,
}

impl DockerProvider {
    /// Returns the provider with the settings in `request`. Calls nothing. Errors if the image is no name of one.
    pub(super) fn configured(ctx: &Context, request: &ProviderRequest<'_>) -> Result<DockerProvider, Report> {
        let section = request.section("docker");
        let image = section.text("image").unwrap_or_else(|| IMAGE.into());
        if !container::is_image(&image) {
            return Err(DockerError::Image(image).into());
        }
        Ok(DockerProvider {
            ctx: ctx.clone(),
            worktree: request.worktree.clone(),
            image,
            engine: section.text("engine"),
            kept: request.kept(),
        })
    }

    fn engine(&self) -> Result<Engine, DockerError> {
        Engine::find(&self.ctx, self.engine.as_deref())
    }

    /// Returns the repository, if it has had containers.
    fn known(&self) -> Result<Option<ContainerRepository>, DockerError> {
        Ok(ContainerRepository::known(&self.worktree.shared, &self.ctx.dirs.data)?)
    }

    /// Returns the record of the database `name`, if it was made completely.
    fn recorded(&self, name: &str) -> Result<Option<(ContainerRepository, MadeDatabase)>, DockerError> {
        let Some(repository) = self.known()? else { return Ok(None) };
        let made = repository.records.load(name)?.filter(|made| !made.id.is_empty());
        Ok(made.map(|made| (repository, made)))
    }

    fn listed(&self, database: MadeDatabase) -> ListedDatabase {
        let kept = self.kept.iter().find(|(name, _)| *name == database.name).map(|(_, what)| *what);
        ListedDatabase { kept, ..database.listed() }
    }

    fn progress(&self, doing: String) {
        self.ctx.events.send(Event::StepProgress { step: Step::Database, detail: doing });
    }

    /// Makes sure that the container of `made` runs and that Postgres in it answers.
    async fn start(
        &self,
        engine: &Engine,
        repository: &ContainerRepository,
        mut made: MadeDatabase,
    ) -> Result<OpenDatabase, DockerError> {
        let name = repository.container(&made.given);
        let mut image = self.image.clone();
        let is_there = match engine.inspect(&name).await? {
            Some(found) if found.repository.as_deref() != Some(repository.id.as_str()) => {
                return Err(DockerError::Foreign { name, engine: engine.word });
            }
            Some(found) => {
                image = found.image;
                found.is_running || self.restart(engine, &name).await?
            }
            None => false,
        };
        if !is_there {
            self.launch(engine, repository, &mut made).await?;
            image.clone_from(&self.image);
        }
        let url = made.url.clone().unwrap_or_default();
        match connect(&with_database(&url, MAINTENANCE), READY).await {
            Ok(client) => Ok(OpenDatabase { made, url, image, client }),
            Err(error) => Err(DockerError::Silent {
                reason: error.to_string(),
                log: engine.log(&name).await,
                container: name,
                engine: engine.word,
            }),
        }
    }

    /// Starts the container `name`. Removes it and returns false if another program has its port; its volume keeps the data.
    async fn restart(&self, engine: &Engine, name: &str) -> Result<bool, DockerError> {
        self.progress(format!("start the container {name}"));
        match engine.start(name).await {
            Ok(()) => Ok(true),
            Err(call) if is_port_taken(&call.said) => {
                engine.remove(name).await?;
                Ok(false)
            }
            Err(call) => Err(engine.failed(&format!("start the container {name}"), call)),
        }
    }

    /// Makes the container of `made`, on the next port that is free. Records the port.
    async fn launch(
        &self,
        engine: &Engine,
        repository: &ContainerRepository,
        made: &mut MadeDatabase,
    ) -> Result<(), DockerError> {
        let name = repository.container(&made.given);
        if !engine.has_image(&self.image).await {
            self.progress(format!("download the image {}", self.image));
            engine.pull(&self.image).await?;
        }
        let known = made.url.as_deref().and_then(|url| url::Url::parse(url).ok());
        let (password, mut port) = known
            .map(|url| (url.password().unwrap_or_default().to_string(), url.port().unwrap_or_default()))
            .unwrap_or_default();
        let env_file = repository.records.folder.join("env").join(&made.given);
        fs::replace(&env_file, container::environment(&password).as_bytes(), 0o600)?;
        for _ in 0..ATTEMPTS {
            let Some(free) = free_port(port, &net::is_free) else { break };
            made.url = Some(url(&password, free, &made.given));
            repository.records.save(made)?;
            self.progress(format!("start the container {name}"));
            let args = container::run(&name, &repository.id, made, free, &env_file, &self.image);
            match engine.run(&args).await {
                Ok(()) => return Ok(()),
                // Another program was faster. The engine keeps the container, which has never run.
                Err(call) if is_port_taken(&call.said) => {
                    engine.remove(&name).await?;
                    port = next_port(free);
                }
                Err(call) => return Err(engine.failed(&format!("make the container {name}"), call)),
            }
        }
        Err(DockerError::Ports(name))
    }

    /// Fills a new database with a temporary name: a copy of the parent, or an empty one if the parent does not exist. Returns the name,
    /// and the parent that was copied.
    async fn fill(
        &self,
        engine: &Engine,
        repository: &ContainerRepository,
        open: &OpenDatabase,
    ) -> Result<(String, Option<(String, ServerDatabase)>), DockerError> {
        let temporary = catalogue::temporary_name()?;
        let doing = format!("make database {}", open.made.name);
        let sql = format!("CREATE DATABASE {} TEMPLATE template0", identifier(&temporary));
        open.client.batch_execute(&sql).await.map_err(CatalogueError::sql(&doing))?;
        let Some(name) = &open.made.parent else { return Ok((temporary, None)) };
        let Some((_, parent)) = self.recorded(name)? else { return Ok((temporary, None)) };
        let parent = self.start(engine, repository, parent).await?;
        let Some(found) = catalogue::find(&parent.client, &parent.made.given).await? else {
            return Ok((temporary, None));
        };
        self.progress(format!("copy database {name} to {}", open.made.name));
        let folder = &repository.records.folder;
        // The file is removed when it is dropped.
        let file = tempfile::Builder::new()
            .prefix("dump-")
            .tempfile_in(folder)
            .map_err(|source| fs::FsError::Io { action: "create a file in", path: folder.clone(), source })?;
        engine.dump(&repository.container(&parent.made.given), &parent.made.given, file.path()).await?;
        engine.restore(&repository.container(&open.made.given), &temporary, file.path()).await?;
        Ok((temporary, Some((name.clone(), found))))
    }

    /// Makes the database of `open`, or replaces it by a new copy of its parent.
    async fn make(
        &self,
        engine: &Engine,
        repository: &ContainerRepository,
        mut open: OpenDatabase,
        exists: bool,
    ) -> Result<BranchDatabase, DockerError> {
        catalogue::sweep(&open.client).await?;
        let (temporary, parent) = self.fill(engine, repository, &open).await?;
        let made = &open.made;
        let wanted = WantedDatabase {
            label: made.label.as_str().into(),
            name: made.given.clone(),
            parent: parent.as_ref().map_or_else(|| made.given.clone(), |(name, _)| name.clone()),
            worktree: made.worktree.clone(),
        };
        let publication = publication(&wanted, &temporary, parent.as_ref().map(|(_, found)| found));
        let doing = format!("make database {}", made.name);
        put_in_place(&open.client, &self.ctx.events, &made.given, exists, &publication, &doing).await?;
        let found = catalogue::find(&open.client, &made.given).await?;
        let found = found
            .ok_or_else(|| CatalogueError::with(&*doing, "it was dropped right after it was created"))?;
        if parent.is_none() {
            open.made.parent = None;
        }
        open.made.id.clone_from(&found.id);
        repository.records.save(&open.made)?;
        let origin = match parent {
            Some((parent, copied)) => ContainerOrigin::Copy { parent, id: copied.id },
            None => ContainerOrigin::Empty,
        };
        Ok(branch(&open, found, origin))
    }

    async fn ensure_database(&self, wanted: &WantedDatabase) -> Result<BranchDatabase, DockerError> {
        let engine = self.engine()?;
        let repository = ContainerRepository::ensure(&self.worktree.shared, &self.ctx.dirs.data).await?;
        let _turn = repository.records.turn(&wanted.name, &self.ctx.events).await?;
        let made = record(&repository, wanted)?;
        let mut open = self.start(&engine, &repository, made).await?;
        let Some(found) = catalogue::find(&open.client, &open.made.given).await? else {
            open.made.parent = Some(wanted.parent.clone()).filter(|parent| *parent != wanted.name);
            return self.make(&engine, &repository, open, false).await;
        };
        if open.image != self.image {
            self.ctx.events.note(format!(
                "{} stays in a container of {}: `devrun db delete` lets the next start make it with {}",
                wanted.name, open.image, self.image
            ));
        }
        if open.made.id != found.id {
            open.made.id.clone_from(&found.id);
            repository.records.save(&open.made)?;
        }
        Ok(branch(&open, found, ContainerOrigin::Existing))
    }

    async fn reset_database(&self, wanted: &WantedDatabase) -> Result<BranchDatabase, DockerError> {
        let engine = self.engine()?;
        let repository = ContainerRepository::ensure(&self.worktree.shared, &self.ctx.dirs.data).await?;
        let _turn = repository.records.turn(&wanted.name, &self.ctx.events).await?;
        let made = record(&repository, wanted)?;
        let mut open = self.start(&engine, &repository, made).await?;
        open.made.parent = Some(wanted.parent.clone()).filter(|parent| *parent != wanted.name);
        let exists = catalogue::find(&open.client, &open.made.given).await?.is_some();
        self.make(&engine, &repository, open, exists).await
    }

    async fn find_database(&self, name: &str) -> Result<Option<BranchDatabase>, DockerError> {
        let Some((repository, made)) = self.recorded(name)? else { return Ok(None) };
        let engine = self.engine()?;
        // A container that was removed is not made again before the next run.
        if engine.inspect(&repository.container(&made.given)).await?.is_none() {
            return Ok(None);
        }
        let open = self.start(&engine, &repository, made).await?;
        let found = catalogue::find(&open.client, &open.made.given).await?;
        Ok(found.map(|found| branch(&open, found, ContainerOrigin::Existing)))
    }

    /// Returns the databases that devrun remembers, and the containers of the repository that it does not remember.
    async fn list_databases(&self) -> Result<Vec<ListedDatabase>, DockerError> {
        let Some(repository) = self.known()? else { return Ok(Vec::new()) };
        let there = self.engine()?.names(&repository.id).await?;
        let made = repository.records.all()?;
        let is_known = |name: &String| made.iter().any(|one| repository.container(&one.given) == *name);
        let others = there.iter().filter(|name| !is_known(name));
        let others = others.map(|name| ListedDatabase { name: name.clone(), ..ListedDatabase::default() });
        let complete = made.iter().filter(|one| !one.id.is_empty()).cloned().map(|one| self.listed(one));
        let mut all: Vec<ListedDatabase> = others.chain(complete).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    async fn delete_database(&self, name: &str) -> Result<bool, DockerError> {
        let Some(repository) = self.known()? else { return Ok(false) };
        let _turn = repository.records.turn(name, &self.ctx.events).await?;
        let Some(made) = repository.records.load(name)? else { return Ok(false) };
        let engine = self.engine()?;
        let container = repository.container(&made.given);
        engine.remove(&container).await?;
        engine.remove_volume(&container).await?;
        // Without the record, the file is worthless.
        let _ = std::fs::remove_file(repository.records.folder.join("env").join(&made.given));
        repository.records.remove(name)?;
        Ok(true)
    }

    async fn rename_database(
        &self,
        from: &ListedDatabase,
        wanted: &WantedDatabase,
    ) -> Result<(), DockerError> {
        let Some(repository) = self.known()? else { return Ok(()) };
        let _turn = repository.records.turn(&from.name, &self.ctx.events).await?;
        Ok(repository.records.rename(from, wanted)?)
    }
}

/// The origin of a database, with the id of the parent.
enum ContainerOrigin {
    Existing,
    Empty,
    Copy { parent: String, id: String },
}

/// Returns the record of the database that is wanted, with a password and a port. Saves a new one, without an id.
fn record(repository: &ContainerRepository, wanted: &WantedDatabase) -> Result<MadeDatabase, DockerError> {
    let records = &repository.records;
    if let Some(known) = records.load(&wanted.name)?.filter(|known| known.url.is_some()) {
        return Ok(known);
    }
    let mut made = records.new_database(wanted)?;
    let password = format!("{:016x}{:016x}", repository::random()?, repository::random()?);
    made.url = Some(url(&password, port_of(&made.id), &made.given));
    made.id = String::new();
    records.save(&made)?;
    Ok(made)
}

fn branch(open: &OpenDatabase, found: ServerDatabase, origin: ContainerOrigin) -> BranchDatabase {
    let (origin, copied_from) = match origin {
        ContainerOrigin::Existing => (DatabaseOrigin::Existing, None),
        ContainerOrigin::Empty => (DatabaseOrigin::Empty, None),
        ContainerOrigin::Copy { parent, id } => (DatabaseOrigin::CopyOf(parent), Some(id)),
    };
    BranchDatabase {
        id: found.id,
        name: open.made.name.clone(),
        direct_url: open.url.clone(),
        url: open.url.clone(),
        admin_socket: None,
        origin,
        copied_from,
        records: None,
    }
}

fn url(password: &str, port: u16, database: &str) -> String {
    format!("postgresql://{ROLE}:{password}@127.0.0.1:{port}/{database}")
}

/// Returns `url` with another database.
fn with_database(url: &str, database: &str) -> String {
    url.rsplit_once('/').map_or_else(|| url.into(), |(server, _)| format!("{server}/{database}"))
}

impl Provider for DockerProvider {
    fn name(&self) -> &'static str {
        "docker"
    }

    fn makes_parents(&self) -> bool {
        true
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn address(&self, name: &str) -> Result<Option<Urls>, Report> {
        let url = self.recorded(name)?.and_then(|(_, made)| made.url);
        Ok(url.map(|url| Urls { direct_url: url.clone(), url }))
    }

    fn reach(&self) -> ProviderFuture<'_, ()> {
        Box::pin(async move {
            self.engine()?.names("").await?;
            Ok(())
        })
    }

    /// Errors if the engine cannot be reached and is needed.
    fn open<'a>(&'a self, purpose: Purpose<'a>) -> ProviderFuture<'a, ()> {
        Box::pin(async move {
            let known = self.known()?;
            if known.is_none() && matches!(purpose, Purpose::Look) {
                return Ok(());
            }
            self.engine()?.names(known.as_ref().map_or("", |repository| &repository.id)).await?;
            Ok(())
        })
    }

    fn find<'a>(&'a self, name: &'a str) -> ProviderFuture<'a, Option<BranchDatabase>> {
        Box::pin(async move { Ok(self.find_database(name).await?) })
    }

    fn ensure<'a>(&'a self, wanted: &'a WantedDatabase) -> ProviderFuture<'a, BranchDatabase> {
        Box::pin(async move { Ok(self.ensure_database(wanted).await?) })
    }

    fn describe<'a>(&'a self, name: &'a str) -> ProviderFuture<'a, Option<ListedDatabase>> {
        Box::pin(async move { Ok(self.recorded(name)?.map(|(_, made)| self.listed(made))) })
    }

    fn list(&self) -> ProviderFuture<'_, Vec<ListedDatabase>> {
        Box::pin(async move { Ok(self.list_databases().await?) })
    }

    /// Renames only devrun's record: the container keeps its first name.
    fn rename<'a>(&'a self, from: &'a ListedDatabase, wanted: &'a WantedDatabase) -> ProviderFuture<'a, ()> {
        Box::pin(async move { Ok(self.rename_database(from, wanted).await?) })
    }

    fn reset<'a>(&'a self, wanted: &'a WantedDatabase) -> ProviderFuture<'a, BranchDatabase> {
        Box::pin(async move { Ok(self.reset_database(wanted).await?) })
    }

    fn delete<'a>(&'a self, name: &'a str) -> ProviderFuture<'a, bool> {
        Box::pin(async move { Ok(self.delete_database(name).await?) })
    }

    fn extension_fix(&self, name: &str) -> String {
        format!(
            "name an image with the extension `{name}` in `database.docker.image`, then `devrun db delete`"
        )
    }
}
