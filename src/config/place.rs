//! Where a block lives: on which host, and there in the main process, in one of its own, or in that of a group.

use crate::types::BlockSpec;

use super::reader::{Problems, Section};

const MAIN: &str = BlockSpec::MAIN;

/// What a block says of its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) host: Option<String>,
    /// `None`: the main process.
    pub(super) process: Option<String>,
    /// The process is the block's own.
    pub(super) alone: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Isolation {
    Thread,
    Process,
}

/// Reads the place of the block that `name` names.
pub(super) fn place(name: &str, section: &mut Section<'_>) -> Option<Place> {
    let words = [
        ("thread", Isolation::Thread),
        ("process", Isolation::Process),
    ];
    // No default stands for a wrong word, for the keys beside it are read by what it says.
    let isolation = section.optional("isolation", |section| section.word("isolation", &words));
    let process = given(section, "process", "expected a name for the process");
    let host = host(section);
    let alone = matches!(
        (isolation?, &process),
        (Some(Isolation::Process), Some(None))
    );
    let process = process?;
    match (isolation?, process.as_deref()) {
        (Some(Isolation::Thread), Some(_)) => {
            let seen = "stands beside isolation = \"thread\"";
            let expected = "expected isolation = \"process\", or neither of them";
            section.wrong("process", seen, expected);
            return None;
        }
        (_, Some(MAIN)) => {
            let seen = format!("is {MAIN:?}, which is the process that you start");
            section.wrong("process", seen, "expected another name, or no such key");
            return None;
        }
        (Some(Isolation::Process), None) if name == MAIN => {
            let seen = format!("asks for a process {MAIN:?}, which is the one that you start");
            section.wrong("isolation", seen, "expected a name for it: process = \"…\"");
            return None;
        }
        _ => {}
    }
    Some(Place {
        host: host?,
        process: process.or_else(|| alone.then(|| name.to_owned())),
        alone,
    })
}

/// Reads the name of a host. The outer `None`: something is wrong with it.
pub(super) fn host(section: &mut Section<'_>) -> Option<Option<String>> {
    given(section, "host", "expected the name of a host")
}

/// Reads a name that need not be there.
fn given(section: &mut Section<'_>, key: &str, expected: &str) -> Option<Option<String>> {
    section.optional(key, |section| {
        let name = section.text(key, expected)?;
        let sound = section.check_name(&name, &section.path_of(key));
        sound.then_some(name)
    })
}

/// Reports blocks that join the process of a block that asked to be alone in it.
pub(super) fn check_alone(blocks: &[(BlockSpec, bool)], problems: &Problems) {
    for (block, _) in blocks {
        let Some(process) = &block.process else {
            continue;
        };
        let shut = |(other, alone): &&(BlockSpec, bool)| *alone && other.name == *process;
        if *process != block.name && blocks.iter().any(|other| shut(&other)) {
            let seen = format!("is {process:?}, the process of a block that asks to be alone");
            let expected =
                format!("expected another name, or process = {process:?} for that block too");
            problems.add(&format!("blocks.{}.process", block.name), seen, expected);
        }
    }
}
