//! A handler of poem that verifies a JWT and reads one row through SeaORM. Nothing else.

use std::net::SocketAddr;

use poem::http::StatusCode;
use poem::listener::TcpListener;
use poem::web::{Data, Json};
use poem::{EndpointExt, Request, Route, Server, get, handler};
use sea_orm::entity::prelude::*;
use sea_orm::{DatabaseConnection, DerivePartialModel};
use serde::Serialize;

use super::token::Verifier;
use crate::Fault;

mod user {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "users")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub username: String,
        pub email: String,
        pub display_name: String,
        pub is_active: bool,
        pub is_staff: bool,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

#[derive(DerivePartialModel, Serialize)]
#[sea_orm(entity = "user::Entity")]
struct Account {
    id: i64,
    username: String,
    email: String,
    display_name: String,
    is_active: bool,
    is_staff: bool,
}

#[derive(Clone)]
struct App {
    database: DatabaseConnection,
    verifier: Verifier,
}

#[handler]
async fn profile(request: &Request, app: Data<&App>) -> poem::Result<Json<Account>> {
    let user = app.verifier.user(request)?;
    let found = user::Entity::find_by_id(user)
        .into_partial_model::<Account>()
        .one(&app.database)
        .await;
    let found = found.map_err(poem::error::InternalServerError)?;
    Ok(Json(found.ok_or_else(|| {
        poem::Error::from_status(StatusCode::NOT_FOUND)
    })?))
}

/// Serves `/profile` until the process is ended.
///
/// # Errors
/// The port or the database cannot be used.
pub async fn serve(address: SocketAddr, database: &str) -> Result<(), Fault> {
    // What was found best for each in the trial that the target comes from.
    let pool = if database.starts_with("sqlite") { 8 } else { 16 };
    let app = App {
        database: crate::server::connect(database, pool).await?,
        verifier: Verifier::default(),
    };
    let route = Route::new().at("/profile", get(profile)).data(app);
    Ok(Server::new(TcpListener::bind(address.to_string()))
        .run(route)
        .await?)
}
