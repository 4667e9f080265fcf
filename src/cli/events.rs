//! `devrun events`: prints every event of the stack as a line of JSON until it ends.

use http_body_util::BodyExt;

use crate::context::Context;
use crate::control::client::Client;
use crate::error::{Exit, Report};
use crate::ui::console::Console;

pub(super) async fn run(ctx: &Context, console: &Console) -> Result<Exit, Report> {
    let found = super::running::find(ctx).await?;
    let mut body = Client::new(found.socket()?).events().await?;
    // The stream ends with the stack, or when the output is closed.
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data) = frame.into_data() else { continue };
        if console.print(&data).is_err() {
            break;
        }
    }
    Ok(Exit::Ok)
}
