//! What is to be served, after what somebody asks for.

use crate::app::history::{Journal, Record};
use crate::app::{Overrides, Swap};
use crate::types::{Epoch, Spec, nearest};

use super::ask::Ask;
use super::source::Source;
use super::standing::Standing;

/// Where the answer is looked for.
pub(super) struct Present<'a, S> {
    pub source: &'a S,
    pub journal: &'a mut Journal,
    pub served: &'a Standing,
    pub epoch: Epoch,
    /// Pipelines that are served.
    pub pipelines: Vec<String>,
}

impl<S: Source> Present<'_, S> {
    /// Returns what an ask comes to, or why it comes to nothing.
    pub(super) fn wanted(mut self, ask: &Ask) -> Result<Standing, String> {
        let mut next = self.served.clone();
        let waits = next.base.is_some() || next.overrides.awaits_change();
        let asks_to_wait = matches!(ask, Ask::Swap { .. } | Ask::Rollback { .. });
        let configured = if waits || asks_to_wait {
            self.fingerprint()
        } else {
            None
        };
        if waits && self.is_over(ask, configured.as_deref()) {
            next = Standing {
                overrides: next.overrides.after_change(),
                base: None,
            };
        }
        match ask {
            Ask::Reload(_) | Ask::Plan => {}
            Ask::Swap {
                block,
                file,
                pinned,
            } => {
                self.check_block(&next, block)?;
                let swap = Swap {
                    file: file.clone(),
                    pinned: *pinned,
                };
                next.overrides.swaps.insert(block.clone(), swap);
                next.overrides.configured = configured;
            }
            Ask::Unpin { block } => {
                if next.overrides.swaps.remove(block).is_none() {
                    return Err(format!("block {block:?} runs its configured model"));
                }
            }
            Ask::Rollback { epoch } => {
                let record = self.record(*epoch)?;
                next.overrides = Overrides {
                    rollback: Some(record.epoch),
                    configured,
                    ..record.overrides.clone()
                };
                next.base = Some(Box::new(record));
            }
            Ask::Load { pipeline } => drop(next.overrides.unloaded.remove(pipeline)),
            Ask::Unload { pipeline } => {
                let known = self.pipelines.contains(pipeline);
                if !known && !next.overrides.unloaded.contains(pipeline) {
                    return Err(format!("there is no pipeline {pipeline:?}"));
                }
                next.overrides.unloaded.insert(pipeline.clone());
            }
        }
        Ok(next)
    }

    fn fingerprint(&mut self) -> Option<String> {
        let spec = self.source.spec().ok()?;
        Some(self.journal.fingerprint(&spec))
    }

    /// Tells whether the files say something else by now. What they say wrongly is for a reload to tell; what else is asked for is
    /// done over what is served.
    fn is_over(&self, ask: &Ask, configured: Option<&str>) -> bool {
        let reads = matches!(ask, Ask::Reload(_) | Ask::Load { .. } | Ask::Plan);
        match configured {
            Some(_) => self.served.overrides.configured.as_deref() != configured,
            None => reads,
        }
    }

    fn check_block(&self, next: &Standing, block: &str) -> Result<(), String> {
        let spec: Spec = match &next.base {
            Some(base) => base.spec.clone(),
            None => self.source.spec().map_err(|reasons| reasons.join("; "))?,
        };
        let names: Vec<&str> = spec
            .blocks
            .iter()
            .map(|block| block.name.as_str())
            .collect();
        if names.contains(&block) {
            return Ok(());
        }
        Err(match nearest(block, names.iter().copied()) {
            Some(meant) => format!("there is no block {block:?}, did you mean {meant:?}?"),
            None => format!(
                "there is no block {block:?}, expected one of: {}",
                names.join(", ")
            ),
        })
    }

    fn record(&self, asked: Option<u32>) -> Result<Record, String> {
        if let Err(cause) = self.journal.place() {
            return Err(format!("there is no history: {cause}"));
        }
        let records = self.journal.recorded_aloud().records;
        let known: Vec<_> = records
            .iter()
            .map(|record| record.epoch.to_string())
            .collect();
        let found = records.into_iter().find(|record| match asked {
            Some(asked) => record.epoch == asked,
            None => record.epoch < self.epoch.0,
        });
        found.ok_or_else(|| match asked {
            Some(asked) => format!(
                "the history has no epoch {asked}, expected one of: {}",
                known.join(", ")
            ),
            None => format!("the history has no epoch before {}", self.epoch),
        })
    }
}
