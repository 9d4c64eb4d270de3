use sea_orm::sea_query::MysqlQueryBuilder;
use sea_orm::{Database, DatabaseConnection, Statement};

use super::*;

const INDEX: TextIndex = TextIndex("t");

fn needle(text: &str) -> Needle {
    Needle::of(text).expect("grams")
}

#[test]
fn each_database_is_asked_in_its_language() {
    let ask = |backend, text: &str, scopes: &[i64]| expression(backend, &needle(text), scopes);
    assert_eq!(ask(DbBackend::Sqlite, "tea", &[]), "xtea");
    assert_eq!(ask(DbBackend::Sqlite, "ok", &[]), "xok*");
    assert_eq!(
        ask(DbBackend::Sqlite, "hello", &[1, 2]),
        "xhel AND xllo AND (r01 OR r02)"
    );
    assert_eq!(
        ask(DbBackend::Postgres, "hello", &[1, 2]),
        "xhel & xllo & (r01 | r02)"
    );
    assert_eq!(ask(DbBackend::Postgres, "ok", &[]), "xok:*");
    let many: Vec<i64> = (0..=NAMED_SCOPES as i64).collect();
    assert_eq!(ask(DbBackend::Sqlite, "tea", &many), "xtea");
}

#[test]
fn a_table_of_grams_is_joined_with_itself() {
    let ask = |text: &str| {
        INDEX
            .matching(DbBackend::MySql, &needle(text), &[1, 2])
            .to_string(MysqlQueryBuilder)
    };
    assert_eq!(
        ask("ok"),
        "SELECT `g0`.`id` AS `id` FROM `t` AS `g0` WHERE `g0`.`scope` IN (1, 2) AND `g0`.`gram` LIKE 'xok%'"
    );
    assert_eq!(
        ask("hello"),
        "SELECT `g0`.`id` AS `id` FROM `t` AS `g0` INNER JOIN `t` AS `g1` ON `g1`.`scope` = `g0`.`scope` \
         AND `g1`.`id` = `g0`.`id` WHERE `g0`.`scope` IN (1, 2) AND `g0`.`gram` = 'xhel' AND `g1`.`gram` = 'xllo'"
    );
    assert_eq!(
        ask("one two three four five six").matches("JOIN").count(),
        MOST_JOINS - 1
    );
}

#[test]
fn patterns_name_all_forms_of_a_letter() {
    assert_eq!(glob("Да*"), "*[Дд][Аа][*]*");
    assert_eq!(glob("[x?]"), "*[[][Xx][?]]*");
    assert_eq!(glob("茶%_!"), "*茶%_!*");
}

async fn memory() -> DatabaseConnection {
    let db = Database::connect("sqlite::memory:")
        .await
        .expect("memory database");
    for sql in INDEX.created(DbBackend::Sqlite) {
        db.execute_unprepared(&sql).await.expect("made");
        db.execute_unprepared(&sql).await.expect("made again");
    }
    db
}

async fn ids(db: &DatabaseConnection, text: &str, scopes: &[i64]) -> Vec<i64> {
    let select = INDEX.matching(DbBackend::Sqlite, &needle(text), scopes);
    let rows = db.query_all(&select).await.expect("asked");
    rows.iter()
        .map(|row| row.try_get_by_index(0).expect("an id"))
        .collect()
}

#[tokio::test]
async fn rows_are_written_changed_and_removed() {
    let db = memory().await;
    let text = |id, scope, text| Indexed { id, scope, text };
    let texts = [
        text(1, 1, "今天有乌龙茶"),
        text(2, 2, "乌龙 AND the tea"),
        text(3, 2, "About"),
    ];
    INDEX.put(&db, &texts).await.expect("put");
    assert_eq!(ids(&db, "乌龙", &[]).await, [1, 2]);
    assert_eq!(ids(&db, "乌龙", &[2]).await, [2]);
    assert_eq!(ids(&db, "茶", &[1, 2]).await, [1]);
    assert_eq!(ids(&db, "the", &[]).await, [2]);
    assert_eq!(ids(&db, "BOUT", &[]).await, [3]);
    INDEX.put(&db, &[text(1, 1, "红茶")]).await.expect("put again");
    assert_eq!(ids(&db, "乌龙", &[]).await, [2]);
    assert_eq!(ids(&db, "红茶", &[]).await, [1]);
    INDEX.remove(&db, texts[1]).await.expect("removed");
    INDEX.remove(&db, text(9, 1, "none")).await.expect("nothing");
    assert_eq!(ids(&db, "乌龙", &[]).await, Vec::<i64>::new());
}

#[tokio::test]
async fn sqlite_compares_letters_of_all_scripts() {
    let db = Database::connect("sqlite::memory:")
        .await
        .expect("memory database");
    let contains = |text: &str, part: &str| {
        let expr = contains(DbBackend::Sqlite, Expr::val(text), part);
        let select = Query::select().expr(expr).take();
        let db = db.clone();
        async move {
            let row = db.query_one(&select).await.expect("asked").expect("a row");
            row.try_get_by_index::<i64>(0).expect("a number") == 1
        }
    };
    assert!(contains("Привет, Мир", "ПРИВЕТ, м").await);
    assert!(contains("ΟΔΟΣ", "οδος").await);
    assert!(contains("Straße [a*] É", "STRAßE [A*] é").await);
    assert!(!contains("Straße aaa", "ß a*").await);
    assert!(contains("100% Tea", "0% tEA").await);
    assert!(!contains("1000 tea", "0%").await);
}

/// The index answers, not a walk through all rows.
#[tokio::test]
async fn a_search_uses_the_index() {
    let db = memory().await;
    let select = INDEX.matching(DbBackend::Sqlite, &needle("tea"), &[]);
    let mut explain = db.get_database_backend().build(&select);
    explain = Statement {
        sql: format!("EXPLAIN QUERY PLAN {}", explain.sql),
        ..explain
    };
    let rows = db.query_all_raw(explain).await.expect("explained");
    let plan: Vec<String> = rows
        .iter()
        .map(|r| r.try_get_by("detail").expect("text"))
        .collect();
    assert!(
        plan.iter().any(|line| line.contains("VIRTUAL TABLE INDEX 0:M")),
        "{plan:?}"
    );
}
