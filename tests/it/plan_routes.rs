//! Routes: every pair of placements has one, and it is the cheapest that works.

use blockflow::plan::{Carrier, Placement, Route, Travels};
use blockflow::types::Device;

fn placements() -> Vec<Placement> {
    let mut all = Vec::new();
    for host in ["here", "there"] {
        for process in ["main", "worker"] {
            for device in [Device::Cpu, Device::Cuda(0), Device::Cuda(1)] {
                all.push(Placement {
                    host: host.into(),
                    process: process.into(),
                    device,
                });
            }
        }
    }
    all
}

#[test]
fn every_pair_of_placements_has_a_route_with_a_reason() {
    for producer in placements() {
        for consumer in placements() {
            let route = Route::between(&producer, &consumer);
            let same_host = producer.host == consumer.host;
            let same_process = same_host && producer.process == consumer.process;
            let expected = match (same_host, same_process) {
                (_, true) => (Carrier::Inproc, Travels::Handle),
                (true, false) => (Carrier::Ipc, Travels::Slot),
                (false, false) => (Carrier::Tcp, Travels::Bytes),
            };
            assert_eq!(
                (route.carrier, route.travels),
                expected,
                "{producer:?} {consumer:?}"
            );
            assert!(!route.reason.is_empty());
        }
    }
}

#[test]
fn a_route_is_the_same_in_both_directions() {
    for producer in placements() {
        for consumer in placements() {
            assert_eq!(
                Route::between(&producer, &consumer),
                Route::between(&consumer, &producer)
            );
        }
    }
}

#[test]
fn a_handle_never_leaves_its_process() {
    for producer in placements() {
        for consumer in placements() {
            let route = Route::between(&producer, &consumer);
            let inside = (&producer.host, &producer.process) == (&consumer.host, &consumer.process);
            assert_eq!(route.travels == Travels::Handle, inside);
        }
    }
}
