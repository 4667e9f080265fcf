//! `devrun db psql`: psql in the branch database, on our terminal. The password goes by the environment, never by argv.

use tokio_postgres::config::{ChannelBinding, Config, Host, SslMode};

use crate::cli::args::Psql;
use crate::cli::attend::attend;
use crate::context::Context;
use crate::database::connect;
use crate::error::{Code, Exit, Report};
use crate::os::cmd::Cmd;
use crate::prepare::{self, Databases};
use crate::supervisor::machine::Outcome;
use crate::supervisor::signals::Stops;
use crate::ui::console::Console;

/// Variables that would send psql elsewhere.
const MISLEADING: [&str; 5] = ["PGHOSTADDR", "PGOPTIONS", "PGPASSFILE", "PGSERVICE", "PGSERVICEFILE"];

pub(super) async fn run(
    ctx: &Context,
    console: &Console,
    args: &Psql,
    mut stops: Stops,
) -> Result<Exit, Report> {
    let opening = async {
        let databases = Databases::open(ctx).await?;
        let branch = databases.find(args.which.name.as_ref().unwrap_or(&databases.own.name)).await?;
        Ok::<_, Report>((databases, branch))
    };
    let (databases, branch) = tokio::select! {
        biased;
        why = stops.next() => return Ok(Outcome::from(why).exit),
        opened = opening => opened?,
    };
    let program = prepare::client_program(ctx, &databases.ground, "psql").ok_or_else(missing)?;
    let mut cmd = Cmd::new(program).args(&args.args).directory(&ctx.cwd).only_env(ctx.passed_on());
    for name in MISLEADING {
        cmd = cmd.env_remove(name);
    }
    for (name, value) in variables(&connect::parse(&branch.direct_url)?) {
        cmd = cmd.env(name, value);
    }
    console.flush();
    let not_run =
        |error: &dyn std::fmt::Display| Report::new(Code::SpawnFailed, format!("cannot run psql: {error}"));
    attend(&cmd, stops, &not_run).await
}

fn missing() -> Report {
    Report::new(Code::ToolMissing, "psql is neither on PATH nor beside a Postgres server devrun knows")
        .with_fix("install it (Debian: postgresql-client, Homebrew: libpq), or connect another program to what `devrun db url --reveal` prints")
        .with_exit(Exit::Child(127))
}

/// How libpq is told where to connect to, by <https://www.postgresql.org/docs/current/libpq-envars.html>.
fn variables(config: &Config) -> Vec<(&'static str, String)> {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(name)) => name.clone(),
        Some(Host::Unix(path)) => path.to_string_lossy().into_owned(),
        None => "localhost".into(),
    };
    let mut all = vec![
        ("PGHOST", host),
        ("PGPORT", config.get_ports().first().copied().unwrap_or(5432).to_string()),
        ("PGSSLMODE", if config.get_ssl_mode() == SslMode::Require { "require" } else { "prefer" }.into()),
    ];
    if config.get_channel_binding() == ChannelBinding::Require {
        all.push(("PGCHANNELBINDING", "require".into()));
    }
    let password = config.get_password().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let texts = [
        ("PGUSER", config.get_user().map(String::from)),
        ("PGDATABASE", config.get_dbname().map(String::from)),
        ("PGOPTIONS", config.get_options().map(String::from)),
        ("PGPASSWORD", password),
    ];
    all.extend(texts.into_iter().filter_map(|(name, value)| Some((name, value?))));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_becomes_variables() {
        let url = "postgresql://me:p%40ss@ep-a.neon.tech/db?sslmode=require&channel_binding=require";
        let all = variables(&connect::parse(url).unwrap());
        for pair in [
            ("PGHOST", "ep-a.neon.tech"),
            ("PGPORT", "5432"),
            ("PGUSER", "me"),
            ("PGPASSWORD", "p@ss"),
            ("PGDATABASE", "db"),
            ("PGSSLMODE", "require"),
            ("PGCHANNELBINDING", "require"),
        ] {
            assert!(all.contains(&(pair.0, pair.1.into())), "{pair:?} is not in {all:?}");
        }
    }
}
