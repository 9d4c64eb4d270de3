//! What the server says about itself. `doctor` judges it.

use std::collections::HashMap;

use redis::{RedisError, RedisResult};

use super::RedisLink;

/// Facts of one Redis server. `None` where it does not tell: managed servers refuse `CONFIG`, and
/// some parts of `INFO`.
#[derive(Clone, Debug, Default)]
pub struct RedisFacts {
    pub version: Option<String>,
    pub maxmemory_policy: Option<String>,
    pub appendonly: Option<String>,
    /// Why `CONFIG` was refused.
    pub config_refusal: Option<String>,
    /// Why nothing can be written: a replica, no rights, no memory left.
    pub write_refusal: Option<String>,
}

impl RedisLink {
    /// Asks the server about itself, and writes one key that vanishes at once.
    ///
    /// # Errors
    /// It does not answer at all.
    pub async fn facts(&self) -> RedisResult<RedisFacts> {
        self.ping().await?;
        let mut conn = self.connection().await?;
        let mut facts = RedisFacts::default();
        if let Ok(info) = redis::cmd("INFO")
            .arg("server")
            .query_async::<String>(&mut conn)
            .await
        {
            let line = info.lines().find_map(|line| line.strip_prefix("redis_version:"));
            facts.version = line.map(|v| v.trim().to_owned());
        }
        for (name, place) in [
            ("maxmemory-policy", &mut facts.maxmemory_policy),
            ("appendonly", &mut facts.appendonly),
        ] {
            let mut command = redis::cmd("CONFIG");
            match command
                .arg("GET")
                .arg(name)
                .query_async::<HashMap<String, String>>(&mut conn)
                .await
            {
                Ok(mut answer) => *place = answer.remove(name),
                Err(e) => facts.config_refusal = Some(reason(&e)),
            }
        }
        let mut write = redis::cmd("SET");
        write.arg(self.key("doctor")).arg(1).arg("PX").arg(1000);
        facts.write_refusal = write.query_async::<()>(&mut conn).await.err().map(|e| reason(&e));
        Ok(facts)
    }
}

/// Code and text of a refusal, without anything of ours.
fn reason(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        (Some(code), None) => code.to_owned(),
        _ => error.to_string(),
    }
}
