//! Archives of `torch.export` that are damaged, mean harm or ask for what no block can do: one error that names the file
//! and what is wrong with it, and never a panic or work without bound.

use proptest::prelude::*;
use serde_json::{Value, json};

use blockflow::graph::{Graph, GraphError};

use crate::program_file::{Program, entry, meta, node, read_program, tensor, zip};

type Change = fn(&mut Program);

fn refusal(program: Program) -> String {
    let error = program.read().unwrap_err();
    assert!(matches!(error, GraphError::Model { .. }), "{error}");
    let told = error.to_string();
    assert!(told.contains("program.pt2: "), "{told}");
    told
}

fn are_refused(cases: &[(Change, &str)]) {
    for (change, expected) in cases {
        let mut program = Program::new();
        change(&mut program);
        let told = refusal(program);
        assert!(told.contains(expected), "expected {expected:?}: {told}");
    }
}

#[test]
fn the_program_that_the_cases_change_is_sound() {
    let graph = Program::new().read().unwrap();
    let signature = graph.signature().unwrap();
    assert_eq!(signature.inputs[0].name, "x");
    assert_eq!(signature.outputs[0].name, "y");
}

#[test]
fn archives_that_are_not_as_they_should_be_are_refused() {
    are_refused(&[
        (
            |program| program.entries[0].method = 8,
            "\"data/weights/weight_0\" of the archive is compressed",
        ),
        (
            |program| program.entries[0].claimed = Some(1 << 30),
            "expected an entry within the file",
        ),
        (
            |program| program.entries.push(entry("byteorder", "little")),
            "two entries have one name",
        ),
        (
            |program| program.entries[1].content = b"big".to_vec(),
            "\"byteorder\" of the archive is not \"little\"",
        ),
        (
            |program| program.entries[1].name = "other/byteorder".to_owned(),
            "it holds two folders",
        ),
        (
            |program| program.entries.push(entry("models/second.json", "{}")),
            "several programs, expected one: model, second",
        ),
        (
            |program| drop(program.entries.remove(0)),
            "\"data/weights/weight_0\" of the archive is missing",
        ),
        (
            |program| program.entries[0].content.truncate(23),
            "needs 24 bytes, its data holds 23",
        ),
    ]);
}

#[test]
fn what_has_the_ending_and_is_no_program_is_told_apart() {
    let only = |name: &str| zip(&[entry(name, "{}")]);
    for (bytes, expected) in [
        (only("constants.pkl"), "it is TorchScript"),
        (only("data.pkl"), "it holds pickled tensors"),
        (
            only("serialized_exported_program.json"),
            "saved by PyTorch before 2.8",
        ),
        (only("data/aotinductor/model/code.so"), "compiled code only"),
        (only("anything"), "expected an archive of torch.export.save"),
        (Vec::new(), "is no archive of torch.export"),
        (
            b"an ordinary text".to_vec(),
            "is no archive of torch.export",
        ),
    ] {
        let told = read_program(&bytes).unwrap_err().to_string();
        assert!(told.contains(expected), "{told}");
    }
}

#[test]
fn versions_of_the_schema_are_refused_by_number() {
    are_refused(&[
        (
            |program| program.model["schema_version"]["major"] = json!(9),
            "schema version 9.17, supported is major version 8",
        ),
        (
            |program| program.model["schema_version"]["major"] = json!(7),
            "schema version 7.17",
        ),
        (
            |program| program.model["schema_version"] = json!(null),
            "is not as the schema has it",
        ),
    ]);
    let mut newer = Program::new();
    newer.model["schema_version"]["minor"] = json!(99);
    newer.model["added_in_99"] = json!({"as": ["anything"]});
    assert!(newer.read().is_ok());
}

#[test]
fn json_that_is_not_of_the_schema_is_refused_with_its_place() {
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    for (text, expected) in [
        ("{".to_owned(), "EOF while parsing"),
        (nested(100_000), "invalid type: sequence"),
        (
            format!(
                "{{\"schema_version\": {{\"major\": 8, \"minor\": 0}}, \"other\": {}}}",
                nested(100_000)
            ),
            "missing field `graph_module`",
        ),
        (
            Program::new()
                .model
                .to_string()
                .replace("as_tensor", "as_tensorish"),
            "unknown variant `as_tensorish`",
        ),
        (
            Program::new()
                .model
                .to_string()
                .replace("\"target\"", "\"aim\""),
            "missing field `target`",
        ),
    ] {
        let entries = [entry("models/model.json", text)];
        let told = read_program(&zip(&entries)).unwrap_err().to_string();
        assert!(told.contains("\"models/model.json\""), "{told}");
        assert!(told.contains(expected), "{told}");
    }
}

#[test]
fn weights_that_contradict_themselves_are_refused() {
    are_refused(&[
        (
            |program| weight(program)["use_pickle"] = json!(true),
            "weight \"layer.w\" is a pickle",
        ),
        (
            |program| weight(program)["tensor_meta"] = json!(null),
            "weight \"layer.w\" is a pickle",
        ),
        (
            |program| weight(program)["tensor_meta"] = meta(&[2, 4]),
            "needs 32 bytes, its data holds 24",
        ),
        (
            |program| weight(program)["tensor_meta"] = meta(&[2, 2]),
            "is FP32 of shape [2, 2], expected the datatype and shape",
        ),
        (
            |program| weight(program)["tensor_meta"]["dtype"] = json!(10),
            "has the scalar type 10",
        ),
        (
            |program| weight(program)["tensor_meta"]["layout"] = json!(1),
            "is sparse",
        ),
        (
            |program| weight(program)["tensor_meta"]["storage_offset"] = json!({"as_int": 1}),
            "needs 28 bytes",
        ),
        (
            |program| {
                weight(program)["tensor_meta"]["storage_offset"] = json!({"as_int": i64::MAX})
            },
            "its data holds 24",
        ),
        (
            |program| weight(program)["tensor_meta"]["storage_offset"] = json!({"as_int": -1}),
            "a number of at least 0",
        ),
        (
            |program| weight(program)["tensor_meta"]["strides"] = json!([{"as_int": 3}]),
            "as many strides as sizes",
        ),
        (
            |program| weight(program)["tensor_meta"]["strides"][0] = json!({"as_int": i64::MAX}),
            "its data holds 24",
        ),
        (
            |program| weight(program)["tensor_meta"]["sizes"][0] = json!({"as_int": -2}),
            "a number of at least 0",
        ),
        (
            |program| weight(program)["tensor_meta"] = meta(&[i64::MAX, i64::MAX]),
            "larger than this machine can address",
        ),
        (
            |program| weight(program)["tensor_meta"] = meta(&[1; 40]),
            "40 dimensions, supported are up to 32",
        ),
        (
            |program| weight(program)["path_name"] = json!("../../secret"),
            "\"data/weights/../../secret\" of the archive is missing",
        ),
        (
            |program| program.weights = json!({"config": {}}),
            "weight \"layer.w\" is missing",
        ),
    ]);
}

fn weight(program: &mut Program) -> &mut Value {
    &mut program.weights["config"]["layer.w"]
}

#[test]
fn a_weight_that_repeats_its_elements_without_bound_is_refused() {
    let mut program = Program::new();
    let wide = json!([{"as_int": 1_i64 << 30}, {"as_int": 3}]);
    weight(&mut program)["tensor_meta"]["sizes"] = wide.clone();
    weight(&mut program)["tensor_meta"]["strides"] = json!([{"as_int": 0}, {"as_int": 1}]);
    program.graph()["tensor_values"]["w"]["sizes"] = wide;
    assert!(refusal(program).contains("larger than this machine can address"));
}

#[test]
fn graphs_that_contradict_themselves_are_refused() {
    are_refused(&[
        (
            |program| program.graph()["nodes"][0]["inputs"][1]["arg"] = tensor("z"),
            "node \"y\" (add.Tensor): it reads \"z\", which nothing before it defines",
        ),
        (
            |program| program.graph()["nodes"][0]["inputs"][1]["arg"] = json!({"as_string": "1"}),
            "node \"y\" (add.Tensor): argument other is a text, expected a number",
        ),
        (
            |program| program.graph()["nodes"][0]["inputs"] = json!([]),
            "argument self is missing",
        ),
        (
            |program| program.graph()["nodes"][0]["outputs"] = json!([tensor("x")]),
            "tensor \"x\" is defined twice",
        ),
        (
            |program| program.graph()["nodes"][0]["outputs"] = json!([{"as_int": 1}]),
            "argument result is no tensor",
        ),
        (
            |program| program.graph()["nodes"] = json!([]),
            "output \"y\" of the model is not computed",
        ),
        (
            |program| program.graph()["tensor_values"]["y"]["dtype"] = json!(8),
            "declared as FP64, but the model computes FP32",
        ),
        (
            |program| program.graph()["tensor_values"]["y"] = meta(&[3, 2]),
            "declared with shape [3, 2], but the model computes [2, 3]",
        ),
        (
            |program| program.graph()["tensor_values"]["x"] = json!(null),
            "is not as the schema has it",
        ),
        (
            |program| {
                drop(
                    program.graph()["tensor_values"]
                        .as_object_mut()
                        .unwrap()
                        .remove("x"),
                )
            },
            "input \"x\" is of a datatype or shape that the file does not tell",
        ),
        (
            |program| program.graph()["tensor_values"]["x"]["sizes"][0] = json!({"as_int": -1}),
            "expected sizes of at least 0",
        ),
        (
            |program| program.graph()["tensor_values"]["x"]["dtype"] = json!(9),
            "input \"x\" is of a datatype",
        ),
    ]);
}

#[test]
fn what_a_block_cannot_do_is_refused_in_a_sentence() {
    are_refused(&[
        (
            |program| program.graph()["nodes"][0]["target"] = json!("torch.ops.higher_order.cond"),
            "unsupported operators: torch.ops.higher_order.cond (1 node, \"y\")",
        ),
        (
            |program| {
                program.graph()["nodes"][0]["target"] = json!("torch.ops.mylib.frobnicate.default")
            },
            "torch.ops.mylib.frobnicate.default",
        ),
        (
            |program| {
                let buffer =
                    json!({"buffer_mutation": {"arg": {"name": "y"}, "buffer_name": "seen"}});
                program.signature()["output_specs"]
                    .as_array_mut()
                    .unwrap()
                    .insert(0, buffer);
            },
            "the program writes to buffer \"seen\", and blocks keep no state",
        ),
        (
            |program| {
                let input =
                    json!({"user_input_mutation": {"arg": {"name": "y"}, "user_input_name": "x"}});
                program.signature()["output_specs"]
                    .as_array_mut()
                    .unwrap()
                    .insert(0, input);
            },
            "the program writes to input \"x\"",
        ),
        (
            |program| program.signature()["output_specs"] = json!([]),
            "the model has no outputs",
        ),
        (
            |program| {
                program.signature()["output_specs"][0]["user_output"]["arg"] = json!({"as_int": 3})
            },
            "output 0 of the program is a value of Python",
        ),
        (
            |program| {
                program.signature()["input_specs"][1]["user_input"]["arg"] =
                    json!({"as_sym_int": {"as_name": "n"}})
            },
            "input \"n\" of the program is a number of Python",
        ),
        (
            |program| {
                let object = json!({"custom_obj": {"arg": {"name": "o", "class_fqn": "c"}, "custom_obj_name": "queue"}});
                program.signature()["input_specs"]
                    .as_array_mut()
                    .unwrap()
                    .push(object);
            },
            "constant \"queue\" of the program is an object of Python",
        ),
    ]);
}

#[test]
fn models_that_train_are_refused() {
    let input = || ("input", tensor("x"));
    let dropout = node(
        "dropout.default",
        &[
            input(),
            ("p", json!({"as_float": 0.5})),
            ("train", json!({"as_bool": true})),
        ],
        "y",
    );
    assert!(refusal(Program::of(vec![dropout])).contains("node \"y\" (dropout.default): argument train is true, expected false: export the model in evaluation mode"));
    let statistics = [
        ("running_mean", tensor("w")),
        ("running_var", tensor("w")),
        ("training", json!({"as_bool": true})),
    ];
    let inputs = [&[input()], statistics.as_slice()].concat();
    assert!(
        refusal(Program::of(vec![node("batch_norm.default", &inputs, "y")]))
            .contains("argument training is true")
    );
}

#[test]
fn writing_in_place_is_read_where_nobody_else_sees_it_and_refused_elsewhere() {
    let relu = |from: &str, to: &str| node("relu_.default", &[("self", tensor(from))], to);
    let square = || {
        node(
            "mul.Tensor",
            &[("self", tensor("x")), ("other", tensor("w"))],
            "h",
        )
    };
    let sum = |left: &str, right: &str| {
        node(
            "add.Tensor",
            &[("self", tensor(left)), ("other", tensor(right))],
            "y",
        )
    };
    let alone = Program::of(vec![square(), relu("h", "r"), sum("r", "w")])
        .read()
        .unwrap();
    assert_eq!(alone.nodes.len(), 3);
    let settings = [
        ("p", json!({"as_float": 0.5})),
        ("train", json!({"as_bool": false})),
    ];
    let inputs = [&[("self", tensor("h"))], settings.as_slice()].concat();
    let idle = node("dropout_.default", &inputs, "d");
    let idle = Program::of(vec![square(), idle, sum("d", "w")])
        .read()
        .unwrap();
    assert_eq!(idle.nodes.len(), 3);
    let view = || {
        node(
            "view.default",
            &[("self", tensor("h")), ("size", json!({"as_ints": [2, 3]}))],
            "v",
        )
    };
    // It writes what is there, so it may write to what others read.
    let inputs = [&[("self", tensor("v"))], settings.as_slice()].concat();
    let idle = node("dropout_.default", &inputs, "d");
    let idle = Program::of(vec![square(), view(), idle, sum("d", "h")]);
    assert!(idle.read().is_ok());
    for (nodes, tensor) in [
        (vec![relu("x", "y")], "x"),
        (vec![relu("w", "r"), sum("r", "x")], "w"),
        (vec![square(), relu("h", "r"), sum("r", "h")], "h"),
        (vec![square(), view(), relu("v", "r"), sum("r", "h")], "v"),
    ] {
        let told = refusal(Program::of(nodes));
        let expected = format!("it writes to \"{tensor}\", which others read");
        assert!(told.contains(&expected), "{told}");
    }
}

#[test]
fn every_cut_through_an_archive_is_an_error() {
    let path = crate::graph_file::data("programs/network.pt2");
    let whole = std::fs::read(path).unwrap();
    for length in (0..whole.len()).step_by(97) {
        let error = read_program(&whole[..length]).unwrap_err();
        assert!(
            matches!(error, GraphError::Model { .. }),
            "{length}: {error}"
        );
    }
}

proptest! {
    #[test]
    fn no_change_of_a_byte_makes_the_reader_panic(place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = Program::new().bytes();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        if let Ok(graph) = read_program(&bytes) {
            prop_assert!(graph.verify().is_ok());
        }
    }

    #[test]
    fn no_number_in_the_graph_makes_the_reader_panic(number in any::<i64>(), which in 0..6_usize) {
        let arguments = match which {
            0 => node("unsqueeze.default", &[("self", tensor("x")), ("dim", json!({"as_int": number}))], "y"),
            1 => node("slice.Tensor", &[("self", tensor("x")), ("step", json!({"as_int": number}))], "y"),
            2 => node("split.Tensor", &[("self", tensor("x")), ("split_size", json!({"as_int": number}))], "y"),
            3 => node("view.default", &[("self", tensor("x")), ("size", json!({"as_ints": [number, number]}))], "y"),
            4 => node("constant_pad_nd.default", &[("self", tensor("x")), ("pad", json!({"as_ints": [number, number]}))], "y"),
            _ => node("full.default", &[("size", json!({"as_ints": [number]})), ("fill_value", json!({"as_int": number}))], "y"),
        };
        let mut program = Program::of(vec![arguments]);
        program.graph()["tensor_values"]["y"]["sizes"] = json!([{"as_int": number}, {"as_expr": {"expr_str": "Symbol('s0')"}}]);
        let read: Result<Graph, GraphError> = program.read();
        if let Ok(graph) = read {
            prop_assert!(graph.verify().is_ok());
        }
    }
}
