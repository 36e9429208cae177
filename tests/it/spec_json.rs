//! A specification handed to another process: what is read from JSON is what was written.

use std::path::PathBuf;
use std::time::Duration;

use blockflow::config::load;
use blockflow::types::{
    CanarySpec, CudaGraphs, DType, Device, DeviceFault, DeviceSpec, Dim, Due, Encoding, FaultPoint,
    FaultSpec, GoldenCase, GoldenSpec, GraphEngine, HostSpec, ImageLayout, ImageSpec, MockFailure,
    MockSpec, Optimize, Pass, Passes, Precision, ProofSpec, PublicKey, ReloadSpec, ShadowSpec,
    ShapeSpec, Signature, SourceSpec, Spec, TensorSpec, Tolerance, WireSpec,
};
use proptest::prelude::*;

use crate::plan::{chain, spec};

fn signatures() -> impl Strategy<Value = Signature> {
    let dim = prop_oneof![
        any::<usize>().prop_map(Dim::Fixed),
        ".{0,4}".prop_map(|name| Dim::symbol(&name)),
        Just(Dim::Any),
    ];
    let dtype = prop::sample::select(DType::ALL.to_vec());
    let shape = prop::collection::vec(dim, 0..4).prop_map(ShapeSpec);
    let tensor = (".{0,6}", dtype, shape)
        .prop_map(|(name, dtype, shape)| TensorSpec::new(name, dtype, shape));
    let tensors = prop::collection::vec(tensor, 0..3);
    (tensors.clone(), tensors).prop_map(|(inputs, outputs)| Signature { inputs, outputs })
}

fn durations() -> impl Strategy<Value = Duration> {
    (any::<u64>(), 0_u32..1_000_000_000).prop_map(|(whole, nanos)| Duration::new(whole, nanos))
}

fn sources() -> impl Strategy<Value = SourceSpec> {
    let path = ".{1,12}".prop_map(PathBuf::from);
    let names = prop::option::of(prop::collection::vec(".{0,6}", 0..3));
    let engine = prop::sample::select(GraphEngine::ALL.map(|(_, engine)| engine).to_vec());
    let level = prop::sample::select(Optimize::ALL.to_vec());
    let off = prop::sample::subsequence(Pass::ALL.to_vec(), 0..4);
    let precision = prop::sample::select(Precision::ALL.map(|(_, precision)| precision).to_vec());
    let passes = (level, off, precision).prop_map(|(level, off, precision)| {
        off.into_iter()
            .fold(Passes::of(level), |passes, pass| passes.without(pass))
            .in_precision(precision)
    });
    let graph = (path.clone(), names.clone(), names, engine, passes).prop_map(
        |(path, inputs, outputs, engine, passes)| SourceSpec::Graph {
            path,
            inputs,
            outputs,
            engine,
            passes,
        },
    );
    let script = (path, signatures())
        .prop_map(|(path, signature)| SourceSpec::TorchScript { path, signature });
    let finite = any::<f32>().prop_filter("finite", |number| number.is_finite());
    let numbers = prop::collection::vec(finite.clone(), 0..4);
    let layouts = prop::sample::select(vec![ImageLayout::ChannelsFirst, ImageLayout::ChannelsLast]);
    let image = (any::<usize>(), layouts, finite, numbers.clone(), numbers).prop_map(
        |(width, layout, scale, mean, deviation)| {
            SourceSpec::DecodeImage(ImageSpec {
                width,
                height: 1,
                channels: 3,
                layout,
                scale,
                mean,
                deviation,
            })
        },
    );
    let failure = prop_oneof![
        any::<u64>().prop_map(|every| MockFailure::Panic { every }),
        any::<u64>().prop_map(|every| MockFailure::Error { every }),
        any::<u64>().prop_map(|every| MockFailure::Leak { every }),
        (any::<u64>(), durations()).prop_map(|(every, time)| MockFailure::Hang { every, time }),
        any::<u64>().prop_map(|every| MockFailure::NotANumber { every }),
    ];
    let failure = prop::option::of(failure);
    let mock = (signatures(), durations(), any::<u64>(), failure).prop_map(
        |(signature, latency, weight_bytes, failure)| {
            SourceSpec::Mock(MockSpec {
                signature,
                latency,
                weight_bytes,
                failure,
            })
        },
    );
    prop_oneof![graph, script, image, mock]
}

fn proofs() -> impl Strategy<Value = ProofSpec> {
    let shape = prop::collection::vec(any::<usize>(), 0..3);
    let shapes = prop::collection::btree_map(".{0,6}", shape, 0..3);
    let path = ".{0,12}".prop_map(PathBuf::from);
    let case = (path.clone(), path).prop_map(|(inputs, outputs)| GoldenCase { inputs, outputs });
    let tolerance = (0.0..1e9_f32, 0.0..1e9_f32)
        .prop_map(|(relative, absolute)| Tolerance { relative, absolute });
    let golden = (prop::collection::vec(case, 0..3), tolerance)
        .prop_map(|(cases, tolerance)| GoldenSpec { cases, tolerance });
    let warm = prop::collection::vec(shapes, 0..3);
    let graphs = prop::sample::select(vec![
        CudaGraphs::Off,
        CudaGraphs::Auto,
        CudaGraphs::Required,
    ]);
    (warm, any::<bool>(), prop::option::of(golden), graphs).prop_map(
        |(warm, finite, golden, cuda_graphs)| ProofSpec {
            warm,
            finite,
            golden,
            cuda_graphs,
        },
    )
}

fn devices() -> impl Strategy<Value = DeviceSpec> {
    let device = prop_oneof![
        Just(Device::Cpu),
        any::<u16>().prop_map(Device::Cuda),
        any::<u16>().prop_map(Device::Sim),
    ];
    let kind = prop_oneof![
        Just(DeviceFault::OutOfMemory),
        Just(DeviceFault::Sticky),
        Just(DeviceFault::Error),
        durations().prop_map(|time| DeviceFault::Hang { time }),
    ];
    let at = prop::sample::select(vec![FaultPoint::Load, FaultPoint::Run]);
    let due = prop_oneof![
        any::<u64>().prop_map(Due::Every),
        any::<u64>().prop_map(Due::After)
    ];
    let fault =
        (at, kind, due, prop::option::of(".{0,6}")).prop_map(|(at, kind, due, block)| FaultSpec {
            at,
            kind,
            due,
            block,
        });
    let bytes = || prop::option::of(any::<u64>());
    (device, bytes(), bytes(), prop::collection::vec(fault, 0..3)).prop_map(
        |(device, memory_bytes, copy_bytes_per_s, faults)| DeviceSpec {
            device,
            memory_bytes,
            copy_bytes_per_s,
            faults,
        },
    )
}

fn reloads() -> impl Strategy<Value = ReloadSpec> {
    let numbers = || {
        (
            0.0..1.0_f32,
            0.0..9.0_f32,
            0.0..9.0_f32,
            any::<u64>(),
            any::<u64>(),
        )
    };
    let shadow = (numbers(), durations()).prop_map(
        |((share, relative, absolute, requests, mismatches_max), time_max)| ShadowSpec {
            share,
            requests,
            tolerance: Tolerance { relative, absolute },
            mismatches_max,
            time_max,
        },
    );
    let canary = (numbers(), durations()).prop_map(
        |((share, error_ratio_max, latency_ratio_max, requests, _), time_max)| CanarySpec {
            share,
            requests,
            time_max,
            error_ratio_max,
            latency_ratio_max,
        },
    );
    (prop::option::of(shadow), prop::option::of(canary))
        .prop_map(|(shadow, canary)| ReloadSpec { shadow, canary })
}

fn specs() -> impl Strategy<Value = Spec> {
    let text = prop::option::of(".{0,6}");
    let block = (sources(), text.clone(), text.clone(), proofs());
    let blocks = prop::collection::vec(block, 0..4);
    let keys = prop::collection::vec(any::<[u8; 32]>().prop_map(PublicKey), 0..3);
    let place = (any::<[u8; 16]>(), any::<bool>(), any::<u16>());
    let host = (".{0,6}", place, keys).prop_map(|(name, (address, six, port), keys)| HostSpec {
        name,
        address: if six {
            address.into()
        } else {
            [address[0], address[1], address[2], address[3]].into()
        },
        port,
        keys,
    });
    let hosts = prop::collection::vec(host, 0..3);
    let encodings = prop::sample::select(Encoding::ALL.to_vec());
    let wire = (".{0,20}", encodings).prop_map(|(edge, encoding)| WireSpec { edge, encoding });
    let wire = prop::collection::vec(wire, 0..3);
    let devices = prop::collection::vec(devices(), 0..3);
    let all = (blocks, hosts, text, durations(), wire, devices, reloads());
    all.prop_map(|(blocks, hosts, server, drain, wire, devices, reload)| {
        let flows = vec![
            chain(&["a", "b"]),
            crate::plan::graph(&["x -> a.x", "again = a"]),
        ];
        let named: Vec<_> = blocks
            .iter()
            .map(|_| ("a", "x FP32 n => y FP32 n"))
            .collect();
        let (mut spec, _) = spec(&named, flows);
        for (block, (source, host, process, proof)) in spec.blocks.iter_mut().zip(blocks) {
            (block.source, block.host, block.process) = (source, host, process);
            block.proof = proof;
        }
        spec.hosts = hosts;
        spec.devices = devices;
        spec.reload = reload;
        spec.pipelines[0].wire = wire;
        spec.server.host = server;
        spec.server.drain = drain;
        spec
    })
}

fn again(spec: &Spec) -> Spec {
    let text = serde_json::to_string(spec).expect("a specification has a form in JSON");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_read_is_what_was_written(spec in specs()) {
        prop_assert_eq!(again(&spec), spec);
    }
}

#[test]
fn the_example_survives_being_handed_on() {
    let spec = load("blocks.toml".as_ref(), std::iter::empty())
        .expect("readable")
        .spec;
    assert!(!spec.blocks.is_empty() && !spec.pipelines.is_empty());
    assert_eq!(again(&spec), spec);
}
