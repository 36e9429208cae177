//! Looks at everything, and has each check judge what it saw.

use super::configuration::{self, Subject};
use super::needs::Needs;
use super::{
    Report, devices, driver, libtorch, limits, links, messaging, onnxruntime, shared_memory,
};

/// Examines this machine, and whether a configuration can run on it. May take some seconds, where a library has to be loaded
/// or another host does not answer.
pub fn examine(subject: Option<&Subject>) -> Report {
    let spec = subject.and_then(|subject| subject.spec.as_ref());
    let needs = spec.map(Needs::of).unwrap_or_default();
    let driver = driver::look();
    let presence = &driver.presence;
    let mut findings = vec![driver::judge(&driver, &needs)];
    findings.extend(libtorch::judge(&libtorch::look(), presence, &needs));
    findings.extend(devices::judge(&devices::look(), presence, &needs));
    findings.push(onnxruntime::judge(&onnxruntime::look(), &needs));
    findings.extend(messaging::judge(&messaging::look(), &needs));
    findings.extend(shared_memory::judge(&shared_memory::look(), &needs));
    findings.extend(limits::judge(limits::look(), &needs));
    if let Some(spec) = spec {
        findings.extend(links::judge(&links::look(spec)));
    }
    findings.extend(subject.map(configuration::judge));
    Report { findings }
}
