//! Changing and deleting accounts.

use poem_openapi::types::ToJSON as _;
use yunque_kernel::http::Page;
use yunque_kernel::queue::NewJob;

use super::*;
use crate::PurgeUser;
use crate::dto::AccountOut;
use crate::service::changes::AccountChanges;

fn email(text: &str) -> AccountChanges {
    AccountChanges {
        email: Some(Email::parse(text).expect("valid")),
        ..Default::default()
    }
}

fn active(value: bool) -> AccountChanges {
    AccountChanges {
        is_active: Some(value),
        ..Default::default()
    }
}

#[tokio::test]
async fn others_accounts_are_hidden_and_own_rights_cannot_be_written() {
    let srv = Server::start().await;
    let (bob, carol) = (srv.user("bob").await, srv.user("carol").await);
    let caller = srv.session(&srv.login("bob").await).await;
    let update = async |id, changes| {
        srv.accounts
            .update_account(&caller, id, changes, None, &srv.client())
            .await
    };
    assert_eq!(
        code(update(carol, email("x@example.com")).await.expect_err("hidden")),
        "not_found"
    );
    assert_eq!(
        code(srv.accounts.account(&caller, carol).await.expect_err("hidden")),
        "not_found"
    );
    assert_eq!(
        code(
            srv.accounts
                .list_accounts(&caller, None, Page { page: 1, size: 5 })
                .await
                .expect_err("refused")
        ),
        "permission_denied"
    );
    let greedy = AccountChanges {
        quota: Some(1),
        is_active: Some(false),
        ..Default::default()
    };
    let account = update(bob, greedy).await.expect("ignored");
    assert!(account.is_active);
    assert_eq!(
        srv.accounts.storage_info(bob).await.expect("read").quota,
        10 << 30
    );
    let json = AccountOut::from(account).to_json().expect("an object");
    assert_eq!(
        json,
        serde_json::json!({"id": bob.0, "username": "bob", "email": "bob@example.com", "display_name": "bob", "is_active": true, "permission": "user"})
    );
}

#[tokio::test]
async fn a_new_address_ends_other_sessions_and_tells_the_old_mailbox() {
    let srv = Server::start().await;
    let bob = srv.user("bob").await;
    srv.user("carol").await;
    let (mine, other) = (srv.login("bob").await, srv.login("bob").await);
    let caller = srv.session(&mine).await;
    let update = async |changes| {
        srv.accounts
            .update_account(&caller, bob, changes, None, &srv.client())
            .await
    };
    assert_eq!(
        code(update(email("CAROL@example.com")).await.expect_err("taken")),
        "email_taken"
    );
    let same = update(email("BOB@example.com")).await.expect("no change");
    assert_eq!(same.email, "bob@example.com");
    assert!(srv.who(&other.tokens.access).await.is_ok());
    let changed = update(email("new@example.com")).await.expect("changed");
    assert_eq!(changed.email, "new@example.com");
    assert!(srv.who(&mine.tokens.access).await.is_ok());
    assert!(srv.who(&other.tokens.access).await.is_err());
    assert_eq!(
        srv.count("SELECT count(*) FROM outgoing_mails WHERE to_address = 'bob@example.com'")
            .await,
        1
    );
    assert_eq!(
        srv.count("SELECT count(*) FROM security_events WHERE kind = 'email_changed'")
            .await,
        1
    );
}

#[tokio::test]
async fn an_admin_writes_addresses_only_with_the_password_and_ends_the_sessions() {
    let srv = Server::start().await;
    let (bob, admin) = (srv.user("bob").await, srv.admin("boss").await);
    let login = srv.login("bob").await;
    let right = CurrentPassword::parse(PASSWORD).expect("not empty");
    let wrong = CurrentPassword::parse("wrong").expect("not empty");
    let update = async |password: Option<&CurrentPassword>| {
        srv.accounts
            .update_account(&admin, bob, email("new@example.com"), password, &srv.client())
            .await
    };
    assert_eq!(
        code(update(None).await.expect_err("no password")),
        "wrong_password"
    );
    assert_eq!(
        code(update(Some(&wrong)).await.expect_err("wrong password")),
        "wrong_password"
    );
    assert!(srv.who(&login.tokens.access).await.is_ok());
    update(Some(&right)).await.expect("changed");
    assert!(srv.who(&login.tokens.access).await.is_err());
}

#[tokio::test]
async fn the_last_admin_stays() {
    let srv = Server::start().await;
    let (first, second) = (srv.admin("boss").await, srv.admin("deputy").await);
    let client = srv.client();
    let disable = async |by: &Caller, id| {
        srv.accounts
            .update_account(by, id, active(false), None, &client)
            .await
    };
    disable(&first, second.user_id).await.expect("one remains");
    assert!(
        srv.accounts
            .list_accounts(&first, None, Page { page: 1, size: 5 })
            .await
            .is_ok()
    );
    assert_eq!(
        code(disable(&first, first.user_id).await.expect_err("the last")),
        "last_staff"
    );
    assert_eq!(
        code(
            srv.accounts
                .console_set_active(first.user_id, false)
                .await
                .expect_err("the last")
        ),
        "last_staff"
    );
    let password = CurrentPassword::parse(PASSWORD).expect("not empty");
    let deleted = srv
        .accounts
        .delete_account(&first, first.user_id, Some(&password), &client)
        .await;
    assert_eq!(code(deleted.expect_err("the last")), "last_staff");
    srv.accounts
        .update_account(&first, second.user_id, active(true), None, &client)
        .await
        .expect("enabled");
    disable(&first, first.user_id).await.expect("another remains");
}

#[tokio::test]
async fn deleting_signs_out_at_once_and_the_job_removes_the_person() {
    let srv = Server::start().await;
    let bob = srv.user("bob").await;
    let login = srv.login("bob").await;
    let caller = srv.session(&login).await;
    let key = srv
        .accounts
        .create_api_key(bob, "k", &[], None)
        .await
        .expect("a key");
    let delete = async |password: Option<&str>| {
        let password = password.map(|p| CurrentPassword::parse(p).expect("not empty"));
        srv.accounts
            .delete_account(&caller, bob, password.as_ref(), &srv.client())
            .await
    };
    assert_eq!(
        code(delete(None).await.expect_err("no password")),
        "wrong_password"
    );
    delete(Some(PASSWORD)).await.expect("deleted");
    assert!(srv.who(&login.tokens.access).await.is_err());
    use secrecy::ExposeSecret as _;
    let ip = "203.0.113.7".parse().expect("address");
    assert!(srv.accounts.api_key(key.text.expose_secret(), ip).await.is_err());
    assert_eq!(
        code(srv.try_login("bob", PASSWORD).await.expect_err("gone")),
        "invalid_credentials"
    );
    assert_eq!(
        srv.count("SELECT count(*) FROM jobs WHERE kind = 'purge_user'")
            .await,
        1
    );
    assert_eq!(
        code(srv.register("bob").await.expect_err("until the purge")),
        "username_taken"
    );

    srv.accounts.purge(bob).await.expect("purged");
    srv.accounts.purge(bob).await.expect("once more changes nothing");
    assert_eq!(srv.count("SELECT count(*) FROM users WHERE username = 'deleted_1' AND email = 'deleted_1@invalid' AND purged_at IS NOT NULL AND password = '!'").await, 1);
    assert_eq!(srv.count("SELECT count(*) FROM auth_sessions").await, 0);
    assert_eq!(
        srv.count("SELECT count(*) FROM security_events WHERE kind = 'account_purged'")
            .await,
        1
    );
    let brief = srv.accounts.briefs(&[bob]).await.expect("read");
    assert!(brief[&bob].is_purged);
    assert!(srv.register("bob").await.is_ok());
    assert_eq!(
        code(
            srv.accounts
                .console_set_active(bob, true)
                .await
                .expect_err("purged")
        ),
        "account_purged"
    );
    let _ = NewJob::new(&PurgeUser { user_id: bob });
}

#[tokio::test]
async fn briefs_follow_changes_and_leave_unknown_ids_out() {
    let srv = Server::start().await;
    let bob = srv.user("bob").await;
    let caller = srv.session(&srv.login("bob").await).await;
    let ids = [bob, UserId(999), bob];
    assert_eq!(srv.accounts.briefs(&ids).await.expect("read").len(), 1);
    let name = AccountChanges {
        display_name: Some(DisplayName::parse("Bob B.").expect("valid")),
        ..Default::default()
    };
    srv.accounts
        .update_account(&caller, bob, name, None, &srv.client())
        .await
        .expect("changed");
    assert_eq!(
        srv.accounts.briefs(&ids).await.expect("read")[&bob].display_name,
        "Bob B."
    );
}

#[tokio::test]
async fn space_is_taken_only_while_it_fits() {
    let srv = Server::start().await;
    let (bob, admin) = (srv.user("bob").await, srv.admin("boss").await);
    let quota = AccountChanges {
        quota: Some(100),
        ..Default::default()
    };
    srv.accounts
        .update_account(&admin, bob, quota, None, &srv.client())
        .await
        .expect("changed");
    let (accounts, db) = (srv.accounts.clone(), srv.ctx.db.clone());
    let outcome: Result<(bool, bool, bool, i64), yunque_kernel::DbError> = db
        .write("test", move |tx| {
            let accounts = accounts.clone();
            async move {
                let first = accounts.reserve_space(&tx, bob, 60).await?;
                let second = accounts.reserve_space(&tx, bob, 60).await?;
                accounts.release_space(&tx, bob, 60).await?;
                let third = accounts.reserve_space(&tx, bob, 100).await?;
                let drift = accounts.recompute_space(&tx, bob, 40).await?;
                Ok((first, second, third, drift))
            }
        })
        .await;
    assert_eq!(outcome.expect("written"), (true, false, true, 60));
    let info = srv.accounts.storage_info(bob).await.expect("read");
    assert_eq!((info.quota, info.used_space), (100, 40));
}

#[tokio::test]
async fn the_list_finds_parts_of_names_and_takes_wildcards_literally() {
    let srv = Server::start().await;
    let admin = srv.admin("boss").await;
    for name in ["anna", "joanna", "per_cent"] {
        srv.user(name).await;
    }
    let find = async |text: &str| {
        let page = Page { page: 1, size: 10 };
        let (rows, total) = srv
            .accounts
            .list_accounts(&admin, Some(text), page)
            .await
            .expect("listed");
        assert_eq!(rows.len() as u64, total);
        rows.into_iter().map(|row| row.username).collect::<Vec<_>>()
    };
    assert_eq!(find("ANNA").await, ["anna", "joanna"]);
    assert_eq!(find("_").await, ["per_cent"]);
    assert_eq!(find("%").await, Vec::<String>::new());
    assert_eq!(find(" ").await.len(), 4);
}
