//! The binary of Larder: server and command line. The only crate that names concrete stores and the concrete ledger.

mod change;
mod config;
mod data_dir;
mod database;
mod demo;
mod doctor;
mod dump;
mod effective;
mod environment;
mod fsck;
mod get;
mod hint;
mod image;
mod list;
mod manual;
mod meter;
mod open;
mod output;
mod put;
mod rebuild;
mod renditions;
mod secrets;
mod serve;
mod setup_link;
mod space;
mod target;
mod user;

use clap::{
    ArgAction, ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum, parser::ValueSource,
};
use config::{Config, Origin};
use data_dir::DataDir;
use hint::Hints;
use output::{Exit, Output};
use std::{path::PathBuf, process::ExitCode};

/// Files that outlive your database and your storage provider.
#[derive(Parser)]
#[command(name = "larder", version, max_term_width = 100, infer_long_args = true)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

/// What every command understands.
#[derive(Args)]
pub(crate) struct Globals {
    /// The data directory
    #[arg(long, global = true, value_name = "DIR", env = "LARDER_DATA", default_value = "./larder-data")]
    data: PathBuf,
    /// The configuration file [default: larder.toml in the data directory, if there is one]
    #[arg(long, global = true, value_name = "FILE", env = "LARDER_CONFIG")]
    config: Option<PathBuf>,
    /// Print JSON lines: the API's records
    #[arg(long, global = true)]
    json: bool,
    /// No progress, no messages
    #[arg(short, long, global = true)]
    quiet: bool,
    /// More messages; twice for still more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    color: Color,
}

/// When to use colour.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server
    Serve(serve::Serve),
    /// Add files; prints their ids
    Put(put::Put),
    /// Fetch a file
    Get(get::Get),
    /// List files
    Ls(list::Ls),
    /// Show everything that is known of a file
    Stat(list::Stat),
    /// Put files in the trash, or purge them for ever
    Rm(change::Rm),
    /// Take files back from the trash
    Restore(change::Restore),
    /// Make the database anew from what lies on the stores
    Rebuild(rebuild::Rebuild),
    /// Compare bytes, attributes and rows
    Fsck(fsck::Fsck),
    /// Print every row that a rebuild must bring back, as canonical JSON lines
    Dump(dump::Dump),
    /// Make a picture of a picture, by a recipe or a preset; needs no larder
    Image(image::Image),
    /// Make renditions ahead, remove them, count them
    #[command(subcommand)]
    Renditions(renditions::Command),
    /// Add, list, change and delete users
    #[command(subcommand)]
    User(user::User),
    /// Print a new link to make the first admin with; the one before ends
    SetupLink(setup_link::SetupLink),
    /// Show and check the configuration
    #[command(subcommand)]
    Config(effective::Effective),
    /// Check everything that Larder relies on: directories, disks, database, clock, limits
    Doctor(doctor::Doctor),
    /// Show everything once, on files and a server of its own
    Demo(demo::Demo),
    /// Print the completions of a shell
    Completions(manual::Completions),
    /// Write the manual: one page for each command
    Man(manual::Man),
}

/// What a command works with.
pub(crate) struct Context {
    pub(crate) dir: DataDir,
    pub(crate) config: Config,
    pub(crate) output: Output,
    /// The umask of whoever called: files written *for* them honour it, ours are private.
    pub(crate) umask: u32,
    /// Where the data directory was named, and the configuration file.
    pub(crate) named: Named,
}

/// Where the flags come from that are no keys of the configuration.
pub(crate) struct Named {
    pub(crate) data: Origin,
    pub(crate) config: Origin,
}

impl Named {
    fn by(matches: &ArgMatches) -> Self {
        let origin = |flag: &str| match matches.value_source(flag) {
            Some(ValueSource::CommandLine) => Origin::Flag,
            Some(ValueSource::EnvVariable) => Origin::Variable(format!("LARDER_{}", flag.to_uppercase())),
            _ => Origin::Default,
        };
        Self { data: origin("data"), config: origin("config") }
    }
}

fn main() -> ExitCode {
    let umask = data_dir::make_private();
    let matches = Cli::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let named = Named::by(&matches);
    let output = Output::new(&cli.globals, Hints::of(&cli.globals, &named), cli.command.goes_on_unread());
    match run(cli, output.clone(), umask, named) {
        Ok(exit) => exit.into(),
        Err(error) => output.failure(&error).into(),
    }
}

fn run(cli: Cli, output: Output, umask: u32, named: Named) -> anyhow::Result<Exit> {
    match cli.command {
        Command::Completions(command) => return command.run(&output, Cli::command()),
        Command::Man(command) => return command.run(&output, Cli::command(), umask),
        Command::Demo(command) => return command.run(&output),
        _ => {}
    }
    output::start_log(&cli.globals, matches!(&cli.command, Command::Serve(_)), cli.command.log_form());
    let dir = DataDir::new(&cli.globals.data);
    let listen = if let Command::Serve(serve) = &cli.command { serve.listen() } else { None };
    let config = Config::load(&dir, cli.globals.config.as_deref(), listen)?;
    let context = Context { dir, config, output, umask, named };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("larder").build()?;
    let exit = runtime.block_on(cli.command.run(context));
    // A blocked read of the terminal must not hold up the end.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    exit
}

impl Command {
    /// Whether its work, and what its exit code tells, matter when nobody reads what it prints any more: `larder doctor | head`.
    fn goes_on_unread(&self) -> bool {
        matches!(
            self,
            Self::Put(_)
                | Self::Rm(_)
                | Self::Restore(_)
                | Self::Rebuild(_)
                | Self::Fsck(_)
                | Self::Renditions(_)
                | Self::Doctor(_)
                | Self::Demo(_)
        )
    }

    fn log_form(&self) -> Option<serve::LogForm> {
        if let Self::Serve(serve) = self { serve.log } else { None }
    }

    async fn run(self, context: Context) -> anyhow::Result<Exit> {
        match self {
            Self::Serve(command) => command.run(context).await,
            Self::Put(command) => command.run(context).await,
            Self::Get(command) => command.run(context).await,
            Self::Ls(command) => command.run(context).await,
            Self::Stat(command) => command.run(context).await,
            Self::Rm(command) => command.run(context).await,
            Self::Restore(command) => command.run(context).await,
            Self::Rebuild(command) => command.run(context).await,
            Self::Fsck(command) => command.run(context).await,
            Self::Dump(command) => command.run(context).await,
            Self::Image(command) => command.run(&context),
            Self::Renditions(command) => command.run(context).await,
            Self::User(command) => command.run(context).await,
            Self::SetupLink(command) => command.run(context).await,
            Self::Config(command) => command.run(&context),
            Self::Doctor(command) => command.run(context).await,
            Self::Completions(_) | Self::Man(_) | Self::Demo(_) => {
                unreachable!("they need no larder and have run by now")
            }
        }
    }
}
