//! The OSS backend of the object storage against the emulator.

mod presigned;
mod transfers;

use std::io;
use std::path::Path;

use futures_util::{Stream, TryStreamExt as _, stream};
use hyper::body::Bytes;
use yunque_kernel::auth::Keys;
use yunque_kernel::config::{Env, Reader};
use yunque_kernel::storage::{ByteRange, LocalPlace, Storage, StorageError, StorageSettings};

use crate::support::oss::OssEmulator;

fn open(values: &[(&str, &str)]) -> Storage {
    let env = Env::fixed(values.iter().copied());
    let mut reader = Reader::new(&env);
    let settings = StorageSettings::read(&mut reader);
    let (settings, _, _) = reader.finish(settings).expect("valid settings");
    let place = LocalPlace {
        data_dir: Path::new("/nowhere"),
        public_base_url: "",
        keys: &Keys::ephemeral(),
    };
    Storage::open(&settings, place).expect("opens")
}

/// The later value of a setting wins.
fn storage_with(oss: &OssEmulator, more: &[(&str, &str)]) -> Storage {
    let env = oss.env();
    let values = env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    open(&values.chain(more.iter().copied()).collect::<Vec<_>>())
}

/// Signs in version 4; without a region, as at the emulator's endpoint, it is version 1.
const V4: (&str, &str) = ("OSS_REGION", "cn-hangzhou");

fn storage(oss: &OssEmulator) -> Storage {
    storage_with(oss, &[])
}

fn body(text: &str) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let pieces: Vec<_> = text
        .as_bytes()
        .chunks(3)
        .map(|piece| Ok(Bytes::copy_from_slice(piece)))
        .collect();
    stream::iter(pieces)
}

async fn put(storage: &Storage, key: &str, text: &str) -> Result<(), StorageError> {
    storage
        .put(key, "text/plain", text.len() as u64, body(text))
        .await
        .map(|_| ())
}

async fn read(storage: &Storage, key: &str, range: Option<&str>) -> Result<String, StorageError> {
    let range = range.map(|r| ByteRange::parse(r).expect("valid"));
    let object = storage.get(key, range).await?;
    let pieces: Vec<Bytes> = object.stream.try_collect().await.expect("readable");
    assert_eq!(pieces.iter().map(|p| p.len() as u64).sum::<u64>(), object.size);
    Ok(String::from_utf8(pieces.concat()).expect("text"))
}
