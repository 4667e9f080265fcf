//! `devrun up`: prepares the worktree and runs its stack in the foreground until Ctrl-C.

mod event_sinks;
pub(super) mod replace;
mod runtime_files;
mod sockets;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::net::TcpListener;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::task::JoinSet;

use self::runtime_files::{ListeningSocket, RuntimeFiles};
use self::sockets::Reservations;
use super::caller::Caller;
use super::{args, daily_prune, database_limit};
use crate::cleanup::leftovers::{self, Leftovers, shared_servers};
use crate::context::Context;
use crate::context::refused_database::RefusedDatabase;
use crate::control::client::Client;
use crate::control::stack_handle::{ChangedFiles, StackHandle};
use crate::control::status::Status;
use crate::control::{self, Claim, LockHolder, RunRecord};
use crate::database::sessions::ServerSessions;
use crate::error::{Code, Exit, Report};
use crate::event::Event;
use crate::isolation::audit_facts::AuditFacts;
use crate::isolation::{self, host_names, preflight};
use crate::logs::store::Store;
use crate::os::cgroup::ControlGroup;
use crate::os::clock;
use crate::os::start_obstacle;
use crate::plan::{Notice, Plan};
use crate::prepare::{self, AddressLines, Work};
use crate::supervisor::inherited_sockets::Handover;
use crate::supervisor::keeper::{KeeperConnection, KeptResource, ResourceKind};
use crate::supervisor::process_binding::ProcessBinding;
use crate::supervisor::removed_worktree::WatchedFolders;
use crate::supervisor::run::{self, Orders, Setup};
use crate::supervisor::state_machine::{Outcome, StopReason};
use crate::supervisor::stop_requests::StopRequests;
use crate::supervisor::sweep::{self, SharedServers};
use crate::supervisor::watchdog::{MARGIN, Watchdog};
use crate::text::{Mask, harmless};
use crate::ui::console::Console;
use crate::worktree::Worktree;

/// How long another devrun that holds the worktree's lock may take to write its record or to end: longer than the default
/// grace period of processes.
const LOCK_LIMIT: Duration = Duration::from_secs(10);

/// The time from the start of a run until it enters its control group. While the kernel moves a process, for about 10 ms, no other
/// can fork: a run that has nothing to prepare starts its processes before that.
const GATHER: Duration = Duration::from_millis(100);

/// How long the final check of the worktree's folder may take.
const LAST_LOOK: Duration = Duration::from_secs(2);

/// How long a stack that is stopping may take: its processes may have long grace periods.
const LEAVING: Duration = Duration::from_mins(2);

pub(super) async fn run(
    ctx: &Context,
    console: &Console,
    args: &args::Up,
    as_json: bool,
    mut link: KeeperConnection,
) -> Result<Exit, Report> {
    let deaf = |error: std::io::Error| start_obstacle::refused("cannot listen for signals", &error);
    let mut stops = link.watch().and_then(|keeper| StopRequests::listen(Some(keeper))).map_err(deaf)?;
    KeeperConnection::unblock_signals().map_err(deaf)?;
    let watchdog = link
        .watch()
        .and_then(|keeper| Watchdog::start(keeper, MARGIN, shared_servers(&ctx.dirs)))
        .map_err(deaf)?;
    let worktree = prepare::locate(ctx).await?;
    let claim = tokio::select! {
        biased;
        why = stops.next() => return Ok(interrupted(ctx, why).exit),
        found = claim(ctx, &worktree) => match found? {
            ClaimResult::Claim(claim) => claim,
            ClaimResult::Running(record) if as_json => return report(console, &record).await,
            ClaimResult::Running(record) => return Ok(already_running(ctx, console, &record).await),
        }
    };
    if args.replace {
        tokio::select! {
            biased;
            why = stops.next() => return Ok(interrupted(ctx, why).exit),
            replaced = replace::run(ctx, console, &worktree, args.yes, as_json) => replaced?,
        }
    }
    if !args.no_status {
        console.keep_status();
    }
    claim.begin();
    let resolved = WatchedFolders::new(&worktree.path, &worktree.state);
    stops.watch(resolved.clone());
    let caller = caller(ctx, args)?;
    let branch = worktree.git.as_ref().and_then(|git| git.branch());
    let status = Status::preparing(&worktree.path, branch, &worktree.slug);
    let (stack, orders) = StackHandle::new(status, stops.asker());
    let log = event_sinks::log(ctx, &worktree);
    let ctx = &event_sinks::logging(ctx, &log);
    stack.started_by(caller.started_by.clone());
    stack.bind(caller.binding.clone());
    stops.watch_binding(stack.bindings(), announcer(ctx, &stack));
    let run = StackRun {
        ctx,
        caller,
        console,
        args,
        worktree: &worktree,
        claim: &claim,
        stack: &stack,
        log: &log,
        watchdog: &watchdog,
    };
    let known = Mask::of_variables(&ctx.env);
    let result =
        Box::pin(run.bring_up(orders, &mut link, &mut stops)).await.map_err(|report| known.report(report));
    let failure = result.as_ref().map_or_else(Some, |outcome| outcome.report.as_ref());
    if let Some(report) = failure {
        log.listener()(&Event::Failed(report.clone()));
    }
    if let Ok(Outcome { remark: Some(remark), process: Some(process), .. }) = &result {
        stack.ended_by(process, remark);
        log.listener()(&Event::Failed(remark.clone()));
    }
    let last = stack.close(failure).await;
    let gone = resolved.is_gone_now(LAST_LOOK).await;
    if !gone {
        // Writing the status would create the folder again that git has deleted.
        claim.leave(&last);
    }
    drop(log);
    claim.clear();
    link.release_without_keeper(&shared_servers(&ctx.dirs), leftovers::release);
    let mut outcome = result;
    if gone {
        // No later command in this worktree can release its ports.
        let _ = Leftovers::of(&ctx.dirs, &worktree.path).release_lease(ctx).await;
        outcome = Err(resolved.report());
    }
    let outcome = outcome?;
    if let Some(report) = &outcome.report {
        console.fail(report);
    }
    if let Some(remark) = &outcome.remark {
        ctx.events.note(remark.message.clone());
        remark.cause.iter().flat_map(|cause| cause.lines()).for_each(|line| ctx.events.note(line));
    }
    Ok(outcome.exit)
}

/// Returns the caller of this run. For a run in the background, that is the caller of the devrun that started it.
fn caller(ctx: &Context, args: &args::Up) -> Result<Caller, Report> {
    match &args.caller {
        None => Ok(Caller::of(ctx, keeper_pid())),
        Some(text) => serde_json::from_str(text).map_err(|error| {
            Report::new(
                Code::Usage,
                format!("--caller is an internal option of devrun, and its value is invalid: {error}"),
            )
        }),
    }
}

/// Returns the function that records and reports the end of the process that the stack is bound to.
fn announcer(ctx: &Context, stack: &StackHandle) -> impl Fn(&ProcessBinding) + Send + Sync + 'static {
    let (events, stack) = (ctx.events.clone(), stack.clone());
    move |binding| {
        let now = clock::unix_seconds();
        stack.bound_process_gone(binding, now + binding.grace_seconds);
        let ProcessBinding { name, process, grace_seconds } = binding;
        events.warn(format!(
            "{name} (pid {}), which the stack is bound to, is gone: the stack ends in {grace_seconds} s",
            process.pid
        ));
    }
}

/// The result of [`claim`]: the lock, or the record of the stack that holds it.
enum ClaimResult {
    Claim(Claim),
    Running(Box<RunRecord>),
}

/// Takes the worktree's lock, or returns the record of the stack that holds it. Waits for a stack that is stopping and
/// for a short task. Errors if the wait takes too long or the holder writes no record.
async fn claim(ctx: &Context, worktree: &Worktree) -> Result<ClaimResult, Report> {
    let state = &worktree.state;
    loop {
        if let Some(claim) = control::claim(state)? {
            return Ok(ClaimResult::Claim(claim));
        }
        match control::lock_holder(state, LOCK_LIMIT).await? {
            LockHolder::Running(record) if record.ends_by_itself() => {
                ctx.events.note(format!("{}: waiting for its end", record.doing()));
                if !control::wait_for_turn(state, record.pid, LEAVING).await? {
                    return Err(super::unknown_lock_holder());
                }
            }
            LockHolder::Running(record) => return Ok(ClaimResult::Running(Box::new(record))),
            LockHolder::Unknown => return Err(super::unknown_lock_holder()),
            LockHolder::Free => {}
        }
    }
}

/// One run of one worktree, whose lock is held.
struct StackRun<'a> {
    ctx: &'a Context,
    caller: Caller,
    console: &'a Console,
    args: &'a args::Up,
    worktree: &'a Worktree,
    claim: &'a Claim,
    stack: &'a StackHandle,
    log: &'a Store,
    watchdog: &'a Watchdog,
}

impl StackRun<'_> {
    async fn bring_up(
        &self,
        orders: Orders,
        link: &mut KeeperConnection,
        stops: &mut StopRequests,
    ) -> Result<Outcome, Report> {
        let StackRun { claim, worktree, stack, .. } = *self;
        let lost =
            |error: std::io::Error| Report::bug(format!("cannot send a message to the keeper: {error}"));
        let held = claim.lock.share()?;
        link.entrust(KeptResource { kind: ResourceKind::Lock, held }).map_err(lost)?;
        let leftovers = Leftovers::of(&self.ctx.dirs, &worktree.path);
        let (tag, place) = (leftovers.tag.clone(), leftovers.socket.clone());
        for trace in leftovers.files() {
            let kind = ResourceKind::Trace(trace.into());
            link.entrust(KeptResource { kind, held: claim.lock.share()? }).map_err(lost)?;
        }
        let answering = ListeningSocket::begin(&place, stack)?;
        // The record is written before slow work, because other commands read it to learn which process holds the lock.
        let run = format!("{tag}.{}", unique());
        let group = ControlGroup::of_run(&run);
        let left = claim.groups_left(&tag);
        let groups: Vec<PathBuf> = left.iter().chain(&group).map(|group| group.path().into()).collect();
        let record = RunRecord {
            socket: Some(place),
            groups: groups.clone(),
            started_by: Some(self.caller.started_by.clone()),
            session: self.caller.session.clone(),
            ..RunRecord::new(keeper_pid(), &worktree.path)
        };
        claim.record(&record)?;
        let entry = leftovers.registry_entry(worktree, groups);
        let places = RuntimeFiles::begin(answering, stack, claim.journal(), entry)?;
        let ctx = &event_sinks::noting_the_end(self.ctx, claim.journal(), stack);
        if claim.unclean || !left.is_empty() {
            let killed = leftovers.end_processes(&self.ctx.dirs, &left);
            if killed > 0 {
                ctx.events.note(format!("ended {killed} processes that an earlier run left behind"));
            }
        }
        // A group whose processes have not ended yet is removed with that of this run.
        for group in left.iter().filter(|group| group.exists()).chain(&group) {
            let about = ResourceKind::Group(group.path().into());
            link.entrust(KeptResource { kind: about, held: claim.lock.share()? }).map_err(lost)?;
        }
        // Without a control group, sweeps find the processes by their parents and their tag.
        let _gathering = group.map(|group| gather(group, shared_servers(&self.ctx.dirs)));
        let mut entrust = |folder: PathBuf, held| {
            let about = ResourceKind::Cluster(folder);
            link.entrust(KeptResource { kind: about, held }).map_err(lost)
        };
        let options =
            prepare::Options { strict_ports: self.args.strict_ports, allow_parent: self.args.allow_parent };
        let tagged = event_sinks::tagged(ctx, &tag);
        let preparing = prepare::start(&tagged, worktree.clone(), &options, &mut entrust);
        let mut work = tokio::select! {
            biased;
            why = stops.next() => return Ok(interrupted(ctx, why)),
            work = preparing => match work {
                Ok(work) => work,
                Err(report) => return Err(database_limit::explain(ctx, worktree, report).await),
            },
        };
        let facts = audit_facts(work.address_lines.clone(), work.sessions.take());
        stack.plan(&work.plan, facts);
        if work.prunes_daily {
            daily_prune::start_if_due(ctx, worktree);
        }
        let inputs = work.inputs.clone();
        stack.inputs(move || {
            let (migrations, removed_migrations) = inputs.changed_migrations();
            ChangedFiles { inputs: inputs.changed(), migrations, removed_migrations }
        });
        stack.notify(&work.env_files);
        stack.notify(&work.notices);
        self.watchdog.allow(work.plan.processes.iter().map(|process| process.stop_grace).sum());
        let mut reserved = std::mem::take(&mut work.reserved);
        let sockets = sockets::listen(&work.plan, &mut reserved)?;
        let reservations = Reservations::of_run(ctx.events.clone(), &work.plan, reserved);
        let (ports, urls) = (work.plan.ports.clone(), work.plan.started_urls());
        claim.journal().planned(ports, urls)?;
        let outcome = self.supervise(ctx, run, work, (sockets, reservations), orders, stops).await;
        drop(places);
        Ok(outcome)
    }

    async fn supervise(
        &self,
        ctx: &Context,
        tag: String,
        work: Work,
        (sockets, reservations): (BTreeMap<u16, TcpListener>, Rc<Reservations>),
        orders: Orders,
        stops: &mut StopRequests,
    ) -> Outcome {
        let Work { plan, open, gates, prepared, notices, tasks, address_lines, .. } = work;
        let mask = Mask::of_plan(&plan);
        let ctx = &Context { events: mask.events(&ctx.events), ..ctx.clone() };
        let names: Vec<&str> = plan.processes.iter().map(|process| process.name.as_str()).collect();
        let (all_up, when_up) = tokio::sync::oneshot::channel();
        let mut all_up = Some(all_up);
        let setup = Setup {
            plan: plan.clone(),
            events: ctx.events.clone(),
            tag,
            sockets: Handover::new(sockets, plan.redirects.clone(), &ctx.dirs.cache),
            terminals: self.stack.terminals().clone(),
            sink: Box::new(self.log.before(&names, plan.logs, self.console.sink(&names))),
            watched: Console::watched_output(),
            ports: Rc::new(reservations),
            shared: shared_servers(&ctx.dirs),
            refused: refused(&plan, address_lines),
            on_ready: Box::new(move || {
                let _ = all_up.take().map(|up| up.send(()));
            }),
        };
        let strict = self.args.strict_isolation.unwrap_or_else(|| is_ci(ctx));
        let announce = announce(ctx, self.stack, strict, plan, prepared, notices.clone(), when_up);
        tokio::pin!(announce);
        let running = run::run(setup, open, gates, orders, stops);
        tokio::pin!(running);
        let outcome = tokio::select! {
            outcome = &mut running => {
                // The notices from before the start often contain the reason.
                if outcome.report.is_some() {
                    print_notices(ctx, notices);
                }
                outcome
            }
            () = &mut announce => running.await,
        };
        drop(tasks);
        let masked = |report: Option<Report>| report.map(|report| mask.report(report));
        Outcome { report: masked(outcome.report), remark: masked(outcome.remark), ..outcome }
    }
}

/// Returns the function that finds, in the output of a process, the server that it asked in place of the database of `plan`.
fn refused(plan: &Plan, lines: AddressLines) -> run::FindRefused {
    let own = plan.database.as_ref().map(|database| database.masked_url.clone());
    Arc::new(move |process, output| {
        RefusedDatabase::read(output, own.as_deref()?, &|| lines.of_process(process))
    })
}

/// Returns the facts for audits that the plan does not have.
fn audit_facts(lines: AddressLines, sessions: Option<ServerSessions>) -> AuditFacts {
    let facts = AuditFacts::with_lines(move |process| lines.of_process(process));
    let Some(sessions) = sessions.map(Arc::new) else { return facts };
    facts.and_sessions(move || {
        let sessions = sessions.clone();
        async move { sessions.elsewhere().await }
    })
}

/// Prints each notice, with the lines to write below it.
pub(super) fn print_notices(ctx: &Context, notices: impl IntoIterator<Item = Notice>) {
    for Notice { text, fix } in notices {
        let fix = fix.map(|fix| format!("\n{fix}")).unwrap_or_default();
        ctx.events.warn(format!("{}{fix}", harmless(&text)));
    }
}

/// Reports that the stack is ready, once its processes and the preparation are, and then the findings of the last
/// checks. With `strict`, ends the run instead if a connection leaves the worktree.
async fn announce(
    ctx: &Context,
    stack: &StackHandle,
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
                let findings = stack.audit().await;
                if !findings.is_empty() {
                    stack.fail(isolation::report(&findings));
                    return std::future::pending().await;
                }
            }
            // Sent before the checks below, because the run may end while they take place.
            ctx.events.send(Event::Ready { plan: plan.clone(), migrated, took: ctx.started.elapsed() });
            let mut refusals = preflight::check(&plan).await;
            refusals.extend(host_names::check(&plan).await);
            stack.notify(&refusals);
            // Printed before the audit, and before `up -d` returns, because the run may end then.
            print_notices(ctx, refusals.into_iter().chain(notices));
            stack.checked();
            for said in stack.wrong_ports().await {
                ctx.events.warn(said);
            }
            for finding in stack.audit().await {
                ctx.events.warn(finding.text());
            }
        }
        // The run is about to end, and its failure is reported elsewhere.
        _ => std::future::pending().await,
    }
}

/// Returns true if `CI` has a value other than `false` or `0` that is not empty.
fn is_ci(ctx: &Context) -> bool {
    ctx.env.get(OsStr::new("CI")).is_some_and(|value| !value.is_empty() && value != "false" && value != "0")
}

/// Moves this run into its control group after [`GATHER`]. Dropping the returned value cancels it.
fn gather(group: ControlGroup, shared: SharedServers) -> JoinSet<()> {
    let mut task = JoinSet::new();
    task.spawn_local(async move {
        tokio::time::sleep(GATHER).await;
        let _ = tokio::task::spawn_blocking(move || sweep::gather(&group, &shared)).await;
    });
    task
}

/// Prints the JSON that `up -d` prints.
async fn report(console: &Console, record: &RunRecord) -> Result<Exit, Report> {
    let status = Client::new(record.socket()?).status().await?;
    super::status::show(console, &status, true)
}

async fn already_running(ctx: &Context, console: &Console, record: &RunRecord) -> Exit {
    let RunRecord { worktree, pid, urls, .. } = record;
    let (worktree, urls) = (harmless(worktree), super::columns(urls));
    let text = format!("Already running in {worktree} (pid {pid}).\n{urls}`devrun down` takes it down.\n");
    // The exit code is the same if the output is closed.
    let _ = console.print(&text);
    // Without an answer of the supervisor, it is unknown whether its inputs changed.
    if let Ok(socket) = record.socket()
        && let Ok(mut status) = Client::new(socket).status().await
    {
        super::status::warn_of_changes(ctx, console, &mut status);
    }
    Exit::Ok
}

fn interrupted(ctx: &Context, why: StopReason) -> Outcome {
    ctx.events.send(Event::Stopping { why: why.to_string(), failure: why.is_failure() });
    why.into()
}

/// Returns the id of the process that the user started, which is the parent of this one.
fn keeper_pid() -> u32 {
    nix::unistd::getppid().as_raw().cast_unsigned()
}

fn unique() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    format!("{since:x}")
}
