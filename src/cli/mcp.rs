//! `devrun mcp`: a server of the Model Context Protocol on standard input and output, for agents that speak it.
//!
//! Each tool is a verb: this same program, run with `--json`, so that tools and command line cannot differ. Refuses to run
//! commands of the caller's, and listens on no network.

mod tools;

use std::time::Duration;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, Implementation, JsonObject, ListToolsResult,
    PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::{Value, json};

use self::tools::Call;
use crate::context::Context;
use crate::error::{Code, ErrorBody, Exit, Report};
use crate::os::cmd::{Cmd, Output};

/// More than what a verb was given itself: it says better what took so long.
const SLACK: Duration = Duration::from_mins(1);

const INSTRUCTIONS: &str = "\
Runs this git worktree's copy of the product: ports, packages, database and servers of its own. `up` brings it up and returns when it is \
ready; `why` says what is wrong and what to do; `logs` has what the servers wrote; `restart` after an edit that is not picked up; `down` \
ends it. In an error, `fault` tells whether to look at the code or at the environment, and `fix` is what to do next. `devrun exec -- CMD` \
in a shell runs a command with the stack's environment.";

pub(super) async fn run(ctx: &Context) -> Result<Exit, Report> {
    let failed = |error: String| Report::new(Code::State, format!("the conversation broke off: {error}"));
    let this = std::env::current_exe().map_err(|error| Report::bug(format!("where is devrun? {error}")))?;
    let server = Server { ctx: ctx.clone(), this };
    match rmcp::serve_server(server, rmcp::transport::stdio_pipes()).await {
        Ok(service) => {
            service.waiting().await.map_err(|error| failed(error.to_string()))?;
            Ok(Exit::Ok)
        }
        // Whoever started us went away before he said anything.
        Err(rmcp::service::ServerInitializeError::ConnectionClosed(_)) => Ok(Exit::Ok),
        Err(error) => Err(failed(error.to_string())),
    }
}

struct Server {
    ctx: Context,
    this: std::path::PathBuf,
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("devrun", env!("CARGO_PKG_VERSION")))
            .with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools::all()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = request.arguments.unwrap_or_default();
        let call = tools::understand(&request.name, &arguments)
            .map_err(|why| ErrorData::invalid_params(why, None))?;
        Ok(self.answer(&call).await.into())
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        tools::all().into_iter().find(|tool| tool.name == name)
    }
}

impl Server {
    async fn answer(&self, call: &Call) -> CallToolResult {
        let cmd = Cmd::new(&self.this)
            .args(&call.words)
            .directory(&self.ctx.cwd)
            .only_env(&self.ctx.env)
            .limit(call.limit + SLACK);
        match cmd.output().await {
            Ok(output) => understood(&output, call.lines),
            Err(error) => refused(&Report::new(Code::SpawnFailed, error.to_string())),
        }
    }
}

/// What a verb answered: its JSON, or its `many` lines of JSON.
fn understood(output: &Output, many: bool) -> CallToolResult {
    let value = if many && output.ending.ok() {
        lines(&output.stdout)
    } else {
        serde_json::from_slice(&output.stdout).ok().filter(Value::is_object)
    };
    match value {
        Some(value) if output.ending.ok() => CallToolResult::structured(value),
        Some(value) if value.get("error").is_some() => CallToolResult::structured_error(value),
        _ => {
            let message = format!("devrun ended with {}", output.ending);
            refused(&Report::new(Code::Usage, message).with_cause(output.tail(20)))
        }
    }
}

fn lines(stdout: &[u8]) -> Option<Value> {
    let lines = serde_json::Deserializer::from_slice(stdout).into_iter::<JsonObject>();
    Some(json!({ "lines": lines.collect::<Result<Vec<_>, _>>().ok()? }))
}

fn refused(report: &Report) -> CallToolResult {
    CallToolResult::structured_error(json!({ "error": ErrorBody::from(report) }))
}
