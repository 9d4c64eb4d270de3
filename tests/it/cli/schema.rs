//! `migrate`, on a SQLite file of its own.

use super::Shell;

/// Copies that were made so far.
fn copies(shell: &Shell) -> usize {
    std::fs::read_dir(shell.folder.path().join("data/backups")).map_or(0, Iterator::count)
}

fn count(text: &str, line: &str) -> usize {
    text.lines().filter(|l| l.starts_with(line)).count()
}

#[tokio::test]
async fn migrate_copies_a_sqlite_file_before_it_destroys_anything() {
    let shell = Shell::bare();
    let said = shell.run(&["migrate", "up"]).await.expect(0);
    let all = count(&said.err, "migrating: ");
    assert!(all > 2 && said.out == format!("applied {all}\n"), "{said:?}");
    assert_eq!(copies(&shell), 0, "there was nothing to copy");

    let said = shell
        .run(&["migrate", "down", "--steps", "2", "--yes"])
        .await
        .expect(0);
    assert_eq!((said.out.as_str(), copies(&shell)), ("rolled back 2\n", 1));
    assert_eq!(count(&said.err, "rolling back: "), 2, "{said:?}");

    shell.run(&["migrate", "up"]).await.expect(0);
    assert_eq!(copies(&shell), 2);
    let said = shell.run(&["migrate", "fresh", "--yes"]).await.expect(0);
    assert_eq!(said.out, format!("fresh schema, {all} steps\n"));
    assert_eq!((copies(&shell), count(&said.err, "migrating: ")), (3, all));

    let said = shell
        .run(&["migrate", "down", "--steps", "1000", "--yes"])
        .await
        .expect(0);
    assert_eq!(said.out, format!("rolled back {all}\n"), "as many as there were");
    let said = shell.run(&["migrate", "down", "--yes"]).await.expect(0);
    assert_eq!((said.out.as_str(), copies(&shell)), ("rolled back 0\n", 4));
}

#[tokio::test]
async fn migrate_needs_settings_of_the_database_only() {
    let shell = Shell::bare();
    let others = [("APP_ENV", "production"), ("SMTP_URL", "nonsense")];
    shell.run_with(&["serve"], &others, "").await.expect(2);
    shell.run_with(&["migrate", "up"], &others, "").await.expect(0);
    let said = shell
        .run_with(&["migrate", "status"], &[("DATABASE_URL", "nonsense")], "")
        .await
        .expect(2);
    assert!(said.err.contains("DATABASE_URL"), "{said:?}");
}
