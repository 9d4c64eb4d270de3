//! To come.
use std::process::ExitCode;
use super::Global;
use crate::app::StartError;
#[derive(Debug, clap::Args)]
pub struct Args {}
impl Args {
    pub async fn run(self, _: Global) -> Result<ExitCode, StartError> {
        Ok(ExitCode::FAILURE)
    }
}
