//! `blocks.toml` is both an example that works and the reference: it names every key, with its true default.

use std::collections::{BTreeMap, BTreeSet};

use blockflow::config::load;
use blockflow::plan::compile;
use blockflow::types::{Epoch, FlowSpec, HostSpec, ImageLayout, SourceSpec, Spec};

use crate::config::{load_text, report, sound};
use crate::plan::signature;

const EXAMPLE: &str = include_str!("../../blocks.toml");
const DEFAULTS: &str = include_str!("../../src/config/defaults.toml");

/// Returns the reference part of the example as a configuration: lines of a `#` with no space after it.
pub(crate) fn reference() -> String {
    let keys = EXAMPLE.lines().filter_map(|line| line.strip_prefix('#'));
    keys.filter(|line| !line.starts_with([' ', '#']))
        .map(|line| format!("{line}\n"))
        .collect()
}

fn reference_spec() -> Spec {
    load_text(&reference())
        .expect("the reference is a configuration")
        .spec
}

/// Reads `key = value # remark` lines under `[section]` headers as they stand, key path → (value, remark).
pub(crate) fn lines_of(text: &str) -> BTreeMap<String, (String, String)> {
    let mut section = String::new();
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let (code, remark) = line.split_once(" #").unwrap_or((line, ""));
        if let Some(header) = code.trim().strip_prefix('[') {
            section = header.trim_matches(['[', ']', ' ']).to_owned();
        } else if let Some((key, value)) = code.split_once('=') {
            let key = format!("{section}.{}", key.trim());
            found.insert(key, (value.trim().to_owned(), remark.trim().to_owned()));
        }
    }
    found
}

#[test]
fn the_example_is_sound() {
    let spec = sound(load("blocks.toml".as_ref(), std::iter::empty()))
        .expect("sound")
        .spec;
    let pipelines: Vec<_> = spec
        .pipelines
        .iter()
        .map(|pipeline| pipeline.name.as_str())
        .collect();
    assert_eq!(pipelines, ["digit", "parity", "legible", "digit_image"]);
    let [.., decode] = &spec.blocks[..] else {
        panic!("no blocks")
    };
    let SourceSpec::DecodeImage(image) = &decode.source else {
        panic!("no step")
    };
    assert_eq!(
        (image.channels, image.scale, image.layout),
        (1, 16.0, ImageLayout::ChannelsFirst)
    );
    assert_eq!(
        (image.mean.as_slice(), image.deviation.as_slice()),
        (&[0.0][..], &[1.0][..])
    );
    for block in &spec.blocks {
        if let SourceSpec::Graph { path, .. } | SourceSpec::TorchScript { path, .. } = &block.source
        {
            assert!(path.is_file(), "{}", path.display());
        }
    }
    assert!(matches!(spec.pipelines[3].flow, FlowSpec::Graph(_)));
}

#[test]
fn the_example_is_wired_soundly() {
    let spec = sound(load("blocks.toml".as_ref(), std::iter::empty()))
        .expect("sound")
        .spec;
    let declared = [
        "image FP32 batch 1 8 8 => features FP32 batch 64",
        "features FP32 batch 64 => digit_logits FP32 batch 10",
        "features FP32 batch 64 => parity_logits FP32 batch 2",
        "features FP32 batch 64 => legible_logits FP32 batch 2",
        "image BYTES 1 => pixels FP32 1 1 8 8",
    ];
    let signatures = declared.map(|text| Some(signature(text)));
    let plan = compile(&spec, &signatures, Epoch(1)).expect("sound");
    let seen: Vec<_> = plan
        .pipelines
        .iter()
        .map(|pipeline| &pipeline.signature)
        .collect();
    let expected = [
        "image FP32 batch 1 8 8 => digit_logits FP32 batch 10",
        "image FP32 batch 1 8 8 => parity_logits FP32 batch 2",
        "image FP32 batch 1 8 8 => legible_logits FP32 batch 2",
        "file BYTES 1 => digit_logits FP32 1 10, legible_logits FP32 1 2",
    ];
    assert_eq!(seen, expected.map(signature).iter().collect::<Vec<_>>());
}

#[test]
fn the_reference_states_the_compiled_defaults() {
    let mut spec = reference_spec();
    assert_eq!(spec.server.host.take().as_deref(), Some("edge"));
    let bare = load_text("").expect("defaults are sound").spec;
    assert_eq!(
        (spec.server, spec.limits, spec.log),
        (bare.server, bare.limits, bare.log)
    );

    let plain = load_text(
        "[blocks.a]\nmodel = \"a.onnx\"\n[blocks.b]\nstep = \"decode-image\"\n\
         image = { width = 8, height = 8 }\n[pipelines.p]\nflow = [\"a\"]\n",
    );
    let plain = plain.expect("sound").spec;
    let documented = |name: &str| {
        spec.blocks
            .iter()
            .find(|block| block.name == name)
            .expect("a block of the reference")
    };
    let mut segment = documented("a_segment").clone();
    segment.name = plain.blocks[0].name.clone();
    segment.source = plain.blocks[0].source.clone();
    assert_eq!(segment, plain.blocks[0]);
    assert_eq!(documented("a_step").source, plain.blocks[1].source);
    let mock = documented("a_mock");
    assert_eq!(mock.process.as_deref(), Some("mocks"));
    assert_eq!(mock.host.as_deref(), Some("edge"));
    assert_eq!(spec.hosts[0].port, HostSpec::PORT);
    assert_eq!(spec.pipelines[0].deadline, plain.pipelines[0].deadline);
}

#[test]
fn every_compiled_default_stands_in_the_reference_word_for_word() {
    let flat = DEFAULTS
        .replace(
            "batch = { max = 1, wait_ms = 0 }",
            "batch.max = 1\nbatch.wait_ms = 0",
        )
        .replace(
            "restart = { budget = 5, window_s = 60, backoff_min_ms = 100, backoff_max_ms = 10000 }",
            "restart.budget = 5\nrestart.window_s = 60\nrestart.backoff_min_ms = 100\n\
             restart.backoff_max_ms = 10000",
        );
    assert!(
        !flat.contains('{'),
        "a table of the defaults that this test does not know: {flat}"
    );
    let reference = lines_of(&reference());
    for (key, (value, _)) in lines_of(&flat) {
        let (section, name) = key.split_once('.').expect("a section");
        let key = match section {
            "host" => format!("hosts.edge.{name}"),
            "block" => format!("blocks.a_segment.{name}"),
            "image" => format!("blocks.a_step.image.{name}"),
            "mock" => format!("blocks.a_mock.mock.{name}"),
            "failure" => format!("blocks.a_failing_mock.mock.failure.{name}"),
            "pipeline" => format!("pipelines.a_chain.{name}"),
            _ => key,
        };
        let (documented, remark) = reference.get(&key).unwrap_or_else(|| panic!("no {key}"));
        assert_eq!(*documented, value, "{key}");
        assert!(
            !remark.starts_with("required") && !remark.is_empty(),
            "{key}: {remark}"
        );
    }
}

#[test]
fn the_reference_mentions_every_key_that_the_reader_knows() {
    let tensors = "[{ name = 'x', datatype = 'FP32', shape = [1], ODD = 1 }]";
    let text = format!(
        "[server]\nODD = 1\n[limits]\nODD = 1\n[log]\nODD = 1\n\
         [devices.cpu]\nODD = 1\n[devices.'sim:0']\nODD = 1\n\
         faults = [{{ at = 'run', kind = 'hang', hang_ms = 1, every = 1, ODD = 1 }}]\n\
         [hosts.h]\naddress = '127.0.0.1'\nODD = 1\n\
         [blocks.a]\nmodel = 'a.onnx'\nODD = 1\nbatch.ODD = 1\nrestart.ODD = 1\n\
         [blocks.b]\nmodel = 'b.pt'\ntrust = true\ninputs = {tensors}\noutputs = {tensors}\n\
         [blocks.c]\nstep = 'decode-image'\nODD = 1\nimage = {{ width = 1, height = 1, ODD = 1 }}\n\
         [blocks.d.mock]\ninputs = {tensors}\noutputs = {tensors}\nODD = 1\n\
         failure = {{ hang_every = 1, ODD = 1 }}\n\
         [blocks.e.mock]\ninputs = {tensors}\noutputs = {tensors}\nfailure = {{ ODD = 1 }}\n\
         [pipelines.p]\nflow = ['a']\nODD = 1\n\
         [pipelines.p.wire]\n'x -> a.x' = {{ dtype = 'BF16', ODD = 1 }}\n"
    );
    let lines = report(&load_text(&text).expect_err("odd keys"));
    let mut known = BTreeSet::new();
    for line in lines.iter().filter(|line| line.contains(".ODD: ")) {
        let (_, list) = line.split_once("expected one of ").expect("no near key");
        known.extend(list.split(", ").map(str::to_owned));
    }
    assert!(known.len() > 40, "{known:?}");
    let reference = reference();
    for key in known {
        let mention = |before: char| reference.contains(&format!("{before}{key}"));
        let mentioned = mention('\n') || mention('.') || mention(' ') || mention('{');
        assert!(mentioned, "the reference says nothing of {key:?}");
    }
}
