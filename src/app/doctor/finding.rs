//! What a check says: one line, what to do about it, and who needs it.

use std::fmt;

use serde::Serialize;

/// How it stands with one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Ok,
    /// It works, though not as well as it could, or not for long.
    Warning,
    /// It is not there, or cannot be used.
    Missing,
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, in a word or two.
    pub check: String,
    pub status: Status,
    /// What was seen.
    pub found: String,
    /// What to type or to change; `None` where there is nothing to do.
    pub remedy: Option<String>,
    /// Keys of the configuration that cannot do without it.
    pub needed_by: Vec<String>,
}

/// All findings, in the order of the checks.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    pub findings: Vec<Finding>,
}

impl Finding {
    pub(super) fn ok(check: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            check: check.into(),
            status: Status::Ok,
            found: found.into(),
            remedy: None,
            needed_by: Vec::new(),
        }
    }

    pub(super) fn warning(
        check: impl Into<String>,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            status: Status::Warning,
            remedy: Some(remedy.into()),
            ..Self::ok(check, found)
        }
    }

    pub(super) fn missing(
        check: impl Into<String>,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            status: Status::Missing,
            ..Self::warning(check, found, remedy)
        }
    }

    /// Says who needs it.
    pub(super) fn for_keys(mut self, keys: &[String]) -> Self {
        self.needed_by = keys.to_vec();
        self
    }
}

impl Report {
    /// Tells whether something is missing that the configuration needs.
    pub fn fails(&self) -> bool {
        let mut findings = self.findings.iter();
        findings.any(|one| one.status == Status::Missing && !one.needed_by.is_empty())
    }

    /// Counts findings of a status.
    pub fn count(&self, status: Status) -> usize {
        let findings = self.findings.iter();
        findings.filter(|one| one.status == status).count()
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Missing => "missing",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_and_needed_fails_an_examination() {
        let keys = ["blocks.a.device".to_owned()];
        let report = |finding| Report {
            findings: vec![Finding::ok("a", "b"), finding],
        };
        assert!(!report(Finding::missing("driver", "none", "install it")).fails());
        assert!(!report(Finding::warning("driver", "old", "update it").for_keys(&keys)).fails());
        assert!(!report(Finding::ok("driver", "new").for_keys(&keys)).fails());
        assert!(report(Finding::missing("driver", "none", "install it").for_keys(&keys)).fails());
    }
}
