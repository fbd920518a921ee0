//! Lists over PostgreSQL, as one range of one index. Its planner goes by what it believes of the rows, and would read those of everybody
//! in order and leave out what is others', where one owner has most; so rows are asked for in words that one index alone can answer: whose
//! they are, and whether in the trash, is a part of the order and of its bounds, and all else is hidden from the indexes.

use super::{above, place_of};
use crate::entity::{
    files::{self, Column},
    tags,
};
use larder_files::ledger::{FileQuery, Position, Sort};
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, Order, QuerySelect, Select, Value,
    sea_query::{Expr, ExprTrait, Func, Query, SelectStatement, SimpleExpr},
};

/// A range of the index of `lead`, then `key`, then ids.
pub(super) struct Range {
    lead: Vec<(Column, Value)>,
    key: Sort,
    low: Bound,
    high: Bound,
}

/// Columns behind the lead, and what they are at that end; whether that is a part of the range.
#[derive(Default)]
struct Bound {
    at: Vec<(Column, Value)>,
    excluded: bool,
}

impl Bound {
    fn at(column: Column, value: impl Into<Value>, excluded: bool) -> Self {
        Self { at: vec![(column, value.into())], excluded }
    }

    /// Behind a place.
    fn behind(place: &Position) -> Self {
        let at = match place {
            Position::Created(id) => vec![(Column::Id, id.0.into())],
            Position::Name(name, id) => {
                let (name, id) = place_of(name, *id);
                vec![(Column::Name, name.into()), (Column::Id, id.into())]
            }
            Position::Size(size, id) => {
                vec![(Column::Size, i64::try_from(*size).unwrap_or(i64::MAX).into()), (Column::Id, id.0.into())]
            }
        };
        Self { at, excluded: true }
    }
}

impl Range {
    /// Of the files of a query: by their names where one is asked for, `by` what few have in common, else in the order of the list.
    /// `None` where the query does not say whether it wants the trash: no index goes by anything else alone.
    pub(super) fn of(query: &FileQuery, by: Option<Sort>) -> Option<Self> {
        let whose = match (query.owner, query.bucket) {
            (Some(owner), _) => Some((Column::OwnerId, owner.0.into())),
            (None, bucket) => bucket.map(|bucket| (Column::BucketId, bucket.0.into())),
        };
        let lead = whose.into_iter().chain([(Column::Deleted, query.deleted?.into())]).collect();
        let key = match &query.name {
            Some(_) => Sort::Name,
            None => by.unwrap_or(query.sort),
        };
        let (low, high) = Self::bounds(query, key);
        Some(Self { lead, key, low, high })
    }

    fn bounds(query: &FileQuery, key: Sort) -> (Bound, Bound) {
        if let Some(name) = &query.name {
            let at = || Bound::at(Column::Name, name.as_str(), false);
            return (at(), at());
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
        let low = after.filter(|_| !query.descending).filter(rises).map(Bound::behind);
        let high = after.filter(|_| query.descending).filter(falls).map(Bound::behind);
        let least = prefix.map(|prefix| Bound::at(Column::Name, prefix, false));
        let least = least.or(from.map(|from| Bound::at(Column::Id, from.0, false)));
        let most = end.as_deref().map(|end| Bound::at(Column::Name, end, true));
        let most = most.or(until.map(|until| Bound::at(Column::Id, until.0, true)));
        (low.or(least).unwrap_or_default(), high.or(most).unwrap_or_default())
    }

    /// The range, and all else that is asked.
    fn condition(&self, query: &FileQuery, others: Condition) -> Condition {
        let row = |bound: &Bound| {
            let (columns, values): (Vec<_>, Vec<_>) = self.lead.iter().chain(&bound.at).cloned().unzip();
            let columns = columns.into_iter().map(|column| Expr::col((files::Entity, column)));
            (Expr::tuple(columns), Expr::tuple(values.into_iter().map(Expr::val)))
        };
        let ((low, least), (high, most)) = (row(&self.low), row(&self.high));
        let low = if self.low.excluded { low.gt(least) } else { low.gte(least) };
        let high = if self.high.excluded { high.lt(most) } else { high.lte(most) };
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
            after.map(|after| super::behind(after, query.descending)),
        ];
        hidden.into_iter().flatten().map(hide).fold(others.add(low).add(high), Condition::add)
    }

    /// Nothing yet of all files of the range that a query wants, in the order of the index.
    pub(super) fn gathered(&self, query: &FileQuery, others: Condition) -> SelectStatement {
        let mut rows = Query::select().from(files::Entity).cond_where(self.condition(query, others)).take();
        let lead = self.lead.iter().map(|(column, _)| *column);
        self.order(&mut rows, query, lead.chain(column(self.key)));
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
pub(super) fn tagged(query: &FileQuery) -> (SelectStatement, Vec<tags::Column>) {
    use tags::Column::{FileId, OwnerId, Tag};
    let owner = query.owner.map(|owner| (OwnerId, owner.0.into()));
    let lead: Vec<(tags::Column, Value)> = owner.into_iter().chain([(Tag, query.tag.as_deref().into())]).collect();
    let row = |place: Option<uuid::Uuid>| {
        let row: Vec<_> = lead.iter().cloned().chain(place.map(|id| (FileId, id.into()))).collect();
        let (columns, values): (Vec<_>, Vec<_>) = row.into_iter().unzip();
        let columns = columns.into_iter().map(|column| Expr::col((tags::Entity, column)));
        (Expr::tuple(columns), Expr::tuple(values.into_iter().map(Expr::val)))
    };
    let (from, until) = super::ids(query);
    let ((low, least), (high, most)) = (row(from.map(|(id, _)| id)), row(until));
    let low = if from.is_some_and(|(_, behind)| behind) { low.gt(least) } else { low.gte(least) };
    let high = if until.is_some() { high.lt(most) } else { high.lte(most) };
    let mut rows = Query::select().from(tags::Entity).and_where(low).and_where(high).take();
    let order = if query.descending { Order::Desc } else { Order::Asc };
    let lead: Vec<_> = lead.into_iter().map(|(column, _)| column).collect();
    for column in lead.iter().copied().chain([FileId]) {
        rows.column((tags::Entity, column)).order_by((tags::Entity, column), order.clone());
    }
    (rows, lead)
}

/// The file of a tag, found by its id alone: what is asked of it is asked then.
pub(super) fn of_tag() -> SelectStatement {
    let one = Expr::col((files::Entity, Column::Id)).equals((tags::Entity, tags::Column::FileId));
    Query::select().expr(Expr::cust("\"files\".*")).from(files::Entity).and_where(one).limit(1).take()
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
