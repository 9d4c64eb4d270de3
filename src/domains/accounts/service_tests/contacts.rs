//! What other domains ask about users: names, groups, whether one may write to another.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use yunque_kernel::DbError;
use yunque_kernel::auth::{AuthChange, RevocationBus as _};
use yunque_kernel::ids::UserId;

use super::*;
use crate::{ContactPolicy, NewGroup};

async fn execute(srv: &Server, sql: &str) {
    use sea_orm::ConnectionTrait as _;
    let done = srv.ctx.db.writer().execute_unprepared(sql).await;
    done.expect("executed");
}

#[tokio::test]
async fn active_users_are_found_by_any_form_of_their_name() {
    let srv = Server::start().await;
    let (alice, bob) = (srv.user("Alice").await, srv.user("bob").await);
    let admin = srv.admin("boss").await;
    let names = ["ALICE", "alice", "Ｂob", "nobody", "bo%", "", "bob@example.com"];
    let found = srv.accounts.named(&names).await.expect("read");
    let ids = |name: &str| found.get(name).map(|user| user.id);
    assert_eq!(
        (ids("ALICE"), ids("alice"), ids("Ｂob")),
        (Some(alice), Some(alice), Some(bob))
    );
    assert_eq!(found["ALICE"].username, "Alice", "as she writes it");
    assert_eq!(found.len(), 3);
    let none: [&str; 0] = [];
    assert!(srv.accounts.named(&none).await.expect("read").is_empty());
    srv.accounts
        .console_set_active(bob, false)
        .await
        .expect("disabled");
    let found = srv.accounts.named(&["bob", "boss"]).await.expect("read");
    assert_eq!(found.keys().collect::<Vec<_>>(), ["boss"]);
    assert_eq!(found["boss"].id, admin.user_id);
}

#[tokio::test]
async fn groups_are_remembered_until_the_user_changes() {
    let srv = Server::start().await;
    let (alice, bob) = (srv.user("alice").await, srv.user("bob").await);
    let is_in = async |user, group: &str| srv.accounts.is_in_group(user, group).await.expect("read");
    assert!(!is_in(alice, "editors").await);
    let new = NewGroup {
        name: "editors".into(),
        members: vec!["alice".into()],
        ..Default::default()
    };
    srv.accounts.create_group(new).await.expect("made");
    assert!(is_in(alice, "editors").await, "the new member at once");
    assert!(!is_in(bob, "editors").await);
    for other in ["Editors", "editor", "developer", ""] {
        assert!(!is_in(alice, other).await, "{other}");
    }
    execute(&srv, "DELETE FROM user_groups").await;
    assert!(is_in(alice, "editors").await, "no query");
    srv.accounts.bus().deliver(AuthChange::Profile { user: alice });
    assert!(is_in(alice, "editors").await, "not a matter of rights");
    srv.accounts.bus().deliver(AuthChange::User { user: alice });
    assert!(!is_in(alice, "editors").await);
}

#[tokio::test]
async fn nothing_about_groups_counts_while_changes_are_not_heard() {
    let srv = Server::start().await;
    let alice = srv.user("alice").await;
    let new = NewGroup {
        name: "editors".into(),
        members: vec!["alice".into()],
        ..Default::default()
    };
    srv.accounts.create_group(new).await.expect("made");
    let is_in = async || srv.accounts.is_in_group(alice, "editors").await.expect("read");
    assert!(is_in().await);
    srv.accounts.bus().set_up(false);
    execute(&srv, "DELETE FROM user_groups").await;
    assert!(!is_in().await, "asked anew");
    srv.accounts.bus().set_up(true);
    assert!(!is_in().await, "what was remembered before is void");
}

/// Nobody reaches these.
struct Hermits(HashSet<UserId>);

#[async_trait]
impl ContactPolicy for Hermits {
    async fn out_of_reach(&self, _: UserId, to: &[UserId]) -> Result<HashSet<UserId>, DbError> {
        Ok(to.iter().copied().filter(|user| self.0.contains(user)).collect())
    }
}

#[tokio::test]
async fn everybody_is_in_reach_until_somebody_decides() {
    let srv = Server::start().await;
    let [a, b, c] = [UserId(1), UserId(2), UserId(3)];
    assert!(srv.accounts.may_contact(a, b).await.expect("asked"));
    srv.accounts.set_contact_policy(Arc::new(Hermits([b].into())));
    assert!(!srv.accounts.may_contact(a, b).await.expect("asked"));
    assert!(srv.accounts.may_contact(b, c).await.expect("asked"));
    let reached = srv.accounts.contactable(a, vec![c, b, a]).await.expect("asked");
    assert_eq!(reached, [c, a]);
}
