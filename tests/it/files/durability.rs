//! Uploads survive whatever happens between accepting and storing them.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::process::{Running, Site};
use super::*;

/// Deletes every key below a prefix, as `FLUSHALL` would if the server were ours alone.
pub(super) async fn forget_keys(url: &str, prefix: &str) {
    let address = url
        .trim_start_matches("redis://")
        .split('/')
        .next()
        .expect("an address");
    let mut socket = tokio::net::TcpStream::connect(address).await.expect("redis");
    let script = "for _, k in ipairs(redis.call('KEYS', ARGV[1])) do redis.call('DEL', k) end return 1";
    let mut command = b"*4\r\n".to_vec();
    for word in ["EVAL", script, "0", &format!("{prefix}*")] {
        command.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    socket.write_all(&command).await.expect("sent");
    let mut answer = [0; 64];
    let n = socket.read(&mut answer).await.expect("an answer");
    assert_eq!(&answer[..n], b":1\r\n");
}

fn setting<'a>(server: &'a TestServer, name: &str) -> Option<&'a str> {
    server
        .env
        .iter()
        .find(|(k, _)| k == name)
        .map(|(_, v)| v.as_str())
}

/// One job runs and hangs, the others are only ids in the carrier. Then the carrier is emptied.
#[tokio::test]
async fn cloud_scenario_08_an_emptied_queue_loses_nothing() {
    let few = [("UPLOAD_SMALL_WORKERS", "1"), ("UPLOAD_WORKERS", "1")];
    let (oss, server, alice) = on_oss(&few).await;
    oss.stall(true);
    let mut sent = Vec::new();
    for i in 0..8_u8 {
        let bytes = noise(i, if i % 2 == 0 { 500 } else { 100_000 });
        sent.push((upload(&alice.client, "a.jpg", &bytes).await, bytes));
    }
    eventually("two uploads hang", 20, || async { oss.in_flight() == 2 }).await;
    let server = match (setting(&server, "REDIS_URL"), setting(&server, "REDIS_PREFIX")) {
        (Some(url), Some(prefix)) => {
            forget_keys(url, prefix).await;
            server
        }
        // In memory the carrier is emptied by a restart.
        _ => server.restart().await,
    };
    oss.recover();
    let alice = again(&server, &alice).await;
    // The two that hung were attempts; those that had not begun need no wait.
    server.settle().await;
    seconds_later(&server, 60).await;
    for (id, bytes) in sent {
        let done = reaches(&alice.client, id, "completed").await;
        let key = done["oss_key"].as_str().unwrap();
        assert_eq!(oss.object(key).unwrap(), bytes);
        assert_eq!(oss.put_count(key), 1);
    }
    assert_eq!(oss.objects().len(), 8);
}

struct Killed {
    site: Site,
    oss: OssEmulator,
    access: String,
    sent: Vec<(i64, Vec<u8>)>,
}

impl Killed {
    /// Uploads two files, waits for the moment, kills everything.
    async fn at(
        with_worker: bool,
        oss: OssEmulator,
        moment: impl AsyncFn(&OssEmulator, &Client, &[i64]),
    ) -> Self {
        let site = Site::new(Some(&oss)).await;
        let running = site.start(with_worker).await;
        let access = running.account().await;
        let client = running.client.with_token(&access);
        let mut sent = Vec::new();
        for (i, size) in [(1, 700), (2, 150_000)] {
            let bytes = noise(i, size);
            sent.push((upload(&client, "a.jpg", &bytes).await, bytes));
        }
        let ids: Vec<i64> = sent.iter().map(|(id, _)| *id).collect();
        moment(&oss, &client, &ids).await;
        running.kill().await;
        site.flush_redis().await;
        Killed {
            site,
            oss,
            access,
            sent,
        }
    }

    /// Everything starts again: each file ends completed, with its bytes, in one object.
    async fn heals(self) {
        self.oss.recover();
        self.oss.hold_answers(false);
        let running: Running = self.site.start(true).await;
        let client = running.client.with_token(&self.access);
        for (id, bytes) in &self.sent {
            let done = reaches(&client, *id, "completed").await;
            assert_eq!(
                &self.oss.object(done["oss_key"].as_str().unwrap()).unwrap(),
                bytes
            );
        }
        assert_eq!(self.oss.objects().len(), self.sent.len());
        let used: i64 = self.sent.iter().map(|(_, bytes)| bytes.len() as i64).sum();
        assert_eq!(used_space(&client).await, used);
        running.kill().await;
    }
}

#[tokio::test]
async fn cloud_scenario_08_killed_between_commit_and_enqueue() {
    let oss = OssEmulator::start().await;
    Killed::at(false, oss, async |_, _, _| {}).await.heals().await;
}

#[tokio::test]
async fn cloud_scenario_08_killed_between_claim_and_put() {
    let oss = OssEmulator::start().await;
    oss.stall(true);
    let moment = async |_: &OssEmulator, client: &Client, ids: &[i64]| {
        for id in ids {
            reaches(client, *id, "uploading").await;
        }
    };
    Killed::at(true, oss, moment).await.heals().await;
}

#[tokio::test]
async fn cloud_scenario_08_killed_between_put_and_the_final_update() {
    let oss = OssEmulator::start().await;
    oss.hold_answers(true);
    let moment = async |oss: &OssEmulator, _: &Client, ids: &[i64]| {
        eventually("the objects are there", 30, || async {
            oss.objects().len() == ids.len()
        })
        .await;
    };
    let killed = Killed::at(true, oss, moment).await;
    assert_eq!(killed.oss.objects().len(), 2);
    killed.heals().await;
}

/// A second instance does the work of one that stopped. Bodies in the database need no folder.
#[tokio::test]
async fn another_instance_goes_on() {
    if crate::support::database::server_url().is_none() {
        return;
    }
    let (oss, server, alice) = on_oss(&[]).await;
    oss.fail_always(503);
    let id = upload(&alice.client, "a.jpg", b"abc").await;
    server.settle().await;
    let sibling = server.sibling().await;
    oss.recover();
    let _data = server.stop().await;
    seconds_later(&sibling, 60).await;
    let client = sibling.client.with_token(&alice.access);
    let done = reaches(&client, id, "completed").await;
    assert_eq!(oss.object(done["oss_key"].as_str().unwrap()).unwrap(), b"abc");
}
