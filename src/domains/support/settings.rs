//! Settings of support chat.

use yunque_kernel::config::{Reader, Setting};

const REQUIRE_AGENT: Setting = Setting::new(
    "SUPPORT_REQUIRE_AGENT",
    "false",
    "Refuse support sessions of customers who have no agent; otherwise they wait for one to be assigned",
);
const AUTO_REOPEN: Setting = Setting::new(
    "SUPPORT_AUTO_REOPEN",
    "true",
    "Whether a customer's message opens a closed support session again",
);

/// Settings of the support domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SupportSettings {
    pub require_agent: bool,
    pub auto_reopen: bool,
}

impl SupportSettings {
    pub fn read(r: &mut Reader<'_>) -> Self {
        SupportSettings {
            require_agent: r.get(&REQUIRE_AGENT),
            auto_reopen: r.get(&AUTO_REOPEN),
        }
    }
}
