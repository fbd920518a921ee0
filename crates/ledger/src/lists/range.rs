//! Lists over PostgreSQL, as one range of one index. Its planner goes by what it believes of the rows, and would read those of everybody
//! in order and leave out what is others', where one owner has most; so rows are asked for in an order that one index alone has: whose
//! they are comes first in it, or whether in the trash, and is one of a list, which the planner does not take for settled as it does an
//! equality; the connections sort nothing that an index has in order ([`crate::Server`]); and all else is hidden from the indexes. (A comparison of
//! rows would name the range as well, but PostgreSQL reads on behind its end, to the end of what is equal in the first column.)

use super::{above, behind};
use crate::entity::{
    files::{self, Column},
    tags,
};
use larder_files::ledger::{FileQuery, Position, Sort};
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, Order, QuerySelect, Select, Value,
    sea_query::{Expr, ExprTrait, Func, Query, SelectStatement, SimpleExpr},
};

/// A range of the index of `lead`, then whether in the trash where that is not the lead, then `key`, then ids.
pub(super) struct Range {
    lead: (Column, Value),
    deleted: Option<bool>,
    key: Sort,
    ends: [Option<SimpleExpr>; 2],
}

impl Range {
    /// Of the files of a query: by their names where one is asked for, `by` what few have in common, else in the order of the list.
    /// `None` where the query does not say whether it wants the trash: no index goes by anything else alone.
    pub(super) fn of(query: &FileQuery, by: Option<Sort>) -> Option<Self> {
        let deleted = query.deleted?;
        let (lead, deleted) = match (query.owner, query.bucket) {
            (Some(owner), _) => ((Column::OwnerId, owner.0.into()), Some(deleted)),
            (None, Some(bucket)) => ((Column::BucketId, bucket.0.into()), Some(deleted)),
            (None, None) => ((Column::Deleted, deleted.into()), None),
        };
        let key = match &query.name {
            Some(_) => Sort::Name,
            None => by.unwrap_or(query.sort),
        };
        Some(Self { lead, deleted, key, ends: Self::ends(query, key) })
    }

    fn ends(query: &FileQuery, key: Sort) -> [Option<SimpleExpr>; 2] {
        if let Some(name) = &query.name {
            return [Some(Column::Name.gte(name)), Some(Column::Name.lte(name))];
        }
        let prefix = query.prefix.as_deref().filter(|_| key == Sort::Name);
        let end = prefix.and_then(above);
        let (from, until) = match key {
            Sort::Created => (query.from, query.until),
            _ => (None, None),
        };
        // Of two bounds at one end the nearer: with both a server may begin at the other.
        let after = query.after.as_ref().filter(|_| key == query.sort);
        let rises = |after: &&Position| match after {
            Position::Created(id) => from.is_none_or(|from| *id >= from),
            Position::Name(name, _) => prefix.is_none_or(|prefix| &**name >= prefix),
            Position::Size(..) => true,
        };
        let falls = |after: &&Position| match after {
            Position::Created(id) => until.is_none_or(|until| *id < until),
            Position::Name(name, _) => end.as_ref().is_none_or(|end| name < end),
            Position::Size(..) => true,
        };
        let low = after.filter(|_| !query.descending).filter(rises).map(|after| behind(after, false));
        let high = after.filter(|_| query.descending).filter(falls).map(|after| behind(after, true));
        let least = prefix.map(|prefix| Column::Name.gte(prefix)).or(from.map(|from| Column::Id.gte(from.0)));
        let most = end.as_deref().map(|end| Column::Name.lt(end)).or(until.map(|until| Column::Id.lt(until.0)));
        [low.or(least), high.or(most)]
    }

    /// All else that is asked, beside the `others`.
    fn rest(&self, query: &FileQuery, others: Condition) -> Condition {
        let bucket = query.bucket.filter(|_| query.owner.is_some()).map(|bucket| Column::BucketId.eq(bucket.0));
        let by = |key| self.key == key && query.name.is_none();
        let prefix = query.prefix.as_deref().filter(|prefix| !by(Sort::Name) && !prefix.is_empty());
        let (from, until) = if by(Sort::Created) { (None, None) } else { (query.from, query.until) };
        let after = query.after.as_ref().filter(|_| !by(query.sort));
        let hidden = [
            bucket,
            prefix.map(|prefix| Column::Name.gte(prefix)),
            prefix.and_then(above).map(|above| Column::Name.lt(above)),
            from.map(|from| Column::Id.gte(from.0)),
            until.map(|until| Column::Id.lt(until.0)),
            after.map(|after| behind(after, query.descending)),
        ];
        hidden.into_iter().flatten().map(hide).fold(others, Condition::add)
    }

    /// Nothing yet of all files of the range that a query wants, in the order of the index.
    pub(super) fn gathered(&self, query: &FileQuery, others: Condition) -> SelectStatement {
        let mut rows = self.all(query);
        rows.cond_where(self.rest(query, others));
        rows
    }

    /// The next so many files of the range.
    pub(super) fn next(&self, query: &FileQuery, files: u64) -> SelectStatement {
        let mut next = self.all(query);
        next.limit(files);
        next
    }

    /// Those of the next so many files of the range that a query wants.
    pub(super) fn next_fitting(&self, query: &FileQuery, others: Condition, files: u64) -> SelectStatement {
        let mut next = self.next(query, files);
        next.expr(Expr::cust("\"files\".*"));
        Query::select().from_subquery(next, "files").cond_where(self.rest(query, others)).take()
    }

    fn all(&self, query: &FileQuery) -> SelectStatement {
        let (lead, of) = &self.lead;
        let of = Condition::all().add(is_one(*lead, of)).add_option(self.deleted.map(|it| Column::Deleted.eq(it)));
        let of = self.ends.iter().flatten().cloned().fold(of, Condition::add);
        let mut rows = Query::select().from(files::Entity).cond_where(of).take();
        self.order(&mut rows, query, [*lead].into_iter().chain(column(self.key)));
        rows
    }

    /// The same in the order of the list. Where that is another than the index's they are gathered before they are sorted: a bound alone
    /// leads to any index that has its columns somewhere.
    pub(super) fn rows(&self, query: &FileQuery, others: Condition) -> Select<files::Entity> {
        let mut rows = files::Entity::find().select_only();
        let mut gathered = self.gathered(query, others);
        if self.key == query.sort || query.name.is_some() && query.sort == Sort::Created {
            *QuerySelect::query(&mut rows) = gathered;
        } else {
            gathered.expr(Expr::cust("\"files\".*"));
            let sorted = QuerySelect::query(&mut rows).from_clear().from_subquery(gathered, "files");
            self.order(sorted, query, column(query.sort));
        }
        rows
    }

    fn order(&self, rows: &mut SelectStatement, query: &FileQuery, columns: impl IntoIterator<Item = Column>) {
        let order = if query.descending { Order::Desc } else { Order::Asc };
        for column in columns.into_iter().chain([Column::Id]) {
            rows.order_by((files::Entity, column), order.clone());
        }
    }
}

/// The files with a tag, by the index of the tag, or of the owner and the tag, and what comes before the files in its order.
pub(super) fn tagged(query: &FileQuery) -> (SelectStatement, tags::Column) {
    use tags::Column::{FileId, OwnerId, Tag};
    let tag = query.tag.as_deref().unwrap_or_default();
    let (lead, of, tag): (_, Value, _) = match query.owner {
        Some(owner) => (OwnerId, owner.0.into(), Some(Tag.eq(tag))),
        None => (Tag, tag.into(), None),
    };
    let (from, until) = super::ids(query);
    let from = from.map(|(id, is_behind)| if is_behind { FileId.gt(id) } else { FileId.gte(id) });
    let until = until.map(|id| FileId.lt(id));
    let within = Condition::all().add_option(tag).add_option(from).add_option(until);
    let mut rows = Query::select().from(tags::Entity).and_where(is_one(lead, &of)).cond_where(within).take();
    let order = if query.descending { Order::Desc } else { Order::Asc };
    for column in [lead, FileId] {
        rows.column((tags::Entity, column)).order_by((tags::Entity, column), order.clone());
    }
    (rows, lead)
}

/// Whether a column is one of a list: an index that begins with it goes straight there, and it stays a part of the order. A list of one
/// would be an equality.
fn is_one(column: impl ColumnTrait, value: &Value) -> SimpleExpr {
    column.is_in([value.clone(), value.clone()])
}

/// The file of a tag, found by its id alone: what is asked of it is asked then.
pub(super) fn of_tag() -> SelectStatement {
    let one = Expr::col((files::Entity, Column::Id)).equals((tags::Entity, tags::Column::FileId));
    Query::select().expr(Expr::cust("\"files\".*")).from(files::Entity).and_where(one).limit(1).take()
}

/// What was found, before anything else is asked of it: no other index has a part in it.
pub(super) fn alone(mut found: SelectStatement) -> SelectStatement {
    found.expr(Expr::cust("\"files\".*")).offset(0).take()
}

/// What comes before the ids in an order.
fn column(sort: Sort) -> Option<Column> {
    match sort {
        Sort::Created => None,
        Sort::Name => Some(Column::Name),
        Sort::Size => Some(Column::Size),
    }
}

/// A condition, in words that no index answers.
pub(super) fn hide(condition: SimpleExpr) -> SimpleExpr {
    Func::coalesce([condition, Expr::cust("FALSE")]).into()
}
