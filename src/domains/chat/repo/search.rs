//! Searching what was said.

use sea_orm::sea_query::{Expr, ExprTrait, LikeExpr, Query};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, Select,
};
use yunque_kernel::db::dialect;
use yunque_kernel::http::Page;
use yunque_kernel::{DbError, UserId};

use crate::entity::{member, message};

/// A page of the messages that contain a text, newest first: of one room, or of all rooms where a
/// user is a member. Upper and lower case are the same where the database knows the letters.
pub async fn search_messages(
    conn: &impl ConnectionTrait,
    user: UserId,
    room: Option<i64>,
    text: &str,
    page: Page,
) -> Result<(Vec<message::Model>, u64), DbError> {
    let select = matching(user, room, text);
    let total = select.clone().count(conn).await?;
    let page = select
        .order_by_desc(message::Column::Id)
        .offset(page.offset())
        .limit(page.limit());
    Ok((page.all(conn).await?, total))
}

fn matching(user: UserId, room: Option<i64>, text: &str) -> Select<message::Entity> {
    let column = |column| Expr::col((message::Entity, column));
    let in_rooms = match room {
        Some(room) => column(message::Column::RoomId).eq(room),
        None => {
            let own = Query::select()
                .column(member::Column::RoomId)
                .from(member::Entity)
                .and_where(member::Column::UserId.eq(user.0))
                .and_where(member::Column::IsBanned.eq(false))
                .take();
            column(message::Column::RoomId).in_subquery(own)
        }
    };
    let pattern = |text: &str| LikeExpr::new(format!("%{}%", dialect::like_escape(text))).escape('!');
    // SQLite folds ASCII only, so letters of other scripts are also looked for as they were typed.
    let folded = Expr::cust("LOWER(chat_messages.content)").like(pattern(&text.to_lowercase()));
    let exact = column(message::Column::Content).like(pattern(text));
    message::Entity::find()
        .filter(in_rooms)
        .filter(message::Column::IsDeleted.eq(false))
        .filter(folded.or(exact))
}
