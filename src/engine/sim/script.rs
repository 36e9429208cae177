//! Which calls fail: the declared faults, and how many calls each has counted.

use crate::types::{DeviceFault, Due, FaultPoint, FaultSpec};

#[derive(Debug, Default)]
pub(super) struct Script(Vec<Counted>);

#[derive(Debug)]
struct Counted {
    spec: FaultSpec,
    /// Calls so far that the fault could have happened in.
    calls: u64,
}

impl Script {
    /// Goes on by other faults; those that were there before go on counting.
    pub(super) fn set(&mut self, specs: &[FaultSpec]) {
        let mut old = std::mem::take(&mut self.0);
        let counted = |spec: &FaultSpec| {
            let known = old.iter().position(|counted| counted.spec == *spec);
            known.map_or_else(
                || Counted {
                    spec: spec.clone(),
                    calls: 0,
                },
                |place| old.swap_remove(place),
            )
        };
        self.0 = specs.iter().map(counted).collect();
    }

    /// Counts a call of a block; returns the first fault that is due.
    pub(super) fn next(&mut self, at: FaultPoint, block: &str) -> Option<DeviceFault> {
        let mut due = None;
        for Counted { spec, calls } in &mut self.0 {
            let of_block = spec.block.as_deref().is_none_or(|name| name == block);
            if spec.at != at || !of_block {
                continue;
            }
            *calls += 1;
            let is_due = match spec.due {
                Due::Every(every) => calls.is_multiple_of(every),
                Due::After(after) => *calls == after + 1,
            };
            if is_due {
                due = due.or(Some(spec.kind));
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(kind: DeviceFault, due: Due, block: Option<&str>) -> FaultSpec {
        FaultSpec {
            at: FaultPoint::Run,
            kind,
            due,
            block: block.map(str::to_owned),
        }
    }

    #[test]
    fn calls_are_counted_for_each_fault_and_go_on_when_others_come() {
        let every = fault(DeviceFault::Error, Due::Every(3), None);
        let after = fault(DeviceFault::Sticky, Due::After(2), Some("b"));
        let mut script = Script::default();
        script.set(&[every.clone(), after.clone()]);
        let run = |script: &mut Script, block| script.next(FaultPoint::Run, block);
        assert_eq!(run(&mut script, "a"), None);
        assert_eq!(run(&mut script, "b"), None);
        assert_eq!(script.next(FaultPoint::Load, "a"), None);
        assert_eq!(run(&mut script, "a"), Some(DeviceFault::Error));
        assert_eq!(run(&mut script, "b"), None);
        script.set(&[after, every]);
        assert_eq!(run(&mut script, "b"), Some(DeviceFault::Sticky));
        assert_eq!(run(&mut script, "b"), Some(DeviceFault::Error));
        assert_eq!(run(&mut script, "b"), None);
        script.set(&[]);
        assert_eq!(run(&mut script, "b"), None);
    }
}
