//! A handler of poem that verifies a JWT and reads one row through SeaORM. Nothing else.

use std::net::SocketAddr;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use poem::http::StatusCode;
use poem::listener::TcpListener;
use poem::web::{Data, Json};
use poem::{EndpointExt, Request, Route, Server, get, handler};
use sea_orm::entity::prelude::*;
use sea_orm::{DatabaseConnection, DerivePartialModel};
use serde::{Deserialize, Serialize};

use crate::Fault;

const SECRET: &[u8] = b"a secret of the bare server only, 32+";

/// A token with as many claims as ours have.
#[derive(Serialize, Deserialize)]
struct Claims {
    token_type: String,
    typ: String,
    user_id: i64,
    sub: String,
    sid: i64,
    jti: String,
    tv: i64,
    iat: i64,
    exp: i64,
    iss: String,
}

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
    key: DecodingKey,
    validation: Validation,
}

#[handler]
async fn profile(request: &Request, app: Data<&App>) -> poem::Result<Json<Account>> {
    let unauthorized = || poem::Error::from_status(StatusCode::UNAUTHORIZED);
    let token = request
        .header("authorization")
        .and_then(|v| v.strip_prefix("Bearer "))
        .ok_or_else(unauthorized)?;
    let claims = jsonwebtoken::decode::<Claims>(token, &app.key, &app.validation)
        .map_err(|_| unauthorized())?
        .claims;
    let found = user::Entity::find_by_id(claims.user_id)
        .into_partial_model::<Account>()
        .one(&app.database)
        .await;
    let found = found.map_err(poem::error::InternalServerError)?;
    Ok(Json(found.ok_or_else(|| {
        poem::Error::from_status(StatusCode::NOT_FOUND)
    })?))
}

/// A token for the server below.
///
/// # Errors
/// The library refuses to sign.
pub fn token(user: i64) -> Result<String, Fault> {
    let now = yunque_kernel::Clock::default().unix();
    let claims = Claims {
        token_type: "access".to_owned(),
        typ: "access".to_owned(),
        user_id: user,
        sub: user.to_string(),
        sid: 1,
        jti: uuid::Uuid::new_v4().simple().to_string(),
        tv: 0,
        iat: now,
        exp: now + 3600,
        iss: "yunque".to_owned(),
    };
    Ok(jsonwebtoken::encode(
        &Header::new(Algorithm::HS256),
        &claims,
        &EncodingKey::from_secret(SECRET),
    )?)
}

/// Serves `/profile` until the process is ended.
///
/// # Errors
/// The port or the database cannot be used.
pub async fn serve(address: SocketAddr, database: &str) -> Result<(), Fault> {
    // What was found best for each in the trial that the target comes from.
    let pool = if database.starts_with("sqlite") { 8 } else { 16 };
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_issuer(&["yunque"]);
    let app = App {
        database: crate::server::connect(database, pool).await?,
        key: DecodingKey::from_secret(SECRET),
        validation,
    };
    let route = Route::new().at("/profile", get(profile)).data(app);
    Ok(Server::new(TcpListener::bind(address.to_string()))
        .run(route)
        .await?)
}
