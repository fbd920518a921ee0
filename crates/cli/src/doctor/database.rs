//! The database: whether it is durable and whole, and whether a start would be accepted with these stores and secrets.

use super::{Check, Said};
use crate::{
    Context,
    data_dir::{Hold, Made},
    database::Database,
    open::{self, Access, Known, Mounted},
    output::{chain, counted},
    secrets,
};
use anyhow::Result;
use futures_util::future::join_all;
use larder_files::{Ledger, Secrets, Timestamp, ledger::FileQuery};
use larder_ledger::{Examined, Server, SqlLedger};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

type Lines = Vec<(&'static str, Said)>;

const CHECKS: &[Check<Examined>] = &[
    Check { name: "durability", look: durability },
    Check { name: "schema", look: |examined| schema(examined.is_current) },
    Check { name: "integrity", look: integrity },
    Check { name: "search", look: search },
];

/// How long a database's own check may take: as long as somebody reads, its log can't be cut.
const CHECK_WITHIN: Duration = Duration::from_secs(10);

/// Everything about the database, as far as one thing lets the next be looked at.
pub(super) async fn look(context: &Context) -> Lines {
    match Database::configured(&context.dir, &context.config) {
        Ok(database @ Database::File(..)) => look_at_file(context, &database).await,
        Ok(Database::Server(server)) => look_at_server(context, server).await,
        Err(error) => vec![("there", Said::refused(&error))],
    }
}

async fn look_at_server(context: &Context, server: Box<Server>) -> Lines {
    let began = Instant::now();
    let examined = match server.examine().await {
        Ok(examined) => examined,
        Err(error) => return vec![("there", Said::problem(chain(&error), "what it says; then `larder doctor` again"))],
    };
    let (took, version) = (began.elapsed().as_millis(), &examined.version);
    let reached = Said::ok(format_args!("{server}: PostgreSQL {version}, looked at in {took} ms"));
    // A connection that reads this back otherwise is refused.
    let durable = Said::ok(format_args!("fsync and synchronous_commit are on"));
    let mut lines = vec![("server", reached), ("durability", durable)];
    let is_current = examined.is_current;
    let database = Database::Server(server);
    if !examined.is_initialised {
        lines.push(("there", missing(context, &database).await));
        return lines;
    }
    lines.push(("schema", schema(is_current)));
    if is_current {
        lines.extend(look_as_a_start(context, &database).await);
    }
    lines
}

async fn look_at_file(context: &Context, database: &Database) -> Lines {
    let dir = &context.dir;
    if !dir.database().exists() {
        return vec![("there", missing(context, database).await)];
    }
    let mut made = Made::default();
    // Held like any command's: a rebuild must not put another in its place meanwhile.
    let _lock = match dir.lock(Hold::Shared, &mut made) {
        Ok(Some(lock)) => lock,
        Ok(None) => {
            return vec![("there", Said::warning("a rebuild is at work on it", "look again when that has ended"))];
        }
        Err(error) => return vec![("there", Said::refused(&error))],
    };
    let permissions = permissions(&dir.database());
    let is_private = permissions.advice.is_empty();
    let mut lines = vec![("permissions", permissions)];
    let examined = match Examined::of(&dir.database(), CHECK_WITHIN).await {
        Ok(examined) => examined,
        Err(error) => {
            lines.push((
                "opens",
                Said::problem(chain(&error), "what it says; the stores have everything that is in it"),
            ));
            return lines;
        }
    };
    lines.extend(CHECKS.iter().map(|check| (check.name, (check.look)(&examined))));
    // Opening it as a start does would change these.
    if is_private && examined.is_current && examined.durability.journal_mode == "wal" {
        lines.extend(look_as_a_start(context, database).await);
    }
    lines
}

async fn missing(context: &Context, database: &Database) -> Said {
    if context.dir.is_swapping() {
        return Said::warning("a rebuild was killed in its last step", "any command finishes it: `larder ls`");
    }
    match open::check_missing(context, database, Access::Serve).await {
        Ok(_) => Said::ok("not there yet; the first start makes it"),
        Err(error) => Said::refused(&error),
    }
}

fn permissions(path: &Path) -> Said {
    match fs::metadata(path) {
        Ok(about) if about.permissions().mode() & 0o077 == 0 => Said::ok("0600"),
        Ok(about) => {
            let mode = about.permissions().mode() & 0o777;
            Said::warning(
                format_args!("{mode:04o}"),
                format_args!("`chmod 600 {}`; the next start does", path.display()),
            )
        }
        Err(error) => Said::problem(error, "look at it as its owner"),
    }
}

fn durability(examined: &Examined) -> Said {
    let found = &examined.durability;
    let measured = format!("journal_mode is {}, synchronous is {}", found.journal_mode, found.synchronous);
    match (&*found.journal_mode, found.synchronous) {
        ("wal", 2) => Said::ok(format_args!("journal_mode is wal, synchronous is FULL")),
        (_, 2) => Said::warning(measured, "somebody has changed it; the next start brings back `wal`"),
        _ => Said::problem(measured, "a start is refused: put the data directory on a local disk"),
    }
}

fn schema(is_current: bool) -> Said {
    if is_current {
        return Said::ok("this version's");
    }
    Said::warning("an older version's", "the next start brings it up; the older Larder can't open it from then on")
}

fn integrity(examined: &Examined) -> Said {
    match &examined.damage {
        Some(damage) if damage.is_empty() => Said::ok("quick_check finds nothing"),
        Some(damage) => Said::problem(
            format_args!("quick_check finds {}", damage.join("; ")),
            "end the server and make it again from the stores: `larder rebuild`; look at the disk before",
        ),
        None => Said::ok(format_args!("quick_check found nothing in {} s and was broken off", CHECK_WITHIN.as_secs())),
    }
}

/// So many files may wait for their place in the index of names: they come to it by thousands.
const UNINDEXED_MAX: u64 = 4_000;

fn search(examined: &Examined) -> Said {
    match examined.unindexed {
        Some(files) if files > UNINDEXED_MAX => Said::warning(
            format_args!(
                "the index of names lacks {}, which a search reads one by one",
                counted(files, "file", "files")
            ),
            "uploads bring it up in time; `larder fsck --repair` at once",
        ),
        Some(files) => {
            Said::ok(format_args!("the index of names lacks {}, which is usual", counted(files, "file", "files")))
        }
        None => Said::ok(format_args!("no index of names to look at")),
    }
}

/// What only an open ledger tells.
async fn look_as_a_start(context: &Context, database: &Database) -> Lines {
    let ledger = match database.open(false).await {
        Ok(ledger) => ledger,
        Err(error) => return vec![("opens", Said::refused(&error))],
    };
    let start = match secrets::load(&context.dir) {
        Ok(Some(secrets)) => rehearse(context, &ledger, secrets).await,
        Ok(None) => Err(open::no_secrets(&context.dir)),
        Err(error) => Err(error),
    };
    let start = start.map_or_else(|error| Said::refused(&error), |()| Said::ok("stores, secrets and database agree"));
    let mut lines =
        vec![("start", start), ("unread stores", unread(&ledger).await), ("newest file", newest(&ledger).await)];
    if database.is_shared() {
        lines.push(("processes", processes(&ledger).await));
    }
    open::close(ledger).await;
    lines
}

/// Whether a start would be accepted. The stores are opened as by any command, and what that makes goes again.
async fn rehearse(context: &Context, ledger: &SqlLedger, secrets: Secrets) -> Result<()> {
    let Context { dir, config, .. } = context;
    let mut made = Made::default();
    let known = Known::by(ledger, &secrets).await?;
    let mounted = open::mount(dir, config, Hold::Shared, &mut made, &known.unread(), Some(&known)).await?;
    let Mounted { stores, locks: _locks, ended, roll, .. } = mounted;
    let parts = open::parts(stores, ledger, secrets, roll);
    let accepted = larder_files::rehearse_start(&parts, &config.settings()).await;
    drop(parts);
    // What was made is taken away only once nothing of ours is in there.
    let _ = tokio::time::timeout(open::DEADLINE, join_all(ended)).await;
    accepted.map_err(|error| open::explain(error, dir, config))
}

async fn unread(ledger: &SqlLedger) -> Said {
    match open::unread(ledger).await {
        Ok(unread) if unread.is_empty() => Said::ok("none: the database knows of everything"),
        Ok(unread) => {
            let told = open::provisional(&unread);
            let (measured, advice) = told.split_once("; ").unwrap_or((&told, "run `larder rebuild`"));
            Said::warning(measured, advice)
        }
        Err(error) => Said::refused(&error),
    }
}

async fn processes(ledger: &SqlLedger) -> Said {
    match larder_ledger::nodes_on_roll(ledger).await {
        Ok(count) => Said::ok(format_args!("{count} tell by the database that they live, or have until lately")),
        Err(error) => Said::problem(chain(&error), "run `larder doctor` again"),
    }
}

async fn newest(ledger: &SqlLedger) -> Said {
    let newest = ledger.files(&FileQuery { descending: true, limit: 1, ..FileQuery::default() }).await;
    match newest {
        Ok(files) => judge_clock(now(), files.first().map(|file| file.attributes.created_at)),
        Err(error) => Said::problem(chain(&error), "run `larder doctor` again"),
    }
}

fn judge_clock(now: Timestamp, newest: Option<Timestamp>) -> Said {
    match newest {
        None => Said::ok("there is none"),
        Some(newest) if newest > now => Said::problem(
            format_args!("the clock is {:?} before the newest file, which is of {newest}", newest.since(now)),
            "set the clock, and keep it right by NTP",
        ),
        Some(newest) => Said::ok(format_args!("of {newest}, before the clock")),
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::{super::Verdict, *};

    #[test]
    fn a_clock_before_the_newest_file_is_a_problem() {
        let at = Timestamp::from_millis;
        for (newest, verdict) in [(None, Verdict::Ok), (Some(at(1)), Verdict::Ok), (Some(at(3)), Verdict::Problem)] {
            assert_eq!(judge_clock(at(2), newest).verdict, verdict);
        }
    }
}
