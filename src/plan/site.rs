//! Which part of a plan one process runs.

use std::path::PathBuf;

use super::{Placement, Plan};

/// One process of a plan, and where the sockets of its host lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    pub host: String,
    pub process: String,
    /// Folder of the ipc sockets of all processes of the host.
    pub directory: PathBuf,
}

impl Site {
    /// Tells whether something placed there lives in this process.
    pub fn has(&self, placement: &Placement) -> bool {
        placement.host == self.host && placement.process == self.process
    }

    /// Tells whether this is the process that the user starts on its host.
    pub fn is_main(&self) -> bool {
        self.process == Placement::MAIN
    }
}

impl Plan {
    /// Tells whether the gateway lives there.
    pub fn has_gateway(&self, site: &Site) -> bool {
        site.has(&self.gateway)
    }

    /// Returns the indices of the blocks that live in a process.
    pub fn blocks_of<'a>(&'a self, site: &'a Site) -> impl Iterator<Item = usize> + 'a {
        self.blocks_where(|placement| site.has(placement))
    }

    /// Returns the indices of the blocks that have to be up before a process has started: its own and, where the gateway is,
    /// those of its host's other processes. Other hosts come and go.
    pub fn awaited_at<'a>(&'a self, site: &'a Site) -> impl Iterator<Item = usize> + 'a {
        let gateway = self.has_gateway(site);
        self.blocks_where(move |placement| {
            site.has(placement) || (gateway && placement.host == site.host)
        })
    }

    /// Returns the processes of a host besides the main one, each with the indices of its blocks.
    pub fn workers_of(&self, host: &str) -> Vec<(String, Vec<usize>)> {
        let processes = self.processes(host).into_iter();
        let workers = processes.filter(|process| *process != Placement::MAIN);
        workers
            .map(|process| {
                let lives =
                    |placement: &Placement| placement.host == host && placement.process == process;
                (process.to_owned(), self.blocks_where(lives).collect())
            })
            .collect()
    }

    fn blocks_where(&self, keep: impl Fn(&Placement) -> bool) -> impl Iterator<Item = usize> {
        let blocks = self.blocks.iter().enumerate();
        blocks.filter_map(move |(index, block)| keep(&block.placement).then_some(index))
    }
}
