//! How edges travel between hosts, as a configuration writes it: what is understood, and what is said of the rest.

use blockflow::types::{Compress, Encoding, Narrow, WireSpec};

use crate::config::{load_text, load_with, report};

/// A block, a chain of it, and the inside of the chain's table `wire`, which begins on line 6.
fn text(wire: &str) -> String {
    format!(
        "[blocks.a]\nmodel = \"a.onnx\"\n[pipelines.p]\nflow = [\"a\"]\n[pipelines.p.wire]\n{wire}\n"
    )
}

fn read(wire: &str) -> Vec<WireSpec> {
    let loaded = load_text(&text(wire)).unwrap_or_else(|refused| panic!("{:?}", refused.lines));
    loaded.spec.pipelines[0].wire.clone()
}

fn spec(edge: &str, narrow: Option<Narrow>, compress: Option<Compress>) -> WireSpec {
    WireSpec {
        edge: edge.to_owned(),
        encoding: Encoding::of(narrow, compress),
    }
}

#[test]
fn either_key_alone_and_both_are_understood() {
    let read = read(
        "\"a.x -> b.x\" = { dtype = \"BF16\", compress = \"lz4\" }\n\
         \"b.y -> c.y\" = { compress = \"zstd\" }\n\
         \"c.z -> z\" = { dtype = \"FP16\" }",
    );
    let expected = [
        spec("a.x -> b.x", Some(Narrow::BF16), Some(Compress::Lz4)),
        spec("b.y -> c.y", None, Some(Compress::Zstd)),
        spec("c.z -> z", Some(Narrow::F16), None),
    ];
    assert_eq!(read, expected);
}

#[test]
fn nothing_said_is_nothing_done() {
    let plain = "[blocks.a]\nmodel = \"a.onnx\"\n[pipelines.p]\nflow = [\"a\"]\n";
    let loaded = load_text(plain).unwrap_or_else(|refused| panic!("{:?}", refused.lines));
    assert_eq!(loaded.spec.pipelines[0].wire, []);
    assert_eq!(read(""), []);
}

#[test]
fn blanks_around_the_arrow_and_the_order_of_the_file_mean_nothing() {
    let one =
        read("\"b.y->c.y\" = { compress = \"lz4\" }\n\" a.x  ->  b.x \" = { dtype = \"FP16\" }");
    let other =
        read("\"a.x -> b.x\" = { dtype = \"FP16\" }\n\"b.y -> c.y\" = { compress = \"lz4\" }");
    assert_eq!(one, other);
}

/// Models name tensors as they like.
#[test]
fn an_edge_may_have_any_name_that_a_tensor_has() {
    let edge = "a./layer.1/Relu_output[0] -> b.x y.z";
    let read = read(&format!("{edge:?} = {{ dtype = \"BF16\" }}"));
    assert_eq!(read, [spec(edge, Some(Narrow::BF16), None)]);
}

#[test]
fn a_variable_of_the_environment_can_say_it() {
    let plain = "[blocks.a]\nmodel = \"a.onnx\"\n[pipelines.p]\nflow = [\"a\"]\n";
    let wire = "{ \"a.x -> b.x\" = { dtype = \"BF16\" } }";
    let loaded = load_with(plain, &[("BLOCKFLOW_PIPELINES__P__WIRE", wire)]);
    let loaded = loaded.unwrap_or_else(|refused| panic!("{:?}", refused.lines));
    let expected = [spec("a.x -> b.x", Some(Narrow::BF16), None)];
    assert_eq!(loaded.spec.pipelines[0].wire, expected);
}

#[test]
fn what_is_wrong_is_told_with_its_line_and_what_would_be_right() {
    let edge = "\"a.x -> b.x\"";
    let key = ":6: pipelines.p.wire.a.x -> b.x";
    for (wire, expected) in [
        (
            format!("{edge} = {{ dtype = \"FP32\" }}"),
            format!("{key}.dtype: is \"FP32\"; expected \"FP16\" or \"BF16\""),
        ),
        (
            format!("{edge} = {{ dtype = \"bf16\" }}"),
            format!("{key}.dtype: is \"bf16\"; expected \"FP16\" or \"BF16\""),
        ),
        (
            format!("{edge} = {{ dtype = 16 }}"),
            format!("{key}.dtype: is 16; expected \"FP16\" or \"BF16\""),
        ),
        (
            format!("{edge} = {{ compress = \"gzip\" }}"),
            format!("{key}.compress: is \"gzip\"; expected \"lz4\" or \"zstd\""),
        ),
        (
            format!("{edge} = {{ compress = \"zst\" }}"),
            format!("{key}.compress: is \"zst\"; did you mean \"zstd\"?"),
        ),
        (
            format!("{edge} = {{ compress = true }}"),
            format!("{key}.compress: is true; expected \"lz4\" or \"zstd\""),
        ),
        (
            format!("{edge} = {{}}"),
            format!("{key}: says nothing of how the edge travels; expected dtype = "),
        ),
        (
            format!("{edge} = {{ compression = \"lz4\", dtype = \"BF16\" }}"),
            format!("{key}.compression: is no key of an edge on the wire; did you mean \"compress\"?"),
        ),
        (
            format!("{edge} = \"BF16\""),
            format!("{key}: is \"BF16\"; expected a table"),
        ),
        (
            "features = { dtype = \"BF16\" }".to_owned(),
            ":6: pipelines.p.wire.features: is no edge; expected an edge as `blockflow explain` shows it"
                .to_owned(),
        ),
        (
            "\" -> b.x\" = { dtype = \"BF16\" }".to_owned(),
            "pipelines.p.wire. -> b.x: is no edge; ".to_owned(),
        ),
        (
            format!("{edge} = {{ dtype = \"BF16\" }}\n\"a.x->b.x\" = {{ dtype = \"BF16\" }}"),
            "names an edge a second time; expected each edge once".to_owned(),
        ),
    ] {
        let refused = load_text(&text(&wire)).expect_err(&wire);
        let lines = report(&refused);
        assert_eq!(lines.len(), 1, "{wire}: {lines:?}");
        assert!(lines[0].contains(&expected), "{wire}: {lines:?}");
    }
    let refused = load_text(&text("").replace("[pipelines.p.wire]", "wire = \"BF16\""));
    let lines = report(&refused.expect_err("no table"));
    assert!(
        lines[0].contains(":5: pipelines.p.wire: is \"BF16\"; expected a table"),
        "{lines:?}"
    );
}

#[test]
fn several_mistakes_are_told_at_once() {
    let wire = "\"a.x -> b.x\" = { dtype = \"I8\", compress = \"gzip\", level = 3 }\nb = 1";
    let lines = report(&load_text(&text(wire)).expect_err("four mistakes"));
    assert_eq!(lines.len(), 4, "{lines:?}");
}
