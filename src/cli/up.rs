//! `devrun up`: everything, in the foreground, until Ctrl-C.

mod sockets;
mod telling;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::args;
use crate::config::model::Notice;
use crate::context::{Context, Dirs};
use crate::control::client::Client;
use crate::control::desk::Desk;
use crate::control::status::Status;
use crate::control::{self, Claim, Record, State, registry, server, socket};
use crate::database::local;
use crate::error::{Exit, Report};
use crate::event::Event;
use crate::isolation::{self, preflight};
use crate::logs::store::Store;
use crate::plan::Plan;
use crate::ports;
use crate::prepare::{self, Work};
use crate::supervisor::handover::Handover;
use crate::supervisor::keeper::{Link, Trust};
use crate::supervisor::machine::{Outcome, Why};
use crate::supervisor::removal::Ground;
use crate::supervisor::run::{self, Orders, Setup};
use crate::supervisor::signals::Stops;
use crate::supervisor::sweep::{self, Shared};
use crate::supervisor::watchdog::{MARGIN, Watchdog};
use crate::text::{Mask, harmless};
use crate::ui::console::Console;
use crate::worktree::Worktree;

/// How long another devrun that is just coming or going is waited for: a little more than processes get to stop.
const OTHERS: Duration = Duration::from_secs(10);

/// How long the last look at the worktree's folder may take.
const LAST_LOOK: Duration = Duration::from_secs(2);

/// How long one that is being taken down may take: processes may have been given long to stop.
const LEAVING: Duration = Duration::from_mins(2);

/// Returns the database servers that no run ends with its own processes.
pub(super) fn shared(dirs: &Dirs) -> Shared {
    Shared::below(local::cluster_folders(dirs))
}

/// Settles what was entrusted, after everything of the run is dead. Called by the keeper, or by the supervisor when the
/// keeper died first.
pub(super) fn settle(trust: Trust) {
    match control::trace(&trust.about) {
        // A supervisor that was killed could not take it away.
        Some(file) => drop(std::fs::remove_file(file)),
        None => local::stop_if_last(trust.held, &trust.about),
    }
}

pub(super) async fn run(
    ctx: &Context,
    console: &Console,
    args: &args::Up,
    as_json: bool,
    mut link: Link,
) -> Result<Exit, Report> {
    let deaf = |error: std::io::Error| Report::bug(format!("cannot listen for signals: {error}"));
    let mut stops = link.watch().and_then(|keeper| Stops::listen(Some(keeper))).map_err(deaf)?;
    link.unblock_signals().map_err(deaf)?;
    let watchdog =
        link.watch().and_then(|keeper| Watchdog::start(keeper, MARGIN, shared(&ctx.dirs))).map_err(deaf)?;
    let worktree = prepare::locate(ctx).await?;
    let claim = tokio::select! {
        biased;
        why = stops.next() => return Ok(interrupted(ctx, why).exit),
        found = claim(ctx, &worktree) => match found? {
            Found::Claim(claim) => claim,
            Found::Running(record) if as_json => return report(console, &record).await,
            Found::Running(record) => return Ok(already_running(console, &record)),
        }
    };
    claim.begin();
    let ground = Ground::new(&worktree.path, &worktree.state);
    stops.watch(ground.clone());
    let branch = worktree.git.as_ref().and_then(|git| git.branch());
    let status = Status::preparing(&worktree.path, branch, &worktree.slug);
    let (desk, orders) = Desk::new(status, stops.asker());
    let log = telling::log(ctx, &worktree);
    let ctx = &telling::logging(ctx, &log);
    let run = Run {
        ctx,
        console,
        args,
        worktree: &worktree,
        claim: &claim,
        desk: &desk,
        log: &log,
        watchdog: &watchdog,
    };
    let result = run.bring_up(orders, &mut link, &mut stops).await;
    let failure = result.as_ref().map_or_else(Some, |outcome| outcome.report.as_ref());
    if let Some(report) = failure {
        log.listener()(&Event::Failed(report.clone()));
    }
    let last = desk.close(failure).await;
    let gone = ground.is_gone_now(LAST_LOOK).await;
    if !gone {
        // It would make anew what git has removed.
        claim.leave(&last);
    }
    drop(log);
    claim.clear();
    link.settle(&shared(&ctx.dirs), settle);
    let mut outcome = result;
    if gone {
        // Nobody else may ever come by to give its ports back.
        let _ = ports::release(ctx, &worktree.path).await;
        outcome = Err(ground.report());
    }
    let outcome = outcome?;
    if let Some(report) = &outcome.report {
        console.fail(report);
    }
    Ok(outcome.exit)
}

/// What stands in the way of a start, or the right to it.
enum Found {
    Claim(Claim),
    Running(Record),
}

/// Becomes the worktree's supervisor, or finds out who is. One that is being taken down is waited for.
async fn claim(ctx: &Context, worktree: &Worktree) -> Result<Found, Report> {
    let state = &worktree.state;
    loop {
        if let Some(claim) = control::claim(state)? {
            return Ok(Found::Claim(claim));
        }
        match control::look(state, OTHERS).await? {
            State::Running(record) if record.is_passing() => {
                ctx.events.note(format!("{}: waiting for its end", record.doing()));
                if !control::wait_for_turn(state, record.pid, LEAVING).await? {
                    return Err(super::nobody_knows());
                }
            }
            State::Running(record) => return Ok(Found::Running(record)),
            State::Unknown => return Err(super::nobody_knows()),
            State::Free => {}
        }
    }
}

/// One run of one worktree, once the right to it is had.
struct Run<'a> {
    ctx: &'a Context,
    console: &'a Console,
    args: &'a args::Up,
    worktree: &'a Worktree,
    claim: &'a Claim,
    desk: &'a Desk,
    log: &'a Store,
    watchdog: &'a Watchdog,
}

impl Run<'_> {
    async fn bring_up(&self, orders: Orders, link: &mut Link, stops: &mut Stops) -> Result<Outcome, Report> {
        let Run { claim, worktree, desk, .. } = *self;
        let lost = |error: std::io::Error| Report::bug(format!("the keeper cannot be told: {error}"));
        let held = claim.lock.share()?;
        link.entrust(Trust { about: PathBuf::new(), held }).map_err(lost)?;
        let tag = sweep::worktree_tag(&worktree.path);
        let place = socket::path(&self.ctx.dirs, &tag);
        for trace in [&place, &registry::file(&self.ctx.dirs, &tag)] {
            link.entrust(Trust { about: trace.clone(), held: claim.lock.share()? }).map_err(lost)?;
        }
        let answering = Answering::begin(&place, desk)?;
        // Before anything that takes time: others want to know who holds the lock.
        let record = Record { socket: Some(place), ..Record::new(keeper_pid(), &worktree.path) };
        claim.record(&record)?;
        let _registered = registry::enter(&entry(self.ctx, worktree, &tag))?;
        let ctx = &telling::noting_the_end(self.ctx, claim.journal(), desk);
        if claim.unclean {
            let left = sweep::kill_leftovers(&tag);
            if left > 0 {
                ctx.events.note(format!("ended {left} processes that an earlier run left behind"));
            }
        }
        let mut entrust = |about: PathBuf, held| link.entrust(Trust { about, held }).map_err(lost);
        let options =
            prepare::Options { strict_ports: self.args.strict_ports, allow_parent: self.args.allow_parent };
        let tagged = telling::tagged(ctx, &tag);
        let preparing = prepare::start(&tagged, worktree.clone(), &options, &mut entrust);
        let work = tokio::select! {
            biased;
            why = stops.next() => return Ok(interrupted(ctx, why)),
            work = preparing => work?,
        };
        desk.plan(&work.plan);
        self.watchdog.allow(work.plan.processes.iter().map(|process| process.stop_grace).sum());
        let sockets = sockets::listen(&work.plan)?;
        let (ports, urls) = (work.plan.ports.clone(), work.plan.urls.clone());
        claim.record(&Record { ports, urls, ..record })?;
        let outcome = self.supervise(ctx, &tag, work, sockets, orders, stops).await;
        drop(answering);
        Ok(outcome)
    }

    async fn supervise(
        &self,
        ctx: &Context,
        tag: &str,
        work: Work,
        sockets: BTreeMap<u16, TcpListener>,
        orders: Orders,
        stops: &mut Stops,
    ) -> Outcome {
        let Work { plan, open, gates, prepared, notices, tasks } = work;
        let own = plan.processes.iter().flat_map(|process| &process.env);
        let own = own.map(|(name, value)| (OsStr::new(name), OsStr::new(value)));
        let all = plan.env.vars.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()));
        let mask = Mask::of_variables(all.chain(own));
        let ctx = &Context { events: mask.events(&ctx.events), ..ctx.clone() };
        let names: Vec<&str> = plan.processes.iter().map(|process| process.name.as_str()).collect();
        let (all_up, when_up) = tokio::sync::oneshot::channel();
        let mut all_up = Some(all_up);
        let setup = Setup {
            plan: plan.clone(),
            events: ctx.events.clone(),
            tag: format!("{tag}.{}", unique()),
            sockets: Handover::new(sockets, &ctx.dirs.cache),
            terminals: self.desk.terminals().clone(),
            sink: Box::new(self.log.before(&names, plan.logs, self.console.sink(&names))),
            watched: self.console.watched_output(),
            verify: Box::new(sockets::verify),
            shared: shared(&ctx.dirs),
            on_ready: Box::new(move || {
                let _ = all_up.take().map(|up| up.send(()));
            }),
        };
        let strict = self.args.strict_isolation.unwrap_or_else(|| is_ci(ctx));
        let announce = announce(ctx, self.desk, strict, plan, prepared, notices, when_up);
        tokio::pin!(announce);
        let running = run::run(setup, open, gates, orders, stops);
        tokio::pin!(running);
        let outcome = tokio::select! {
            outcome = &mut running => outcome,
            () = &mut announce => running.await,
        };
        drop(tasks);
        Outcome { report: outcome.report.map(|report| mask.report(report)), ..outcome }
    }
}

/// Tells that everything is ready, once the processes are and the preparation is done.
async fn announce(
    ctx: &Context,
    desk: &Desk,
    strict: bool,
    plan: Arc<Plan>,
    prepared: prepare::Prepared,
    notices: Vec<Notice>,
    when_up: tokio::sync::oneshot::Receiver<()>,
) {
    let (up, migrated) = tokio::join!(when_up, prepared);
    match (up, migrated) {
        (Ok(()), Ok(migrated)) => {
            if strict {
                let findings = desk.audit().await;
                if !findings.is_empty() {
                    desk.fail(isolation::report(&findings));
                    return std::future::pending().await;
                }
            }
            // Sent before the remarks are known, because a run may end while they are gathered.
            ctx.events.send(Event::Ready { plan: plan.clone(), migrated, took: ctx.started.elapsed() });
            for refusal in preflight::check(&plan).await {
                ctx.events.warn(refusal);
            }
            for finding in desk.audit().await {
                ctx.events.warn(finding.text());
            }
            for notice in notices {
                ctx.events.warn(notice.text);
            }
        }
        // The run ends for a reason that is told elsewhere.
        _ => std::future::pending().await,
    }
}

/// True where the environment says that this is a CI job.
fn is_ci(ctx: &Context) -> bool {
    ctx.env.get(OsStr::new("CI")).is_some_and(|value| !value.is_empty() && value != "false" && value != "0")
}

/// What `devrun ls` finds this stack by.
fn entry(ctx: &Context, worktree: &Worktree, tag: &str) -> registry::Entry {
    registry::Entry {
        worktree: worktree.path.clone(),
        state: worktree.state.clone(),
        repo: worktree.repo(),
        branch: worktree.git.as_ref().and_then(|git| git.branch()).map(Into::into),
        file: registry::file(&ctx.dirs, tag),
    }
}

/// The socket, answered at for as long as the value lives and the file gone with it.
struct Answering {
    place: PathBuf,
    server: tokio::task::AbortHandle,
}

impl Answering {
    fn begin(place: &Path, desk: &Desk) -> Result<Answering, Report> {
        let listener = socket::listen(place)?;
        let server = tokio::task::spawn_local(server::serve(listener, desk.clone())).abort_handle();
        Ok(Answering { place: place.into(), server })
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.server.abort();
        // What stays is known as stale: nobody holds the worktree's lock.
        let _ = std::fs::remove_file(&self.place);
    }
}

/// The same JSON as whoever started it gets with `up -d`.
async fn report(console: &Console, record: &Record) -> Result<Exit, Report> {
    let status = Client::new(record.socket()?).status().await?;
    super::status::show(console, &status, true)
}

fn already_running(console: &Console, record: &Record) -> Exit {
    let Record { worktree, pid, urls, .. } = record;
    let (worktree, urls) = (harmless(worktree), super::columns(urls));
    let text = format!("Already running in {worktree} (pid {pid}).\n{urls}`devrun down` takes it down.\n");
    // Nobody reading it does not change the answer.
    let _ = console.print(&text);
    Exit::Ok
}

fn interrupted(ctx: &Context, why: Why) -> Outcome {
    ctx.events.send(Event::Stopping { why: why.to_string(), failure: why.is_failure() });
    why.into()
}

/// The process the user started: our parent.
fn keeper_pid() -> u32 {
    nix::unistd::getppid().as_raw().cast_unsigned()
}

fn unique() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    format!("{since:x}")
}
