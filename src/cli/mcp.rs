//! `devrun mcp`: a server of the Model Context Protocol (MCP) on standard input and output.
//!
//! Each tool runs this program with `--json`, so tools and command line cannot differ. The server runs no commands of
//! the client and listens on no network.

mod tools;

use std::time::Duration;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, Implementation, JsonObject, ListToolsResult,
    PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::{Value, json};

use self::tools::CommandLine;
use super::own_program;
use crate::context::Context;
use crate::error::{Code, ErrorBody, Exit, Report};
use crate::os::cmd::{Cmd, Output};

/// Extra time beyond the timeout of the command itself, whose own error says what took so long.
const SLACK: Duration = Duration::from_mins(1);

/// The fix for a command that gave no answer.
const LATE: &str = "call the tool `why`, which says what state the stack is in";

const INSTRUCTIONS: &str = "\
Runs this git worktree's copy of the product: ports, packages, database and servers of its own. `up` brings it up and returns when it is \
ready; `why` says what is wrong and what to do; `logs` has what the servers wrote; `restart` after an edit that is not picked up; `down` \
ends it. In an error, `fault` tells whether to look at the code or at the environment, and `fix` is what to do next. `devrun exec -- CMD` \
in a shell runs a command with the stack's environment.";

pub(super) async fn run(ctx: &Context) -> Result<Exit, Report> {
    let failed = |error: String| Report::new(Code::State, format!("the MCP connection failed: {error}"));
    let this = own_program::this_program()?;
    let server = McpServer { ctx: ctx.clone(), this };
    match rmcp::serve_server(server, rmcp::transport::stdio_pipes()).await {
        Ok(service) => {
            service.waiting().await.map_err(|error| failed(error.to_string()))?;
            Ok(Exit::Ok)
        }
        // The client closed the connection before it sent anything.
        Err(rmcp::service::ServerInitializeError::ConnectionClosed(_)) => Ok(Exit::Ok),
        Err(error) => Err(failed(error.to_string())),
    }
}

struct McpServer {
    ctx: Context,
    this: std::path::PathBuf,
}

impl ServerHandler for McpServer {
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

impl McpServer {
    async fn answer(&self, call: &CommandLine) -> CallToolResult {
        let cmd = Cmd::new(&self.this)
            .args(&call.words)
            .directory(&self.ctx.cwd)
            .only_env(&self.ctx.env)
            .limit(call.limit + SLACK);
        match cmd.output().await {
            Ok(output) => understood(&output, call.lines),
            Err(error) => refused(&own_program::without_answer("there is no answer", LATE, &error)),
        }
    }
}

/// Converts the output of a command: one JSON object, or with `many` a line of JSON for each item.
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
            let (message, said) = (format!("devrun ended with {}", output.ending), output.tail(20));
            refused(&if output.ending.status() == i32::from(Exit::Usage.status()) {
                Report::new(Code::Usage, message).with_cause(said)
            } else {
                own_program::ended_early(message, output.ending, &said).with_fix(LATE)
            })
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
