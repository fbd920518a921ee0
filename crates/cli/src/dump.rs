//! `larder dump`: every row that a rebuild must bring back, so that two dumps are compared with `cmp`.

use crate::{
    Context,
    open::{self, Access},
    output::Exit,
};
use anyhow::Result;
use clap::Args;

/// Print every row that a rebuild must bring back, as canonical JSON lines.
#[derive(Args)]
pub(crate) struct Dump {}

impl Dump {
    pub(crate) async fn run(self, context: Context) -> Result<Exit> {
        let output = &context.output;
        open::with(&context, Access::Read, async |files| {
            let mut broken = None;
            let dumped =
                files.dump(&mut |line| output.line(line).inspect_err(|error| broken = Some(error.kind()))).await;
            if let Some(kind) = broken {
                return Err(std::io::Error::from(kind).into());
            }
            dumped?;
            output.flush()?;
            Ok(Exit::Done)
        })
        .await
    }
}
