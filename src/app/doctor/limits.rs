//! Limits of the process: open files and locked memory.

use std::fs;

use super::Finding;
use super::needs::Needs;

/// Open files that a small server gets by with.
const FILES_MIN: u64 = 1024;
/// Locked memory that copies to and from devices get by with.
const LOCKED_BYTES_MIN: u64 = 64_000_000;

/// Limits that hold now. `None`: there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Seen {
    pub(super) files: Option<u64>,
    pub(super) locked: Option<u64>,
}

pub(super) fn look() -> Seen {
    let text = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    Seen {
        files: limit(&text, "Max open files"),
        locked: limit(&text, "Max locked memory"),
    }
}

pub(super) fn judge(seen: Seen, needs: &Needs) -> Vec<Finding> {
    vec![files(seen.files, needs), locked(seen.locked, needs)]
}

fn files(limit: Option<u64>, needs: &Needs) -> Finding {
    const CHECK: &str = "open files";
    let needed = needs.descriptors.max(FILES_MIN);
    match limit {
        None => Finding::ok(CHECK, "no limit"),
        Some(limit) if limit < needed => Finding::warning(
            CHECK,
            format!("at most {limit}, and about {needed} may be needed at once"),
            format!("ulimit -n {needed}, or LimitNOFILE={needed} in the unit of the service"),
        ),
        Some(limit) => Finding::ok(CHECK, format!("at most {limit}")),
    }
}

fn locked(limit: Option<u64>, needs: &Needs) -> Finding {
    const CHECK: &str = "locked memory";
    match limit {
        None => Finding::ok(CHECK, "no limit"),
        Some(bytes) if bytes < LOCKED_BYTES_MIN && !needs.cuda.is_empty() => Finding::warning(
            CHECK,
            format!(
                "at most {} kB, and memory for copies to devices is locked",
                bytes / 1000
            ),
            "ulimit -l unlimited; in a container, start it with --ulimit memlock=-1",
        ),
        Some(bytes) => Finding::ok(CHECK, format!("at most {} kB", bytes / 1000)),
    }
}

/// Reads the limit that holds now: the first number after the name.
fn limit(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::doctor::Status;

    fn statuses(seen: Seen, needs: &Needs) -> [Status; 2] {
        let findings = judge(seen, needs);
        [findings[0].status, findings[1].status]
    }

    #[test]
    fn a_limit_is_held_against_what_the_configuration_opens() {
        let mut needs = Needs::default();
        for (files, descriptors, status) in [
            (None, 5000, Status::Ok),
            (Some(256), 0, Status::Warning),
            (Some(1024), 0, Status::Ok),
            (Some(1024), 5000, Status::Warning),
        ] {
            needs.descriptors = descriptors;
            let seen = Seen {
                files,
                locked: None,
            };
            assert_eq!(statuses(seen, &needs)[0], status, "{files:?}");
        }
    }

    #[test]
    fn locked_memory_matters_to_devices_alone() {
        let seen = Seen {
            files: None,
            locked: Some(65_536),
        };
        let mut needs = Needs::default();
        assert_eq!(statuses(seen, &needs)[1], Status::Ok);
        needs.cuda.insert(0, vec!["blocks.a.device".into()]);
        assert_eq!(statuses(seen, &needs)[1], Status::Warning);
    }

    #[test]
    fn limits_are_read_as_the_kernel_writes_them() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max open files            1024                 524288               files     \n\
                    Max locked memory         unlimited            unlimited            bytes     \n";
        assert_eq!(limit(text, "Max open files"), Some(1024));
        assert_eq!(limit(text, "Max locked memory"), None);
    }
}
