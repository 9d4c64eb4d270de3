//! What the process itself uses, from `/proc`.

use std::path::Path;

/// Memory and handles of this process; zeros where the system has no `/proc`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessUsage {
    pub resident_bytes: u64,
    pub threads: u64,
    pub open_files: u64,
}

impl ProcessUsage {
    pub fn now() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let open_files = std::fs::read_dir(Path::new("/proc/self/fd")).map_or(0, Iterator::count);
        ProcessUsage {
            resident_bytes: field(&status, "VmRSS:") * 1024,
            threads: field(&status, "Threads:"),
            open_files: u64::try_from(open_files).unwrap_or(u64::MAX),
        }
    }
}

fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next())
        .and_then(|n| n.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_fields_are_found() {
        let status = "Name:\tyunque\nVmRSS:\t   20480 kB\nThreads:\t4\n";
        assert_eq!(field(status, "VmRSS:"), 20480);
        assert_eq!(field(status, "Threads:"), 4);
        assert_eq!(field(status, "Missing:"), 0);
    }
}
