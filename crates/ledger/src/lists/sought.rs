//! What a `q` seeks in the index of letters: each three letters that are beside each other in it, or, where it has less, three that begin
//! with it. The letters at the end of a name are in the index as if two more followed them, so that one and two letters are found wherever
//! they stand.

use super::{above, range::alone};
use crate::{
    entity::files,
    letters::{BEHIND_MAX, as_fts5_reads, behind, threes},
};
use larder_files::{
    UserId,
    ledger::{FileQuery, folded},
};
use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, Statement,
    sea_query::{Expr, ExprTrait, Query, SelectStatement, SimpleExpr, UnionType},
};
use std::collections::BTreeSet;

/// So many threes of letters are sought of one `q`: more hardly narrow it further.
const THREES_MAX: usize = 32;

/// So many threes that begin alike are sought at once over SQLite among the names of one owner, some 30 ms.
const ALIKE_MAX: i64 = 500;

/// What stands between the letters that PostgreSQL is told of, and before an owner among them: no name has either.
const BETWEEN: &str = "\u{1}";
const OWNER: &str = "\u{2}";

/// The threes from `?` on up to `?`, each found by the one before it: FTS5 has them in the order of their bytes, and to read all would be to
/// read all rows of each.
const ALIKE: &str = "WITH RECURSIVE alike (three) AS ( \
    SELECT (SELECT term FROM letters_terms WHERE term >= ? AND term < ? LIMIT 1) \
    UNION ALL SELECT (SELECT term FROM letters_terms WHERE term >= three || '!' AND term < ? LIMIT 1) \
    FROM alike WHERE three IS NOT NULL)";

/// The same as words of FTS5; no name has the letters that stand for none.
const ANY_ALIKE: &str = "SELECT ? || '(' || ifnull( \
    group_concat(char(34) || replace(three, char(34), char(34, 34)) || char(34), ' OR '), char(34) || 'XNO' || char(34) \
    ) || ')' FROM alike";

/// Those of some letters that are worth seeking, by what the server has counted: all that fewer than one name in twenty has, and the two
/// that fewest have. The index walks along the list of each, and what is found is held against the whole `q` after. Of what was not counted
/// yet all are sought.
pub(super) const WORTH_SEEKING: &str = "SELECT string_agg( \
    chr(39) || replace(replace(sought, chr(92), chr(92) || chr(92)), chr(39), chr(39) || chr(39)) || chr(39), ' & ' \
    ) FROM ( \
    SELECT sought, share, row_number() OVER (ORDER BY share) AS place FROM ( \
    SELECT sought, coalesce(counted.share, 0) AS share FROM unnest(string_to_array($1, chr(1))) AS sought LEFT JOIN ( \
    SELECT unnest(most_common_elems::text::text[]) AS letters, unnest(most_common_elem_freqs) AS share FROM pg_stats \
    WHERE schemaname = current_schema() AND tablename = 'files_letters') AS counted ON counted.letters = sought \
    ) AS shares) AS places WHERE share < 0.05 OR place <= 2";

/// What part of all names has a three that begins as asked for, by what the server has counted; a name that has two counts twice.
const SHARE_ALIKE: &str = "SELECT coalesce(sum(share), 0)::float8 FROM ( \
    SELECT unnest(most_common_elems::text::text[]) AS three, unnest(most_common_elem_freqs) AS share FROM pg_stats \
    WHERE schemaname = current_schema() AND tablename = 'files_letters') AS counted WHERE starts_with(three, $1)";

/// Where more names have a three that begins as asked for the index is not asked: it gathers them all before it tells of the first. Of one
/// owner's names hardly any may have what half of all have.
const SHARE_MAX: f64 = 0.05;
const SHARE_MAX_OF_OWNER: f64 = 0.5;

/// What is sought of the names of all, or of one owner.
#[derive(Debug)]
pub(super) struct Sought {
    backend: DbBackend,
    letters: Letters,
    owner: Option<UserId>,
}

#[derive(Debug)]
enum Letters {
    Threes(BTreeSet<String>),
    /// From one or two letters on, up to what no longer begins with them.
    Alike(String, String),
}

impl Sought {
    /// `None` where the query has no `q`, or one that no name has.
    pub(super) fn of(backend: DbBackend, query: &FileQuery) -> Option<Self> {
        let q = folded(query.q.as_deref()?);
        if q.is_empty() || q.contains(char::is_control) {
            return None;
        }
        let threes: BTreeSet<String> = threes(&q).take(THREES_MAX).map(|three| three.iter().collect()).collect();
        let letters = if threes.is_empty() {
            let from: String = match backend {
                DbBackend::Postgres => q,
                _ => q.chars().map(as_fts5_reads).collect(),
            };
            let until = above(&from)?;
            Letters::Alike(from, until)
        } else {
            Letters::Threes(threes)
        };
        Some(Self { backend, letters, owner: query.owner })
    }

    /// Whether only one or two letters are sought.
    pub(super) fn is_short(&self) -> bool {
        matches!(self.letters, Letters::Alike(..))
    }

    /// Whether there are letters of nearly all names.
    pub(super) async fn is_indexed(&self, db: &impl ConnectionTrait) -> Result<bool, DbErr> {
        Ok(self.backend == DbBackend::Postgres || behind(db).await? <= BEHIND_MAX)
    }

    /// Whether [`Sought::rows`] asks for so much that it is soon answered.
    pub(super) async fn is_narrow(&self, db: &impl ConnectionTrait) -> Result<bool, DbErr> {
        let Letters::Alike(from, until) = &self.letters else { return Ok(true) };
        let one = async |sql: String, values: Vec<sea_orm::Value>| {
            let row = db.query_one_raw(Statement::from_sql_and_values(self.backend, sql, values)).await?;
            row.ok_or_else(|| crate::convert::wrong("no count"))
        };
        if self.backend == DbBackend::Postgres {
            let share: f64 = one(SHARE_ALIKE.to_owned(), vec![from.clone().into()]).await?.try_get_by_index(0)?;
            return Ok(share <= if self.owner.is_some() { SHARE_MAX_OF_OWNER } else { SHARE_MAX });
        }
        // Of the names of all it is known by now that many have them.
        if self.owner.is_none() {
            return Ok(false);
        }
        let sql = format!("SELECT count(three) FROM ({ALIKE} SELECT three FROM alike LIMIT {})", ALIKE_MAX + 1);
        let count: i64 =
            one(sql, [from, until, until].map(|bound| bound.clone().into()).into()).await?.try_get_by_index(0)?;
        Ok(count <= ALIKE_MAX)
    }

    /// The numbers of the rows of all whose names have one or two letters, over SQLite: read straight from the lists of all threes that
    /// begin with them. `None` of more letters.
    pub(super) fn all(&self) -> Option<SelectStatement> {
        let Letters::Alike(from, until) = &self.letters else { return None };
        if self.backend == DbBackend::Postgres {
            return None;
        }
        let (term, mut rows) = (|| Expr::col("term"), Query::select());
        rows.distinct().expr_as(Expr::col("doc"), "row").from("letters_terms");
        rows.and_where(term().gte(from)).and_where(term().lt(until));
        Some(Query::select().from_subquery(rows, "had").take())
    }

    /// Those whose names have the letters, and for a few of which the index can't tell it yet.
    pub(super) fn rows(&self) -> SelectStatement {
        match self.backend {
            DbBackend::Postgres => Query::select().from(files::Entity).and_where(self.on_server()).take(),
            _ => Query::select().from("letters").and_where(self.in_file()).take(),
        }
    }

    /// The same as a table: over PostgreSQL of files, which no other index has a part in; over SQLite of the numbers of their rows, with
    /// the last rows, which have no letters yet. Of `all` owners where that is asked for.
    pub(super) fn table(&self, all: bool) -> SelectStatement {
        if self.backend == DbBackend::Postgres {
            return alone(self.rows());
        }
        let row = || Expr::cust("\"rowid\"");
        let behind = Expr::cust("\"rowid\" > (SELECT upto FROM lettered)");
        let behind = Query::select().expr(row()).from(files::Entity).and_where(behind).take();
        let found = match self.all().filter(|_| all) {
            Some(mut all) => all.expr(Expr::cust("\"row\"")).take(),
            None => self.rows().expr_as(row(), "row").take(),
        };
        { found }.union(UnionType::All, behind).take()
    }

    fn in_file(&self) -> SimpleExpr {
        let quoted = |three: &str| format!("\"{}\"", three.replace('"', "\"\""));
        let owner = self.owner.map(|owner| quoted(&format!("X{:02X}", owner.0.as_bytes()[15])));
        match &self.letters {
            Letters::Threes(threes) => {
                let threes = threes.iter().map(|three| quoted(three));
                let all = owner.into_iter().chain(threes).collect::<Vec<_>>().join(" AND ");
                Expr::cust_with_values("\"letters\" MATCH ?", [all])
            }
            // In one statement: what the index has must not change between the two questions.
            Letters::Alike(from, until) => {
                let own = owner.map_or_else(String::new, |owner| format!("{owner} AND "));
                Expr::cust_with_values(format!("\"letters\" MATCH ({ALIKE} {ANY_ALIKE})"), [from, until, until, &own])
            }
        }
    }

    fn on_server(&self) -> SimpleExpr {
        let owner = self.owner.map(|owner| format!("{OWNER}{}", owner.0));
        let (words, query) = match &self.letters {
            Letters::Threes(threes) => {
                let all = owner.into_iter().chain(threes.iter().cloned()).collect::<Vec<_>>().join(BETWEEN);
                (format!("({WORTH_SEEKING})"), all)
            }
            Letters::Alike(from, _) => {
                let quoted = |letters: &str| format!("'{}'", letters.replace('\\', r"\\").replace('\'', "''"));
                let own = owner.map_or_else(String::new, |owner| format!("{} & ", quoted(&owner)));
                ("$1::text".to_owned(), format!("{own}{}:*", quoted(from)))
            }
        };
        Expr::cust_with_values(format!("letters_in(\"name_folded\", \"owner_id\") @@ {words}::tsquery"), [query])
    }
}
