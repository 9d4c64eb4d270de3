//! Facts about this installation, kept in `yunque_meta(name, value)`: the install id, the check
//! value of the secret key, the identity of a local object folder.

use sea_orm::sea_query::{Alias, Query};
use sea_orm::{ConnectionTrait, ExprTrait};

use super::{Db, DbError, dialect};

/// The table of installation facts.
pub struct Meta;

impl Meta {
    /// # Errors
    /// As the database says.
    pub async fn get(db: &Db, name: &str) -> Result<Option<String>, DbError> {
        let select = Query::select()
            .column(Alias::new("value"))
            .from(Alias::new("yunque_meta"))
            .and_where(sea_orm::sea_query::Expr::col(Alias::new("name")).eq(name))
            .take();
        let row = db.writer().query_one(&select).await?;
        Ok(row.map(|r| r.try_get_by_index(0)).transpose()?)
    }

    /// Stores `value` unless a value is there, and returns the one that is in force: two processes
    /// that start at once agree.
    ///
    /// # Errors
    /// As the database says.
    pub async fn get_or_insert(db: &Db, name: &'static str, value: &str) -> Result<String, DbError> {
        if let Some(found) = Self::get(db, name).await? {
            return Ok(found);
        }
        let wanted = value.to_owned();
        db.write("meta.insert", move |tx| {
            let wanted = wanted.clone();
            async move {
                let insert = Query::insert()
                    .into_table(Alias::new("yunque_meta"))
                    .columns(["name", "value"].map(Alias::new))
                    .values_panic([name.into(), wanted.into()])
                    .take();
                dialect::insert_ignore(&tx, insert, &["name"]).await
            }
        })
        .await?;
        Ok(Self::get(db, name).await?.unwrap_or_else(|| value.to_owned()))
    }

    /// # Errors
    /// As the database says.
    pub async fn set(db: &Db, name: &'static str, value: &str) -> Result<(), DbError> {
        let value = value.to_owned();
        db.write("meta.set", move |tx| {
            let value = value.clone();
            async move {
                let mut insert = Query::insert()
                    .into_table(Alias::new("yunque_meta"))
                    .columns(["name", "value"].map(Alias::new))
                    .values_panic([name.into(), value.into()])
                    .take();
                dialect::upsert(&mut insert, &["name"], &["value"]);
                tx.execute(&insert).await.map_err(DbError::from)?;
                Ok(())
            }
        })
        .await
    }
}
