//! A way to Redis that can be cut, as if Redis had stopped, for one server only.

use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Passes bytes on until it is cut.
pub struct Relay {
    pub url: String,
    is_up: Arc<watch::Sender<bool>>,
}

impl Relay {
    /// `None`: the tests have no Redis.
    pub async fn start() -> Option<Self> {
        let url = std::env::var("TEST_REDIS_URL").ok().filter(|u| !u.is_empty())?;
        let after_scheme = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
        let authority = after_scheme.split('/').next().unwrap_or(after_scheme);
        let target = authority.rsplit('@').next().unwrap_or(authority).to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let is_up = Arc::new(watch::Sender::new(true));
        tokio::spawn(pass_on(listener, target.clone(), is_up.clone()));
        Some(Relay {
            url: url.replacen(&target, &address, 1),
            is_up,
        })
    }

    /// Ends every connection and takes no more.
    pub fn cut(&self) {
        self.is_up.send_replace(false);
    }

    pub fn mend(&self) {
        self.is_up.send_replace(true);
    }
}

async fn pass_on(listener: TcpListener, target: String, is_up: Arc<watch::Sender<bool>>) {
    while let Ok((mut client, _)) = listener.accept().await {
        let (target, mut state) = (target.clone(), is_up.subscribe());
        tokio::spawn(async move {
            if !*state.borrow_and_update() {
                return;
            }
            let Ok(mut server) = TcpStream::connect(&target).await else {
                return;
            };
            tokio::select! {
                _ = copy_bidirectional(&mut client, &mut server) => {}
                _ = state.wait_for(|is_up| !is_up) => {}
            }
        });
    }
}
