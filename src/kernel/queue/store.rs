//! Every statement on `jobs` that the running queue issues. `admin` has the operator's.

use std::ops::Range;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Alias, Query, SimpleExpr};
use sea_orm::{ConnectionTrait, DbBackend, FromQueryResult};

use super::carrier::Due;
use super::job::{NewJob, Priority};
use crate::db::{Db, DbError, Tx, dialect};

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobState {
    Ready,
    Running,
    Done,
    Dead,
    Cancelled,
}

impl JobState {
    pub const ALL: [JobState; 5] = [
        JobState::Ready,
        JobState::Running,
        JobState::Done,
        JobState::Dead,
        JobState::Cancelled,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            JobState::Ready => "ready",
            JobState::Running => "running",
            JobState::Done => "done",
            JobState::Dead => "dead",
            JobState::Cancelled => "cancelled",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }
}

/// A row of `jobs`.
#[derive(Clone, Debug, FromQueryResult, serde::Serialize)]
pub struct JobRow {
    pub id: i64,
    pub queue: String,
    pub kind: String,
    pub payload: String,
    pub subject: Option<String>,
    pub dedupe_key: Option<String>,
    pub state: String,
    pub attempts: i32,
    pub max_attempts: i32,
    pub losses: i32,
    pub run_at: DateTime<Utc>,
    pub fair_key: i64,
    pub fair_round: i64,
    pub lease_owner: Option<String>,
    pub last_error: Option<String>,
    pub request_id: Option<String>,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
}

pub(super) const COLUMNS: &str = "id, queue, kind, payload, subject, dedupe_key, state, attempts, max_attempts, \
     losses, run_at, fair_key, fair_round, lease_owner, last_error, request_id, created_at, started_at, finished_at";

/// A row about to be inserted.
pub(super) struct NewRow {
    job: NewJob,
    max_attempts: u32,
    fair_round: i64,
    now: DateTime<Utc>,
}

impl NewRow {
    pub fn new(job: NewJob, max_attempts: u32, fair_round: i64, now: DateTime<Utc>) -> Self {
        NewRow {
            job,
            max_attempts,
            fair_round,
            now,
        }
    }

    /// What to announce after the commit, if the job is due by then. The id is not known yet.
    pub fn due_at(&self, now: DateTime<Utc>) -> Option<Due> {
        let due = self.job.run_at.is_none_or(|at| at <= now);
        due.then(|| Due {
            queue: Arc::from(self.job.queue.as_str()),
            id: 0,
            score: self.fair_round,
        })
    }

    fn values(self) -> [SimpleExpr; 14] {
        let priority = match self.job.priority {
            Priority::High => 0,
            Priority::Normal => 1,
            Priority::Low => 2,
        };
        [
            self.job.queue.into(),
            self.job.kind.into(),
            self.job.payload.into(),
            self.job.subject.into(),
            self.job.dedupe_key.into(),
            JobState::Ready.as_str().into(),
            priority.into(),
            0.into(),
            i32::try_from(self.max_attempts).unwrap_or(i32::MAX).into(),
            self.job.run_at.unwrap_or(self.now).into(),
            self.job.fair_key.into(),
            self.fair_round.into(),
            self.job.request_id.into(),
            self.now.into(),
        ]
    }
}

fn insert(rows: Vec<NewRow>) -> sea_orm::sea_query::InsertStatement {
    let columns = [
        "queue",
        "kind",
        "payload",
        "subject",
        "dedupe_key",
        "state",
        "priority",
        "attempts",
        "max_attempts",
        "run_at",
        "fair_key",
        "fair_round",
        "request_id",
        "created_at",
    ];
    let mut insert = Query::insert()
        .into_table(Alias::new("jobs"))
        .columns(columns.map(Alias::new))
        .take();
    for row in rows {
        insert.values_panic(row.values());
    }
    insert
}

pub(super) async fn insert_many(tx: &Tx, rows: Vec<NewRow>) -> Result<Vec<i64>, DbError> {
    let n = rows.len();
    dialect::insert_returning_ids(tx, insert(rows), n).await
}

/// Inserts unless a live job has the dedupe key.
pub(super) async fn insert_unique(tx: &Tx, row: NewRow) -> Result<Option<i64>, DbError> {
    let key = row.job.dedupe_key.clone();
    if !dialect::insert_ignore(tx, insert(vec![row]), &["dedupe_key"]).await? {
        return Ok(None);
    }
    let stmt = dialect::statement(
        tx.get_database_backend(),
        "SELECT id FROM jobs WHERE dedupe_key = ?",
        [key.into()],
    );
    Ok(tx
        .query_one_raw(stmt)
        .await?
        .map(|r| r.try_get_by_index(0))
        .transpose()?)
}

/// The (banded) round at which a process that knows nothing of a queue starts: the first waiting
/// one of the band, else the last that ever was.
pub(super) async fn starting_round(tx: &Tx, queue: &str, band: Range<i64>) -> Result<Option<i64>, DbError> {
    for (which, state) in [("MIN", JobState::Ready), ("MAX", JobState::Done)] {
        let sql = format!(
            "SELECT {which}(fair_round) FROM jobs WHERE queue = ? AND state = ? AND fair_round >= ? AND fair_round < ?"
        );
        let values = [
            queue.into(),
            state.as_str().into(),
            band.start.into(),
            band.end.into(),
        ];
        let stmt = dialect::statement(tx.get_database_backend(), &sql, values);
        let row = tx.query_one_raw(stmt).await?;
        let round: Option<i64> = row.map(|r| r.try_get_by_index(0)).transpose()?.flatten();
        if round.is_some() {
            return Ok(round);
        }
    }
    Ok(None)
}

/// Takes those of `ids` that are ready and due. The conditional update is what makes a job run in
/// one place only. `held` are ids this owner already runs: a stale id must not be read back as a
/// second claim.
pub(super) async fn claim(
    db: &Db,
    owner: &str,
    ids: &[i64],
    held: impl Fn(i64) -> bool,
    now: DateTime<Utc>,
) -> Result<Vec<JobRow>, DbError> {
    let mut ids: Vec<i64> = ids.iter().copied().filter(|id| !held(*id)).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let conn = db.writer();
    let backend = conn.get_database_backend();
    let list = dialect::marks(ids.len());
    let update = format!(
        "UPDATE jobs SET state = 'running', lease_owner = ?, started_at = ? \
         WHERE id IN {list} AND state = 'ready' AND run_at <= ?"
    );
    let mut values: Vec<sea_orm::Value> = vec![owner.into(), now.into()];
    values.extend(ids.iter().map(|id| (*id).into()));
    values.push(now.into());
    if backend != DbBackend::MySql {
        let stmt = dialect::statement(backend, &format!("{update} RETURNING {COLUMNS}"), values);
        return Ok(JobRow::find_by_statement(stmt).all(conn).await?);
    }
    if conn
        .execute_raw(dialect::statement(backend, &update, values))
        .await?
        .rows_affected()
        == 0
    {
        return Ok(Vec::new());
    }
    let select =
        format!("SELECT {COLUMNS} FROM jobs WHERE id IN {list} AND lease_owner = ? AND state = 'running'");
    let mut values: Vec<sea_orm::Value> = ids.iter().map(|id| (*id).into()).collect();
    values.push(owner.into());
    Ok(
        JobRow::find_by_statement(dialect::statement(backend, &select, values))
            .all(conn)
            .await?,
    )
}

/// Finishes jobs that succeeded. Returns how many were still this owner's.
pub(super) async fn mark_done(
    conn: &impl ConnectionTrait,
    owner: &str,
    ids: &[i64],
    now: DateTime<Utc>,
) -> Result<u64, DbError> {
    let sql = format!(
        "UPDATE jobs SET state = 'done', finished_at = ?, lease_owner = NULL, dedupe_key = NULL, last_error = NULL \
         WHERE id IN {} AND lease_owner = ? AND state = 'running'",
        dialect::marks(ids.len())
    );
    let mut values: Vec<sea_orm::Value> = vec![now.into()];
    values.extend(ids.iter().map(|id| (*id).into()));
    values.push(owner.into());
    dialect::execute(conn, &sql, values).await
}

/// After a failed run: ready again at `run_at`.
pub(super) async fn mark_retry(
    tx: &Tx,
    owner: &str,
    row: &JobRow,
    run_at: DateTime<Utc>,
    reason: &str,
) -> Result<bool, DbError> {
    let sql = "UPDATE jobs SET state = 'ready', attempts = attempts + 1, run_at = ?, last_error = ?, \
               lease_owner = NULL WHERE id = ? AND lease_owner = ? AND state = 'running' AND attempts = ?";
    let values = [
        run_at.into(),
        reason.into(),
        row.id.into(),
        owner.into(),
        row.attempts.into(),
    ];
    Ok(dialect::execute(tx, sql, values).await? == 1)
}

/// After the last failed run.
pub(super) async fn mark_dead(
    tx: &Tx,
    owner: &str,
    row: &JobRow,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<bool, DbError> {
    let sql = "UPDATE jobs SET state = 'dead', attempts = attempts + 1, last_error = ?, finished_at = ?, \
               lease_owner = NULL, dedupe_key = NULL \
               WHERE id = ? AND lease_owner = ? AND state = 'running' AND attempts = ?";
    let values = [
        reason.into(),
        now.into(),
        row.id.into(),
        owner.into(),
        row.attempts.into(),
    ];
    Ok(dialect::execute(tx, sql, values).await? == 1)
}

/// Gives a claimed job back without counting a run: shutdown, or a kind this build does not know.
pub(super) async fn release(
    conn: &impl ConnectionTrait,
    owner: &str,
    ids: &[i64],
    run_at: DateTime<Utc>,
) -> Result<u64, DbError> {
    if ids.is_empty() {
        return Ok(0);
    }
    let sql = format!(
        "UPDATE jobs SET state = 'ready', lease_owner = NULL, run_at = ? \
         WHERE id IN {} AND lease_owner = ? AND state = 'running'",
        dialect::marks(ids.len())
    );
    let mut values: Vec<sea_orm::Value> = vec![run_at.into()];
    values.extend(ids.iter().map(|id| (*id).into()));
    values.push(owner.into());
    dialect::execute(conn, &sql, values).await
}

/// One page of due jobs of a queue, in their order.
pub(super) async fn due_page(
    db: &Db,
    queue: &Arc<str>,
    after: (i64, i64),
    limit: u64,
    now: DateTime<Utc>,
) -> Result<Vec<Due>, DbError> {
    let sql = "SELECT id, fair_round FROM jobs WHERE queue = ? AND state = 'ready' AND run_at <= ? \
               AND (fair_round > ? OR (fair_round = ? AND id > ?)) ORDER BY fair_round, id LIMIT ?";
    let values = [
        queue.as_ref().into(),
        now.into(),
        after.0.into(),
        after.0.into(),
        after.1.into(),
        i64::try_from(limit).unwrap_or(i64::MAX).into(),
    ];
    let conn = db.reader();
    let mut page = Vec::new();
    for row in conn
        .query_all_raw(dialect::statement(conn.get_database_backend(), sql, values))
        .await?
    {
        page.push(Due {
            queue: queue.clone(),
            id: row.try_get_by_index(0)?,
            score: row.try_get_by_index(1)?,
        });
    }
    Ok(page)
}

/// How many jobs of a queue are due, and when the next one will be.
pub(super) async fn due_count(
    db: &Db,
    queue: &str,
    now: DateTime<Utc>,
) -> Result<(u64, Option<DateTime<Utc>>), DbError> {
    let conn = db.reader();
    let backend = conn.get_database_backend();
    let count = "SELECT COUNT(*) FROM jobs WHERE queue = ? AND state = 'ready' AND run_at <= ?";
    let row = conn
        .query_one_raw(dialect::statement(backend, count, [queue.into(), now.into()]))
        .await?;
    let due: i64 = row.map_or(Ok(0), |r| r.try_get_by_index(0))?;
    let next =
        "SELECT run_at FROM jobs WHERE queue = ? AND state = 'ready' AND run_at > ? ORDER BY run_at LIMIT 1";
    let row = conn
        .query_one_raw(dialect::statement(backend, next, [queue.into(), now.into()]))
        .await?;
    let next = row.map(|r| r.try_get_by_index(0)).transpose()?;
    Ok((u64::try_from(due).unwrap_or(0), next))
}
