//! Memory of the server while somebody sends pictures that claim to be huge.

use super::*;
use crate::files::process::Site;

fn chunk(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let summed = [&kind[..], body].concat();
    let sum = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&summed);
    let length = u32::try_from(body.len()).expect("fits");
    [&length.to_be_bytes()[..], &summed, &sum.to_be_bytes()].concat()
}

fn png_header(side: u32) -> Vec<u8> {
    let head = [&side.to_be_bytes()[..], &side.to_be_bytes(), &[8, 6, 0, 0, 0]].concat();
    [&b"\x89PNG\r\n\x1a\n"[..], &chunk(b"IHDR", &head)].concat()
}

/// A zlib stream of 100 MB of equal bytes: one letter and repeats of 258 letters, 13 bits each.
fn bomb() -> Vec<u8> {
    let mut bits = vec![true, true, false];
    let mut code = |value: u32, length: u32| bits.extend((0..length).rev().map(|i| value >> i & 1 == 1));
    code(0x71, 8);
    for _ in 0..100_000_000 / 258 {
        code(0xC5, 8);
        code(0, 5);
    }
    code(0, 7);
    let byte = |bits: &[bool]| {
        let each = bits.iter().enumerate();
        each.fold(0_u8, |sum, (i, bit)| sum | u8::from(*bit) << i)
    };
    [0x78, 0x01].into_iter().chain(bits.chunks(8).map(byte)).collect()
}

/// One pixel, with a chunk behind its header.
fn png_with(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let plain = pictures::png();
    [&plain[..33], &chunk(kind, body), &plain[33..]].concat()
}

fn gif_of(frames: usize) -> Vec<u8> {
    let plain = pictures::gif();
    // Screen and palette, then one frame with what controls it, then the end.
    let (head, frame) = (&plain[..19], &plain[19..plain.len() - 1]);
    [head, &frame.repeat(frames), b";"].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pictures_that_claim_much_need_little_memory() {
    let site = Site::new(None).await;
    let running = site.start(true).await;
    let client = running.client.with_token(&running.account().await);
    let session = client.post(SESSIONS, json!({})).await.expect(201)["id"]
        .as_i64()
        .unwrap();
    let send = async |bytes: &[u8]| {
        let parts = [
            part("content_type", None, b"image"),
            part("image", Some("a"), bytes),
        ];
        send_parts(&client, &messages_of(session), &parts).await.status
    };
    assert_eq!(send(&pictures::png()).await, 201);
    let name = b"p\0\0";
    for (what, bytes, status) in [
        ("50,000 x 50,000", png_header(50_000), 400),
        (
            "a gif of 65,535 x 65,535",
            b"GIF89a\xFF\xFF\xFF\xFF\0\0\0;".to_vec(),
            400,
        ),
        ("1,000 frames", gif_of(1000), 400),
        (
            "100 MB of text",
            png_with(b"zTXt", &[&name[..], &bomb()].concat()),
            201,
        ),
        (
            "100 MB of profile",
            png_with(b"iCCP", &[&name[..], &bomb()].concat()),
            201,
        ),
    ] {
        let before = running.memory_kib("VmHWM");
        assert_eq!(send(&bytes).await, status, "{what}");
        let grown = running.memory_kib("VmHWM").saturating_sub(before);
        assert!(grown < 50 * 1024, "{what}: resident memory grew by {grown} KiB");
    }
    running.kill().await;
}
