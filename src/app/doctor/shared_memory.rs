//! Memory that processes of one host share: memory files, `/dev/shm`, huge pages.

use std::fs;

use crate::tensormq::{ARENA_BYTES, Arena, INLINE_BYTES_MAX};

use super::Finding;
use super::needs::Needs;

/// What other programs, such as libraries that copy between devices, want there.
const SHM_BYTES_MIN: u64 = 256_000_000;

/// What was seen of shared memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    /// Whether a memory file can be made, sealed and mapped.
    pub(super) file: Result<(), String>,
    /// Bytes that `/dev/shm` may hold. The inner `None`: half of the host's memory; the outer: it is not mounted.
    pub(super) shm: Option<Option<u64>>,
    /// Where shared memory lies in huge pages: `never`, `advise` and so on.
    pub(super) huge: Option<String>,
}

pub(super) fn look() -> Seen {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let huge = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/shmem_enabled").ok();
    Seen {
        // Of the size that a block's is: none of its pages are there before they are written.
        file: Arena::new(ARENA_BYTES, INLINE_BYTES_MAX)
            .map(drop)
            .map_err(|error| error.to_string()),
        shm: shm(&mounts),
        huge: huge.as_deref().and_then(chosen),
    }
}

pub(super) fn judge(seen: &Seen, needs: &Needs) -> Vec<Finding> {
    let file = match &seen.file {
        Ok(()) => Finding::ok("memory files", "processes of this host can share memory"),
        // Tensors travel as bytes then, through sockets.
        Err(cause) => Finding::warning(
            "memory files",
            format!("{cause}: tensors travel between processes as bytes"),
            "allow memfd_create in the container's seccomp profile, and raise `ulimit -v` and the memory limit of its group",
        )
        .for_keys(&needs.processes),
    };
    let mut findings = vec![file, mounted(seen)];
    if let Some(huge) = &seen.huge {
        findings.push(Finding::ok(
            "huge pages",
            format!("{huge} for shared memory"),
        ));
    }
    findings
}

fn mounted(seen: &Seen) -> Finding {
    const CHECK: &str = "/dev/shm";
    let remedy =
        "in a container, start it with --shm-size=1g; else sudo mount -o remount,size=1g /dev/shm";
    match seen.shm {
        None => Finding::warning(
            CHECK,
            "is not mounted; BlockFlow does without, other libraries may not",
            "sudo mount -t tmpfs tmpfs /dev/shm",
        ),
        Some(None) => Finding::ok(CHECK, "may hold half of the memory of the host"),
        Some(Some(bytes)) if bytes < SHM_BYTES_MIN => Finding::warning(
            CHECK,
            format!(
                "may hold {} MB; BlockFlow does without, other libraries may not",
                bytes / 1_000_000
            ),
            remedy,
        ),
        Some(Some(bytes)) => Finding::ok(CHECK, format!("may hold {} MB", bytes / 1_000_000)),
    }
}

/// Finds `/dev/shm` among mounts, and what it may hold.
fn shm(mounts: &str) -> Option<Option<u64>> {
    let lines = mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>());
    // The last one mounted is the one that is seen.
    let options = lines
        .filter(|fields| fields.get(1) == Some(&"/dev/shm"))
        .filter_map(|fields| fields.get(3).map(|options| (*options).to_owned()))
        .next_back()?;
    let size = options.split(',').find_map(|one| one.strip_prefix("size="));
    Some(size.and_then(bytes))
}

/// Reads `65536k`.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|one: char| one.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" => 1,
        "k" | "K" => 1 << 10,
        "m" | "M" => 1 << 20,
        "g" | "G" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// Returns the word in brackets.
fn chosen(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('[')?;
    Some(rest.split_once(']')?.0.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::doctor::Status;

    fn statuses(seen: &Seen) -> Vec<Status> {
        let findings = judge(seen, &Needs::default());
        findings.into_iter().map(|one| one.status).collect()
    }

    #[test]
    fn a_small_or_absent_mount_is_a_warning_and_no_more() {
        use Status::{Ok, Warning};
        for (shm, status) in [
            (None, Warning),
            (Some(None), Ok),
            (Some(Some(64 << 20)), Warning),
            (Some(Some(1 << 30)), Ok),
        ] {
            let seen = Seen {
                file: Result::Ok(()),
                shm,
                huge: None,
            };
            assert_eq!(statuses(&seen), [Ok, status], "{shm:?}");
        }
    }

    #[test]
    fn without_memory_files_workers_have_slower_links() {
        let seen = Seen {
            file: Err("operation not permitted".into()),
            shm: Some(None),
            huge: Some("never".into()),
        };
        assert_eq!(statuses(&seen), [Status::Warning, Status::Ok, Status::Ok]);
    }

    #[test]
    fn the_size_of_the_mount_is_read() {
        let docker =
            "overlay / overlay rw 0 0\nshm /dev/shm tmpfs rw,nosuid,size=65536k,inode64 0 0\n";
        assert_eq!(shm(docker), Some(Some(64 << 20)));
        assert_eq!(shm("tmpfs /dev/shm tmpfs rw,nosuid 0 0"), Some(None));
        let twice = "a /dev/shm tmpfs size=1g 0 0\nb /dev/shm tmpfs size=2g 0 0";
        assert_eq!(shm(twice), Some(Some(2 << 30)));
        assert_eq!(shm("proc /proc proc rw 0 0"), None);
        assert_eq!(bytes("12x"), None);
    }

    #[test]
    fn what_is_chosen_stands_in_brackets() {
        let text = "always within_size advise [never] deny force\n";
        assert_eq!(chosen(text).as_deref(), Some("never"));
        assert_eq!(chosen("never"), None);
    }
}
