//! Exact, shared buckets: the times of the last hits of a key, in Redis or in `strict_limits`.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use redis::Script;
use sea_orm::ConnectionTrait;
use sea_orm::sea_query::{Alias, Expr, ExprTrait, Query};
use sha2::{Digest, Sha256};

use super::{Rate, throttled};
use crate::clock::Clock;
use crate::db::{Db, DbError, dialect};
use crate::error::ApiError;
use crate::hex;
use crate::redis_link::RedisLink;

/// A rule of a domain's own. `name` is stored data: it must not change.
#[derive(Clone, Debug)]
pub struct StrictRule {
    pub name: &'static str,
    /// All must hold, such as 1 a minute and 5 an hour.
    pub rates: Vec<Rate>,
}

/// Redis must answer within this, or the database decides.
const REDIS_WAIT: Duration = Duration::from_secs(1);

/// The log is a sorted set of microseconds. Answers -1 when the hit may pass (and was noted), else
/// the index of the broken rate and the microseconds until it holds again.
const SCRIPT: &str = r"
local now, longest, member, note = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4]
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - longest)
for i = 5, #ARGV, 2 do
  local count, window = tonumber(ARGV[i]), tonumber(ARGV[i + 1])
  local from = '(' .. string.format('%.0f', now - window)
  local seen = redis.call('ZCOUNT', KEYS[1], from, '+inf')
  if seen >= count then
    local first = redis.call('ZRANGEBYSCORE', KEYS[1], from, '+inf', 'WITHSCORES', 'LIMIT', seen - count, 1)
    return {(i - 5) / 2, string.format('%.0f', tonumber(first[2]) + window - now)}
  end
end
if note == '1' then
  redis.call('ZADD', KEYS[1], string.format('%.0f', now), member)
  redis.call('PEXPIRE', KEYS[1], math.ceil(longest / 1000) + 1000)
end
return {-1, '0'}
";

pub(super) struct Strict {
    clock: Clock,
    db: Db,
    redis: Option<(RedisLink, Script)>,
    last_warning: AtomicI64,
}

/// Which rate is broken, and for how long.
type Broken = Option<(usize, u64)>;

impl Strict {
    pub fn new(clock: Clock, db: Db, redis: Option<RedisLink>) -> Self {
        let redis = redis.map(|link| (link, Script::new(SCRIPT)));
        Strict {
            clock,
            db,
            redis,
            last_warning: AtomicI64::new(0),
        }
    }

    pub async fn hit(&self, name: &str, rates: &[Rate], key: &str) -> Result<(), ApiError> {
        self.ask(name, rates, key, true).await
    }

    pub async fn peek(&self, name: &str, rates: &[Rate], key: &str) -> Result<(), ApiError> {
        self.ask(name, rates, key, false).await
    }

    async fn ask(&self, name: &str, rates: &[Rate], key: &str, note: bool) -> Result<(), ApiError> {
        let bucket = bucket_of(name, key);
        let now = self.clock.now();
        let broken = match self.ask_redis(&bucket, rates, now, note).await {
            Some(broken) => broken,
            None => self.ask_database(bucket, rates.to_vec(), now, note).await?,
        };
        match broken {
            None => Ok(()),
            Some((index, wait)) => Err(throttled(rates[index.min(rates.len() - 1)], wait)),
        }
    }

    /// `None` when Redis is not there or does not answer.
    async fn ask_redis(
        &self,
        bucket: &str,
        rates: &[Rate],
        now: DateTime<Utc>,
        note: bool,
    ) -> Option<Broken> {
        let (link, script) = self.redis.as_ref()?;
        if !link.is_up() {
            return None;
        }
        let longest = rates.iter().map(|r| r.per).max()?;
        let mut call = script.prepare_invoke();
        call.key(link.key(format_args!("rl:{bucket}")))
            .arg(now.timestamp_micros())
            .arg(micros(longest))
            .arg(uuid::Uuid::new_v4().simple().to_string())
            .arg(u8::from(note));
        for rate in rates {
            call.arg(rate.count).arg(micros(rate.per));
        }
        let asked = async {
            let mut connection = link.connection().await?;
            let result: redis::RedisResult<(i64, String)> = call.invoke_async(&mut connection).await;
            link.observe(&result);
            result
        };
        match tokio::time::timeout(REDIS_WAIT, asked).await {
            Ok(Ok((-1, _))) => Some(None),
            Ok(Ok((index, wait))) => Some(Some((
                usize::try_from(index).unwrap_or(0),
                wait.parse().unwrap_or(1),
            ))),
            Ok(Err(error)) => self.redis_failed(&error.to_string()),
            Err(_) => self.redis_failed("no answer in time"),
        }
    }

    fn redis_failed(&self, why: &str) -> Option<Broken> {
        let now = self.clock.unix();
        if now - self.last_warning.swap(now, Ordering::Relaxed) >= 60 {
            tracing::warn!(
                error = why,
                "rate limits use the database, because Redis does not answer"
            );
        }
        None
    }

    async fn ask_database(
        &self,
        bucket: String,
        rates: Vec<Rate>,
        now: DateTime<Utc>,
        note: bool,
    ) -> Result<Broken, DbError> {
        let run = move |tx: crate::db::Tx| {
            let (bucket, rates) = (bucket.clone(), rates.clone());
            async move { count(&tx, &bucket, &rates, now, note).await }
        };
        self.db.write("strict_limit", run).await
    }

    pub async fn forget(&self, name: &str, key: &str) -> Result<(), DbError> {
        let bucket = bucket_of(name, key);
        if let Some((link, _)) = &self.redis
            && let Ok(mut connection) = link.connection().await
        {
            let mut command = redis::cmd("DEL");
            command.arg(link.key(format_args!("rl:{bucket}")));
            // An outage leaves hits behind, which only errs on the strict side.
            let _ = tokio::time::timeout(REDIS_WAIT, command.query_async::<()>(&mut connection)).await;
        }
        let run = move |tx: crate::db::Tx| {
            let bucket = bucket.clone();
            async move {
                dialect::execute(&tx, "DELETE FROM strict_limits WHERE bucket = ?", [bucket.into()]).await
            }
        };
        self.db.write("strict_limit_forget", run).await.map(drop)
    }

    pub async fn sweep(&self) -> Result<(), DbError> {
        let now = self.clock.now();
        let run = move |tx: crate::db::Tx| async move {
            dialect::execute(
                &tx,
                "DELETE FROM strict_limits WHERE expires_at < ?",
                [now.into()],
            )
            .await
        };
        self.db.write("strict_limit_sweep", run).await.map(drop)
    }
}

/// What is stored instead of an address or a name.
fn bucket_of(name: &str, key: &str) -> String {
    hex::encode(&Sha256::digest(format!("{name}\0{key}")))
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

/// Reads, judges and writes one row. The row is made first, so that two first hits meet at its lock.
async fn count(
    tx: &impl ConnectionTrait,
    bucket: &str,
    rates: &[Rate],
    now: DateTime<Utc>,
    note: bool,
) -> Result<Broken, DbError> {
    let table = || Alias::new("strict_limits");
    let mut select = Query::select()
        .column("hits")
        .from(table())
        .and_where(Expr::col("bucket").eq(bucket))
        .take();
    dialect::for_update(tx, &mut select);
    let mut row = tx.query_one(&select).await?;
    if row.is_none() && note {
        let insert = Query::insert()
            .into_table(table())
            .columns(["bucket", "hits", "expires_at"])
            .values_panic([bucket.into(), "".into(), now.into()])
            .take();
        dialect::insert_ignore(tx, insert, &["bucket"]).await?;
        row = tx.query_one(&select).await?;
    }
    let text: String = row.map_or(Ok(String::new()), |r| r.try_get_by_index(0))?;
    let mut hits: Vec<i64> = text.split(',').filter_map(|t| t.parse().ok()).collect();
    let now_us = now.timestamp_micros();
    let broken = judge(&hits, rates, now_us);
    if broken.is_none() && note {
        let longest = rates.iter().map(|r| micros(r.per)).max().unwrap_or(0);
        hits.retain(|at| *at > now_us - longest);
        hits.push(now_us);
        hits.sort_unstable();
        let text = hits.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
        let expires = now + TimeDelta::microseconds(longest);
        let update = "UPDATE strict_limits SET hits = ?, expires_at = ? WHERE bucket = ?";
        dialect::execute(tx, update, [text.into(), expires.into(), bucket.into()]).await?;
    }
    Ok(broken)
}

/// `hits` ascend. A rate is broken when its window already holds as many hits as it allows; it
/// holds again when enough of the oldest have left.
fn judge(hits: &[i64], rates: &[Rate], now_us: i64) -> Broken {
    rates.iter().enumerate().find_map(|(index, rate)| {
        let from = now_us - micros(rate.per);
        let inside = &hits[hits.partition_point(|at| *at <= from)..];
        let surplus = inside.len().checked_sub(rate.count as usize)?;
        let wait = inside[surplus] - from;
        Some((index, u64::try_from(wait).unwrap_or(1)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_slides() {
        let rates = [
            Rate::new(2, Duration::from_secs(10)),
            Rate::new(3, Duration::from_secs(60)),
        ];
        let s = 1_000_000;
        assert_eq!(judge(&[], &rates, 0), None);
        assert_eq!(judge(&[0, s], &rates, 2 * s), Some((0, 8 * s as u64)));
        assert_eq!(judge(&[0, s], &rates, 10 * s), None);
        assert_eq!(judge(&[0, s, 20 * s], &rates, 40 * s), Some((1, 20 * s as u64)));
        assert_eq!(judge(&[0, s, 20 * s], &rates, 60 * s), None);
    }
}
