//! The example network through the `aten` engine: it knows digits, and cut in two it gives the same bytes.

use std::sync::Arc;

use blockflow::engine::Prepared;
use blockflow::graph::Graph;
use blockflow::types::{DType, Tensor};

use crate::engine_support::{data, prepare_graph, values_f32};

fn prepared(graph: &Graph) -> Arc<dyn Prepared> {
    prepare_graph(graph, graph.signature().unwrap()).unwrap()
}

fn network() -> Graph {
    Graph::read(&data("digits/digits.onnx")).unwrap()
}

/// The held-out images as one tensor, and their labels.
fn held_out(images: &str, labels: &str) -> (Tensor, Vec<i64>) {
    let file = std::fs::read(data(images)).unwrap();
    let pixels: Vec<f32> = npyz::NpyFile::new(&file[..]).unwrap().into_vec().unwrap();
    let file = std::fs::read(data(labels)).unwrap();
    let labels: Vec<i64> = npyz::NpyFile::new(&file[..]).unwrap().into_vec().unwrap();
    let shape = vec![labels.len(), 1, 8, 8];
    (
        Tensor::copy_of(DType::F32, shape, bytemuck::cast_slice(&pixels)).unwrap(),
        labels,
    )
}

fn correct(logits: &Tensor, labels: &[i64]) -> usize {
    let classes = logits.shape()[1];
    let best = |row: &[f32]| {
        (0..classes)
            .max_by(|&a, &b| row[a].total_cmp(&row[b]))
            .map(|class| class as i64)
    };
    let values = values_f32(logits);
    values
        .chunks(classes)
        .zip(labels)
        .filter(|(row, label)| best(row) == Some(**label))
        .count()
}

#[test]
fn the_example_network_is_as_right_as_its_report_says() {
    let report = std::fs::read(data("digits/report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
    let network = prepared(&network());
    let outputs: Vec<_> = network
        .signature()
        .outputs
        .iter()
        .map(|spec| spec.name.clone())
        .collect();
    let mut session = network.session().unwrap();
    for (task, images, labels) in [
        ("digit", "digits/images.npy", "digits/digit.npy"),
        ("parity", "digits/images.npy", "digits/even.npy"),
        ("legible", "digits/legible_images.npy", "digits/legible.npy"),
    ] {
        let (images, labels) = held_out(images, labels);
        let logits = session.run(&[images]).unwrap();
        let place = outputs
            .iter()
            .position(|name| *name == format!("{task}_logits"))
            .unwrap();
        let expected = report["tasks"][task]["correct"].as_u64().unwrap();
        assert_eq!(correct(&logits[place], &labels) as u64, expected, "{task}");
    }
}

/// REQ-4, for every tensor at which the network falls in two.
#[test]
fn req_4_a_network_cut_in_two_gives_the_bytes_of_the_whole() {
    let whole = network();
    let (images, _) = held_out("digits/images.npy", "digits/digit.npy");
    let images = images.slice_rows(3..8).unwrap();
    let expected = prepared(&whole)
        .session()
        .unwrap()
        .run(std::slice::from_ref(&images))
        .unwrap();
    let mut cuts = 0;
    for value in &whole.values {
        let Ok(parts) = whole.chain(std::slice::from_ref(&value.name)) else {
            continue;
        };
        let mut tensors = vec![images.clone()];
        for part in &parts {
            tensors = prepared(part).session().unwrap().run(&tensors).unwrap();
        }
        let bytes = |tensors: &[Tensor]| -> Vec<Vec<u8>> {
            tensors
                .iter()
                .map(|tensor| tensor.bytes().to_vec())
                .collect()
        };
        assert_eq!(bytes(&tensors), bytes(&expected), "cut at {:?}", value.name);
        cuts += 1;
    }
    assert!(cuts >= 10, "only {cuts} cuts");
}
