//! stub
use super::*;
use crate::plan::Run;
use std::{collections::BTreeMap, ffi::OsString, time::Duration};
pub struct MigrateRequest<'a> {
    pub branch: &'a Branch,
    pub name: String,
    pub command: Run,
    pub directory: PathBuf,
    pub inputs: Vec<String>,
    pub env: BTreeMap<OsString, OsString>,
    pub limit: Duration,
}
pub struct Migrated {
    pub outcome: String,
    pub worked: bool,
}
pub async fn ensure(_: &crate::context::Context, _: &MigrateRequest<'_>) -> Result<Migrated, Report> {
    Err(Report::bug("x"))
}
