//! Look-ups by a unique key.

use std::future::Future;

use sea_orm::{ConnectionTrait, DbErr, EntityTrait, Select, Selector, SelectorTrait};

/// Reads the one row that a unique key names.
///
/// Unlike `one` it sets no `LIMIT`: SQLite plans a statement anew whenever a value is bound to its
/// limit, and that costs more than the look-up.
pub trait Unique {
    type Row;

    fn unique(
        self,
        conn: &impl ConnectionTrait,
    ) -> impl Future<Output = Result<Option<Self::Row>, DbErr>> + Send;
}

impl<E: EntityTrait> Unique for Select<E> {
    type Row = E::Model;

    async fn unique(self, conn: &impl ConnectionTrait) -> Result<Option<E::Model>, DbErr> {
        Ok(self.all(conn).await?.pop())
    }
}

impl<S: SelectorTrait + Send> Unique for Selector<S>
where
    S::Item: Send,
{
    type Row = S::Item;

    async fn unique(self, conn: &impl ConnectionTrait) -> Result<Option<S::Item>, DbErr> {
        Ok(self.all(conn).await?.pop())
    }
}
