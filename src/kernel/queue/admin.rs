//! What operators do with jobs: look, retry, cancel, purge, audit.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, FromQueryResult, QueryResult, Value};

use super::Queue;
use super::store::{COLUMNS, JobRow, JobState};
use crate::db::{DbError, Tx, dialect};
use crate::ids::JobId;

/// Which jobs to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub state: Option<JobState>,
    pub kind: Option<String>,
    pub queue: Option<String>,
    pub owner: Option<i64>,
    /// Only ids below this one, for paging.
    pub before: Option<i64>,
}

impl Filter {
    /// The condition as SQL, with its values.
    fn conditions(&self) -> (String, Vec<Value>) {
        let mut conditions = vec!["1 = 1"];
        let mut values: Vec<Value> = Vec::new();
        let mut add = |sql, value: Option<Value>| {
            if let Some(value) = value {
                conditions.push(sql);
                values.push(value);
            }
        };
        add("state = ?", self.state.map(|s| s.as_str().into()));
        add("kind = ?", self.kind.clone().map(Into::into));
        add("queue = ?", self.queue.clone().map(Into::into));
        add("fair_key = ?", self.owner.map(Into::into));
        add("id < ?", self.before.map(Into::into));
        (conditions.join(" AND "), values)
    }
}

/// Jobs of one kind in one state.
#[derive(Clone, Debug, FromQueryResult, serde::Serialize)]
pub struct JobCount {
    pub kind: String,
    pub state: String,
    pub jobs: i64,
}

/// What `jobs audit` found.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Audit {
    /// Subjects that should have a live job and have none, by kind.
    pub without_job: BTreeMap<String, Vec<String>>,
    /// Live jobs whose subject no longer wants them, by kind.
    pub without_subject: BTreeMap<String, Vec<i64>>,
}

#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error("no such job")]
    NotFound,
    #[error("the job is {0}")]
    WrongState(String),
    #[error("this build does not know jobs of kind {0}")]
    UnknownKind(String),
    /// The job's domain said no.
    #[error("refused: {0}")]
    Refused(String),
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Rows deleted in one transaction; short enough not to hold up anybody.
const PURGE_CHUNK: u64 = 500;

impl Queue {
    /// Newest first.
    ///
    /// # Errors
    /// As the database says.
    pub async fn list(&self, filter: &Filter, limit: u64) -> Result<Vec<JobRow>, DbError> {
        let (conditions, mut values) = filter.conditions();
        values.push(i64::try_from(limit).unwrap_or(i64::MAX).into());
        let sql = format!("SELECT {COLUMNS} FROM jobs WHERE {conditions} ORDER BY id DESC LIMIT ?");
        let conn = self.0.db.reader();
        Ok(
            JobRow::find_by_statement(dialect::statement(conn.get_database_backend(), &sql, values))
                .all(conn)
                .await?,
        )
    }

    /// How many jobs the filter lets through.
    ///
    /// # Errors
    /// As the database says.
    pub async fn count(&self, filter: &Filter) -> Result<u64, DbError> {
        let (conditions, values) = filter.conditions();
        let sql = format!("SELECT COUNT(*) FROM jobs WHERE {conditions}");
        let conn = self.0.db.reader();
        let row = conn
            .query_one_raw(dialect::statement(conn.get_database_backend(), &sql, values))
            .await?;
        let n: i64 = row.map_or(Ok(0), |r| r.try_get_by_index(0))?;
        Ok(u64::try_from(n).unwrap_or(0))
    }

    /// # Errors
    /// As the database says.
    pub async fn find(&self, id: JobId) -> Result<Option<JobRow>, DbError> {
        let conn = self.0.db.reader();
        let sql = format!("SELECT {COLUMNS} FROM jobs WHERE id = ?");
        let stmt = dialect::statement(conn.get_database_backend(), &sql, [id.into()]);
        Ok(JobRow::find_by_statement(stmt).one(conn).await?)
    }

    /// # Errors
    /// As the database says.
    pub async fn counts(&self) -> Result<Vec<JobCount>, DbError> {
        let conn = self.0.db.reader();
        let sql = "SELECT kind, state, COUNT(*) AS jobs FROM jobs GROUP BY kind, state ORDER BY kind, state";
        let stmt = dialect::statement(conn.get_database_backend(), sql, []);
        Ok(JobCount::find_by_statement(stmt).all(conn).await?)
    }

    /// The due time of the oldest waiting job of each queue.
    ///
    /// # Errors
    /// As the database says.
    pub async fn oldest_due(&self) -> Result<Vec<(String, DateTime<Utc>)>, DbError> {
        let conn = self.0.db.reader();
        let sql = "SELECT queue, MIN(run_at) FROM jobs WHERE state = 'ready' AND run_at <= ? GROUP BY queue";
        let stmt = dialect::statement(conn.get_database_backend(), sql, [self.now().into()]);
        let mut list = Vec::new();
        for row in conn.query_all_raw(stmt).await? {
            list.push((row.try_get_by_index(0)?, row.try_get_by_index(1)?));
        }
        Ok(list)
    }

    /// Ids and queues of workers whose heartbeat is not older than the expiry.
    ///
    /// # Errors
    /// As the database says.
    pub async fn live_workers(&self) -> Result<Vec<(String, Vec<String>)>, DbError> {
        let conn = self.0.db.reader();
        let sql = "SELECT id, queues FROM job_workers WHERE expires_at > ?";
        let stmt = dialect::statement(conn.get_database_backend(), sql, [self.now().into()]);
        let mut list = Vec::new();
        for row in conn.query_all_raw(stmt).await? {
            let queues: String = row.try_get_by_index(1)?;
            list.push((
                row.try_get_by_index(0)?,
                queues.split(',').map(str::to_owned).collect(),
            ));
        }
        Ok(list)
    }

    /// Makes a dead or cancelled job ready again with fresh attempts.
    ///
    /// # Errors
    /// It is in another state, or its domain refuses.
    pub async fn retry(&self, id: JobId) -> Result<(), AdminError> {
        self.change(
            id,
            &[JobState::Dead, JobState::Cancelled],
            "job.admin_retry",
            Change::Retry,
        )
        .await
    }

    /// Takes a job that does not run yet out of the queue for good.
    ///
    /// # Errors
    /// It is not ready, or its domain refuses.
    pub async fn cancel(&self, id: JobId) -> Result<(), AdminError> {
        self.change(id, &[JobState::Ready], "job.admin_cancel", Change::Cancel)
            .await
    }

    async fn change(
        &self,
        id: JobId,
        from: &[JobState],
        name: &'static str,
        change: Change,
    ) -> Result<(), AdminError> {
        let row = self.find(id).await?.ok_or(AdminError::NotFound)?;
        if !JobState::parse(&row.state).is_some_and(|s| from.contains(&s)) {
            return Err(AdminError::WrongState(row.state));
        }
        let entry = self
            .0
            .registry
            .get(&row.kind)
            .ok_or_else(|| AdminError::UnknownKind(row.kind.clone()))?;
        let queue = self.clone();
        self.0
            .db
            .write(name, move |tx: Tx| {
                let (queue, row, entry) = (queue.clone(), row.clone(), entry.clone());
                async move {
                    let now = queue.now();
                    let changed = match change {
                        Change::Retry => {
                            let sql = "UPDATE jobs SET state = 'ready', attempts = 0, losses = 0, run_at = ?, \
                                       finished_at = NULL WHERE id = ? AND state = ?";
                            dialect::execute(&tx, sql, [now.into(), row.id.into(), row.state.clone().into()]).await?
                        }
                        Change::Cancel => {
                            let sql = "UPDATE jobs SET state = 'cancelled', finished_at = ?, dedupe_key = NULL \
                                       WHERE id = ? AND state = ?";
                            dialect::execute(&tx, sql, [now.into(), row.id.into(), row.state.clone().into()]).await?
                        }
                    };
                    if changed == 0 {
                        return Err(AdminError::WrongState("in another state by now".to_owned()));
                    }
                    match change {
                        Change::Retry => {
                            entry.kind.on_retry(&row.payload, &tx).await.map_err(|e| AdminError::Refused(e.reason))?;
                            let due = super::Due { queue: row.queue.as_str().into(), id: row.id, score: row.fair_round };
                            queue.announce_after_commit(&tx, vec![due]);
                        }
                        Change::Cancel => entry.kind.on_cancel(&row.payload, &tx).await?,
                    }
                    Ok(())
                }
            })
            .await
    }

    /// Cancels the live job of a subject inside the caller's transaction, without its hook: the
    /// caller is the domain and does the rest itself. Tells whether one was waiting.
    ///
    /// # Errors
    /// As the database says.
    pub async fn withdraw(&self, tx: &Tx, kind: &str, subject: &str) -> Result<bool, DbError> {
        let sql = "UPDATE jobs SET state = 'cancelled', finished_at = ?, dedupe_key = NULL \
                   WHERE subject = ? AND kind = ? AND state = 'ready'";
        Ok(dialect::execute(tx, sql, [self.now().into(), subject.into(), kind.into()]).await? > 0)
    }

    /// Is there a job of this subject that runs right now?
    ///
    /// # Errors
    /// As the database says.
    pub async fn is_running(
        &self,
        conn: &impl ConnectionTrait,
        kind: &str,
        subject: &str,
    ) -> Result<bool, DbError> {
        let sql = "SELECT id FROM jobs WHERE subject = ? AND kind = ? AND state = 'running' LIMIT 1";
        let stmt = dialect::statement(conn.get_database_backend(), sql, [subject.into(), kind.into()]);
        Ok(conn.query_one_raw(stmt).await?.is_some())
    }

    /// Deletes finished jobs older than `before`, a chunk at a time, and adds them to `job_daily`
    /// in the same transaction. `progress` gets the number deleted so far.
    ///
    /// # Errors
    /// As the database says.
    pub async fn purge(
        &self,
        state: JobState,
        before: DateTime<Utc>,
        progress: impl Fn(u64) + Send,
    ) -> Result<u64, DbError> {
        let mut total = 0;
        loop {
            let n = self
                .0
                .db
                .write("job.purge", move |tx: Tx| purge_chunk(tx, state, before))
                .await?;
            total += n;
            progress(total);
            if n < PURGE_CHUNK {
                return Ok(total);
            }
        }
    }

    /// Deletes those of these jobs that are over (done, dead or cancelled), and counts them as
    /// [`Queue::purge`] does, in one transaction: a few hundred at a time. Tells how many went.
    ///
    /// # Errors
    /// As the database says.
    pub async fn purge_these(&self, ids: &[JobId]) -> Result<u64, DbError> {
        let ids = ids.to_vec();
        self.0
            .db
            .write("job.purge_these", move |tx: Tx| purge_ids(tx, ids.clone()))
            .await
    }

    /// Compares jobs with what the domains expect. On a running system subjects and jobs are never
    /// read at one moment, so only what is found twice counts.
    ///
    /// # Errors
    /// As the database says.
    pub async fn audit(&self) -> Result<Audit, DbError> {
        let first = self.audit_once().await?;
        if first.without_job.is_empty() && first.without_subject.is_empty() {
            return Ok(first);
        }
        let second = self.audit_once().await?;
        Ok(Audit {
            without_job: in_both(first.without_job, &second.without_job),
            without_subject: in_both(first.without_subject, &second.without_subject),
        })
    }

    async fn audit_once(&self) -> Result<Audit, DbError> {
        let mut audit = Audit::default();
        for (name, entry) in self.0.registry.all() {
            let Some(expected) = entry.kind.expected(&self.0.db).await? else {
                continue;
            };
            let expected: BTreeSet<String> = expected.into_iter().collect();
            let live = self.live_subjects(name).await?;
            let have: BTreeSet<&String> = live.iter().map(|(subject, _)| subject).collect();
            let missing: Vec<String> = expected.iter().filter(|s| !have.contains(s)).cloned().collect();
            let orphans: Vec<i64> = live
                .iter()
                .filter(|(s, _)| !expected.contains(s))
                .map(|(_, id)| *id)
                .collect();
            if !missing.is_empty() {
                audit.without_job.insert(name.to_owned(), missing);
            }
            if !orphans.is_empty() {
                audit.without_subject.insert(name.to_owned(), orphans);
            }
        }
        Ok(audit)
    }

    /// Those of the subjects that have a ready or running job of this kind.
    ///
    /// # Errors
    /// As the database says.
    pub async fn live_among(&self, kind: &str, subjects: &[String]) -> Result<BTreeSet<String>, DbError> {
        self.subjects_in(kind, subjects, "('ready', 'running')").await
    }

    /// The same, with dead jobs counted: those wait for an operator, not for another job.
    ///
    /// # Errors
    /// As the database says.
    pub async fn unfinished_among(
        &self,
        kind: &str,
        subjects: &[String],
    ) -> Result<BTreeSet<String>, DbError> {
        self.subjects_in(kind, subjects, "('ready', 'running', 'dead')")
            .await
    }

    async fn subjects_in(
        &self,
        kind: &str,
        subjects: &[String],
        states: &str,
    ) -> Result<BTreeSet<String>, DbError> {
        if subjects.is_empty() {
            return Ok(BTreeSet::new());
        }
        let list = dialect::marks(subjects.len());
        let sql =
            format!("SELECT subject FROM jobs WHERE subject IN {list} AND kind = ? AND state IN {states}");
        let mut values: Vec<Value> = subjects.iter().map(|s| s.clone().into()).collect();
        values.push(kind.into());
        let conn = self.0.db.reader();
        let rows = conn
            .query_all_raw(dialect::statement(conn.get_database_backend(), &sql, values))
            .await?;
        rows.iter()
            .map(|r| r.try_get_by_index(0).map_err(DbError::from))
            .collect()
    }

    async fn live_subjects(&self, kind: &str) -> Result<Vec<(String, i64)>, DbError> {
        let conn = self.0.db.reader();
        let sql = "SELECT subject, id FROM jobs WHERE kind = ? AND state IN ('ready', 'running') AND subject IS NOT NULL";
        let stmt = dialect::statement(conn.get_database_backend(), sql, [kind.into()]);
        let mut list = Vec::new();
        for row in conn.query_all_raw(stmt).await? {
            list.push((row.try_get_by_index(0)?, row.try_get_by_index(1)?));
        }
        Ok(list)
    }
}

fn in_both<T: PartialEq>(
    first: BTreeMap<String, Vec<T>>,
    second: &BTreeMap<String, Vec<T>>,
) -> BTreeMap<String, Vec<T>> {
    let mut both = first;
    for (kind, found) in &mut both {
        found.retain(|one| second.get(kind).is_some_and(|again| again.contains(one)));
    }
    both.retain(|_, found| !found.is_empty());
    both
}

#[derive(Clone, Copy)]
enum Change {
    Retry,
    Cancel,
}

async fn purge_chunk(tx: Tx, state: JobState, before: DateTime<Utc>) -> Result<u64, DbError> {
    let sql = "SELECT id, kind, state, finished_at FROM jobs WHERE state = ? AND finished_at < ? ORDER BY id LIMIT ?";
    let limit = i64::try_from(PURGE_CHUNK).unwrap_or(i64::MAX);
    let values = [state.as_str().into(), before.into(), limit.into()];
    let rows = tx
        .query_all_raw(dialect::statement(tx.get_database_backend(), sql, values))
        .await?;
    delete_counted(&tx, &rows).await
}

async fn purge_ids(tx: Tx, ids: Vec<JobId>) -> Result<u64, DbError> {
    if ids.is_empty() {
        return Ok(0);
    }
    let sql = format!(
        "SELECT id, kind, state, finished_at FROM jobs WHERE id IN {} AND state IN ('done', 'dead', 'cancelled') \
         ORDER BY id",
        dialect::marks(ids.len())
    );
    let values = ids.into_iter().map(Value::from);
    let rows = tx
        .query_all_raw(dialect::statement(tx.get_database_backend(), &sql, values))
        .await?;
    delete_counted(&tx, &rows).await
}

/// Deletes finished jobs (id, kind, state, end) and adds them to the counts of their days.
async fn delete_counted(tx: &Tx, rows: &[QueryResult]) -> Result<u64, DbError> {
    let mut ids: Vec<Value> = Vec::with_capacity(rows.len());
    let mut days: BTreeMap<(chrono::NaiveDate, String, String), i64> = BTreeMap::new();
    for row in rows {
        let id: i64 = row.try_get_by_index(0)?;
        let finished: DateTime<Utc> = row.try_get_by_index(3)?;
        ids.push(id.into());
        let day = (
            finished.date_naive(),
            row.try_get_by_index(1)?,
            row.try_get_by_index(2)?,
        );
        *days.entry(day).or_default() += 1;
    }
    if ids.is_empty() {
        return Ok(0);
    }
    for ((day, kind, state), n) in days {
        let sql = "UPDATE job_daily SET count = count + ? WHERE day = ? AND kind = ? AND state = ?";
        let values: [Value; 4] = [n.into(), day.into(), kind.clone().into(), state.clone().into()];
        if dialect::execute(tx, sql, values).await? == 0 {
            let sql = "INSERT INTO job_daily (count, day, kind, state) VALUES (?, ?, ?, ?)";
            let values: [Value; 4] = [n.into(), day.into(), kind.into(), state.into()];
            dialect::execute(tx, sql, values).await?;
        }
    }
    // The state once more: an operator may have made one ready again meanwhile.
    let list = dialect::marks(ids.len());
    let sql = format!("DELETE FROM jobs WHERE id IN {list} AND state IN ('done', 'dead', 'cancelled')");
    dialect::execute(tx, &sql, ids).await
}
