//! What needs no other server: settings, files, addresses.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use yunque_kernel::config::Source;
use yunque_kernel::http::is_private;

use super::report::Report;
use crate::app::settings::Inspection;
use crate::app::{Settings, datadir};
use crate::cli::create_group;

/// Below this, uploads and the database are about to fail.
const LITTLE_SPACE: u64 = 100 << 20;
/// Below this, somebody should make room.
const ENOUGH_SPACE: u64 = 1 << 30;

pub fn configuration(report: &mut Report, found: &Inspection) {
    for fault in &found.faults {
        report.failed(
            "configuration",
            format!("{}: {}", fault.name, fault.problem),
            fault.remedy.as_str(),
        );
    }
    for warning in &found.warnings {
        report.warn("configuration", warning.as_str(), "");
    }
    if found.faults.is_empty() && found.warnings.is_empty() {
        let set = found
            .views
            .iter()
            .filter(|view| view.source != Source::Default)
            .count();
        report.ok(
            "configuration",
            format!("{} settings, {set} of them set", found.views.len()),
        );
    }
}

/// Addresses that clients use, and proxies in between.
pub fn network(report: &mut Report, settings: &Settings) {
    let http = &settings.http;
    let base = &http.public_base_url;
    let is_local = ["://127.", "://localhost", "://[::1]", "://0.0.0.0"]
        .iter()
        .any(|host| base.contains(host));
    if is_local && create_group::open_to_the_world(settings).is_some() {
        let detail = format!("links in mails and answers start with {base}, which leads nowhere for clients");
        report.warn(
            "public address",
            detail,
            "Set PUBLIC_BASE_URL to the address that clients use.",
        );
    } else {
        report.ok("public address", base.as_str());
    }
    let proxies = &http.trusted_proxies;
    let is_everybody = proxies.iter().any(|net| net.prefix_len() == 0);
    let listens_privately = is_private(http.listen.ip());
    let remedy = "Set TRUSTED_PROXIES to the proxy's address, such as TRUSTED_PROXIES=127.0.0.1 for one on this machine.";
    if is_everybody {
        report.warn(
            "proxies",
            "TRUSTED_PROXIES believes everybody: any client can invent its own address",
            "Name only your proxies.",
        );
    } else if proxies.is_empty() && base.starts_with("https://") {
        // This server does not speak TLS itself.
        let detail = "PUBLIC_BASE_URL is https, so a proxy stands in front, and TRUSTED_PROXIES names none: all \
                      clients look like one address and share its limits";
        report.warn("proxies", detail, remedy);
    } else if proxies.is_empty() && settings.is_production() && listens_privately {
        let detail = format!(
            "LISTEN {} is reached through a proxy, and TRUSTED_PROXIES names none",
            http.listen
        );
        report.warn("proxies", detail, remedy);
    } else {
        let names: Vec<String> = proxies.iter().map(ToString::to_string).collect();
        let detail = if names.is_empty() {
            "clients connect directly".to_owned()
        } else {
            names.join(", ")
        };
        report.ok("proxies", detail);
    }
}

/// Can be written, has room, and is nobody else's business.
pub fn data_folder(report: &mut Report, settings: &Settings) {
    let dir = &settings.data_dir;
    let shown = dir.display();
    let owner = format!("Check that the user of this process owns {shown}, and that its disk has room.");
    if let Err(e) = datadir::prepare(dir).and_then(|()| write_something(dir)) {
        report.failed("data folder", format!("{shown} cannot be written: {e}"), owner);
        return;
    }
    if let Ok(metadata) = std::fs::metadata(dir) {
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o007 != 0 {
            let detail = format!(
                "{shown} holds keys and mails, and everybody on this machine may enter (mode {mode:03o})"
            );
            report.warn("data folder", detail, format!("chmod 700 {shown}"));
        }
    }
    match rustix::fs::statvfs(dir) {
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            let detail = format!("{shown} can be written, {} MiB free", free >> 20);
            let remedy = "Make room, or move DATA_DIR to a larger disk.";
            if free < LITTLE_SPACE {
                report.failed("data folder", detail, remedy);
            } else {
                report.good_if(free >= ENOUGH_SPACE, "data folder", detail, remedy);
            }
        }
        Err(e) => report.unknown(
            "data folder",
            format!("{shown} can be written; free space: {e}"),
            "",
        ),
    }
}

fn write_something(dir: &Path) -> std::io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(b"doctor")?;
    file.as_file().sync_all()
}
