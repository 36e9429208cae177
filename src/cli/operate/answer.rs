//! What became of a command.

use std::time::Duration;

use crate::app::Answer;
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::output::{self, Format};

/// Prints an answer, and tells the exit code that goes with it.
pub(super) fn tell(answer: &Answer, format: Format) -> Result<Exit, CliError> {
    match format {
        Format::Text => output::print(&text(answer))?,
        Format::Json => output::print_json(answer)?,
    }
    Ok(match answer {
        Answer::Applied { .. } | Answer::Unchanged { .. } => Exit::Success,
        Answer::Rejected { .. } | Answer::RolledBack { .. } | Answer::Stopping => Exit::Failed,
    })
}

fn text(answer: &Answer) -> String {
    match answer {
        Answer::Applied {
            epoch,
            changes,
            took_ms,
            unrecorded,
        } => {
            let took = Duration::from_millis(*took_ms).as_secs_f64();
            let told = unrecorded.as_ref().map_or_else(String::new, |cause| {
                format!("not in the history, so it does not last: {cause}\n")
            });
            format!(
                "applied: epoch {epoch}, after {took:.3} s\n{}{told}",
                indented(changes)
            )
        }
        Answer::Unchanged { epoch } => format!("nothing to do: epoch {epoch} serves that\n"),
        Answer::Rejected { reasons } => format!(
            "rejected, what was served before still is:\n{}",
            indented(reasons)
        ),
        Answer::RolledBack { reasons } => format!(
            "rolled back, what was served before is served again:\n{}",
            indented(reasons)
        ),
        Answer::Stopping => "nothing done: the server is shutting down\n".to_owned(),
    }
}

pub(super) fn indented(lines: &[String]) -> String {
    lines.iter().map(|line| format!("  {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_what_became_of_the_command() {
        let applied = |unrecorded: Option<String>| Answer::Applied {
            epoch: 3,
            changes: vec!["block b: added".to_owned()],
            took_ms: 1250,
            unrecorded,
        };
        assert_eq!(
            text(&applied(None)),
            "applied: epoch 3, after 1.250 s\n  block b: added\n"
        );
        assert!(
            text(&applied(Some("disk full".to_owned()))).ends_with("does not last: disk full\n")
        );
        let rejected = Answer::Rejected {
            reasons: vec!["one".to_owned(), "two".to_owned()],
        };
        assert_eq!(
            text(&rejected),
            "rejected, what was served before still is:\n  one\n  two\n"
        );
        assert!(text(&Answer::Unchanged { epoch: 7 }).contains("epoch 7"));
    }
}
