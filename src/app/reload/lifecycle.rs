//! The life of a served configuration, for whoever serves it.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use tokio::sync::watch;

use crate::app::begin::First;
use crate::app::epoch::Serving;
use crate::app::hold::Hold;
use crate::app::{Part, Runtime, StopReport};
use crate::telemetry;
use crate::types::{Failure, lock};

use super::ask::Reloads;
use super::candidate::Tried;
use super::retired::LastEpoch;
use super::source::{Source, files_of};
use super::transaction::Reloader;

/// What is served and can be stopped; `None` once it is being stopped.
pub(super) type Running = Arc<Mutex<Option<Runtime>>>;

/// The life of a served configuration: reloads on a thread of its own, and the stop.
pub(in crate::app) struct Lifecycle {
    reloads: Reloads,
    running: Running,
    candidate: Tried,
    retiring: LastEpoch,
    front: Option<watch::Receiver<Arc<Serving>>>,
    files: Arc<Mutex<Vec<PathBuf>>>,
    hold: Hold,
    unloaded: Arc<Mutex<BTreeSet<String>>>,
}

impl Lifecycle {
    /// Takes over what runs. From now on it can be replaced.
    pub(in crate::app) fn start(first: First, part: Part, source: impl Source) -> io::Result<Self> {
        let First {
            runtime,
            journal,
            served,
            record,
            previous,
            seen: _,
        } = first;
        let (reloads, ordered) = Reloads::channel();
        runtime.set_served(true);
        let epoch = runtime.epoch();
        let unloaded = Arc::new(Mutex::default());
        let gateway = runtime.gateway().cloned();
        let hold = Hold::new();
        let (sender, receiver) = gateway
            .map(|gateway| watch::channel(Arc::new(Serving::new(gateway, hold.clone()))))
            .unzip();
        if let Some(front) = &receiver {
            hold.attend(front.clone());
        }
        let files = Arc::new(Mutex::new(files_of(source.files(), &runtime)));
        let running = Arc::new(Mutex::new(Some(runtime)));
        let retiring = LastEpoch::default();
        let candidate = Tried::default();
        let reloader = Reloader {
            source,
            part,
            epoch,
            last: epoch,
            running: running.clone(),
            front: sender,
            hold: hold.clone(),
            files: files.clone(),
            retiring: retiring.clone(),
            candidate: candidate.clone(),
            next: VecDeque::new(),
            journal,
            served,
            unloaded: unloaded.clone(),
        };
        let metrics = telemetry::metrics::lifecycle();
        metrics.epoch.set(epoch.0.into());
        metrics.previous.set(previous.into());
        thread::Builder::new()
            .name("blockflow-reload".into())
            .spawn(move || reloader.run(&ordered, record))?;
        Ok(Self {
            reloads,
            running,
            candidate,
            retiring,
            front: receiver,
            files,
            hold,
            unloaded,
        })
    }

    pub(in crate::app) fn reloads(&self) -> &Reloads {
        &self.reloads
    }

    /// Returns what tells the epoch of now, if the gateway lives here.
    pub(in crate::app) fn front(&self) -> Option<watch::Receiver<Arc<Serving>>> {
        self.front.clone()
    }

    /// Returns the pipelines that are configured and were unloaded, as they are at any time.
    pub(in crate::app) fn unloaded(&self) -> Arc<Mutex<BTreeSet<String>>> {
        self.unloaded.clone()
    }

    /// Returns the files on which what is served depends, as they are at any time.
    pub(in crate::app) fn files(&self) -> Arc<Mutex<Vec<PathBuf>>> {
        self.files.clone()
    }

    /// Takes what runs, to stop it: no reload takes effect any more. What is being tried ends once its requests are over.
    pub(in crate::app) fn take(&self) -> Option<Runtime> {
        let mut running = lock(&self.running);
        let served = running.take();
        self.hold.end(Failure::shutting_down());
        if let Some(candidate) = lock(&self.candidate).take() {
            candidate.end(&self.retiring, || ());
        }
        served
    }

    /// Waits for the requests of an epoch that was replaced. Blocks the calling thread.
    pub(in crate::app) fn wait_retired(&self, deadline: Instant) {
        self.retiring.wait(Some(deadline));
    }

    /// Ends an epoch that was replaced; what is left of its requests is answered with a refusal. Blocks the calling thread.
    pub(in crate::app) fn end_retired(&self) -> StopReport {
        self.retiring.hurry();
        self.retiring.join()
    }
}
