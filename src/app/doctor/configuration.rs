//! The configuration itself, as far as no device has a say in it.

use crate::types::Spec;

use super::Finding;

const CHECK: &str = "configuration";

/// A configuration to be held against the machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Subject {
    /// The file it is in, as the user named it.
    pub file: String,
    /// As much as could be understood; `None`: nothing.
    pub spec: Option<Spec>,
    /// What is wrong with it, one line each, beside devices and engines that are not there.
    pub problems: Vec<String>,
}

pub(super) fn judge(subject: &Subject) -> Finding {
    let Subject {
        file,
        spec,
        problems,
    } = subject;
    let Some((first, rest)) = problems.split_first() else {
        let (blocks, pipelines) = spec
            .as_ref()
            .map_or((0, 0), |spec| (spec.blocks.len(), spec.pipelines.len()));
        return Finding::ok(
            CHECK,
            format!(
                "{file}: {}, {}",
                counted(blocks, "block"),
                counted(pipelines, "pipeline")
            ),
        );
    };
    let more = match rest.len() {
        0 => String::new(),
        count => format!(", and {}", counted(count, "more problem")),
    };
    let remedy = format!("blockflow check {file}");
    Finding::missing(CHECK, format!("{first}{more}"), remedy).for_keys(std::slice::from_ref(file))
}

fn counted(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::doctor::Status;

    #[test]
    fn the_first_problem_is_shown_and_the_others_counted() {
        let mut subject = Subject {
            file: "a.toml".into(),
            spec: None,
            problems: ["one", "two", "three"].map(str::to_owned).into(),
        };
        let finding = judge(&subject);
        assert_eq!(finding.status, Status::Missing);
        assert_eq!(finding.found, "one, and 2 more problems");
        assert_eq!(finding.remedy.as_deref(), Some("blockflow check a.toml"));
        subject.problems.truncate(1);
        assert_eq!(judge(&subject).found, "one");
    }
}
