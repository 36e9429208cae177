//! Routes: every pair of placements has one, and it is the cheapest that works.

use blockflow::plan::{Carrier, Copies, Placement, Route, Travels};
use blockflow::types::Device;
use proptest::prelude::*;

fn device() -> impl Strategy<Value = Device> {
    prop_oneof![
        Just(Device::Cpu),
        any::<u16>().prop_map(Device::Cuda),
        any::<u16>().prop_map(Device::Sim),
        // So that equal ones are met often.
        (0_u16..2).prop_map(Device::Cuda),
        (0_u16..2).prop_map(Device::Sim),
    ]
}

fn placement() -> impl Strategy<Value = Placement> {
    let name = |names: &'static [&'static str]| proptest::sample::select(names);
    let hosts = name(&["here", "there", "elsewhere"]);
    let processes = name(&["main", "worker", "other"]);
    (hosts, processes, device()).prop_map(|(host, process, device)| Placement {
        host: host.into(),
        process: process.into(),
        device,
    })
}

/// Whether both ends see each other's memory.
fn together(one: &Placement, other: &Placement) -> bool {
    (&one.host, &one.process) == (&other.host, &other.process)
}

/// Whether both ends are on one device whose memory processes of a host share.
fn pooled(one: &Placement, other: &Placement) -> bool {
    let device = matches!(one.device, Device::Cuda(_)) && one.device == other.device;
    device && one.host == other.host
}

proptest! {
    #[test]
    fn every_pair_of_placements_has_the_route_of_its_distance(
        producer in placement(), consumer in placement()
    ) {
        let route = Route::between(&producer, &consumer);
        let expected = if producer.host != consumer.host {
            (Carrier::Tcp, Travels::Bytes)
        } else if producer.process != consumer.process && pooled(&producer, &consumer) {
            (Carrier::Ipc, Travels::Pool)
        } else if producer.process != consumer.process {
            (Carrier::Ipc, Travels::Slot)
        } else {
            (Carrier::Inproc, Travels::Handle)
        };
        prop_assert_eq!((route.carrier, route.travels), expected);
        prop_assert!(!route.reason.is_empty());
    }

    #[test]
    fn a_handle_never_leaves_its_process(producer in placement(), consumer in placement()) {
        let route = Route::between(&producer, &consumer);
        prop_assert_eq!(route.travels == Travels::Handle, together(&producer, &consumer));
    }

    #[test]
    fn nothing_is_copied_between_ends_that_share_memory_of_one_device(
        producer in placement(), consumer in placement()
    ) {
        let route = Route::between(&producer, &consumer);
        let same = producer.device == consumer.device;
        let shared = same
            && (together(&producer, &consumer)
                || pooled(&producer, &consumer)
                || producer.device == Device::Cpu);
        prop_assert_eq!(route.copies == Copies::None, shared, "{:?}", route);
    }

    #[test]
    fn memory_of_a_device_is_left_for_the_host_before_it_leaves_its_process(
        producer in placement(), consumer in placement()
    ) {
        let route = Route::between(&producer, &consumer);
        let leaves = !together(&producer, &consumer)
            && !pooled(&producer, &consumer)
            && producer.device != Device::Cpu;
        let through_host = matches!(route.copies, Copies::ToHost | Copies::ThroughHost);
        prop_assert!(!leaves || through_host, "{:?}", route);
        let ends_there = matches!(
            route.copies,
            Copies::ToDevice | Copies::BetweenDevices | Copies::ThroughHost
        );
        prop_assert!(!ends_there || consumer.device != Device::Cpu, "{:?}", route);
    }

    #[test]
    fn without_a_pool_a_route_is_that_of_memory_that_nobody_shares(
        producer in placement(), consumer in placement()
    ) {
        let route = Route::between(&producer, &consumer);
        let without = route.clone().without_pool();
        if route.travels == Travels::Pool {
            prop_assert_eq!(without.travels, Travels::Slot);
            prop_assert_eq!(without.copies, Copies::ThroughHost);
            prop_assert_eq!(without.carrier, route.carrier);
            prop_assert_ne!(without.reason, route.reason);
        } else {
            prop_assert_eq!(without, route);
        }
    }

    #[test]
    fn carriers_and_reasons_go_both_ways(producer in placement(), consumer in placement()) {
        let there = Route::between(&producer, &consumer);
        let back = Route::between(&consumer, &producer);
        prop_assert_eq!((there.carrier, there.travels), (back.carrier, back.travels));
        let turned = match there.copies {
            Copies::ToDevice => Copies::ToHost,
            Copies::ToHost => Copies::ToDevice,
            same => same,
        };
        prop_assert_eq!(turned, back.copies);
    }

    #[test]
    fn a_route_depends_on_the_kinds_of_devices_and_whether_they_are_one(
        producer in placement(), consumer in placement(), shift in 1_u16..100
    ) {
        let moved = |place: &Placement| Placement {
            device: match place.device {
                Device::Cpu => Device::Cpu,
                Device::Cuda(ordinal) => Device::Cuda(ordinal.wrapping_add(shift)),
                Device::Sim(ordinal) => Device::Sim(ordinal.wrapping_add(shift)),
            },
            ..place.clone()
        };
        prop_assert_eq!(
            Route::between(&producer, &consumer),
            Route::between(&moved(&producer), &moved(&consumer))
        );
    }
}
