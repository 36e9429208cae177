//! Tensors that a model carries: where their data lies, and what of it is read.

use blockflow::graph::Graph;

use crate::graph_file::*;

#[test]
fn weights_stay_in_the_mapped_file() {
    let raw = |name: &str| TensorPart {
        raw: vec![0; 4096],
        floats: Vec::new(),
        ..floats(name, &[32, 32])
    };
    let nodes = vec![
        node("MatMul", &["x", "a"], &["h"]),
        node("MatMul", &["h", "b"], &["y"]),
    ];
    let graph = model(17, "batch,32", nodes, vec![raw("a"), raw("b")])
        .read()
        .unwrap();
    let address = |name: &str| weight(&graph, name).bytes().as_ptr().addr();
    // Two copies would be aligned; slices of one file lie as far apart as in the file.
    let distance = address("b").abs_diff(address("a"));
    assert!((4096..4200).contains(&distance), "{distance}");
}

#[test]
fn weights_in_a_file_beside_the_model_are_found_at_their_offset() {
    let directory = tempfile::TempDir::new().unwrap();
    let entry = |key: &str, value: &str| Entry {
        key: key.to_owned(),
        value: value.to_owned(),
    };
    let external = vec![
        entry("location", "./weights.bin"),
        entry("offset", "8"),
        entry("length", "16"),
    ];
    let part = TensorPart {
        floats: Vec::new(),
        location: 1,
        external,
        ..floats("w", &[4])
    };
    let bytes: Vec<u8> = (0..24).collect();
    std::fs::write(directory.path().join("weights.bin"), &bytes).unwrap();
    let path = directory.path().join("model.onnx");
    let file = model(
        17,
        "batch,4",
        vec![node("Add", &["x", "w"], &["y"])],
        vec![part],
    );
    std::fs::write(&path, prost::Message::encode_to_vec(&file)).unwrap();
    let graph = Graph::read(&path).unwrap();
    assert_eq!(weight(&graph, "w").bytes(), &bytes[8..24]);
}

#[test]
fn typed_data_fields_are_read_for_every_dtype() {
    let part = |kind: i32, int32s: &[i32]| TensorPart {
        name: "w".to_owned(),
        dims: vec![2],
        kind,
        int32s: int32s.to_vec(),
        ..TensorPart::default()
    };
    let read = |part: TensorPart| {
        let mut file = model(17, "2", vec![node("Identity", &["w"], &["y"])], vec![part]);
        file.graph_mut().inputs.clear();
        let graph = file.read().unwrap();
        weight(&graph, "w").bytes().to_vec()
    };
    assert_eq!(read(part(9, &[0, 1])), [0, 1]);
    assert_eq!(read(part(3, &[-1, 2])), [255, 2]);
    assert_eq!(read(part(2, &[255, 2])), [255, 2]);
    assert_eq!(read(part(5, &[-2, 2])), [254, 255, 2, 0]);
    assert_eq!(read(part(6, &[-2, 2])), [254, 255, 255, 255, 2, 0, 0, 0]);
    assert_eq!(read(part(10, &[0x3c00, 0xc000])), [0, 0x3c, 0, 0xc0]);
    assert_eq!(read(part(16, &[0x3f80, 0])), [0x80, 0x3f, 0, 0]);
    let doubles = TensorPart {
        kind: 11,
        dims: vec![1],
        doubles: vec![1.0],
        ..part(11, &[])
    };
    assert_eq!(read(doubles), 1.0_f64.to_le_bytes());
}

#[test]
fn early_files_that_list_weights_among_the_inputs_have_only_real_inputs() {
    let mut file = model(
        8,
        "batch,4",
        vec![node("Add", &["x", "w"], &["y"])],
        vec![floats("w", &[4])],
    );
    file.graph_mut().inputs.push(info("w", FLOAT, "4"));
    assert_eq!(file.signature().0, ["x: FP32[batch, 4]"]);
}

#[test]
fn views_and_copies_of_weights_are_weights() {
    let nodes = vec![
        node("Identity", &["w"], &["copy"]),
        node("Unsqueeze", &["copy", "axes"], &["tall"]),
        node("Mul", &["x", "tall"], &["y"]),
    ];
    let graph = model(
        17,
        "batch,3,8",
        nodes,
        vec![floats("w", &[3]), integers("axes", &[1])],
    )
    .read()
    .unwrap();
    assert_eq!(operators(&graph), ["Binary"]);
    assert_eq!(weight(&graph, "tall").shape(), [3, 1]);
}

#[test]
fn an_output_that_is_a_copy_of_a_weight_is_still_computed() {
    let mut file = model(
        17,
        "batch",
        vec![node("Identity", &["w"], &["y"])],
        vec![floats("w", &[3])],
    );
    file.graph_mut().inputs.clear();
    assert_eq!(operators(&file.read().unwrap()), ["Identity"]);
}
