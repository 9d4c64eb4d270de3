//! Argon2id with the parameters of the product and nothing else.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use argon2::{Algorithm, Argon2, Block, Params, Version};

use crate::Fault;

/// The defaults of ARGON2_MEMORY_KIB, ARGON2_ITERATIONS and ARGON2_PARALLELISM.
const COST: (u32, u32, u32) = (19_456, 2, 1);

/// Hashes per second on all cores.
///
/// # Errors
/// Argon2 refuses the parameters.
pub fn per_second(time: Duration) -> Result<f64, Fault> {
    let params = Params::new(COST.0, COST.1, COST.2, Some(32))?;
    let threads = std::thread::available_parallelism()?.get();
    let (done, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
                let mut memory = vec![Block::default(); params.block_count()];
                let mut out = [0_u8; 32];
                while !over.load(Ordering::Relaxed) {
                    let hashed = argon.hash_password_into_with_memory(
                        b"correct-horse-battery",
                        b"sixteen bytes of",
                        &mut out,
                        memory.as_mut_slice(),
                    );
                    if hashed.is_ok() {
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        std::thread::sleep(time);
        over.store(true, Ordering::Relaxed);
    });
    Ok(done.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64())
}
