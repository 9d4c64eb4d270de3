//! Promises of the job queue, on a running server with its worker.

mod admin;
mod kinds;
mod leases;
mod running;
