//! The OSS emulator of the tests as a program, for scripts: prints the settings that make a server
//! use it, then serves until it is ended. Commands are listed in `tests/it/support/oss.rs`.
//!
//! `cargo run --example oss_emulator -- 127.0.0.1:9000` (default: a free port)

#[expect(dead_code, reason = "tests use more of it than this program does")]
#[path = "../it/support/oss.rs"]
mod oss;

use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("ALIYUN_ACCESS_KEY={}", oss::KEY_ID);
    println!("ALIYUN_ACCESS_KEY_SECRET={}", oss::SECRET);
    println!("OSS_BUCKET_NAME={}", oss::BUCKET);
    println!("OSS_ENDPOINT=http://{}", listener.local_addr()?);
    let mut terminated = signal(SignalKind::terminate())?;
    // Ends by itself, so that the folder of large objects is removed.
    tokio::select! {
        () = oss::run(listener) => {}
        _ = terminated.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    Ok(())
}
